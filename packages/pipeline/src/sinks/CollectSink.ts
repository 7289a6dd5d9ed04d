/**
 * Results in memory, for tests, examples and small answers: what was committed can be asked for at any time, in the
 * order of checkpoints and of writes. Exactly once within the process: results belong to the value that {@link collect}
 * gives, outlive the pipelines that write to it, and are gone with the process.
 *
 *     write ──▶ staged ──prepare(7)──▶ pending 7 ──commit(7)──▶ committed 7
 *                 └─ gone with the writer  └─ kept by open(7) alone   └─ taken back by open(n), n < 7
 *
 * Everything is held until the sink itself is let go of: it is no place for results without an end.
 */
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { Sink } from "@millrace/core/Sink"
import { nameFault } from "@millrace/core/SubscriberArguments"
import * as Effect from "effect/Effect"

/** A sink, and what it has. */
export interface Collected<A> {
  readonly sink: Sink<A, InvalidArgument>
  /** What is committed. */
  readonly values: Effect.Effect<ReadonlyArray<A>>
}

/**
 * A new sink in memory. Let one pipeline at a time write to it. Opening fails with `InvalidArgument` when the name is
 * not one of 1 to 255 characters.
 *
 * @example
 * ```ts
 * const results = yield* collect<number>("results")
 * yield* Pipeline.run(to(pipeline, results.sink))
 * assert.deepStrictEqual(yield* results.values, [1, 2, 3])
 * ```
 */
export const collect = <A>(name = "collect"): Effect.Effect<Collected<A>> =>
  Effect.sync(() => {
    const pending = new Map<number, ReadonlyArray<A>>()
    const committed = new Map<number, ReadonlyArray<A>>()
    return {
      sink: {
        name,
        delivery: "exactly-once",
        rewind: "rewindable",
        open: ({ checkpointId }) =>
          Effect.suspend(() => {
            const fault = nameFault("name", name)
            if (fault !== undefined) return fault
            for (const id of pending.keys()) if (id !== checkpointId) pending.delete(id)
            for (const id of committed.keys()) if (id > checkpointId) committed.delete(id)
            let staged: Array<A> = []
            return Effect.succeed({
              write: (values: ReadonlyArray<A>) =>
                Effect.sync(() => {
                  for (const value of values) staged.push(value)
                }),
              prepare: (id: number) =>
                Effect.sync(() => {
                  if (staged.length === 0) return undefined
                  const values = staged.length
                  pending.set(id, staged)
                  staged = []
                  return { values }
                }),
              commit: (id: number) =>
                Effect.sync(() => {
                  const values = pending.get(id)
                  if (values === undefined) return
                  pending.delete(id)
                  committed.set(id, values)
                })
            })
          })
      },
      values: Effect.sync(() =>
        Array.from(committed)
          .sort(([a], [b]) => a - b)
          .flatMap(([, values]) => values)
      )
    }
  })
