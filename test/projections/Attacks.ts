/** What the tests of attacked projections share: a filled log, the two models against a plain fold, and waiting. */
import { assert } from "@effect/vitest"
import { EventStore } from "@millrace/core/EventStore"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Child } from "@millrace/testkit/Children"
import type { StoreAddress } from "../consumers/Stores.js"
import type { Halt, Outcome, ProjectingLine, ProjectingStanding } from "./programs/projecting.js"
import { folded, handled, models, plainRows, processLayer } from "./Projections.js"

/** Uses the stores at an address. */
export const withStore = <A, E>(
  store: StoreAddress,
  use: Effect.Effect<A, E, Layer.Layer.Success<ReturnType<typeof processLayer>>>
) => Effect.provide(use, processLayer(store))

/** Writes numbered events to 20 streams, 500 in a write. */
export const filled = (store: StoreAddress, count: number) =>
  withStore(
    store,
    Effect.flatMap(EventStore, (log) =>
      Effect.forEach(
        Array.from({ length: Math.ceil(count / 500) }, (_, page) => page * 500),
        (from) =>
          log.write(
            Array.from({ length: Math.min(500, count - from) }, (_, i) => ({
              streamId: `number/${(from + i) % 20}`,
              events: [{ type: "Numbered", data: { number: from + i } }]
            }))
          ),
        { discard: true }
      )
    )
  )

/** Every event of a type, in the order of the log. */
export const eventsOf = (type: string) =>
  Effect.flatMap(EventStore, (log) =>
    Effect.map(Stream.runCollect(log.stream({ filters: [{ type }] })), (chunk) => [...chunk])
  )

/** Brings both models to the head once nobody has them any more, and asserts that they are a plain fold of the log. */
export const checkModels = (store: StoreAddress, version = 1) =>
  withStore(
    store,
    Effect.gen(function* () {
      const runner = yield* ProjectionRunner
      for (const projection of [folded(version), handled()])
        yield* Effect.retry(runner.catchUp(projection), {
          while: (error) => error._tag === "LeaseHeld",
          schedule: Schedule.intersect(Schedule.spaced("100 millis"), Schedule.recurs(200))
        })
      const events = yield* eventsOf("Numbered")
      const actual = yield* models
      assert.deepStrictEqual(actual.versions, [version])
      assert.deepStrictEqual(actual.folded, plainRows(events, version))
      assert.deepStrictEqual(actual.handled, plainRows(events))
    })
  )

/** What a process last said of one of its projections. */
export const standing = (child: Child, index: number): ProjectingStanding | undefined =>
  linesOf(child).findLast((line) => "at" in line)?.at[index]

/** Everything that a process came to a halt before, told to do so by `halts`. */
export const haltsOf = (child: Child): ReadonlyArray<Halt> =>
  linesOf(child).flatMap((line) => ("halted" in line ? [line.halted] : []))

/** What became of what it then did. */
export const outcomesOf = (child: Child): ReadonlyArray<Outcome> =>
  linesOf(child).flatMap((line) => ("tried" in line ? [line] : []))

const linesOf = (child: Child) => child.lines as ReadonlyArray<ProjectingLine>

/** Waits until it is so, and fails when it never becomes so. */
export const until = <E>(is: () => Effect.Effect<boolean, E> | boolean, what: string, timeoutMs = 60_000) =>
  Effect.suspend(() => {
    const now = is()
    return typeof now === "boolean" ? Effect.succeed(now) : now
  }).pipe(
    Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: (done) => done }),
    Effect.timeoutFail({ duration: timeoutMs, onTimeout: () => `it never became so: ${what}` })
  )
