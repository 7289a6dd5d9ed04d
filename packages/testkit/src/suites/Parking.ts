/** Events that were set aside: their order, their bound, what is asked for them, and that only the holder touches them. */
import { assert, describe } from "@effect/vitest"
import { parkedReasonUnitsMax, parkingsMax } from "@millrace/core/ParkedEvent"
import { compareUtf8 } from "@millrace/core/Text"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { oddTexts } from "./OddTexts.js"
import { position, range, refused, slowTestMs } from "./Scene.js"
import type { SubscriberIt } from "./SubscriberScene.js"
import { parking, places, subscriberScene } from "./SubscriberScene.js"

const max = { max: 100 }

export const parkings = <R>(it: SubscriberIt<R>): void => {
  describe("parking", () => {
    it.effect("what was parked comes back by park key and position, with its reason", () =>
      Effect.gen(function* () {
        const { key, parked, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* store.park(lease, [parking("b", 100), parking("b", 9, ""), parking("a", 20, "why")], max)
        yield* store.park(lease, [parking("🦄", 1), parking("\uffff", 1), parking("b", 10)], max)
        const events = yield* parked(key())
        assert.deepStrictEqual(places(events), [
          ["a", 20],
          ["b", 9],
          ["b", 10],
          ["b", 100],
          ["\uffff", 1],
          ["🦄", 1]
        ])
        assert.isTrue(DateTime.isDateTime(events[0]!.parkedAt))
        assert.deepStrictEqual(events[0], {
          ...parking("a", 20, "why"),
          attempts: 1,
          parkedAt: events[0]!.parkedAt,
          request: undefined
        })
        assert.strictEqual(events[1]!.attempts, 0, "it only waits")
        assert.strictEqual(events[1]!.reason, "")
      })
    )

    it.effect("what is parked already stays as it is, within a call as well", () =>
      Effect.gen(function* () {
        const { key, parked, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* store.park(lease, [parking("p", 1, "first"), parking("p", 1, "second")], max)
        const before = yield* parked(key())
        assert.deepStrictEqual(
          before.map(({ attempts, reason }) => [attempts, reason]),
          [[1, "first"]]
        )
        yield* store.park(lease, [parking("p", 1, "third"), parking("p", 2)], max)
        const after = yield* parked(key())
        assert.deepStrictEqual(after[0], before[0])
        assert.deepStrictEqual(places(after), [
          ["p", 1],
          ["p", 2]
        ])
        yield* store.park(lease, [], max)
        assert.deepStrictEqual(yield* parked(key()), after)
      })
    )

    it.effect("the bound holds for all parked events of a key; who goes beyond it parks nothing", () =>
      Effect.gen(function* () {
        const { cursor, info, key, parked, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        const other = yield* take(key("other"), "w")
        yield* store.park(other, [parking("p", 1), parking("p", 2)], { max: 2 })
        yield* store.park(lease, [parking("p", 1), parking("q", 2)], { max: 3 })
        const error = yield* refused(
          store.park(lease, [parking("p", 3), parking("q", 4)], { max: 3 }),
          "ParkedFull"
        )
        assert.deepStrictEqual([error.key, error.max], [key(), 3])
        assert.strictEqual((yield* parked(key())).length, 2)
        // Those that are there already count once, and a repeat is as good as before.
        yield* store.park(lease, [parking("p", 1), parking("q", 2), parking("p", 3), parking("p", 3)], {
          max: 3
        })
        yield* store.park(lease, [parking("p", 1)], { max: 1 })
        yield* refused(store.park(lease, [parking("p", 1), parking("r", 1)], { max: 3 }), "ParkedFull")
        yield* refused(store.park(lease, [parking("r", 1)], { max: 0 }), "ParkedFull")
        assert.strictEqual((yield* info(key())).parked, 3)
        // It has not become unusable by that.
        yield* store.acknowledge(lease, position(5))
        assert.strictEqual(yield* cursor(key()), 5)
        yield* store.unpark(lease, "p", position(1))
        yield* store.park(lease, [parking("r", 1)], { max: 3 })
      })
    )

    it.effect("pages are read behind a place, of all park keys or of one", () =>
      Effect.gen(function* () {
        const { key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        const parkKeys = ["a", "a%", "a_", "b", "\uffff", "🦄"]
        const all = parkKeys.flatMap((parkKey) => [2, 10, 30].map((at) => parking(parkKey, at)))
        yield* store.park(lease, [...all].reverse(), max)
        const page = (options: Omit<Parameters<typeof store.parked>[1], "limit">, limit = 100) =>
          Effect.map(store.parked(key(), { ...options, limit }), places)
        const expected = all.map(({ parkKey, position }) => [parkKey, position] as const)
        for (const [index, [parkKey, at]] of expected.entries()) {
          const after = { parkKey, position: position(at) }
          assert.deepStrictEqual(yield* page({ after }), expected.slice(index + 1))
          assert.deepStrictEqual(yield* page({ after }, 2), expected.slice(index + 1, index + 3))
          const ofKey = expected.filter((place) => place[0] === parkKey)
          assert.deepStrictEqual(yield* page({ parkKey }), ofKey, parkKey)
          assert.deepStrictEqual(
            yield* page({ parkKey, after }),
            ofKey.filter((place) => place[1] > at)
          )
        }
        assert.deepStrictEqual(yield* page({ after: { parkKey: "a", position: position(0) } }), expected)
        assert.deepStrictEqual(yield* page({ parkKey: "%" }), [])
        const keys = (after?: string, limit = 100) =>
          Effect.map(store.parkedKeys(key(), { after, limit }), (keys) => keys.map(({ parkKey }) => parkKey))
        assert.deepStrictEqual(yield* keys(), parkKeys)
        for (const [index, parkKey] of parkKeys.entries()) {
          assert.deepStrictEqual(yield* keys(parkKey), parkKeys.slice(index + 1))
          assert.deepStrictEqual(yield* keys(parkKey, 1), parkKeys.slice(index + 1, index + 2))
        }
      })
    )

    it.effect("one event is taken out, others stay, and one that is not there is no fault", () =>
      Effect.gen(function* () {
        const { key, parked, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        const other = yield* take(key("other"), "w")
        yield* store.park(lease, [parking("p", 1), parking("p", 2), parking("q", 1)], max)
        yield* store.park(other, [parking("p", 1)], max)
        yield* store.unpark(lease, "p", position(1))
        yield* store.unpark(lease, "p", position(1))
        yield* store.unpark(lease, "none", position(1))
        assert.deepStrictEqual(places(yield* parked(key())), [
          ["p", 2],
          ["q", 1]
        ])
        assert.strictEqual((yield* parked(key("other"))).length, 1)
      })
    )

    it.effect("what is asked for a park key stands at its events, and not at those that come later", () =>
      Effect.gen(function* () {
        const { info, key, parked, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* store.park(lease, [parking("p", 1), parking("p", 2, ""), parking("q", 3)], max)
        const keys = (requested?: boolean) =>
          Effect.map(store.parkedKeys(key(), { limit: 10, requested }), (keys) =>
            keys.map(({ parkKey, request }) => [parkKey, request])
          )
        assert.deepStrictEqual(yield* keys(true), [])
        assert.strictEqual(yield* store.requestParked(key(), "retry", "p"), 2)
        assert.deepStrictEqual(yield* keys(), [
          ["p", "retry"],
          ["q", undefined]
        ])
        assert.deepStrictEqual(yield* keys(true), [["p", "retry"]])
        yield* store.park(lease, [parking("p", 4)], max)
        assert.deepStrictEqual(
          (yield* parked(key())).map(({ parkKey, position, request }) => [parkKey, position, request]),
          [
            ["p", 1, "retry"],
            ["p", 2, "retry"],
            ["p", 4, undefined],
            ["q", 3, undefined]
          ]
        )
        assert.strictEqual(yield* store.requestParked(key(), "drop"), 4)
        assert.deepStrictEqual(yield* keys(true), [
          ["p", "drop"],
          ["q", "drop"]
        ])
        assert.deepStrictEqual(yield* keys(false), yield* keys(true))
        assert.strictEqual(yield* store.requestParked(key(), "retry", "none"), 0)
        assert.strictEqual(yield* store.requestParked(key(), "retry", "%"), 0)
        assert.strictEqual((yield* info(key())).parked, 4, "asking does nothing by itself")
      })
    )

    it.effect("asking works without a lease, and outlives holders", () =>
      Effect.gen(function* () {
        const { key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* store.park(lease, [parking("p", 1)], max)
        yield* store.release(lease)
        assert.strictEqual(yield* store.requestParked(key(), "drop", "p"), 1)
        const next = yield* take(key(), "v")
        assert.deepStrictEqual(yield* store.parkedKeys(key(), { limit: 1, requested: true }), [
          { parkKey: "p", request: "drop" }
        ])
        yield* store.unpark(next, "p", position(1))
        assert.deepStrictEqual(yield* store.parkedKeys(key(), { limit: 1 }), [])
      })
    )

    it.effect("a retry that failed is counted with its new reason, and what was asked is taken back", () =>
      Effect.gen(function* () {
        const { key, parked, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* store.park(lease, [parking("p", 1, "first"), parking("p", 2, ""), parking("q", 3, "q")], max)
        yield* store.requestParked(key(), "retry")
        yield* store.repark(lease, parking("p", 1, "second"))
        const rows = Effect.map(parked(key()), (events) =>
          events.map(({ attempts, parkKey, position, reason, request }) => [
            parkKey,
            position,
            attempts,
            reason,
            request
          ])
        )
        assert.deepStrictEqual(yield* rows, [
          ["p", 1, 2, "second", undefined],
          ["p", 2, 0, "", undefined],
          ["q", 3, 1, "q", "retry"]
        ])
        yield* store.repark(lease, parking("p", 2, "now it failed"))
        yield* store.repark(lease, parking("p", 99))
        yield* store.repark(lease, parking("none", 1))
        assert.deepStrictEqual(yield* rows, [
          ["p", 1, 2, "second", undefined],
          ["p", 2, 1, "now it failed", undefined],
          ["q", 3, 1, "q", "retry"]
        ])
      })
    )

    it.effect("a reason is kept as far as it can be: cut, and without what no database takes", () =>
      Effect.gen(function* () {
        const { key, parked, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        const n = parkedReasonUnitsMax
        const cases: ReadonlyArray<readonly [given: string, kept: string]> = [
          ...oddTexts.map(([, text]) => [text, text] as const),
          ["a\u0000b", "a\ufffdb"],
          ["a\ud800b\udc00", "a\ufffdb\ufffd"],
          ["\udc00\ud800", "\ufffd\ufffd"],
          ["x".repeat(n), "x".repeat(n)],
          ["x".repeat(n + 1), "x".repeat(n)],
          ["🦄".repeat(n), "🦄".repeat(n / 2)],
          [`x${"🦄".repeat(n)}`, `x${"🦄".repeat(n / 2 - 1)}`],
          [`${"x".repeat(n - 1)}\ud83e`, `${"x".repeat(n - 1)}\ufffd`],
          ["\u0000".repeat(n + 5), "\ufffd".repeat(n)]
        ]
        yield* store.park(
          lease,
          cases.map(([given], index) => parking("p", index + 1, given)),
          { max: 1_000 }
        )
        const reasons = Effect.map(parked(key()), (events) => events.map(({ reason }) => reason))
        const kept = cases.map(([, kept]) => kept)
        assert.deepStrictEqual(yield* reasons, kept)
        for (const [index, [given]] of cases.entries())
          yield* store.repark(lease, parking("p", index + 1, given))
        assert.deepStrictEqual(yield* reasons, kept)
        assert.deepStrictEqual(
          (yield* parked(key())).map(({ attempts }) => attempts),
          kept.map(() => 2)
        )
      })
    )

    it.effect("park keys are any texts, compared whole", () =>
      Effect.gen(function* () {
        const { key, parked, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        const texts = [...oddTexts.map(([, text]) => text), "x".repeat(255), "🦄".repeat(255)].sort(
          compareUtf8
        )
        yield* store.park(
          lease,
          texts.map((text, index) => parking(text, index + 1)),
          max
        )
        assert.deepStrictEqual(
          places(yield* parked(key())),
          texts.map((text, index) => [text, index + 1])
        )
        for (const [index, text] of texts.entries()) {
          assert.strictEqual((yield* store.parked(key(), { parkKey: text, limit: 10 })).length, 1, text)
          assert.strictEqual(yield* store.requestParked(key(), "retry", text), 1, text)
          yield* store.repark(lease, parking(text, index + 1))
          yield* store.unpark(lease, text, position(index + 1))
        }
        assert.deepStrictEqual(yield* parked(key()), [])
      })
    )

    it.effect(
      "as many as a call may have are parked, asked for and read",
      () =>
        Effect.gen(function* () {
          const { info, key, parked, store, take } = yield* subscriberScene
          const lease = yield* take(key(), "w")
          const all = range(1, parkingsMax).map((n) => parking(`p${n % 7}`, n, "r".repeat(100)))
          yield* store.park(lease, all, { max: parkingsMax })
          assert.strictEqual((yield* info(key())).parked, parkingsMax)
          yield* refused(store.park(lease, [parking("one more", 1)], { max: parkingsMax }), "ParkedFull")
          assert.strictEqual(yield* store.requestParked(key(), "drop"), parkingsMax)
          assert.strictEqual((yield* parked(key())).length, parkingsMax)
        }),
      slowTestMs
    )
  })
}
