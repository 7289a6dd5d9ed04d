/**
 * The property that memory is the oracle of: random histories and random queries have the same results on
 * every store. A failing case is shrunk, and printed with the seed that brings it back.
 */
import { layer as testsWith } from "@effect/vitest"
import { EventIds } from "@millrace/core/EventIds"
import { EventStore } from "@millrace/core/EventStore"
import * as MemoryEventStore from "@millrace/core/MemoryEventStore"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { history } from "./Arbitraries.js"
import { checkHistories } from "./Histories.js"
import { compare } from "./EventStoreTwins.js"

/** Shrinking ends here at the latest, with the smallest case found so far. */
const timeLimitMs = 120_000

/** How many histories, and which. */
export interface ModelOptions {
  /**
   * Random histories to try. Range: 1 and more. Default: 40, which are about 5 000 calls of the store: a few
   * seconds on a database. `MILLRACE_RUNS` overrides it.
   */
  readonly numRuns?: number
}

/**
 * Declares the property test for one store. `layer` is built once; each history has streams, types and tags
 * of its own, so that one database serves them all.
 *
 * `MILLRACE_SEED` (an integer) repeats the run of that seed. On a log that is empty at first the names are
 * the same too; on another one they differ, so that they meet nothing that is there.
 *
 * @example
 * ```ts
 * sameAsMemory("sqlite", Sqlite.layer({ filename: ":memory:" }))
 * ```
 */
export const sameAsMemory = <E>(
  name: string,
  layer: Layer.Layer<EventStore, E>,
  { numRuns = 40 }: ModelOptions = {}
): void => {
  testsWith(layer, { timeout: "60 seconds", excludeTestServices: true })(
    `EventStore / ${name} / model`,
    (it) => {
      it.effect(
        "random histories and random queries give the same results as on memory",
        () =>
          Effect.gen(function* () {
            const store = yield* EventStore
            const salt =
              (yield* store.head) === 0 ? "" : (yield* EventIds).next(yield* Clock.currentTimeMillis)
            yield* checkHistories({
              arbitrary: history,
              numRuns,
              timeLimitMs,
              check: (history, { number, seed }) =>
                Effect.flatMap(MemoryEventStore.make(), (oracle) =>
                  compare(store, oracle, `m${salt}.${seed}.${number}.`, history)
                )
            })
          }),
        timeLimitMs + 60_000
      )
    }
  )
}
