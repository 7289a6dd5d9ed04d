/** Writes that are committed together, and rows that should not be there. */
import { assert, it } from "@effect/vitest"
import { EventIds } from "@millrace/core/EventIds"
import * as Ids from "@millrace/core/EventIds"
import { EventStore } from "@millrace/core/EventStore"
import { Position } from "@millrace/core/Position"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { codeOf } from "@millrace/sqlite/SqliteFault"
import { SqliteSession } from "@millrace/sqlite/SqliteSession"
import { sqliteFile } from "@millrace/testkit/Databases"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { statSync } from "node:fs"

const withFile = <A, E>(use: (filename: string) => Effect.Effect<A, E, EventStore | SqlClient>) =>
  Effect.flatMap(sqliteFile, (filename) => Effect.provide(use(filename), Sqlite.layer({ filename })))

const event = (type: string) => ({ type, data: { type } })

/** Holds the connection while `writes` are handed in, so that they are all committed together. */
const together = <A, E>(writes: ReadonlyArray<Effect.Effect<A, E, EventStore>>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const begun = yield* Deferred.make<void>()
    const finish = yield* Deferred.make<void>()
    const holder = yield* Effect.fork(
      sql.withTransaction(Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(finish)))
    )
    yield* Deferred.await(begun)
    // The first one is taken at once and waits for the connection; the rest gather behind it.
    const fibers = yield* Effect.forEach(writes, (write) => Effect.fork(Effect.either(write)))
    yield* Effect.sleep("20 millis")
    yield* Deferred.succeed(finish, undefined)
    yield* Fiber.join(holder)
    return yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
  })

it.scopedLive("one bad write in a batch fails alone, whether the store or SQLite refuses it", () =>
  withFile(() =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const store = yield* EventStore
      yield* sql`CREATE TRIGGER no_bad BEFORE INSERT ON millrace_events WHEN new.type = 'Bad'
                 BEGIN SELECT RAISE(ABORT, 'bad'); END`
      const write = (streamId: string, type: string, expected?: "empty") =>
        store.write({ streamId, events: [event("First"), event(type)], expected })
      const results = yield* together([
        write("s/0", "Good"),
        write("s/1", "Good"),
        write("s/2", "Bad"),
        write("s/1", "Good"),
        write("s/1", "Good", "empty"),
        write("s/3", "Bad"),
        write("s/2", "Good")
      ])
      assert.deepStrictEqual(
        results.map((result) =>
          Either.isRight(result) ? `${result.right.appends[0]?.version}` : result.left._tag
        ),
        ["2", "2", "StoreUnavailable", "4", "InvalidOriginalVersion", "StoreUnavailable", "2"]
      )
      assert.strictEqual(yield* store.streamVersion("s/3"), 0)
      assert.strictEqual(yield* store.head, 8)
    })
  )
)

it.scopedLive("writes that wait are committed together, with one sync for all", () =>
  withFile((filename) =>
    Effect.gen(function* () {
      const store = yield* EventStore
      const frames = () => statSync(`${filename}-wal`).size
      const before = frames()
      const writes = Array.from({ length: 200 }, (_, i) =>
        store.write({ streamId: `s/${i % 7}`, events: [event("A")] })
      )
      const results = yield* together(writes)
      assert.isTrue(results.every(Either.isRight))
      // Apart, 200 commits write at least three pages of 4 096 bytes each.
      assert.isBelow(frames() - before, 200 * 2 * 4096)
      const versions = results.map((result) => Number(Either.getOrThrow(result).appends[0]?.version))
      assert.deepStrictEqual(
        versions,
        writes.map((_, i) => Math.floor(i / 7) + 1)
      )
    })
  )
)

it.scopedLive("conditions and ids see what stands before them in the same batch", () =>
  withFile(() =>
    Effect.gen(function* () {
      const store = yield* EventStore
      const id = (yield* EventIds).next(yield* Clock.currentTimeMillis)
      const guarded = (streamId: string) =>
        store.write(
          { streamId, events: [{ type: "Booked", data: 1, tags: ["seat-7"] }] },
          { condition: { filters: [{ tags: ["seat-7"] }], after: Position.make(0) } }
        )
      const named = (streamId: string) => store.write({ streamId, events: [{ type: "A", data: 1, id }] })
      const results = yield* together([
        store.write({ streamId: "x/0", events: [event("A")] }),
        guarded("a/1"),
        guarded("a/2"),
        named("b/1"),
        named("b/1"),
        named("b/2")
      ])
      assert.deepStrictEqual(
        results.map((result) => (Either.isRight(result) ? `${result.right.position}` : result.left._tag)),
        ["1", "2", "AppendConditionFailed", "3", "3", "EventIdConflict"]
      )
    })
  )
)

