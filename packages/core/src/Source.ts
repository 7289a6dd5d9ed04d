/**
 * What a pipeline reads from: anything that gives records in an order, and can go on from where it was. A source says
 * after each batch where it stands (an *offset*, in its own words); the offset of a batch becomes part of a checkpoint
 * once the records of the batch are accounted for in the states, and after a crash the source is opened there again.
 *
 * A source that gives the same records in the same batches from the same offset makes the pipeline above it
 * deterministic: killed and started again it gives what it would have given. One that cannot (a socket, a clock) may
 * be used as well, and loses what was not in a checkpoint.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Where each partition of a source stands, in the source's own words. A partition without one is at its beginning. */
export type SourceOffsets = Readonly<Record<string, string>>

/** Records that come together, all of one partition. */
export interface SourceBatch<out A> {
  readonly values: ReadonlyArray<A>
  /** When each of them happened, as far as the source knows. Unit: milliseconds since 1970. As many as values. */
  readonly times?: ReadonlyArray<number> | undefined
  readonly partition: string
  /** Where the partition stands after this batch. */
  readonly offset: string
}

/** A source that was opened. */
export interface SourceReader<out A, out E = never, out R = never> {
  /** All partitions, also those that have nothing to give yet. The order has no meaning. */
  readonly partitions: ReadonlyArray<string>
  /**
   * The next batch; waits until there is one, and is `undefined` when the source has ended for good. A batch may be
   * empty: it then only says that the partition has come further. Not called again before it has answered.
   */
  readonly next: Effect.Effect<SourceBatch<A> | undefined, E, R>
}

/** Which part of a source an instance of a pipeline reads. */
export interface SourceContext {
  /** Name of the pipeline. */
  readonly pipeline: string
  /** The vnodes that this instance owns, both ends included. All of them unless it shares the work with others. */
  readonly vnodes: { readonly from: number; readonly to: number }
}

/** A source. `E` is what it fails with, `R` what it needs. */
export interface Source<out A, out E = never, out R = never> {
  /** Unique in its pipeline, and the same for good: offsets are kept under it. 1 to 255 code points. */
  readonly name: string
  /** Whether the same offsets give the same records in the same order again. */
  readonly isReplayable: boolean
  /** Opens it where it stood. The reader lives as long as the scope. */
  readonly open: (
    offsets: SourceOffsets,
    context: SourceContext
  ) => Effect.Effect<SourceReader<A, E, R>, E, R | Scope.Scope>
}
