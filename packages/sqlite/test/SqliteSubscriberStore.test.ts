/** Consumers on a SQLite file: what every store must do, and what follows from a file with one write lock. */
import { assert, it } from "@effect/vitest"
import { Position } from "@millrace/core/Position"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { storeUnavailable } from "@millrace/sqlite/SqliteFault"
import { SqliteSession } from "@millrace/sqlite/SqliteSession"
import { sqliteFile } from "@millrace/testkit/Databases"
import { subscribersSameAsMemory } from "@millrace/testkit/SubscriberStoreModel"
import { subscriberStoreSuite } from "@millrace/testkit/SubscriberStoreSuite"
import * as SqlSubscriberStore from "@millrace/sql/SqlSubscriberStore"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"

/** A new file for each build. It is removed after the store has closed it. */
const sqlite = Layer.unwrapScoped(Effect.map(sqliteFile, (filename) => Sqlite.layer({ filename })))

subscriberStoreSuite("sqlite", sqlite, {
  withTransaction: (effect) => Effect.flatMap(SqlClient, (sql) => sql.withTransaction(effect))
})
subscribersSameAsMemory("sqlite", sqlite)

/** A connection of its own to the file, as another process has. */
const open = (filename: string) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(Sqlite.layer({ filename, busyTimeout: "20 seconds" }))
    const sql = Context.get(context, SqlClient)
    const { fenceTransaction } = yield* Effect.provideService(
      SqlSubscriberStore.make({ tablePrefix: "millrace_", storeUnavailable }),
      SqlClient,
      sql
    )
    return { store: Context.get(context, SubscriberStore), sql, fenceTransaction }
  })

const two = Effect.gen(function* () {
  const filename = yield* sqliteFile
  return { filename, one: yield* open(filename), other: yield* open(filename) }
})

const position = (value: number): Position => Position.make(value)

/** Waits until nobody has the lease any more. */
const ended = (store: SubscriberStore["Type"], key: string, workerId: string) =>
  store
    .isSubscriberRunning(key, workerId)
    .pipe(Effect.repeat({ schedule: Schedule.spaced("10 millis"), while: (running) => running }))

it.scopedLive("of many workers on two connections exactly one gets the lease, round after round", () =>
  Effect.gen(function* () {
    const { one, other } = yield* two
    const stores = [one.store, other.store]
    for (let round = 1; round <= 15; round++) {
      const results = yield* Effect.forEach(
        Array.from({ length: 12 }, (_, n) => n),
        (n) => Effect.either(stores[n % 2]!.upsertSubscriber("a", `w${n}`, { ttl: "1 hour" })),
        { concurrency: "unbounded" }
      )
      const won = results.flatMap((result) => (result._tag === "Right" ? [result.right] : []))
      assert.deepStrictEqual(
        won.map(({ epoch }) => Number(epoch)),
        [round]
      )
      for (const result of results) {
        if (result._tag === "Left") assert.strictEqual(result.left._tag, "LeaseHeld")
      }
      yield* stores[round % 2]!.release(won[0]!)
    }
  })
)

it.scopedLive("a takeover waits for a transaction that is fenced, and then the former lease is refused", () =>
  Effect.gen(function* () {
    const { one, other } = yield* two
    const lease = yield* one.store.upsertSubscriber("a", "w", { ttl: "300 millis" })
    const fenced = yield* Deferred.make<void>()
    const go = yield* Deferred.make<void>()
    const transaction = yield* Effect.fork(
      one.sql.withTransaction(
        Effect.gen(function* () {
          yield* one.fenceTransaction(lease)
          yield* one.store.acknowledge(lease, position(5))
          yield* Deferred.succeed(fenced, undefined)
          yield* Deferred.await(go)
        })
      )
    )
    yield* Deferred.await(fenced)
    yield* ended(other.store, "a", "w")
    const takeover = yield* Effect.fork(other.store.upsertSubscriber("a", "v", { ttl: "1 hour" }))
    yield* Effect.sleep("100 millis")
    assert.isTrue(Option.isNone(yield* Fiber.poll(takeover)))
    yield* Deferred.succeed(go, undefined)
    yield* Fiber.join(transaction)
    assert.strictEqual((yield* Fiber.join(takeover)).epoch, 2)
    assert.deepStrictEqual(yield* other.store.getSubscriberCursor("a"), Option.some(position(5)))
    const error = yield* Effect.flip(one.store.acknowledge(lease, position(6)))
    assert.deepInclude(error, { _tag: "LeaseLost", holder: "v" })
    const refused = yield* Effect.flip(one.sql.withTransaction(one.fenceTransaction(lease)))
    assert.deepInclude(refused, { _tag: "LeaseLost", holder: "v" })
  })
)

it.scopedLive("a lease that ends while its holder waits for the write lock is lost", () =>
  Effect.gen(function* () {
    const { filename, one } = yield* two
    const other = SqliteSession.open(filename)
    yield* Effect.addFinalizer(() => Effect.sync(() => other.close()))
    const lease = yield* one.store.upsertSubscriber("a", "w", { ttl: "300 millis" })
    other.run("BEGIN IMMEDIATE")
    const renewing = yield* Effect.fork(Effect.flip(one.store.renew(lease)))
    const acknowledging = yield* Effect.fork(Effect.flip(one.store.acknowledge(lease, position(1))))
    yield* ended(one.store, "a", "w")
    other.run("ROLLBACK")
    assert.propertyVal(yield* Fiber.join(renewing), "_tag", "LeaseLost")
    assert.propertyVal(yield* Fiber.join(acknowledging), "_tag", "LeaseLost")
    assert.deepStrictEqual(yield* one.store.getSubscriberCursor("a"), Option.some(position(0)))
  })
)

it.scopedLive("a fence outside of a transaction is a mistake of the caller's", () =>
  Effect.gen(function* () {
    const { one } = yield* two
    const lease = yield* one.store.upsertSubscriber("a", "w", { ttl: "1 minute" })
    const exit = yield* Effect.exit(one.fenceTransaction(lease))
    assert.include(String(exit), "outside of a transaction")
  })
)
