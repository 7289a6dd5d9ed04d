/** The arithmetic of the harness: pure functions over arrays of numbers, tested without a clock. */

/** The middle value; between two middle ones, their mean. Fails on an empty array. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = ascending(values)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  if (upper === undefined) throw new RangeError("the median of no values does not exist")
  return sorted.length % 2 === 1 ? upper : (sorted[middle - 1]! + upper) / 2
}

/** The smallest value that at least `percent` of all values do not exceed (nearest rank). `percent`: 0 to 100. */
export const percentile = (values: ReadonlyArray<number>, percent: number): number => {
  if (values.length === 0) throw new RangeError("the percentile of no values does not exist")
  if (!(percent >= 0 && percent <= 100)) throw new RangeError(`percent must be 0 to 100. percent=${percent}`)
  const rank = Math.max(1, Math.ceil((percent / 100) * values.length))
  return ascending(values)[rank - 1]!
}

/** Where the calls of one contestant lie. Unit: milliseconds. */
export interface Latency {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** Nothing where nothing was timed. */
export const latency = (samplesMs: ReadonlyArray<number>): Latency | null => {
  if (samplesMs.length === 0) return null
  const sorted = Float64Array.from(samplesMs).sort()
  const at = (percent: number) => sorted[Math.max(1, Math.ceil((percent / 100) * sorted.length)) - 1]!
  return { p50: at(50), p99: at(99), max: sorted[sorted.length - 1]! }
}

/** `of / to`, or null where one of them was not measured or `to` is 0. */
export const ratio = (of: number | null, to: number | null): number | null =>
  of === null || to === null || to === 0 ? null : of / to

/** `items` beginning at `round`: everyone is first, second, … equally often when rounds are a multiple of items. */
export const rotate = <A>(items: ReadonlyArray<A>, round: number): ReadonlyArray<A> => {
  if (items.length === 0) return items
  const first = round % items.length
  return [...items.slice(first), ...items.slice(0, first)]
}

export const round = (value: number, digits: number): number => Number(value.toFixed(digits))

// ---- internal ----

const ascending = (values: ReadonlyArray<number>): ReadonlyArray<number> => [...values].sort((a, b) => a - b)
