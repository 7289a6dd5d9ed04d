/** Leases of writes in memory: by the clock of the program, and none at all where nobody keeps any. */
import { assert, it } from "@effect/vitest"
import { EventStore } from "@millrace/core/EventStore"
import * as Memory from "@millrace/core/Memory"
import * as MemoryEventStore from "@millrace/core/MemoryEventStore"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"

const append = { streamId: "s/1", events: [{ type: "E", data: {} }] }

it.effect("a lease ends by the program's clock, at the millisecond", () =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const subscribers = yield* SubscriberStore
    const fence = yield* subscribers.upsertSubscriber("k", "w", { ttl: "1 second" })
    yield* TestClock.adjust("999 millis")
    yield* store.write(append, { fence })
    yield* TestClock.adjust("1 millis")
    const error = yield* Effect.flip(store.write(append, { fence }))
    if (error._tag !== "LeaseLost") return assert.fail(error._tag)
    assert.deepStrictEqual([error.key, error.holder], ["k", ""])
    assert.strictEqual(yield* store.head, 1)
  }).pipe(Effect.provide(Memory.layer()))
)

it.effect("a log that stands alone knows no lease", () =>
  Effect.gen(function* () {
    const subscribers = yield* SubscriberStore
    const fence = yield* subscribers.upsertSubscriber("k", "w", { ttl: "1 second" })
    const alone = yield* MemoryEventStore.make()
    const error = yield* Effect.flip(alone.write(append, { fence }))
    assert.strictEqual(error._tag, "LeaseLost")
    assert.strictEqual(yield* alone.head, 0)
    yield* alone.write(append)
  }).pipe(Effect.provide(Memory.layer()))
)
