/** What a store does inside a transaction of the caller's: it commits with it, or was never there. */
import { assert, describe } from "@effect/vitest"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { position, refused } from "./Scene.js"
import type { SubscriberIt } from "./SubscriberScene.js"
import { parking, places, subscriberScene } from "./SubscriberScene.js"

/** Runs an effect in a transaction of the store's database: committed when it succeeds, rolled back otherwise. */
export type WithTransaction<R> = <A, E>(
  effect: Effect.Effect<A, E>
) => Effect.Effect<A, unknown, SubscriberStore | R>

export const subscriberTransactions = <R>(it: SubscriberIt<R>, withTransaction: WithTransaction<R>): void => {
  const undo = Symbol("undo")
  const rolledBack = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.map(Effect.flip(withTransaction(Effect.zipRight(effect, Effect.fail(undo)))), (error) =>
      assert.strictEqual(error, undo)
    )

  describe("transactions", () => {
    it.effect("an acknowledgement commits with the transaction, and is gone with it", () =>
      Effect.gen(function* () {
        const { cursor, info, key, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* store.acknowledge(lease, position(3))
        const before = yield* info(key())
        yield* rolledBack(store.acknowledge(lease, position(4), { events: 1, time: lease.ttl }))
        assert.deepStrictEqual(yield* info(key()), before)
        yield* withTransaction(store.acknowledge(lease, position(5)))
        assert.strictEqual(yield* cursor(key()), 5)
        // The same transaction sees it, and goes on from there.
        yield* withTransaction(
          Effect.gen(function* () {
            yield* store.acknowledge(lease, position(6))
            assert.strictEqual(yield* cursor(key()), 6)
            yield* store.acknowledge(lease, position(7))
            const error = yield* refused(store.acknowledge(lease, position(6)), "InvalidArgument")
            assert.strictEqual(error.field, "cursor")
          })
        )
        assert.strictEqual(yield* cursor(key()), 7)
      })
    )

    it.effect("a lost lease fails the transaction, and leaves it usable for who handles that", () =>
      Effect.gen(function* () {
        const { cursor, key, store, take } = yield* subscriberScene
        const former = yield* take(key(), "w")
        yield* store.release(former)
        const lease = yield* take(key(), "v")
        const error = yield* Effect.flip(
          withTransaction(
            Effect.zipRight(store.acknowledge(lease, position(1)), store.acknowledge(former, position(2)))
          )
        )
        assert.propertyVal(error, "_tag", "LeaseLost")
        assert.propertyVal(error, "holder", "v")
        assert.strictEqual(yield* cursor(key()), 0)
        yield* withTransaction(
          Effect.gen(function* () {
            yield* refused(store.acknowledge(former, position(2)), "LeaseLost")
            yield* refused(store.park(former, [parking("p", 1)], { max: 1 }), "LeaseLost")
            yield* store.acknowledge(lease, position(1))
          })
        )
        assert.strictEqual(yield* cursor(key()), 1)
      })
    )

    it.effect("parked events and requests belong to the transaction as well", () =>
      Effect.gen(function* () {
        const { key, parked, store, take } = yield* subscriberScene
        const lease = yield* take(key(), "w")
        yield* store.park(lease, [parking("p", 1)], { max: 2 })
        const before = yield* parked(key())
        yield* rolledBack(
          Effect.gen(function* () {
            yield* store.park(lease, [parking("q", 2)], { max: 2 })
            yield* refused(store.park(lease, [parking("q", 3)], { max: 2 }), "ParkedFull")
            assert.strictEqual((yield* parked(key())).length, 2, "what was refused left the rest as it was")
            yield* store.requestParked(key(), "drop")
            yield* store.repark(lease, parking("p", 1, "again"))
            yield* store.unpark(lease, "p", position(1))
          })
        )
        assert.deepStrictEqual(yield* parked(key()), before)
        yield* withTransaction(
          Effect.gen(function* () {
            yield* store.park(lease, [parking("q", 2)], { max: 2 })
            yield* store.unpark(lease, "p", position(1))
            yield* store.acknowledge(lease, position(2))
          })
        )
        assert.deepStrictEqual(places(yield* parked(key())), [["q", 2]])
      })
    )

    it.effect("a lease that was given in a transaction which is rolled back was never given", () =>
      Effect.gen(function* () {
        const { cursor, key, prefix, store, take } = yield* subscriberScene
        yield* rolledBack(take(key(), "w"))
        assert.strictEqual(yield* cursor(key()), -1)
        const lease = yield* take(key(), "w")
        assert.strictEqual(lease.epoch, 1)
        yield* rolledBack(take(key(), "w"))
        yield* rolledBack(Effect.zipRight(store.release(lease), store.pause(key())))
        yield* store.acknowledge(lease, position(1))
        const [info] = yield* store.listSubscribers({ prefix, limit: 1 })
        assert.deepStrictEqual([info!.holder, info!.paused], [Option.some("w"), false])
        const next = yield* withTransaction(take(key(), "w"))
        assert.strictEqual(next.epoch, 2)
        yield* refused(store.acknowledge(lease, position(2)), "LeaseLost")
      })
    )
  })
}
