/**
 * Rules about text that every store shares: what may be stored at all (no NUL, which Postgres refuses, and
 * no lone surrogate, which no UTF-8 encoder keeps), how long it may be, and how it is ordered. Length is
 * counted in code points, order is that of the UTF-8 bytes, so that JavaScript, SQLite (`BINARY`) and
 * Postgres (`COLLATE "C"`) agree.
 */

/** Why a text may not be stored, or `undefined` when it may. `maxCodePoints` counts code points. */
export function textFault(value: unknown, maxCodePoints: number): string | undefined {
  if (typeof value !== "string") return "is not a string"
  if (value.length === 0) return "is empty"
  if (value.length > maxCodePoints && countCodePoints(value) > maxCodePoints) {
    return `is longer than ${maxCodePoints} characters`
  }
  if (value.includes("\u0000")) return "contains NUL"
  if (!value.isWellFormed()) return "contains a lone surrogate"
  return undefined
}

/** Number of code points; a surrogate pair counts once. */
export function countCodePoints(value: string): number {
  let count = value.length
  for (let i = 0; i < value.length - 1; i++) {
    const unit = value.charCodeAt(i)
    if (unit >= 0xd800 && unit <= 0xdbff) {
      const next = value.charCodeAt(i + 1)
      if (next >= 0xdc00 && next <= 0xdfff) {
        count--
        i++
      }
    }
  }
  return count
}

/**
 * Compares two well-formed texts by their UTF-8 bytes. UTF-16 order differs from it only where a surrogate
 * meets a character of U+E000 to U+FFFF: surrogates stand for greater code points, though their units are
 * smaller. The two ranges are therefore swapped at the first unit that differs.
 */
export function compareUtf8(a: string, b: string): -1 | 0 | 1 {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return utf8Rank(x) < utf8Rank(y) ? -1 : 1
  }
  return a.length === b.length ? 0 : a.length < b.length ? -1 : 1
}

const utf8Rank = (unit: number): number => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit)

/**
 * The smallest text that is greater, by UTF-8 bytes, than every text that starts with `prefix`; `undefined`
 * when there is none. Turns "starts with" into the range `prefix <= x < after`, which every ordered index
 * can serve and in which no character has a special meaning.
 */
export function afterPrefix(prefix: string): string | undefined {
  const points = Array.from(prefix, (char) => char.codePointAt(0)!)
  while (points.length > 0) {
    const last = points.pop()!
    if (last < 0x10ffff) {
      const next = last === 0xd7ff ? 0xe000 : last + 1
      return String.fromCodePoint(...points, next)
    }
  }
  return undefined
}

/** Bytes of `value` in UTF-8. */
export function utf8Bytes(value: string): number {
  let bytes = value.length
  for (let i = 0; i < value.length; i++) {
    const unit = value.charCodeAt(i)
    if (unit < 0x80) continue
    if (unit < 0x800) bytes += 1
    else if (unit >= 0xd800 && unit <= 0xdbff) {
      // A pair is two units and four bytes.
      bytes += 2
      i++
    } else bytes += 2
  }
  return bytes
}
