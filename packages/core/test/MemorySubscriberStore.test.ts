/** Consumers in memory: leases to the millisecond, and the look at one that a fence needs. `Memory.test.ts` has the rest. */
import { assert, describe, it } from "@effect/vitest"
import type { Epoch } from "@millrace/core/Lease"
import * as MemorySubscriberStore from "@millrace/core/MemorySubscriberStore"
import { Position } from "@millrace/core/Position"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"

describe("leases in memory", () => {
  it.effect("a lease holds for its whole ttl, and not a millisecond longer", () =>
    Effect.gen(function* () {
      const { store } = yield* MemorySubscriberStore.make
      yield* TestClock.setTime(5_000)
      const lease = yield* store.upsertSubscriber("a", "w", { ttl: "1 second" })
      assert.strictEqual(DateTime.toEpochMillis(lease.expiresAt), 6_000)
      yield* TestClock.adjust("999 millis")
      assert.isTrue(yield* store.isSubscriberRunning("a", "w"))
      const held = yield* Effect.flip(store.upsertSubscriber("a", "v", { ttl: "1 second" }))
      assert.propertyVal(held, "remainingMs", 1)
      yield* store.acknowledge(lease, Position.make(1))
      yield* TestClock.adjust("1 millis")
      assert.isFalse(yield* store.isSubscriberRunning("a", "w"))
      assert.propertyVal(yield* Effect.flip(store.acknowledge(lease, Position.make(2))), "_tag", "LeaseLost")
      const [info] = yield* store.listSubscribers({ limit: 1 })
      assert.deepStrictEqual([info!.holder, info!.cursor], [Option.none(), Position.make(1)])
      assert.strictEqual(DateTime.toEpochMillis(info!.updatedAt), 5_999)
      assert.strictEqual((yield* store.upsertSubscriber("a", "v", { ttl: "1 second" })).epoch, 2)
    })
  )

  it.effect("a fence sees the same of a lease as everything else", () =>
    Effect.gen(function* () {
      const { leaseFault, store } = yield* MemorySubscriberStore.make
      const lease = yield* store.upsertSubscriber("a", "w", { ttl: "1 second" })
      assert.isUndefined(leaseFault(lease, 0))
      assert.isUndefined(leaseFault(lease, 999))
      assert.deepInclude(leaseFault(lease, 1_000), { _tag: "LeaseLost", key: "a", holder: "" })
      assert.deepInclude(leaseFault({ ...lease, workerId: "v" }, 0), { holder: "w" })
      assert.deepInclude(leaseFault({ ...lease, epoch: 2 as Epoch }, 0), { holder: "w" })
      assert.deepInclude(leaseFault({ ...lease, epoch: 0 as Epoch }, 0), { holder: "w" })
      assert.deepInclude(leaseFault({ ...lease, key: "b" }, 0), { key: "b", holder: "" })
      const next = yield* store.upsertSubscriber("a", "w", { ttl: "1 second" })
      assert.deepInclude(leaseFault(lease, 0), { holder: "w" })
      assert.isUndefined(leaseFault(next, 0))
      yield* store.release(next)
      assert.deepInclude(leaseFault(next, 0), { holder: "" })
      const other = yield* store.upsertSubscriber("a", "v", { ttl: "1 second" })
      assert.deepInclude(leaseFault(next, 0), { holder: "v" })
      assert.isUndefined(leaseFault(other, 0))
    })
  )
})
