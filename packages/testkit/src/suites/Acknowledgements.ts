/** Cursors that move forward only and only under a lease; lag, pausing, and the list of consumers. */
import { assert, describe } from "@effect/vitest"
import type { Epoch } from "@millrace/core/Lease"
import { compareUtf8 } from "@millrace/core/Text"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { position, range, refused } from "./Scene.js"
import type { SubscriberIt } from "./SubscriberScene.js"
import { parking, subscriberScene } from "./SubscriberScene.js"

const unbounded = { concurrency: "unbounded" } as const

export const acknowledgements = <R>(it: SubscriberIt<R>): void => {
  describe("acknowledgements", () => {
    it.effect("the cursor moves forward, to the greatest position there is", () =>
      Effect.gen(function* () {
        const { cursor, key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        for (const at of [1, 9, 10, 100, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER]) {
          yield* store.acknowledge(lease, position(at))
          assert.strictEqual(yield* cursor(key()), at)
        }
      })
    )

    it.effect("the same cursor again is as good, a lower one is refused and changes nothing", () =>
      Effect.gen(function* () {
        const { cursor, info, key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* store.acknowledge(lease, position(0))
        yield* store.acknowledge(lease, position(10))
        yield* store.acknowledge(lease, position(10))
        for (const lower of [9, 0]) {
          const lag = { events: 3, time: Duration.seconds(1) }
          const error = yield* refused(store.acknowledge(lease, position(lower), lag), "InvalidArgument")
          assert.strictEqual(error.field, "cursor")
          assert.strictEqual(error.actual, `${lower}`)
        }
        assert.strictEqual(yield* cursor(key()), 10)
        assert.deepStrictEqual((yield* info(key())).lag, Option.none())
      })
    )

    it.effect("of many at once the greatest stays", () =>
      Effect.gen(function* () {
        const { cursor, key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        const mixed = range(1, 40).map((n) => ((n * 17) % 40) + 1)
        const results = yield* Effect.forEach(
          mixed,
          (at) => Effect.either(store.acknowledge(lease, position(at))),
          unbounded
        )
        for (const result of results) {
          if (result._tag === "Left") assert.strictEqual(result.left._tag, "InvalidArgument")
        }
        assert.strictEqual(yield* cursor(key()), 40)
      })
    )

    it.effect("who has lost the lease hears that, whatever it says of the cursor", () =>
      Effect.gen(function* () {
        const { cursor, key, store, take } = yield* subscriberScene
        const former = yield* take(key(), "w")
        yield* store.acknowledge(former, position(5))
        yield* store.release(former)
        yield* take(key(), "v")
        for (const at of [0, 4, 5, 6]) {
          assert.strictEqual(
            (yield* refused(store.acknowledge(former, position(at)), "LeaseLost")).holder,
            "v"
          )
        }
        assert.strictEqual(yield* cursor(key()), 5)
      })
    )

    it.effect("lag is that of the last acknowledgement that said it", () =>
      Effect.gen(function* () {
        const { info, key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        const lag = Effect.map(info(key()), (info) =>
          Option.getOrUndefined(Option.map(info.lag, ({ events, time }) => [events, Duration.toMillis(time)]))
        )
        assert.isUndefined(yield* lag)
        yield* store.acknowledge(lease, position(1))
        assert.isUndefined(yield* lag)
        yield* store.acknowledge(lease, position(2), { events: 7, time: Duration.millis(1_500) })
        assert.deepStrictEqual(yield* lag, [7, 1_500])
        yield* store.acknowledge(lease, position(3))
        assert.deepStrictEqual(yield* lag, [7, 1_500], "not said, not changed")
        yield* store.acknowledge(lease, position(3), { events: 0, time: Duration.zero })
        assert.deepStrictEqual(yield* lag, [0, 0], "said with the same cursor")
        const most = Number.MAX_SAFE_INTEGER
        yield* store.acknowledge(lease, position(3), { events: most, time: Duration.millis(most) })
        assert.deepStrictEqual(yield* lag, [most, most])
        yield* take(key(), "w")
        assert.deepStrictEqual(yield* lag, [most, most], "it outlives its holder")
      })
    )

    it.effect("a list says when the cursor last moved, or when the key was first seen", () =>
      Effect.gen(function* () {
        const { info, key, store, take } = yield* subscriberScene
        const updatedAt = Effect.map(info(key()), (info) => DateTime.toEpochMillis(info.updatedAt))
        const lease = yield* take(key(), "w")
        const seen = yield* updatedAt
        yield* Effect.sleep("20 millis")
        yield* store.acknowledge(lease, position(0), { events: 1, time: Duration.zero })
        const again = yield* take(key(), "w")
        assert.strictEqual(yield* updatedAt, seen)
        yield* store.acknowledge(again, position(1))
        const moved = yield* updatedAt
        assert.isAbove(moved, seen)
        yield* Effect.sleep("20 millis")
        yield* store.acknowledge(again, position(1))
        yield* store.renew(again)
        yield* store.pause(key())
        assert.strictEqual(yield* updatedAt, moved)
      })
    )
  })

  describe("pausing", () => {
    it.effect("who holds the lease, and who gets it, learns of it", () =>
      Effect.gen(function* () {
        const { info, key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* take(key("other"), "w")
        assert.isTrue(yield* store.pause(key()))
        assert.isTrue(yield* store.pause(key()), "twice is as good")
        assert.isTrue((yield* store.renew(lease)).paused)
        assert.isTrue((yield* store.renew(lease)).paused)
        assert.isTrue((yield* info(key())).paused)
        assert.isFalse((yield* info(key("other"))).paused)
        // What was handled before counts.
        yield* store.acknowledge(lease, position(1))
        yield* store.release(lease)
        const next = yield* take(key(), "v")
        assert.isTrue(next.paused, "it outlives its holder")
        assert.isTrue(yield* store.resume(key()))
        assert.isTrue(yield* store.resume(key()))
        assert.isFalse((yield* store.renew(next)).paused)
        assert.isFalse((yield* info(key())).paused)
      })
    )
  })

  describe("lists", () => {
    it.effect("everything about a consumer, as it stands", () =>
      Effect.gen(function* () {
        const { key, prefix, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* store.acknowledge(lease, position(4), { events: 2, time: Duration.millis(30) })
        yield* store.park(lease, [parking("p", 2), parking("p", 3, ""), parking("q", 4)], { max: 5 })
        const [info, ...more] = yield* store.listSubscribers({ prefix, limit: 10 })
        assert.deepStrictEqual(more, [])
        assert.isTrue(DateTime.isDateTime(info!.updatedAt))
        assert.deepStrictEqual(info, {
          key: key(),
          cursor: position(4),
          holder: Option.some("w"),
          epoch: Option.some(1 as Epoch),
          paused: false,
          lag: Option.some({ events: 2, time: Duration.millis(30) }),
          parked: 3,
          updatedAt: info!.updatedAt
        })
      })
    )

    it.effect("keys come in byte order, by prefix, behind a key, up to a limit", () =>
      Effect.gen(function* () {
        const { prefix, store, take } = yield* subscriberScene
        const names = [
          "a",
          "a%b",
          "a_b",
          "axb",
          "ab",
          "A",
          "é",
          "\uffff",
          "🦄",
          "\u{10ffff}",
          "\ud7ff",
          "z",
          "%"
        ]
        const keys = names.map((name) => `${prefix}${name}`)
        yield* Effect.forEach(keys, (key) => take(key, "w"), unbounded)
        const sorted = [...keys].sort(compareUtf8)
        const list = (listing: { prefix: string; after?: string; limit?: number }) =>
          Effect.map(store.listSubscribers({ limit: 10_000, ...listing }), (infos) =>
            infos.map(({ key }) => key)
          )
        assert.deepStrictEqual(yield* list({ prefix }), sorted)
        for (const start of [
          "a",
          "a%",
          "a_",
          "%",
          "_",
          "🦄",
          "\u{10ffff}",
          "\uffff",
          "\ud7ff",
          "é",
          "nothing"
        ]) {
          assert.deepStrictEqual(
            yield* list({ prefix: `${prefix}${start}` }),
            sorted.filter((key) => key.startsWith(`${prefix}${start}`)),
            start
          )
        }
        for (const after of [...sorted, `${prefix}aa`]) {
          const behind = sorted.filter((key) => compareUtf8(key, after) > 0)
          assert.deepStrictEqual(yield* list({ prefix, after }), behind)
          assert.deepStrictEqual(yield* list({ prefix, after, limit: 2 }), behind.slice(0, 2))
        }
        assert.deepStrictEqual(yield* list({ prefix, after: "\u{10ffff}" }), [])
        assert.deepStrictEqual(yield* list({ prefix, limit: sorted.length }), sorted)
        assert.deepStrictEqual(yield* list({ prefix, limit: 1 }), sorted.slice(0, 1))
        assert.isAtLeast((yield* store.listSubscribers({ limit: 10_000 })).length, sorted.length)
      })
    )
  })
}
