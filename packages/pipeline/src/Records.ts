/**
 * Records on their way through a pipeline: always many at once, as arrays side by side, so that an operator is a plain
 * loop over numbers and values and nothing is allocated for a record but what user code makes.
 *
 * Whoever is handed records may read them until it returns, and keeps nothing of the arrays: most operators fill the
 * same ones again. Those of a source are an exception (`isLasting`), and need not be copied.
 */
import { vnodeOf } from "@millrace/core/Vnode"

/** What records are grouped by. Numbers and texts of the same digits are different keys of the same vnode. */
export type Key = string | number

/** The vnode of a key. */
export const vnodeOfKey = (key: Key): number => vnodeOf(typeof key === "string" ? key : String(key))

/** The watermark that follows the last record of an input that has ended. Unit: milliseconds since 1970 (the last Date there is). */
export const endOfTime = 8.64e15

/** Most records that are handed on at once. Larger saves little above this; smaller keeps memory flat. */
export const recordsMax = 1_000

/** Records. Only the first `count` elements of the arrays count. */
export class Records {
  values: Array<unknown>
  /** When each of them happened. Unit: milliseconds since 1970. */
  times: Array<number>
  /** What each of them is grouped by, after a `keyBy`. */
  keys: Array<Key> | undefined
  /**
   * The watermark just before each of them, where an operator of the pipeline needs it as exactly as that (timers
   * between two records of a batch); else none, and the watermark is the one before the batch.
   */
  marks: Array<number> | undefined
  count: number
  /** Whether nobody changes the arrays any more. */
  isLasting: boolean

  constructor(
    values: Array<unknown> = [],
    times: Array<number> = [],
    keys: Array<Key> | undefined = undefined,
    marks: Array<number> | undefined = undefined,
    count = 0,
    isLasting = false
  ) {
    this.values = values
    this.times = times
    this.keys = keys
    this.marks = marks
    this.count = count
    this.isLasting = isLasting
  }

  /** The same records in arrays of their own, unless they are that already. */
  lasting(): Records {
    if (this.isLasting) return this
    const { count } = this
    return new Records(
      this.values.slice(0, count),
      this.times.slice(0, count),
      this.keys?.slice(0, count),
      this.marks?.slice(0, count),
      count,
      true
    )
  }
}
