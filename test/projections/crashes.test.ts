/**
 * Processes that project are killed, frozen and thawed at seeded moments. Whatever happens, both models (a fold, and
 * SQL handlers) are a plain fold of the log, and the alerts of the subscriber beside them are exactly the right set.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Children from "@millrace/testkit/Children"
import { sized, withChance } from "@millrace/testkit/Seeds"
import * as Effect from "effect/Effect"
import { freezeBetween, newStore } from "../consumers/Stores.js"
import type { RecordedEvent } from "@millrace/core/Event"
import { checkModels, eventsOf, filled, haltsOf, outcomesOf, standing, until, withStore } from "./Attacks.js"
import type { ProjectingArgument } from "./programs/projecting.js"
import { numberOf } from "./Projections.js"

const program = new URL("./programs/projecting.ts", import.meta.url)
const eventsCount = sized(2_000, 20_000)
const killsCount = sized(2, 50)
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
            const expected = alertsIn(yield* withStore(store, eventsOf("Numbered")))
            yield* until(
              () => Effect.map(withStore(store, alertNumbers), (alerts) => alerts.length >= expected.length),
              "all alerts are written",
              120_000
            )
            yield* endedWell([last])
            yield* checkModels(store)
            assert.deepStrictEqual(yield* withStore(store, alertNumbers), expected)
          })
        ),
      testMs
    )

    it.scopedLive(
      "frozen past its lease and thawed, every commit, append and acknowledgement of its own is refused",
      () =>
        withChance((chance) =>
          Effect.gen(function* () {
            const store = yield* newStore(kind)
            const count = sized(1_000, 5_000)
            yield* filled(store, count)
            const options: ProjectingArgument = {
              store,
              name: "first",
              ttlMs: 1_000,
              batchSize: 20,
              pauseMs: 0,
              alerts: true
            }
            const halts = { at: ["folded", "handled", "append"], from: chance.int(50, count / 2) } as const
            const first = yield* Children.start(program, { ...options, halts })
            yield* until(() => haltsOf(first).length === halts.at.length, "the first halts everywhere")
            yield* freezeBetween(first, store, chance)
            const second = yield* Children.start(program, { ...options, name: "second" })
            const events = yield* withStore(store, eventsOf("Numbered"))
            yield* until(() => isAt(second, events.at(-1)!.position), "the second does all that is left")
            const expected = alertsIn(events)
            yield* until(
              () => Effect.map(withStore(store, alertNumbers), (alerts) => alerts.length >= expected.length),
              "the second writes the alerts that are left"
            )
            yield* first.thaw
            yield* first.say("go")
            yield* until(() => outcomesOf(first).length === 4, "the first has tried everything")
            const outcomes = outcomesOf(first).map(({ refused, tried }) => `${tried}: ${refused}`)
            assert.strictEqual(
              outcomes.sort().join(", "),
              "acknowledge: LeaseLost, append: LeaseLost, folded: LeaseLost, handled: LeaseLost"
            )
            yield* endedWell([first, second])
            yield* checkModels(store)
            assert.deepStrictEqual(yield* withStore(store, alertNumbers), expected)
          })
        ),
      testMs
    )

    it.scopedLive(
      kind === "postgres"
        ? "frozen inside of a transaction, it is let go of within the ttl, and another one goes on"
        : "frozen inside of a transaction and thawed, nothing is lost and nothing is there twice",
      () =>
        withChance((chance) =>
          Effect.gen(function* () {
            const store = yield* newStore(kind)
            const count = sized(1_000, 5_000)
            yield* filled(store, count)
            const options: ProjectingArgument = {
              store,
              name: "first",
              ttlMs: 1_000,
              batchSize: 20,
              pauseMs: 0,
              alerts: false
            }
            const halts = { at: ["inside"], from: chance.int(50, count / 2) } as const
            const first = yield* Children.start(program, { ...options, halts })
            // It has both leases before the second is there to take one of them.
            yield* until(() => (standing(first, 1)?.handled ?? 0) > 0, "the first projects")
            const second = yield* Children.start(program, { ...options, name: "second" })
            yield* second.ready
            yield* until(() => haltsOf(first).length === 1, "the first halts inside of its transaction")
            yield* first.freeze
            const frozenAtMs = Date.now()
            const { position } = standing(first, 1)!
            if (kind === "postgres") {
              yield* until(
                () => (standing(second, 1)?.position ?? 0) > position,
                "the second commits behind it",
                options.ttlMs + letGoMs
              )
              assert.isAtMost(Date.now() - frozenAtMs, options.ttlMs + letGoMs)
              // Keeps everybody else out of the file until it goes on: there is nothing to wait for but its lease.
            } else yield* Effect.sleep(options.ttlMs * 2)
            yield* first.thaw
            yield* first.say("go")
            const head = (yield* withStore(store, eventsOf("Numbered"))).at(-1)!.position
            yield* until(
              () =>
                [0, 1].every((index) =>
                  [first, second].some((child) => (standing(child, index)?.position ?? 0) >= head)
                ),
              "both models come to the head"
            )
            yield* endedWell([first, second])
            yield* checkModels(store)
          })
        ),
      testMs
    )
  })
}

// ---- internal ----

/**
 * How long another process may take once the ttl is over: it looks at the lease a tenth of a ttl later, waits half a
 * ttl for a lock, and tries again after a second. The rest is for a busy machine. Unit: milliseconds.
 */
const letGoMs = 3_000

const alertsIn = (events: ReadonlyArray<RecordedEvent>): ReadonlyArray<number> =>
  events
    .map(numberOf)
    .filter((number) => number % 7 === 0)
    .toSorted((a, b) => a - b)

const alertNumbers = Effect.map(eventsOf("Alerted"), (alerts) =>
  alerts.map(numberOf).toSorted((a, b) => a - b)
)

const isAt = (child: Children.Child, position: number): boolean =>
  [0, 1].every((index) => (standing(child, index)?.position ?? 0) >= position)

/** Tells them to stop, and asserts that nothing has failed. */
const endedWell = (children: ReadonlyArray<Children.Child>) =>
  Effect.forEach(
    children,
    (child) =>
      Effect.gen(function* () {
        yield* child.say("stop")
        yield* Effect.timeoutFail(child.ended, {
          duration: "30 seconds",
          onTimeout: () => `it does not end: ${JSON.stringify(child.lines.at(-1))}`
        })
        for (const index of [0, 1]) assert.strictEqual(standing(child, index)?.failure, undefined)
      }),
    { discard: true }
  )
