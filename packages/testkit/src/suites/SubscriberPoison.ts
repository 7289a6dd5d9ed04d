/** What becomes of events whose handler fails. */
import { assert, describe } from "@effect/vitest"
import * as Subscriber from "@millrace/core/Subscriber"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { scene } from "./Scene.js"
import type { SubscribingIt } from "./SubscribingScene.js"
import { subscribe, until, withRunning } from "./SubscribingScene.js"

export const poison = (it: SubscribingIt): void => {
  describe("poison", () => {
    it.effect("a handler that fails is tried again, and the event counts once", () =>
      Effect.gen(function* () {
        const here = yield* scene("subscribed")
        yield* here.append(here.stream("a"), "E0", "E1")
        const tries: Array<string> = []
        const subscriber = subscribe(here, {
          retry: Schedule.recurs(3),
          onEvent: (event) =>
            Effect.suspend(() => {
              tries.push(event.type)
              return tries.length < 3 ? Effect.fail("not yet") : Effect.void
            })
        })
        assert.strictEqual(yield* Subscriber.drain(subscriber), 2)
        assert.deepStrictEqual(tries, ["E0", "E0", "E0", "E1"])
      })
    )

    it.effect("a handler that interrupts itself has failed, and is not handed the event for ever", () =>
      Effect.gen(function* () {
        const here = yield* scene("subscribed")
        yield* here.append(here.stream("a"), "E0", "E1", "E2")
        let tries = 0
        const subscriber = subscribe(here, {
          retry: Schedule.recurs(2),
          onEvent: (event) => (event.type === "E1" ? (tries++, Effect.interrupt) : Effect.void)
        })
        const error = yield* Effect.flip(Effect.timeout(Subscriber.drain(subscriber), "20 seconds"))
        assert.strictEqual(error._tag, "HandlerError")
        assert.strictEqual(tries, 3)
      })
    )

    it.effect("stop: ends at the event that fails for good, with those before it acknowledged", () =>
      Effect.gen(function* () {
        const here = yield* scene("subscribed")
        yield* here.append(here.stream("a"), "E0", "E1", "E2")
        const seen: Array<string> = []
        let mended = false
        const subscriber = subscribe(here, {
          retry: Schedule.recurs(1),
          onEvent: (event) => {
            if (event.type === "E1" && !mended) throw new Error("broken")
            seen.push(event.type)
          }
        })
        const error = yield* Effect.flip(Subscriber.drain(subscriber))
        assert.strictEqual(error._tag, "HandlerError")
        if (error._tag === "HandlerError") assert.strictEqual(error.eventType, "E1")
        assert.deepStrictEqual(seen, ["E0"])
        mended = true
        assert.strictEqual(yield* Subscriber.drain(subscriber), 2)
        assert.deepStrictEqual(seen, ["E0", "E1", "E2"])
      })
    )

    it.effect("skip: goes on without the event", () =>
      Effect.gen(function* () {
        const here = yield* scene("subscribed")
        yield* here.append(here.stream("a"), "E0", "E1", "E2")
        const seen: Array<string> = []
        const subscriber = subscribe(here, {
          onPoison: "skip",
          retry: Schedule.stop,
          onEvent: (event) =>
            event.type === "E1" ? Effect.fail("broken") : Effect.sync(() => void seen.push(event.type))
        })
        yield* Subscriber.drain(subscriber)
        assert.deepStrictEqual(seen, ["E0", "E2"])
      })
    )

    it.effect(
      "park: the key waits in order, every other key flows, also over a restart; a retry drains it in order",
      () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          const seen: Array<string> = []
          let mended = false
          const subscriber = subscribe(here, {
            onPoison: "park",
            retry: Schedule.stop,
            onEvent: (event) => {
              if (event.type === "E1" && !mended) throw new Error("broken\u0000")
              seen.push(`${event.streamId.slice(-1)}:${event.type}`)
            }
          })
          yield* here.append(here.stream("a"), "E0", "E1", "E2")
          yield* here.append(here.stream("b"), "E0", "E2")
          yield* Subscriber.drain(subscriber)
          yield* here.append(here.stream("a"), "E3")
          yield* here.append(here.stream("b"), "E3")
          yield* Subscriber.drain(subscriber)
          assert.deepStrictEqual(seen, ["a:E0", "b:E0", "b:E2", "b:E3"])
          const parked = yield* Subscriber.parked(subscriber.options)
          assert.deepStrictEqual(
            parked.map((one) => [one.parkKey, one.attempts]),
            [
              [here.stream("a"), 1],
              [here.stream("a"), 0],
              [here.stream("a"), 0]
            ]
          )
          // Still broken: the first fails again, those behind it stay.
          assert.strictEqual(yield* Subscriber.retryParked(subscriber.options), 3)
          yield* withRunning(
            subscriber,
            until(() => Effect.map(Subscriber.parked(subscriber.options), ([first]) => first?.attempts === 2))
          )
          assert.strictEqual((yield* Subscriber.parked(subscriber.options)).length, 3)
          mended = true
          assert.strictEqual(yield* Subscriber.retryParked(subscriber.options, here.stream("a")), 3)
          yield* here.append(here.stream("a"), "E4")
          yield* withRunning(
            subscriber,
            until(() => Effect.sync(() => seen.includes("a:E4")))
          )
          assert.deepStrictEqual(
            seen.filter((one) => one.startsWith("a:")),
            ["a:E0", "a:E1", "a:E2", "a:E3", "a:E4"]
          )
          assert.deepStrictEqual(yield* Subscriber.parked(subscriber.options), [])
        })
    )

    it.effect("park: what is dropped is forgotten, and the key flows again", () =>
      Effect.gen(function* () {
        const here = yield* scene("subscribed")
        const seen: Array<string> = []
        const subscriber = subscribe(here, {
          onPoison: "park",
          retry: Schedule.stop,
          onEvent: (event) => {
            if (event.type === "E0") throw new Error("broken")
            seen.push(event.type)
          }
        })
        yield* here.append(here.stream("a"), "E0", "E1")
        yield* Subscriber.drain(subscriber)
        assert.strictEqual(yield* Subscriber.dropParked(subscriber.options, here.stream("a")), 2)
        yield* withRunning(
          subscriber,
          until(() => Effect.map(Subscriber.parked(subscriber.options), (rows) => rows.length === 0))
        )
        yield* here.append(here.stream("a"), "E2")
        yield* Subscriber.drain(subscriber)
        assert.deepStrictEqual(seen, ["E2"])
      })
    )

    it.effect("park: more than the bound stops the subscriber, and nothing is passed over", () =>
      Effect.gen(function* () {
        const here = yield* scene("subscribed")
        yield* here.append(here.stream("a"), "E0", "E1", "E2", "E3")
        const subscriber = subscribe(here, {
          onPoison: "park",
          parkedMax: 2,
          chunkSize: 1,
          retry: Schedule.stop,
          onEvent: () => {
            throw new Error("broken")
          }
        })
        const error = yield* Effect.flip(Subscriber.drain(subscriber))
        assert.strictEqual(error._tag, "ParkedFull")
        assert.strictEqual((yield* Subscriber.parked(subscriber.options)).length, 2)
      })
    )
  })
}
