/** Leases: one holder at a time, epochs that only grow, an end by the store's clock, and nothing for who has lost it. */
import { assert, describe } from "@effect/vitest"
import type { Epoch } from "@millrace/core/Lease"
import { leaseTtlMs } from "@millrace/core/Lease"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { position, range, refused, slowTestMs } from "./Scene.js"
import type { SubscriberIt } from "./SubscriberScene.js"
import { parking, subscriberScene } from "./SubscriberScene.js"

const unbounded = { concurrency: "unbounded" } as const

export const leases = <R>(it: SubscriberIt<R>): void => {
  describe("leases", () => {
    it.effect("a key that nobody has asked for is not known", () =>
      Effect.gen(function* () {
        const { key, prefix, store } = yield* subscriberScene
        assert.deepStrictEqual(yield* store.getSubscriberCursor(key()), Option.none())
        assert.isFalse(yield* store.isSubscriberRunning(key(), "w"))
        assert.isFalse(yield* store.pause(key()))
        assert.isFalse(yield* store.resume(key()))
        assert.deepStrictEqual(yield* store.listSubscribers({ prefix, limit: 10 }), [])
        assert.deepStrictEqual(yield* store.parked(key(), { limit: 10 }), [])
        assert.deepStrictEqual(yield* store.parkedKeys(key(), { limit: 10 }), [])
        assert.strictEqual(yield* store.requestParked(key(), "retry"), 0)
        assert.deepStrictEqual(yield* store.getSubscriberCursor(key()), Option.none(), "asking makes nothing")
      })
    )

    it.effect("the first worker gets the lease with epoch 1, and the cursor stands at the beginning", () =>
      Effect.gen(function* () {
        const { key, store } = yield* subscriberScene
        const lease = yield* store.upsertSubscriber(key(), "w", { ttl: "30 seconds" })
        const { expiresAt, ...rest } = lease
        assert.deepStrictEqual(
          { ...rest, ttl: Duration.toMillis(rest.ttl) },
          { key: key(), workerId: "w", epoch: 1 as Epoch, ttl: 30_000, paused: false }
        )
        assert.isTrue(DateTime.isDateTime(expiresAt))
        assert.deepStrictEqual(yield* store.getSubscriberCursor(key()), Option.some(position(0)))
        assert.isTrue(yield* store.isSubscriberRunning(key(), "w"))
        assert.isFalse(yield* store.isSubscriberRunning(key(), "v"))
      })
    )

    it.effect("a new key begins where it is told, a known one stays where it is", () =>
      Effect.gen(function* () {
        const { cursor, key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w", { startAt: position(41) })
        assert.strictEqual(yield* cursor(key()), 41)
        yield* take(key(), "w", { startAt: position(7) })
        assert.strictEqual(yield* cursor(key()), 41)
        yield* store.release(lease)
        yield* take(key("far"), "w", { startAt: position(Number.MAX_SAFE_INTEGER) })
        assert.strictEqual(yield* cursor(key("far")), Number.MAX_SAFE_INTEGER)
      })
    )

    it.effect("an epoch is greater than the one that it is to be above, and never goes back", () =>
      Effect.gen(function* () {
        const { key, take } = yield* subscriberScene
        const epochs: Array<number> = []
        for (const above of [7, 3, 8, 20, undefined]) {
          epochs.push((yield* take(key(), "w", { above: above as Epoch | undefined })).epoch)
        }
        assert.deepStrictEqual(epochs, [8, 9, 10, 21, 22])
        for (const above of [-1, 0.5, Number.MAX_SAFE_INTEGER]) {
          const error = yield* Effect.flip(take(key("other"), "w", { above: above as Epoch }))
          assert.strictEqual(error._tag === "InvalidArgument" ? error.field : error._tag, "above")
        }
      })
    )

    it.effect("a lease may last from 100 ms to a day", () =>
      Effect.gen(function* () {
        const { key, take } = yield* subscriberScene
        for (const ms of [leaseTtlMs.min, leaseTtlMs.max]) {
          const lease = yield* take(key(`${ms}`), "w", { ttl: ms })
          assert.strictEqual(Duration.toMillis(lease.ttl), ms)
        }
      })
    )

    it.effect("others are refused while it holds, and told by whom and for how long", () =>
      Effect.gen(function* () {
        const { key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        const error = yield* refused(take(key(), "v", { ttl: "100 millis" }), "LeaseHeld")
        assert.strictEqual(error.key, key())
        assert.strictEqual(error.holder, "w")
        assert.isAbove(error.remainingMs, 0)
        assert.isAtMost(error.remainingMs, 3_600_000)
        yield* store.acknowledge(lease, position(1))
        assert.isTrue(yield* store.isSubscriberRunning(key(), "w"))
        assert.isFalse(yield* store.isSubscriberRunning(key(), "v"))
      })
    )

    it.effect("who asks again gets it at once, with the next epoch, and its former one is lost", () =>
      Effect.gen(function* () {
        const { isLost, key, store, take } = yield* subscriberScene
        const former = yield* take(key(), "w")
        yield* store.acknowledge(former, position(3))
        yield* store.park(former, [parking("p", 1)], { max: 10 })
        const lease = yield* take(key(), "w")
        assert.strictEqual(lease.epoch, 2)
        yield* isLost(former, "w")
        yield* store.acknowledge(lease, position(4))
      })
    )

    it.effect("a lease that has ended is lost, and anybody may take the key over", () =>
      Effect.gen(function* () {
        const { cursor, info, isLost, key, store, take, takeAndExpire } = yield* subscriberScene
        const first = yield* take(key(), "w")
        yield* store.acknowledge(first, position(5))
        yield* store.park(first, [parking("p", 1)], { max: 10 })
        const former = yield* takeAndExpire(key(), "w")
        assert.deepStrictEqual((yield* info(key())).holder, Option.none())
        yield* isLost(former, "")
        const lease = yield* take(key(), "v")
        assert.strictEqual(lease.epoch, 3)
        assert.strictEqual(yield* cursor(key()), 5)
        yield* isLost(former, "v")
        assert.isTrue(yield* store.isSubscriberRunning(key(), "v"), "who has lost it cannot release it")
        yield* store.acknowledge(lease, position(6))
      })
    )

    it.effect("a lease that has ended is not renewed, though nobody has taken it over", () =>
      Effect.gen(function* () {
        const { key, store, take, takeAndExpire } = yield* subscriberScene
        const former = yield* takeAndExpire(key(), "w")
        assert.strictEqual((yield* refused(store.renew(former), "LeaseLost")).holder, "")
        assert.isFalse(yield* store.isSubscriberRunning(key(), "w"))
        assert.strictEqual((yield* take(key(), "w")).epoch, 2)
      })
    )

    it.effect("a lease that was given back is free at once, its epoch is not given out again", () =>
      Effect.gen(function* () {
        const { cursor, info, isLost, key, store, take } = yield* subscriberScene
        const former = yield* take(key(), "w")
        yield* store.acknowledge(former, position(5))
        yield* store.park(former, [parking("p", 1)], { max: 10 })
        yield* store.release(former)
        assert.isFalse(yield* store.isSubscriberRunning(key(), "w"))
        const free = yield* info(key())
        assert.deepStrictEqual([free.holder, free.epoch], [Option.none(), Option.some(1 as Epoch)])
        yield* isLost(former, "")
        yield* store.release(former)
        const lease = yield* take(key(), "v")
        assert.strictEqual(lease.epoch, 2)
        assert.strictEqual(yield* cursor(key()), 5)
        yield* isLost(former, "v")
        yield* store.release(former)
        assert.isTrue(yield* store.isSubscriberRunning(key(), "v"))
      })
    )

    it.effect("a renewal lengthens the lease from now on, and changes nothing else", () =>
      Effect.gen(function* () {
        const { cursor, key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w", { ttl: "1 minute", startAt: position(9) })
        yield* Effect.sleep("20 millis")
        const renewed = yield* store.renew(lease)
        assert.isTrue(DateTime.greaterThan(renewed.expiresAt, lease.expiresAt))
        assert.deepStrictEqual({ ...renewed, expiresAt: lease.expiresAt }, lease)
        yield* store.renew({ ...renewed, ttl: Duration.hours(2) })
        const error = yield* refused(take(key(), "v"), "LeaseHeld")
        assert.isAbove(error.remainingMs, 3_600_000)
        // Any of the three says which lease it is.
        for (const [index, held] of [lease, renewed, lease].entries()) {
          yield* store.acknowledge(held, position(10 + index))
        }
        assert.strictEqual(yield* cursor(key()), 12)
      })
    )

    it.effect("what no store ever gave as a lease is lost", () =>
      Effect.gen(function* () {
        const { cursor, isLost, key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* take(key("b"), "w")
        for (const [forged, holder] of [
          [{ ...lease, epoch: 2 as Epoch }, "w"],
          [{ ...lease, workerId: "v" }, "w"],
          [{ ...lease, workerId: "W" }, "w"],
          [{ ...lease, key: key("b"), epoch: 2 as Epoch }, "w"]
        ] as const) {
          yield* isLost(forged, holder)
        }
        const missing = { ...lease, key: key("missing") }
        assert.strictEqual((yield* refused(store.renew(missing), "LeaseLost")).holder, "")
        yield* refused(store.acknowledge(missing, position(1)), "LeaseLost")
        yield* refused(store.park(missing, [parking("p", 1)], { max: 1 }), "LeaseLost")
        yield* store.release(missing)
        assert.strictEqual(yield* cursor(key("missing")), -1)
        for (const impossible of [
          { ...lease, epoch: 0 as Epoch },
          { ...lease, epoch: 1.5 as Epoch },
          { ...lease, workerId: "" },
          { ...lease, workerId: "a\u0000b" },
          { ...lease, ttl: Duration.infinity },
          { ...lease, key: "a\u0000b" },
          { ...lease, key: "a\ud800b" }
        ]) {
          yield* refused(store.renew(impossible), "LeaseLost")
          yield* refused(store.acknowledge(impossible, position(1)), "LeaseLost")
          yield* refused(store.unpark(impossible, "p", position(1)), "LeaseLost")
          yield* store.release(impossible)
        }
        yield* store.acknowledge(lease, position(1))
      })
    )

    it.effect("epochs grow by one from holder to holder, whatever the way it changes", () =>
      Effect.gen(function* () {
        const { key, store, take, takeAndExpire } = yield* subscriberScene
        for (const epoch of range(1, 9)) {
          const worker = `w${epoch % 2}`
          const lease = epoch % 3 === 0 ? yield* takeAndExpire(key(), worker) : yield* take(key(), worker)
          assert.strictEqual(lease.epoch, epoch)
          if (epoch % 3 !== 0) yield* store.release(lease)
        }
      })
    )

    it.effect("keys know nothing of each other, also where one begins with the other", () =>
      Effect.gen(function* () {
        const { cursor, key, store, take } = yield* subscriberScene
        const names = ["a", "a/", "a/0", "ab", "A", "a ", "a%", "_", "%"]
        const all = yield* Effect.forEach(names, (name, index) => take(key(name), `w${index}`))
        for (const [index, lease] of all.entries()) yield* store.acknowledge(lease, position(index + 1))
        yield* store.release(all[0]!)
        for (const [index, name] of names.entries()) {
          assert.strictEqual(yield* cursor(key(name)), index + 1, name)
          assert.strictEqual(yield* store.isSubscriberRunning(key(name), `w${index}`), index > 0, name)
        }
      })
    )

    it.effect(
      "of 16 workers that ask at once exactly one gets it, round after round",
      () =>
        Effect.gen(function* () {
          const { key, store, take } = yield* subscriberScene
          for (const round of range(1, 12)) {
            const results = yield* Effect.forEach(
              range(1, 16),
              (n) => Effect.either(take(key(), `w${n}`)),
              unbounded
            )
            const won = results.flatMap((result) => (result._tag === "Right" ? [result.right] : []))
            assert.deepStrictEqual(
              won.map(({ epoch }) => Number(epoch)),
              [round]
            )
            for (const result of results) {
              if (result._tag === "Right") continue
              assert.strictEqual(result.left._tag, "LeaseHeld")
              if (result.left._tag === "LeaseHeld") assert.strictEqual(result.left.holder, won[0]!.workerId)
            }
            yield* store.release(won[0]!)
          }
        }),
      slowTestMs
    )
  })
}
