/** Writes inside the application's own transactions, and what the client promises of those. */
import { assert, it } from "@effect/vitest"
import { EventStore } from "@millrace/core/EventStore"
import { SnapshotStore } from "@millrace/core/SnapshotStore"
import { StreamVersion } from "@millrace/core/StreamVersion"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { codeOf } from "@millrace/sqlite/SqliteFault"
import { sqliteFile } from "@millrace/testkit/Databases"
import { SafeIntegers, SqlClient } from "@effect/sql/SqlClient"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

/** A new file for each test, with a table of the application's. */
const withFile = <A, E>(
  use: Effect.Effect<A, E, EventStore | SnapshotStore | SqlClient>
): Effect.Effect<A, unknown> =>
  Effect.zipRight(
    Effect.flatMap(
      SqlClient,
      (sql) => sql`CREATE TABLE balances (account TEXT PRIMARY KEY, cents INTEGER NOT NULL)`
    ),
    use
  ).pipe(Effect.provide(Layer.unwrapScoped(Effect.map(sqliteFile, (filename) => Sqlite.layer({ filename })))))

const deposit = (account: string, cents: number) =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const sql = yield* SqlClient
    const result = yield* store.write({
      streamId: `account/${account}`,
      events: [{ type: "Deposited", data: { cents }, tags: [`tag-${account}`] }]
    })
    yield* sql`INSERT INTO balances VALUES (${account}, ${cents})
               ON CONFLICT (account) DO UPDATE SET cents = cents + excluded.cents`
    return result
  })

const state = Effect.gen(function* () {
  const store = yield* EventStore
  const sql = yield* SqlClient
  const events = Chunk.toReadonlyArray(yield* Stream.runCollect(store.stream()))
  return {
    events: events.map((event) => `${event.streamId} ${event.version} ${event.position}`),
    balances: yield* sql`SELECT account, cents FROM balances ORDER BY account`,
    head: yield* store.head
  }
})

it.live("a write inside the caller's transaction commits with it, together with the caller's rows", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const store = yield* EventStore
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* deposit("a", 1)
          yield* deposit("a", 2)
          assert.strictEqual(yield* store.streamVersion("account/a"), 2, "own writes are seen")
          yield* deposit("b", 3)
        })
      )
      assert.deepStrictEqual(yield* state, {
        events: ["account/a 1 1", "account/a 2 2", "account/b 1 3"],
        balances: [
          { account: "a", cents: 3 },
          { account: "b", cents: 3 }
        ],
        head: 3 as never
      })
    })
  )
)

it.live("a transaction that rolls back leaves nothing of the write", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const store = yield* EventStore
      const before = yield* deposit("a", 1)
      const error = yield* Effect.flip(
        sql.withTransaction(
          Effect.zipRight(deposit("a", 2), Effect.zipRight(deposit("b", 3), Effect.fail("no")))
        )
      )
      assert.strictEqual(error, "no")
      assert.deepStrictEqual(yield* state, {
        events: ["account/a 1 1"],
        balances: [{ account: "a", cents: 1 }],
        head: before.position
      })
      const tagged = yield* store.read({ filters: [{ tags: ["tag-b"] }] })
      assert.strictEqual(tagged.edges.length, 0)
      assert.strictEqual((yield* deposit("a", 4)).position, 2)
    })
  )
)

it.live("an inner transaction that fails takes its own writes back and no others", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* deposit("a", 1)
          yield* Effect.ignore(sql.withTransaction(Effect.zipRight(deposit("a", 10), Effect.fail("no"))))
          yield* sql.withTransaction(
            Effect.gen(function* () {
              yield* deposit("a", 2)
              yield* Effect.ignore(sql.withTransaction(Effect.zipRight(deposit("b", 20), Effect.fail("no"))))
            })
          )
        })
      )
      assert.deepStrictEqual(yield* state, {
        events: ["account/a 1 1", "account/a 2 2"],
        balances: [{ account: "a", cents: 3 }],
        head: 2 as never
      })
    })
  )
)

