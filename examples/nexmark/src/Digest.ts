/**
 * Rows as one number each, put together so that their order does not matter: two runs gave the same rows if their
 * digests are the same, whatever they were spread over.
 */

/** A digest to which rows are added. */
export interface Digest {
  rows: number
  readonly add: (rows: ReadonlyArray<object>) => void
  /** 16 hexadecimal digits. */
  readonly hex: () => string
}

/** A digest of no rows. */
export const make = (): Digest => {
  let low = 0
  let high = 0
  const digest: Digest = {
    rows: 0,
    add: (rows) => {
      digest.rows += rows.length
      for (const row of rows) {
        const text = JSON.stringify(row)
        low = (low + hash(text, 0x811c9dc5)) >>> 0
        high = (high + hash(text, 0x9747b28c)) >>> 0
      }
    },
    hex: () => [high, low].map((bits) => bits.toString(16).padStart(8, "0")).join("")
  }
  return digest
}

// ---- internal ----

/** FNV-1a over UTF-16 units, from a basis. */
const hash = (text: string, basis: number): number => {
  let h = basis
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return (h ^ (h >>> 15)) >>> 0
}
