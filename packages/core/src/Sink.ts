/**
 * Where the results of a pipeline go. Between two checkpoints a sink may hold results back (*stage* them); at the
 * barrier it says what it has (`prepare`), that is saved with the checkpoint, and once the checkpoint is durable and
 * it is decided to go on from it, the sink makes it visible (`commit`).
 *
 *     write … write ──▶ prepare(7) ──▶ checkpoint 7 durable ──▶ decision ──▶ commit(7, prepared)
 *                                                   crash ──▶ commit(7, prepared), once more
 *
 * Promises of a sink that is "exactly-once"
 *
 *  1. Nothing of what was written after a barrier is visible before that barrier's successor is committed.
 *  2. `commit` of the same checkpoint twice is as once. It may come again after any crash.
 *  3. What was written and never committed is gone when the sink is opened again.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/**
 * How often a result can take effect.
 *
 * - `exactly-once`: by `prepare` and `commit`, or because the same result again changes nothing.
 * - `at-least-once`: again after a crash, when it was written after the last checkpoint.
 */
export type SinkDelivery = "exactly-once" | "at-least-once"

/**
 * What happens to results that are visible, when the pipeline goes back to a checkpoint before them (the newest ones
 * cannot be read any more, or an older savepoint was asked for).
 *
 * - `idempotent`: the same results come again, and change nothing.
 * - `rewindable`: the sink takes them back when it is opened.
 * - `none`: they would be there twice. The pipeline refuses to go back.
 */
export type SinkRewind = "idempotent" | "rewindable" | "none"

/** For whom a sink is opened. */
export interface SinkContext {
  /** Name of the pipeline. */
  readonly pipeline: string
  /** The checkpoint that the pipeline starts from; 0 = from the beginning. What a rewindable sink has of later ones goes. */
  readonly checkpointId: number
}

/** A sink that was opened. Calls come one after another, but for `commit`, which may come while others run. */
export interface SinkWriter<in A, out E = never, out R = never> {
  /** Takes results, in their order. */
  readonly write: (values: ReadonlyArray<A>) => Effect.Effect<void, E, R>
  /**
   * The barrier: what was written since the one before belongs to this checkpoint. Gives what `commit` needs, as plain
   * data (numbers, texts, booleans, null, bytes, dates, arrays and objects of them); undefined when that is nothing.
   */
  readonly prepare: (checkpointId: number) => Effect.Effect<unknown, E, R>
  /** Makes it visible. `prepared` is what `prepare` gave, or, after a crash, what was saved of it. */
  readonly commit: (checkpointId: number, prepared: unknown) => Effect.Effect<void, E, R>
}

/** A sink. `E` is what it fails with, `R` what it needs. */
export interface Sink<in A, out E = never, out R = never> {
  /** Unique in its pipeline, and the same for good. 1 to 255 code points. */
  readonly name: string
  readonly delivery: SinkDelivery
  readonly rewind: SinkRewind
  /** Opens it. The writer lives as long as the scope. */
  readonly open: (context: SinkContext) => Effect.Effect<SinkWriter<A, E, R>, E, R | Scope.Scope>
  /**
   * The database that `commit` writes to, by the identity of its client. Where the checkpoints are in the same one,
   * commit and checkpoint are one transaction.
   */
  readonly database?: Effect.Effect<object, never, R> | undefined
}