it.live("a write that is refused leaves the transaction as it was, and it can go on", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const store = yield* EventStore
      yield* sql`CREATE TRIGGER no_bad BEFORE INSERT ON millrace_events WHEN new.type = 'Bad'
                 BEGIN SELECT RAISE(ABORT, 'bad'); END`
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* deposit("a", 1)
          const conflict = yield* Effect.flip(
            store.write({ streamId: "account/a", events: [{ type: "X", data: 1 }], expected: "empty" })
          )
          assert.propertyVal(conflict, "_tag", "InvalidOriginalVersion")
          const good = { type: "Good", data: 1, tags: ["half"] }
          const bad = yield* Effect.flip(
            store.write({ streamId: "account/a", events: [good, { type: "Bad", data: 1 }] })
          )
          assert.propertyVal(bad, "_tag", "StoreUnavailable")
          assert.propertyVal(bad, "transient", false)
          yield* deposit("a", 2)
        })
      )
      assert.deepStrictEqual((yield* state).events, ["account/a 1 1", "account/a 2 2"])
      assert.strictEqual((yield* store.read({ filters: [{ tags: ["half"] }] })).edges.length, 0)
    })
  )
)

it.live("several fibers of one transaction write at once", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const accounts = Array.from({ length: 20 }, (_, i) => String(i))
      yield* sql.withTransaction(
        Effect.forEach(accounts, (account) => deposit(account, 1), { concurrency: "unbounded" })
      )
      const { balances, events } = yield* state
      assert.strictEqual(events.length, 20)
      assert.strictEqual(balances.length, 20)
    })
  )
)

it.live("deleting, archiving and erasing join the caller's transaction, snapshots included", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const store = yield* EventStore
      const snapshots = yield* SnapshotStore
      const key = { name: "balance", revision: 1, streamId: "account/a", schema: Schema.Number }
      yield* deposit("a", 1)
      yield* snapshots.saveSnapshot({ ...key, version: StreamVersion.make(1), state: 1 })
      const change = Effect.gen(function* () {
        assert.strictEqual(yield* store.eraseEvents({ streamId: "account/a" }, null), 1)
        assert.strictEqual(yield* store.archiveStream("account/a"), 1)
        assert.strictEqual(yield* store.deleteStream("account/a"), 1)
        assert.isTrue(Option.isNone(yield* snapshots.getSnapshot(key)))
      })
      yield* Effect.ignore(sql.withTransaction(Effect.zipRight(change, Effect.fail("no"))))
      assert.deepStrictEqual((yield* state).events, ["account/a 1 1"])
      assert.isTrue(Option.isSome(yield* snapshots.getSnapshot(key)))
      yield* sql.withTransaction(change)
      assert.deepStrictEqual((yield* state).events, [])
      assert.isTrue(Option.isNone(yield* snapshots.getSnapshot(key)))
    })
  )
)

