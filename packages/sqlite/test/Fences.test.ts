/** What is particular to leases of writes on SQLite: writes wait, and the file may have several processes. */
import { assert, it } from "@effect/vitest"
import { EventStore } from "@millrace/core/EventStore"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { sqliteFile } from "@millrace/testkit/Databases"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"

const append = (streamId: string) => ({ streamId, events: [{ type: "E", data: {} }] })

it.scopedLive("a write that waited is judged by the time at which it is made, not at which it came", () =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const store = yield* EventStore
    const subscribers = yield* SubscriberStore
    let nowMs = 1_000_000
    const clock: Clock.Clock = Object.assign(Clock.make(), {
      unsafeCurrentTimeMillis: () => nowMs,
      currentTimeMillis: Effect.sync(() => nowMs)
    })
    const take = (key: string) =>
      Effect.withClock(subscribers.upsertSubscriber(key, "w", { ttl: "1 second" }), clock)
    const [ends, holds] = [yield* take("ends"), yield* take("holds")]
    const begun = yield* Deferred.make<void>()
    const finish = yield* Deferred.make<void>()
    const holder = yield* Effect.fork(
      sql.withTransaction(Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(finish)))
    )
    yield* Deferred.await(begun)
    const write = (name: string, fence: typeof ends) =>
      Effect.fork(Effect.withClock(Effect.either(store.write(append(`s/${name}`), { fence })), clock))
    const waiting = [yield* write("a", ends), yield* write("b", holds)]
    yield* Effect.sleep("20 millis")
    nowMs += 999
    const other = yield* write("c", ends)
    yield* Effect.sleep("20 millis")
    nowMs += 1
    yield* Deferred.succeed(finish, undefined)
    yield* Fiber.join(holder)
    for (const fiber of [...waiting, other]) {
      const outcome = yield* Fiber.join(fiber)
      assert.strictEqual(outcome._tag === "Left" ? outcome.left._tag : "Written", "LeaseLost")
    }
    assert.strictEqual(yield* store.head, 0)
    const next = yield* take("holds")
    yield* Effect.withClock(store.write(append("s/b"), { fence: next }), clock)
  }).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" })))
)

it.scopedLive("a lease that another process has taken over refuses the writes of its former holder", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    const build = Effect.map(Layer.build(Sqlite.layer({ filename })), (context) => ({
      store: Context.get(context, EventStore),
      subscribers: Context.get(context, SubscriberStore)
    }))
    const [a, b] = [yield* build, yield* build]
    const former = yield* a.subscribers.upsertSubscriber("k", "w", { ttl: "1 minute" })
    yield* a.store.write(append("s/1"), { fence: former })
    const lease = yield* b.subscribers.upsertSubscriber("k", "w", { ttl: "1 minute" })
    const outcomes = yield* Effect.forEach(
      Array.from({ length: 40 }, (_, n) => n),
      (n) =>
        Effect.either(
          (n % 4 < 2 ? a : b).store.write(append(`s/${n % 3}`), { fence: n % 2 === 0 ? former : lease })
        ),
      { concurrency: "unbounded" }
    )
    assert.deepStrictEqual(
      outcomes.map((outcome) => (outcome._tag === "Left" ? outcome.left._tag : "Written")),
      outcomes.map((_, n) => (n % 2 === 0 ? "LeaseLost" : "Written"))
    )
    assert.strictEqual(yield* a.store.head, 21)
  })
)
