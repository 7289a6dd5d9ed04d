/** What the window cases are about: records that are in memory, and what comes of them. */
import type { Source, SourceBatch } from "@millrace/core/Source"
import * as Effect from "effect/Effect"

/** A record. Shaped alike, and none twice. */
export interface Reading {
  readonly id: number
  readonly key: string
  /** Unit: milliseconds since 1970. */
  readonly time: number
  readonly value: number
}

/** Keys of the records, in turn. */
export const keyCount = 1_000

/** Unit: milliseconds. */
export const windowMs = 60_000

/** The mapped record: what all contestants make of a reading before they look whether it counts. */
export const doubled = ({ value }: Reading): number => value * 2
export const counts = (value: number): boolean => value % 3 !== 0

/** Records of the cases. */
export const recordCount = (quick: boolean): number => (quick ? 1_000_000 : 10_000_000)

/** Record `index`: ten in a millisecond of event time, keys in an order that has no pattern. */
export const reading = (index: number): Reading => ({
  id: index,
  key: keys[(index * 7919) % keyCount]!,
  time: beginMs + Math.floor(index / perMs),
  value: valueOf(index)
})

/** Records in the order of their time. */
export interface Readings {
  readonly all: ReadonlyArray<Reading>
  /** The same in arrays of 1 000, with their times. */
  readonly batches: ReadonlyArray<SourceBatch<Reading>>
}

/** The first `count` records. Made once, as long as anybody has them. */
export const readings = (count: number): Readings => {
  const kept = made.get(count)?.deref()
  if (kept !== undefined) return kept
  const all = Array.from({ length: count }, (_, index) => reading(index))
  const batches: Array<SourceBatch<Reading>> = []
  for (let at = 0; at < count; at += batchSize) {
    const values = all.slice(at, at + batchSize)
    batches.push({
      values,
      times: values.map(({ time }) => time),
      partition,
      offset: String(at + values.length)
    })
  }
  const readings: Readings = { all, batches }
  made.set(count, new WeakRef(readings))
  return readings
}

/** How many rows there were, and what they add up to: enough to tell a wrong result by. */
export interface Seen {
  rows: number
  sum: number
}

/** What `passes` over the first `count` records give. */
export const expectedOf = (count: number, passes = 1): Seen => {
  const windows = new Set<number>()
  let sum = 0
  for (let pass = 0; pass < passes; pass++) {
    for (let index = 0; index < count; index++) {
      const value = valueOf(index) * 2
      if (!counts(value)) continue
      sum += value
      const time = beginMs + pass * spanMs(count) + Math.floor(index / perMs)
      windows.add(Math.floor(time / windowMs) * keyCount + ((index * 7919) % keyCount))
    }
  }
  return { rows: windows.size, sum }
}

/** Fails unless it is what was expected. */
export const check = (who: string, seen: Seen, expected: Seen): void => {
  if (seen.rows !== expected.rows || seen.sum !== expected.sum)
    throw new Error(
      `${who} gave something else. rows=${seen.rows} sum=${seen.sum} expected rows=${expected.rows} sum=${expected.sum}`
    )
}

/** A source of batches that are there already; after the last one it begins anew, later by the time that all of them took. */
export const batchSource = <A>(
  batches: ReadonlyArray<SourceBatch<A>>,
  { passes = 1, spanMs = 0 }: { readonly passes?: number; readonly spanMs?: number } = {}
): Source<A> => ({
  name: "memory",
  isReplayable: true,
  open: () =>
    Effect.sync(() => {
      let at = 0
      let pass = 0
      return {
        partitions: [partition],
        next: Effect.sync(() => {
          if (at === batches.length) {
            at = 0
            pass++
          }
          if (pass >= passes || batches.length === 0) return undefined
          const batch = batches[at++]!
          if (pass === 0) return batch
          const later = pass * spanMs
          return {
            ...batch,
            times: batch.times!.map((time) => time + later),
            offset: `${pass}/${batch.offset}`
          }
        })
      }
    })
})

/** How far event time goes with `count` records. Unit: milliseconds. */
export const spanMs = (count: number): number => Math.ceil(count / perMs)

// ---- internal ----

/** Each key has all values in turn. */
const valueOf = (index: number): number => (index + Math.floor(index / keyCount)) % 100

/** The beginning of a window. Unit: milliseconds since 1970. */
const beginMs = 1_699_999_980_000

const perMs = 10
const batchSize = 1_000
const partition = "0"
const keys = Array.from({ length: keyCount }, (_, index) => `key-${index}`)
const made = new Map<number, WeakRef<Readings>>()
