/** Fenced writes inside a transaction of the caller's: they commit with it, or were never made. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { SuiteIt } from "./Scene.js"
import { happened, numbered, position, refused, scene, typesOf, unchanged } from "./Scene.js"
import { subscriberScene } from "./SubscriberScene.js"
import type { WithTransaction } from "./SubscriberTransactions.js"

export const fencedTransactions = <R>(it: SuiteIt<R>, withTransaction: WithTransaction<R>): void => {
  const undo = Symbol("undo")

  describe("fenced transactions", () => {
    it.effect(
      "a fenced write commits with the transaction, together with the cursor, and is gone with it",
      () =>
        Effect.gen(function* () {
          const here = yield* scene("joined")
          const { cursor, key, store: leases, take } = yield* subscriberScene
          const { store, stream } = here
          const fence = yield* take(key(), "w")
          const move = (to: number) =>
            Effect.gen(function* () {
              yield* store.write({ streamId: stream("a"), events: numbered(2) }, { fence })
              const result = yield* store.write(
                { streamId: stream("a"), events: [happened("Last")] },
                { fence }
              )
              yield* leases.acknowledge(fence, position(to))
              return result
            })
          const undone = withTransaction(Effect.zipRight(move(7), Effect.fail(undo)))
          assert.strictEqual(yield* unchanged(here, [stream("a")], Effect.flip(undone)), undo)
          assert.strictEqual(yield* cursor(key()), 0)
          yield* here.reached((yield* withTransaction(move(8))).position)
          assert.deepStrictEqual(typesOf(yield* here.log()), ["Happened", "Happened", "Last"])
          assert.strictEqual(yield* cursor(key()), 8)
          // The lease is as free as before.
          yield* leases.release(fence)
          yield* take(key(), "v")
        })
    )

    it.effect("a lost lease fails the transaction, and leaves it usable for who handles that", () =>
      Effect.gen(function* () {
        const here = yield* scene("joined")
        const { key, take, takeAndExpire } = yield* subscriberScene
        const { store, stream } = here
        const former = yield* take(key(), "w")
        const fence = yield* take(key(), "w")
        const expired = yield* takeAndExpire(key("b"), "w")
        const one = { streamId: stream("a"), events: numbered(1) }
        const failed = withTransaction(
          Effect.zipRight(store.write(one, { fence }), store.write(one, { fence: former }))
        )
        const error = yield* unchanged(here, [stream("a")], Effect.flip(failed))
        assert.propertyVal(error, "_tag", "LeaseLost")
        assert.propertyVal(error, "holder", "w")
        yield* withTransaction(
          Effect.gen(function* () {
            yield* refused(store.write([one, one], { fence: former }), "LeaseLost")
            yield* store.write(one, { fence })
            yield* refused(store.write(one, { fence: expired }), "LeaseLost")
            assert.strictEqual(yield* store.streamVersion(stream("a")), 1)
          })
        )
        assert.strictEqual(yield* store.streamVersion(stream("a")), 1)
      })
    )
  })
}
