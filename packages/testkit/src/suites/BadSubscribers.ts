/** Arguments that no store takes, and odd ones that every store takes. */
import { assert, describe } from "@effect/vitest"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { parkingsMax } from "@millrace/core/ParkedEvent"
import type { Parking } from "@millrace/core/ParkedEvent"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { badTexts, oddTexts } from "./OddTexts.js"
import { position, refused } from "./Scene.js"
import type { SubscriberIt } from "./SubscriberScene.js"
import { parking, subscriberScene } from "./SubscriberScene.js"

/** Neither positions nor counts. */
const badNumbers: ReadonlyArray<unknown> = [-1, 0.5, NaN, Infinity, 2 ** 53, "1", null, {}]

const badReasons: ReadonlyArray<unknown> = [null, 5, undefined, {}]

/** Those that can be printed where a test fails. */
const texts = badTexts.filter((text) => typeof text !== "object" || text === null)

/** Asserts that each call refuses each value, and names the field. */
const refusals = (
  field: string,
  values: ReadonlyArray<unknown>,
  ...calls: ReadonlyArray<(value: never) => Effect.Effect<unknown, { readonly _tag: string }>>
): Effect.Effect<void> =>
  Effect.forEach(
    values,
    (value) =>
      Effect.forEach(calls, (call, index) =>
        Effect.map(refused(call(value as never), "InvalidArgument"), (error) => {
          const { actual, allowed, field: named } = error as InvalidArgument
          assert.strictEqual(named, field, `call ${index} with ${String(value)}`)
          assert.isAbove(allowed.length, 0)
          assert.isAtMost(actual.length, 80)
        })
      ),
    { discard: true }
  )