it.scopedLive("a write whose caller was interrupted while it waited is not made", () =>
  withFile(() =>
    Effect.gen(function* () {
      const store = yield* EventStore
      const write = store.write({ streamId: "s/1", events: [event("A")] })
      const results = yield* together([
        write,
        Effect.timeout(write, "1 millis"),
        Effect.timeout(write, "1 millis"),
        write
      ])
      assert.deepStrictEqual(results.map(Either.isRight), [true, false, false, true])
      assert.strictEqual(yield* store.streamVersion("s/1"), 2)
    })
  )
)

it.scopedLive("closing the store commits what was accepted and refuses what comes later", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    const scope = yield* Scope.make()
    const context = yield* Scope.extend(Layer.build(Sqlite.layer({ filename })), scope)
    const store = yield* Effect.provide(EventStore, context)
    const write = store.write({ streamId: "s/1", events: [event("A")] })
    const fibers = yield* Effect.forEach(Array.from({ length: 50 }), () => Effect.fork(write))
    yield* Effect.yieldNow()
    yield* Scope.close(scope, Exit.void)
    const exits = yield* Effect.forEach(fibers, (fiber) => Fiber.await(fiber))
    const written = exits.filter(Exit.isSuccess).length
    const refused = yield* Effect.flip(write)
    assert.propertyVal(refused, "_tag", "StoreUnavailable")
    assert.propertyVal(refused, "transient", false)
    const read = yield* Effect.flip(store.head)
    assert.propertyVal(read, "_tag", "StoreUnavailable")
    const session = SqliteSession.open(filename)
    assert.deepStrictEqual(session.rows("SELECT count(*) FROM millrace_events"), [[written]])
    session.close()
  })
)

// Under TestClock the time stands still, so that both make the same id.
it.scoped("two stores with the same source of ids: the second one is told, and nothing is lost", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    const seeded = Effect.provide(
      Effect.flatMap(EventStore, (store) => store.write({ streamId: "s/1", events: [event("A")] })),
      Layer.provide(Sqlite.layer({ filename }), Ids.layerSeeded(1))
    )
    const error = yield* Effect.zipRight(seeded, Effect.flip(seeded))
    assert.propertyVal(error, "_tag", "EventIdConflict")
  })
)

it.scopedLive("events cannot be changed by hand, nor removed", () =>
  withFile(() =>
    Effect.gen(function* () {
      const store = yield* EventStore
      const sql = yield* SqlClient
      yield* store.write({ streamId: "s/1", events: [event("A")] })
      for (const statement of [
        sql`UPDATE millrace_events SET data = 'null'`,
        sql`DELETE FROM millrace_events`
      ]) {
        assert.strictEqual(codeOf(yield* Effect.flip(statement)), "SQLITE_CONSTRAINT_TRIGGER")
      }
      yield* store.deleteStream("s/1")
      yield* store.write({ streamId: "s/1", events: [event("A")] })
      assert.strictEqual(
        codeOf(yield* Effect.flip(sql`DELETE FROM millrace_events`)),
        "SQLITE_CONSTRAINT_TRIGGER"
      )
    })
  )
)

it.scopedLive("a row with broken data, metadata or tags is an error that names its position", () =>
  withFile(() =>
    Effect.gen(function* () {
      const store = yield* EventStore
      const sql = yield* SqlClient
      yield* store.write({ streamId: "s/1", events: [event("A"), event("B"), event("C"), event("D")] })
      yield* sql`UPDATE millrace_log SET maintenance = 1`
      const broken = [
        ["data", "{", 2],
        ["metadata", "{]", 3],
        ["tags", "[1]", 4],
        ["tags", "nonsense", 1]
      ] as const
      for (const [column, text, position] of broken) {
        yield* sql`UPDATE millrace_events SET ${sql(column)} = ${text} WHERE position = ${position}`
        const error = yield* Effect.flip(
          store.read({ page: { _tag: "Forward", first: 1, after: Position.make(position - 1) } })
        )
        assert.propertyVal(error, "_tag", "SerializationError")
        assert.propertyVal(error, "position", position)
        assert.propertyVal(error, "path", column)
        assert.propertyVal(error, "eventType", ["A", "B", "C", "D"][position - 1])
      }
    })
  )
)