it.live("a COMMIT that fails is a typed error, nothing is committed, and the next transaction works", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE entries (
        account TEXT REFERENCES balances (account) DEFERRABLE INITIALLY DEFERRED)`
      const error = yield* Effect.flip(
        sql.withTransaction(Effect.zipRight(deposit("a", 1), sql`INSERT INTO entries VALUES ('nobody')`))
      )
      assert.propertyVal(error, "_tag", "SqlError")
      assert.strictEqual(codeOf(error), "SQLITE_CONSTRAINT_FOREIGNKEY")
      assert.deepStrictEqual((yield* state).events, [])
      yield* sql.withTransaction(deposit("a", 1))
      assert.deepStrictEqual((yield* state).events, ["account/a 1 1"])
    })
  )
)

it.live("statements of other fibers wait for the end of a transaction, and are no part of it", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const begun = yield* Deferred.make<void>()
      const finish = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        sql.withTransaction(
          deposit("a", 1).pipe(
            Effect.zipRight(Deferred.succeed(begun, undefined)),
            Effect.zipRight(Deferred.await(finish)),
            Effect.zipRight(Effect.fail("no"))
          )
        )
      )
      yield* Deferred.await(begun)
      const others = yield* Effect.fork(
        Effect.all([deposit("b", 2), sql`INSERT INTO balances VALUES ('c', 3)`], { concurrency: "unbounded" })
      )
      yield* Effect.sleep("20 millis")
      assert.isNull(others.unsafePoll())
      yield* Deferred.succeed(finish, undefined)
      yield* Fiber.await(fiber)
      yield* Fiber.join(others)
      const { balances, events } = yield* state
      assert.deepStrictEqual(events, ["account/b 1 1"])
      assert.deepStrictEqual(balances, [
        { account: "b", cents: 2 },
        { account: "c", cents: 3 }
      ])
    })
  )
)

it.live("waiting for a transaction can be interrupted, and an interrupted write has written nothing", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const begun = yield* Deferred.make<void>()
      const finish = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(
        sql.withTransaction(Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(finish)))
      )
      yield* Deferred.await(begun)
      const waiting = yield* Effect.forEach(
        [deposit("a", 1), sql.withTransaction(deposit("b", 1)), sql`INSERT INTO balances VALUES ('c', 3)`],
        (effect) => Effect.fork(effect as Effect.Effect<unknown, unknown, EventStore | SqlClient>)
      )
      yield* Effect.sleep("20 millis")
      yield* Effect.timeout(Fiber.interruptAll(waiting), "2 seconds")
      yield* Deferred.succeed(finish, undefined)
      yield* Fiber.join(holder)
      yield* sql.withTransaction(deposit("d", 4))
      const { balances, events } = yield* state
      assert.deepStrictEqual(events, ["account/d 1 1"])
      assert.deepStrictEqual(balances, [{ account: "d", cents: 4 }])
    })
  )
)

it.live("an interrupted transaction is rolled back and frees the connection", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const begun = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        sql.withTransaction(
          deposit("a", 1).pipe(
            Effect.zipRight(Deferred.succeed(begun, undefined)),
            Effect.zipRight(Effect.never)
          )
        )
      )
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* state, { events: [], balances: [], head: 0 as never })
    })
  )
)

it.live(
  "a fiber that outlives the transaction writes for itself, and its statements are refused or alone",
  () =>
    withFile(
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const go = yield* Deferred.make<void>()
        const left = yield* sql.withTransaction(
          Effect.zipRight(
            deposit("a", 1),
            Effect.forkDaemon(Effect.zipRight(Deferred.await(go), deposit("b", 2)))
          )
        )
        const error = yield* Effect.flip(
          sql.withTransaction(
            Deferred.succeed(go, undefined).pipe(
              Effect.zipRight(Effect.sleep("20 millis")),
              Effect.zipRight(Effect.fail("no"))
            )
          )
        )
        assert.strictEqual(error, "no")
        yield* Fiber.join(left)
        assert.deepStrictEqual((yield* state).events, ["account/a 1 1", "account/b 1 2"])
      })
    )
)

it.live("changes tells of a joined write when it is committed, and not of one that was rolled back", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const store = yield* EventStore
      const hints: Array<number> = []
      const fiber = yield* Effect.fork(
        Stream.runForEach(store.changes, (at) => Effect.sync(() => hints.push(at)))
      )
      yield* Effect.sleep("50 millis")
      yield* Effect.ignore(sql.withTransaction(Effect.zipRight(deposit("a", 1), Effect.fail("no"))))
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* deposit("b", 1)
          yield* Effect.sleep("20 millis")
          // The one with which listening begins.
          assert.deepStrictEqual(hints, [0])
        })
      )
      yield* Effect.sleep("20 millis")
      assert.deepStrictEqual(hints, [0, 1])
      yield* Fiber.interrupt(fiber)
    })
  )
)

it.live("an application that asks for bigints gets them, and the store goes on with numbers", () =>
  withFile(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql.withTransaction(deposit("a", 1))
      const read = Effect.gen(function* () {
        assert.deepStrictEqual(yield* sql`SELECT cents FROM balances`, [{ cents: 1n }])
        return yield* sql.withTransaction(Effect.zipRight(deposit("b", 2), state))
      })
      const { events } = yield* Effect.provideService(read, SafeIntegers, true)
      assert.deepStrictEqual(events, ["account/a 1 1", "account/b 1 2"])
      assert.deepStrictEqual(yield* sql`SELECT cents FROM balances WHERE account = 'a'`, [{ cents: 1 }])
    })
  )
)
