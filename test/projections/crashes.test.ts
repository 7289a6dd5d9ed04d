/**
 * Processes that project are killed, frozen and thawed at seeded moments. Whatever happens, both models (a fold, and
 * SQL handlers) are a plain fold of the log, and the alerts of the subscriber beside them are exactly the right set.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Children from "@millrace/testkit/Children"
import { sized, withChance } from "@millrace/testkit/Seeds"
import * as Effect from "effect/Effect"
import { newStore } from "../consumers/Stores.js"
import { checkModels, eventsOf, filled, standing, until, withStore } from "./Attacks.js"
import type { ProjectingArgument } from "./programs/projecting.js"
import { numberOf } from "./Projections.js"

const program = new URL("./programs/projecting.ts", import.meta.url)
const eventsCount = sized(2_000, 20_000)
const killsCount = sized(4, 50)
const testMs = sized(180_000, 1_800_000)

for (const kind of ["postgres", "sqlite"] as const) {
  describe(`projections on ${kind}`, () => {
    it.scopedLive(
      `killed at ${killsCount} moments, the models are the fold of the log and the alerts the right ones`,
      () =>
        withChance((chance) =>
          Effect.gen(function* () {
            const store = yield* newStore(kind)
            yield* filled(store, eventsCount)
            const options: ProjectingArgument = {
              store,
              name: "",
              ttlMs: 500,
              batchSize: 50,
              pauseMs: kind === "postgres" ? 1 : 0,
              alerts: true
            }
            for (let run = 0; run < killsCount; run++) {
              const child = yield* Children.start(program, { ...options, name: `worker-${run}` })
              yield* child.ready
              // It has the lease again and moves, or there is nothing left for it to do.
              yield* until(() => (standing(child, 0)?.phase ?? "") === "running", "it runs")
              yield* Effect.sleep(chance.int(0, 200))
              yield* child.kill
              yield* child.ended
            }
            const last = yield* Children.start(program, { ...options, name: "last", pauseMs: 0 })
            const expected = (yield* withStore(store, eventsOf("Numbered")))
              .map(numberOf)
              .filter((number) => number % 7 === 0)
            yield* until(
              () =>
                Effect.map(
                  withStore(store, eventsOf("Alerted")),
                  (alerts) => alerts.length >= expected.length
                ),
              "all alerts are written",
              120_000
            )
            yield* last.say("stop")
            yield* last.ended
            assert.strictEqual(standing(last, 0)?.failure, undefined)
            assert.strictEqual(standing(last, 1)?.failure, undefined)
            yield* checkModels(store)
            const alerts = yield* withStore(store, eventsOf("Alerted"))
            assert.deepStrictEqual(
              alerts.map(numberOf).toSorted((a, b) => a - b),
              expected.toSorted((a, b) => a - b)
            )
          })
        ),
      testMs
    )

    it.scopedLive(
      "frozen past its lease and thawed, it writes nothing that another one has written already",
      () =>
        withChance((chance) =>
          Effect.gen(function* () {
            const store = yield* newStore(kind)
            yield* filled(store, sized(1_000, 5_000))
            // Long transactions on Postgres: it is frozen inside one more often than not.
            const options: ProjectingArgument = {
              store,
              name: "first",
              ttlMs: 1_000,
              batchSize: 20,
              pauseMs: kind === "postgres" ? 5 : 0,
              alerts: false
            }
            const first = yield* Children.start(program, options)
            yield* until(() => (standing(first, 1)?.handled ?? 0) > 0, "the first projects")
            yield* Effect.sleep(chance.int(0, 150))
            yield* first.freeze
            const frozen = { fold: standing(first, 0)!.position, handlers: standing(first, 1)!.position }
            const second = yield* Children.start(program, { ...options, name: "second", pauseMs: 0 })
            const frozenAt = Date.now()
            // On SQLite a process that is frozen inside a transaction keeps everybody out until it goes on.
            if (kind === "postgres") {
              yield* until(() => standing(second, 1)?.phase === "running", "the second takes over", 30_000)
              yield* until(
                () =>
                  standing(second, 1)!.position > frozen.handlers &&
                  standing(second, 0)!.position >= frozen.fold,
                "the second goes on"
              )
              assert.isAtMost(Date.now() - frozenAt, 30_000)
            } else yield* Effect.sleep(options.ttlMs * 2)
            yield* first.thaw
            const head = (yield* withStore(store, eventsOf("Numbered"))).at(-1)!.position
            yield* until(
              () =>
                [0, 1].every((index) =>
                  [first, second].some((child) => (standing(child, index)?.position ?? 0) >= head)
                ),
              "both models come to the head"
            )
            for (const child of [first, second])
              for (const index of [0, 1]) assert.strictEqual(standing(child, index)?.failure, undefined)
            yield* first.say("stop")
            yield* second.say("stop")
            yield* first.ended
            yield* second.ended
            yield* checkModels(store)
          })
        ),
      testMs
    )
  })
}
