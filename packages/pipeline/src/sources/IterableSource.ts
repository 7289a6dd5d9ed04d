/**
 * Records that are in memory already, or that a function makes one after another: for tests, for examples, and for
 * what is small. There is one partition, "0", and its offset is the number of records so far. Resuming skips that
 * many, so that the same iterable gives the same records in the same batches again.
 *
 * Arrays are cut by `slice`; everything else is iterated, and skipped through when it is resumed. The whole iterable
 * is read whichever vnodes the instance owns. What the iterable throws is a defect.
 */
import { giveWay } from "@millrace/core/EventLoop"
import { invalid } from "@millrace/core/InvalidArgument"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { Source, SourceBatch, SourceOffsets } from "@millrace/core/Source"
import { nameFault } from "@millrace/core/SubscriberArguments"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** How an iterable is read. */
export interface IterableOptions<in A> {
  /**
   * Records of one batch. Range: 1 to 10 000. Default: 1 000.
   *
   * - Larger: less work between the operators for each record.
   * - Smaller: checkpoints, which come between batches, wait less long.
   */
  readonly batchSize?: number | undefined
  /** When a record happened. Unit: milliseconds since 1970. Default: the source knows no times. */
  readonly timestamp?: ((value: A) => number) | undefined
}

/**
 * A source of the records of an iterable, or of the one that a function gives. Give a function where the iterable can
 * be iterated only once (a generator that was called): only then is it replayable. It is called when the source is opened.
 *
 * Opening fails with `InvalidArgument`: an option is wrong (correct it), or the offset lies behind the last record,
 * so that the records are not those that the checkpoint was made on (give those, or begin anew).
 *
 * @example
 * ```ts
 * const readings = fromIterable("readings", [{ atMs: 0, celsius: 20 }], { timestamp: ({ atMs }) => atMs })
 * const numbers = fromIterable("numbers", function* () {
 *   for (let n = 0; n < 1_000_000; n++) yield n
 * })
 * ```
 */
export const fromIterable = <A>(
  name: string,
  records: Iterable<A> | (() => Iterable<A>),
  options: IterableOptions<A> = {}
): Source<A, InvalidArgument> => ({
  name,
  isReplayable: typeof records !== "object" || !("next" in records),
  open: (offsets) =>
    Effect.gen(function* () {
      const { batchSize, offset } = yield* checked(name, options, offsets)
      const iterable = typeof records === "function" ? records() : records
      const take = Array.isArray(iterable)
        ? takeFromArray(iterable as ReadonlyArray<A>, offset)
        : yield* takeFromIterator(iterable, offset)
      if (take === undefined) return yield* tooFar(offset)
      let taken = offset
      return {
        partitions: [partition],
        next: Effect.sync((): SourceBatch<A> | undefined => {
          const values = take(batchSize)
          if (values.length === 0) return undefined
          taken += values.length
          return { values, times: timesOf(values, options.timestamp), partition, offset: String(taken) }
        })
      }
    })
})

// ---- what all sources of one partition share ----

/** The partition of a source that has only one. */
export const partition = "0"

/** What sources with batches of records may be told. */
export interface BatchOptions {
  readonly batchSize?: number | undefined
}

/**
 * The options of a source of one partition whose offset is a number, with their defaults: records of a batch, and
 * where it begins. Fails with `InvalidArgument` (correct the named field).
 */
export const checked = (
  name: string,
  options: BatchOptions,
  offsets: SourceOffsets
): Effect.Effect<{ readonly batchSize: number; readonly offset: number }, InvalidArgument> => {
  const batchSize = options.batchSize ?? batchSizeDefault
  const text = offsets[partition] ?? "0"
  const offset = numberOf(text)
  const fault =
    nameFault("name", name) ??
    batchSizeFault(batchSize) ??
    (offset === undefined ? invalid(`offsets["${partition}"]`, "a whole number, as text", text) : undefined)
  return fault === undefined ? Effect.succeed({ batchSize, offset: offset! }) : Effect.fail(fault)
}

/** What is wrong with the number of records of a batch, if anything. */
export const batchSizeFault = (batchSize: number): InvalidArgument | undefined =>
  Number.isInteger(batchSize) && batchSize >= 1 && batchSize <= batchSizeMax
    ? undefined
    : invalid("batchSize", `an integer of 1 to ${batchSizeMax} records`, batchSize)

/** The whole number that a text is, exactly as it was written; else undefined. */
export const numberOf = (text: string): number | undefined => {
  const number = Number(text)
  return Number.isSafeInteger(number) && number >= 0 && String(number) === text ? number : undefined
}

/** The time of each value; undefined without a function that tells it. */
export const timesOf = <A>(
  values: ReadonlyArray<A>,
  timestamp: ((value: A) => number) | undefined
): ReadonlyArray<number> | undefined => {
  if (timestamp === undefined) return undefined
  const times = new Array<number>(values.length)
  for (let i = 0; i < values.length; i++) times[i] = timestamp(values[i]!)
  return times
}

// ---- internal ----

/** Unit: records. */
const batchSizeDefault = 1_000
const batchSizeMax = 10_000

/** Records that are skipped between two looks at whether others should have their turn. */
const skippedAtOnce = 10_000

/** The next records, at most so many; none at the end. */
type Take<A> = (most: number) => ReadonlyArray<A>

const tooFar = (offset: number): InvalidArgument =>
  invalid(`offsets["${partition}"]`, "not behind the last record", offset)

const takeFromArray = <A>(array: ReadonlyArray<A>, offset: number): Take<A> | undefined => {
  let at = offset
  return offset > array.length
    ? undefined
    : (most) => {
        const values = array.slice(at, at + most)
        at += values.length
        return values
      }
}

/**
 * The iterator is told with the scope that no more is wanted of it. Undefined: it has fewer records than are to be
 * skipped.
 */
const takeFromIterator = <A>(
  iterable: Iterable<A>,
  offset: number
): Effect.Effect<Take<A> | undefined, never, Scope.Scope> =>
  Effect.gen(function* () {
    const iterator = iterable[Symbol.iterator]()
    let ended = false
    yield* Effect.addFinalizer(() => Effect.sync(() => void (ended || iterator.return?.())))
    const take: Take<A> = (most) => {
      const values: Array<A> = []
      while (!ended && values.length < most) {
        const next = iterator.next()
        if (next.done === true) ended = true
        else values.push(next.value)
      }
      return values
    }
    for (let left = offset; left > 0;) {
      const skipped = take(Math.min(left, skippedAtOnce)).length
      if (skipped === 0) return undefined
      left -= skipped
      yield* giveWay
    }
    return take
  })
