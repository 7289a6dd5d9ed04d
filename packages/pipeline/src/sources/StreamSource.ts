/**
 * Any Effect Stream as a source: each element comes with its offset, in the stream's own words, and after a crash the
 * stream is made again from the last offset that is in a checkpoint. There is one partition, "0".
 *
 * Batches are the chunks of the stream, cut where they are longer than a batch may be: nothing waits for a batch to
 * become full. A stream whose chunks depend on when they came (a socket) gives other batches the next time; where that
 * must not be, give it a fixed size by `Stream.rechunk`. The whole stream is read whichever vnodes the instance owns.
 */
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { Source, SourceBatch } from "@millrace/core/Source"
import { nameFault } from "@millrace/core/SubscriberArguments"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { batchSizeFault, partition, timesOf } from "./IterableSource.js"

/** How a stream is read. */
export interface StreamOptions<in A> {
  /** Most records of one batch. Range: 1 to 10 000. Default: 1 000. A chunk that is longer is cut. */
  readonly batchSize?: number | undefined
  /** When a record happened. Unit: milliseconds since 1970. Default: the source knows no times. */
  readonly timestamp?: ((value: A) => number) | undefined
  /** Whether the stream made again from an offset gives the same elements. Default: true. */
  readonly isReplayable?: boolean | undefined
}

/**
 * A source of the elements of a stream. `stream` is called when the source is opened, with the offset of the last
 * element that is accounted for, and must begin with the one after it; without an offset, at its beginning.
 *
 * Fails with what the stream fails with, and opening with `InvalidArgument` (an option is wrong: correct it).
 *
 * @example
 * ```ts
 * const orders = fromStream("orders", (offset) =>
 *   Stream.map(ordersAfter(Option.getOrElse(offset, () => "")), (order) => [order, order.id])
 * )
 * ```
 */
export const fromStream = <A, E = never, R = never>(
  name: string,
  stream: (offset: Option.Option<string>) => Stream.Stream<readonly [value: A, offset: string], E, R>,
  options: StreamOptions<A> = {}
): Source<A, E | InvalidArgument, R> => ({
  name,
  isReplayable: options.isReplayable ?? true,
  open: (offsets) =>
    Effect.gen(function* () {
      const batchSize = options.batchSize ?? batchSizeDefault
      const fault = nameFault("name", name) ?? batchSizeFault(batchSize)
      if (fault !== undefined) return yield* fault
      const pull = yield* Stream.toPull(stream(Option.fromNullable(offsets[partition])))
      let chunk: ReadonlyArray<readonly [value: A, offset: string]> = []
      let at = 0

      const take = (): SourceBatch<A> => {
        const count = Math.min(batchSize, chunk.length - at)
        const values = new Array<A>(count)
        for (let i = 0; i < count; i++) values[i] = chunk[at + i]![0]
        at += count
        const offset = chunk[at - 1]![1]
        return { values, times: timesOf(values, options.timestamp), partition, offset }
      }
      const next: Effect.Effect<SourceBatch<A> | undefined, E, R> = Effect.suspend(() =>
        at < chunk.length
          ? Effect.succeed(take())
          : Effect.matchEffect(pull, {
              onFailure: Option.match({
                onNone: () => Effect.succeed(undefined),
                onSome: (error) => Effect.fail(error)
              }),
              onSuccess: (read) => {
                chunk = Chunk.toReadonlyArray(read)
                at = 0
                return next
              }
            })
      )
      return { partitions: [partition], next }
    })
})

// ---- internal ----

/** Unit: records. */
const batchSizeDefault = 1_000
