/** A sink that counts, and hands rows to a function: nothing is kept, so that it costs as little as a sink can. */
import type { Sink } from "@millrace/core/Sink"
import * as Effect from "effect/Effect"

/** A sink for measuring and for examples. Rows come again after a crash, as with every sink that keeps nothing. */
export const countingSink = <A>(name: string, write: (rows: ReadonlyArray<A>) => void): Sink<A> => ({
  name,
  delivery: "at-least-once",
  rewind: "idempotent",
  open: () =>
    Effect.succeed({
      write: (rows) =>
        Effect.sync(() => {
          write(rows)
        }),
      prepare: () => Effect.succeed(undefined),
      commit: () => Effect.void
    })
})