export const badSubscribers = <R>(it: SubscriberIt<R>): void => {
  describe("arguments", () => {
    it.effect("a wrong one is refused by the name of its field, and nothing is changed", () =>
      Effect.gen(function* () {
        const { cursor, info, key, parked, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        const before = yield* info(key())
        yield* refusals(
          "key",
          texts,
          (key) => store.getSubscriberCursor(key),
          (key) => store.isSubscriberRunning(key, "w"),
          (key) => store.upsertSubscriber(key, "w", { ttl: "1 minute" }),
          (key) => store.pause(key),
          (key) => store.resume(key),
          (key) => store.parked(key, { limit: 1 }),
          (key) => store.parkedKeys(key, { limit: 1 }),
          (key) => store.requestParked(key, "retry")
        )
        yield* refusals(
          "workerId",
          texts,
          (workerId) => store.isSubscriberRunning(key(), workerId),
          (workerId) => store.upsertSubscriber(key(), workerId, { ttl: "1 minute" })
        )
        yield* refusals(
          "ttl",
          [0, 99, "99 millis", -1, NaN, Infinity, "25 hours", 86_400_001, "a while", null, undefined, {}],
          (ttl) => store.upsertSubscriber(key(), "w", { ttl }),
          (ttl) => store.upsertSubscriber(key("new"), "w", { ttl })
        )
        yield* refusals("startAt", badNumbers, (startAt) =>
          store.upsertSubscriber(key("new"), "w", { ttl: "1 minute", startAt })
        )
        yield* refusals("cursor", badNumbers, (cursor) => store.acknowledge(lease, cursor))
        yield* refusals("lag", [null, 5, "lag"], (lag) => store.acknowledge(lease, position(1), lag))
        yield* refusals("lag.events", badNumbers, (events) =>
          store.acknowledge(lease, position(1), { events, time: Duration.zero })
        )
        yield* refusals("lag.time", [-1, 5, "1 second", Duration.infinity, null], (time) =>
          store.acknowledge(lease, position(1), { events: 1, time })
        )
        yield* refusals(
          "limit",
          [0, -1, 1.5, NaN, Infinity, 10_001, "1", null, undefined],
          (limit) => store.listSubscribers({ limit }),
          (limit) => store.parked(key(), { limit }),
          (limit) => store.parkedKeys(key(), { limit })
        )
        yield* refusals("prefix", texts, (prefix) => store.listSubscribers({ prefix, limit: 1 }))
        yield* refusals(
          "after",
          texts,
          (after) => store.listSubscribers({ after, limit: 1 }),
          (after) => store.parkedKeys(key(), { after, limit: 1 })
        )
        assert.deepStrictEqual(yield* info(key()), before)
        assert.deepStrictEqual(yield* parked(key()), [])
        assert.strictEqual(yield* cursor(key("new")), -1)
      })
    )

    it.effect("so is one about parked events, among others that are right", () =>
      Effect.gen(function* () {
        const { key, parked, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* store.park(lease, [parking("p", 1)], { max: 5 })
        const before = yield* parked(key())
        const good = parking("p", 2)
        const positions = [0, ...badNumbers]
        const tooMany = Array.from({ length: parkingsMax + 1 }, () => good)

        yield* refusals("parkings", [null, "p", {}, tooMany], (all) => store.park(lease, all, { max: 5 }))
        const second = (parking: Parking) => store.park(lease, [good, parking], { max: 5 })
        yield* refusals("parkings[1]", [null, 5, "p"], second)
        yield* refusals("parkings[1].parkKey", texts, (parkKey) => second({ ...good, parkKey }))
        yield* refusals("parkings[1].position", positions, (position) => second({ ...good, position }))
        yield* refusals("parkings[1].reason", badReasons, (reason) => second({ ...good, reason }))
        yield* refusals("max", badNumbers, (max) => store.park(lease, [good], { max }))

        const first = parking("p", 1)
        yield* refusals("parking", [null, 5], (parking) => store.repark(lease, parking))
        yield* refusals("parking.parkKey", texts, (parkKey) => store.repark(lease, { ...first, parkKey }))
        yield* refusals("parking.position", positions, (position) =>
          store.repark(lease, { ...first, position })
        )
        yield* refusals("parking.reason", badReasons, (reason) => store.repark(lease, { ...first, reason }))

        yield* refusals(
          "parkKey",
          texts,
          (parkKey) => store.unpark(lease, parkKey, position(1)),
          (parkKey) => store.parked(key(), { parkKey, limit: 1 }),
          (parkKey) => store.requestParked(key(), "retry", parkKey)
        )
        yield* refusals("position", positions, (position) => store.unpark(lease, "p", position))
        yield* refusals("after", [null, 5, "p"], (after) => store.parked(key(), { after, limit: 1 }))
        yield* refusals("after.parkKey", texts, (parkKey) =>
          store.parked(key(), { after: { parkKey, position: position(1) }, limit: 1 })
        )
        yield* refusals("after.position", badNumbers, (position) =>
          store.parked(key(), { after: { parkKey: "p", position }, limit: 1 })
        )
        yield* refusals("request", ["", "Retry", "forget", null, undefined, 5], (request) =>
          store.requestParked(key(), request)
        )
        assert.deepStrictEqual(yield* parked(key()), before)
      })
    )

    it.effect("keys and worker ids are any texts, compared whole and literally", () =>
      Effect.gen(function* () {
        const { cursor, info, key, prefix, store, take } = yield* subscriberScene
        const long = (char: string) => char.repeat(255 - prefix.length)
        const names = [...oddTexts.map(([, text]) => text), long("x"), long("🦄")]
        const leases = yield* Effect.forEach(names, (name) => take(key(name), name))
        for (const [index, name] of names.entries()) {
          yield* store.acknowledge(yield* store.renew(leases[index]!), position(index + 1))
          yield* store.park(leases[index]!, [parking(name, index + 1)], { max: 1 })
        }
        for (const [index, name] of names.entries()) {
          assert.strictEqual(yield* cursor(key(name)), index + 1, name)
          assert.isTrue(yield* store.isSubscriberRunning(key(name), name), name)
          assert.isFalse(yield* store.isSubscriberRunning(key(name), `${name.slice(0, -2)}!`), name)
          const { holder, key: listed, parked } = yield* info(key(name))
          assert.deepStrictEqual([listed, holder, parked], [key(name), Option.some(name), 1])
          assert.strictEqual((yield* refused(take(key(name), "other"), "LeaseHeld")).holder, name)
          assert.isTrue(yield* store.pause(key(name)))
          yield* store.release(leases[index]!)
          assert.strictEqual((yield* take(key(name), `${"y".repeat(255)}`)).epoch, 2)
        }
      })
    )

    it.effect("a key of 255 characters of four bytes is one, and one more is too long", () =>
      Effect.gen(function* () {
        const { key, prefix, store, take } = yield* subscriberScene
        const longest = "🦄".repeat(255 - prefix.length)
        assert.strictEqual((yield* take(key(longest), "🦄".repeat(255))).epoch, 1)
        yield* refused(take(key(`${longest}🦄`), "w"), "InvalidArgument")
        yield* refused(take(key("a"), "🦄".repeat(256)), "InvalidArgument")
        assert.isTrue(yield* store.isSubscriberRunning(key(longest), "🦄".repeat(255)))
      })
    )
  })
}
