/**
 * Any effect as a sink: it gets the results as they come, a batch at a time, and what it does is visible at once.
 * After a crash the results since the last checkpoint come again: at least once. It runs before the barrier, so that
 * nothing that a checkpoint accounts for was left out.
 *
 * When the same results again change nothing (a write under a key, a message with an id), say `idempotent`: then the
 * pipeline may go back to an older checkpoint as well. For results that must never be seen twice use a sink that
 * prepares and commits.
 */
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { Sink } from "@millrace/core/Sink"
import { nameFault } from "@millrace/core/SubscriberArguments"
import * as Effect from "effect/Effect"

/** What is known of the effect. */
export interface EffectSinkOptions {
  /** Whether the same results again change nothing. Default: false. */
  readonly idempotent?: boolean | undefined
}

/**
 * A sink that runs an effect for each batch that is not empty. Batches are cut where the pipeline cuts them, also
 * otherwise after a crash: do not let their borders mean anything.
 *
 * Fails with what the effect fails with, which ends the pipeline: retry inside of it what is worth that. Opening fails
 * with `InvalidArgument` when the name is not one of 1 to 255 characters.
 *
 * @example
 * ```ts
 * const alerts = forEachBatch("alerts", (batch: ReadonlyArray<Alert>) =>
 *   Effect.forEach(batch, send, { discard: true })
 * )
 * ```
 */
export const forEachBatch = <A, E = never, R = never>(
  name: string,
  effect: (values: ReadonlyArray<A>) => Effect.Effect<unknown, E, R>,
  options: EffectSinkOptions = {}
): Sink<A, E | InvalidArgument, R> => ({
  name,
  delivery: "at-least-once",
  rewind: options.idempotent === true ? "idempotent" : "none",
  open: () =>
    Effect.suspend(() => {
      const fault = nameFault("name", name)
      return fault === undefined
        ? Effect.succeed({
            write: (values: ReadonlyArray<A>) =>
              values.length === 0 ? Effect.void : Effect.asVoid(effect(values)),
            prepare: () => Effect.succeed(undefined),
            commit: () => Effect.void
          })
        : fault
    })
})
