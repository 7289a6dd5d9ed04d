/** Appends inside a transaction of the caller: committed with it, gone with it, and seen by it. */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { assert, describe } from "@effect/vitest"
import * as Page from "@millrace/core/Page"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import {
  appendTo,
  ask,
  checkLog,
  codeIn,
  eventId,
  happened,
  position,
  range,
  stores,
  tagOf,
  test,
  untilBlocked,
  version
} from "./Fixtures.js"

/** One store, and a table of the application beside it. */
const one = Effect.gen(function* () {
  const { opened, url } = yield* stores(1)
  const { sql, store } = opened[0]!
  yield* sql`CREATE TABLE orders (n integer)`
  const orders = Effect.map(ask<{ readonly n: number }>(url, "SELECT n FROM orders ORDER BY n"), (rows) =>
    rows.map((row) => row.n)
  )
  const streams = ask(url, "SELECT stream_id, version::int FROM millrace.streams ORDER BY stream_id")
  return { orders, sql, store, streams, url }
})

const undo = Symbol("undo")

describe("transactions", () => {
  test("a commit shows the caller's rows and all appends at once, and nothing of them before", 20, () =>
    Effect.gen(function* () {
      const { orders, sql, store, url } = yield* one
      const results = yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`INSERT INTO orders VALUES (1)`
          const first = yield* store.write([appendTo("order/1"), appendTo("stock/1")])
          const second = yield* store.write(appendTo("order/1"))
          assert.deepStrictEqual(yield* checkLog(url), [])
          assert.deepStrictEqual(yield* orders, [])
          return [first, second]
        })
      )
      assert.deepStrictEqual(yield* orders, [1])
      assert.deepStrictEqual(
        (yield* checkLog(url)).map((row) => [row.position, row.streamId, row.version]),
        [
          [results[0]!.appends[0]!.position, "order/1", 1],
          [results[0]!.appends[1]!.position, "stock/1", 1],
          [results[1]!.appends[0]!.position, "order/1", 2]
        ]
      )
      assert.strictEqual(yield* store.head, results[1]!.position)
    })
  )

  test("a rollback leaves nothing: no event, no stream, no version, no routing key", 20, () =>
    Effect.gen(function* () {
      const { orders, sql, store, streams, url } = yield* one
      yield* store.write(appendTo("old/1"))
      const before = yield* streams
      const rolledBack = sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`INSERT INTO orders VALUES (1)`
          yield* store.write([
            { streamId: "new/1", events: [happened()], routingKey: "red" },
            appendTo("old/1")
          ])
          return yield* Effect.fail(undo)
        })
      )
      assert.strictEqual(yield* Effect.flip(rolledBack), undo)
      assert.deepStrictEqual(yield* orders, [])
      assert.deepStrictEqual(yield* streams, before)
      assert.strictEqual((yield* checkLog(url)).length, 1)
      assert.strictEqual(yield* store.streamVersion("new/1"), 0)
      yield* store.write({ streamId: "new/1", events: [happened()], routingKey: "blue", expected: "empty" })
      const last = yield* store.write({ streamId: "old/1", events: [happened()], expected: version(1) })
      assert.strictEqual(yield* store.head, last.position)
    })
  )

  test("a savepoint that is rolled back takes its appends along and nothing else", 20, () =>
    Effect.gen(function* () {
      const { orders, sql, store, url } = yield* one
      yield* sql.withTransaction(
        Effect.gen(function* () {
          const nested = sql.withTransaction(
            Effect.gen(function* () {
              yield* sql`INSERT INTO orders VALUES (1)`
              // The first append of the transaction, which takes the log's lock.
              yield* store.write([appendTo("save/1"), appendTo("save/2")])
              assert.strictEqual(yield* store.streamVersion("save/1"), 1)
              return yield* Effect.fail(undo)
            })
          )
          assert.strictEqual(yield* Effect.flip(nested), undo)
          assert.strictEqual(yield* store.streamVersion("save/1"), 0)
          yield* store.write({ streamId: "save/1", events: [happened()], expected: "empty" })
          yield* sql.withTransaction(
            store.write({ streamId: "save/1", events: [happened()], expected: version(1) })
          )
          yield* Effect.ignore(
            sql.withTransaction(Effect.zipRight(store.write(appendTo("save/1")), Effect.fail(undo)))
          )
          yield* sql`INSERT INTO orders VALUES (2)`
        })
      )
      assert.deepStrictEqual(yield* orders, [2])
      assert.deepStrictEqual(
        (yield* checkLog(url)).map((row) => [row.streamId, row.version]),
        [
          ["save/1", 1],
          ["save/1", 2]
        ]
      )
    })
  )

  test(
    "while a transaction that rolled back a savepoint is open, readers stop before its later appends",
    20,
    () =>
      Effect.gen(function* () {
        const { sql, store, url } = yield* one
        const open = yield* Deferred.make<void>()
        const end = yield* Deferred.make<void>()
        const transaction = yield* Effect.fork(
          sql.withTransaction(
            Effect.gen(function* () {
              yield* Effect.ignore(
                sql.withTransaction(Effect.zipRight(store.write(appendTo("open/0")), Effect.fail(undo)))
              )
              yield* store.write(appendTo("open/1"))
              yield* Deferred.succeed(open, undefined)
              yield* Deferred.await(end)
            })
          )
        )
        yield* Deferred.await(open)
        yield* store.write(appendTo("later/1"))
        // The later one is committed, and may not be read before the earlier one is decided.
        assert.deepStrictEqual(Page.nodes(yield* store.read()), [])
        assert.strictEqual(yield* store.head, 0)
        yield* Deferred.succeed(end, undefined)
        yield* Fiber.join(transaction)
        assert.deepStrictEqual(
          Page.nodes(yield* store.read()).map((event) => event.streamId as string),
          ["open/1", "later/1"]
        )
        yield* checkLog(url)
      })
  )

  test("a read of a stream sees the transaction's own appends, from outside it does not", 20, () =>
    Effect.gen(function* () {
      const { sql, store, url } = yield* one
      yield* store.write(appendTo("seen/1", { type: "Before" }))
      const readStream = Effect.map(
        store.read({ filters: [{ streamId: "seen/1" }], page: Page.forward({ first: 10 }) }),
        (page) => Page.nodes(page).map((event) => event.type)
      )
      const context = yield* Effect.context<never>()
      const fromOutside = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
        Effect.locally(effect, FiberRef.currentContext, context)
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* store.write(appendTo("seen/1", { type: "Within" }))
          assert.deepStrictEqual(yield* readStream, ["Before", "Within"])
          assert.strictEqual(yield* store.streamVersion("seen/1"), 2)
          const streamed = yield* Stream.runCollect(store.stream({ filters: [{ streamId: "seen/1" }] }))
          assert.strictEqual(Chunk.size(streamed), 2)
          assert.deepStrictEqual(
            (yield* store.listStreams({ limit: 10 })).map((info) => [info.streamId, Number(info.version)]),
            [["seen/1", 2]]
          )
          // Without the transaction in its context, the same store is outside of it.
          assert.deepStrictEqual(yield* fromOutside(readStream), ["Before"])
          assert.strictEqual(yield* fromOutside(store.streamVersion("seen/1")), 1)
        })
      )
      yield* checkLog(url)
    })
  )

  test("a read of the log within a transaction does not go past the head", 20, () =>
    Effect.gen(function* () {
      const { sql, store, url } = yield* one
      const before = yield* store.write(appendTo("log/1"))
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* store.write(appendTo("log/2"))
          const head = yield* store.head
          assert.strictEqual(head, before.position)
          for (const query of [{}, { upTo: position(1_000) }, { filters: [{ category: "log" }] }]) {
            const page = yield* store.read(query)
            for (const { cursor } of page.edges) assert.isAtMost(cursor, head)
            const streamed = yield* Stream.runCollect(store.stream(query))
            assert.deepStrictEqual(
              Chunk.toReadonlyArray(streamed).map((event) => Number(event.position)),
              [Number(before.position)]
            )
          }
        })
      )
      assert.strictEqual(Page.nodes(yield* store.read()).length, 2)
      yield* checkLog(url)
    })
  )

  test("refusals within a transaction are typed, and leave it usable", 20, () =>
    Effect.gen(function* () {
      const { sql, store, url } = yield* one
      yield* store.write(appendTo("typed/1", { tags: ["taken"], id: eventId("taken") }))
      yield* store.deleteStream("dead/1", { tombstone: true })
      const outcomes = yield* sql.withTransaction(
        Effect.gen(function* () {
          const refused = [
            yield* Effect.either(
              store.write({ streamId: "typed/1", events: [happened()], expected: version(9) })
            ),
            yield* Effect.either(
              store.write(appendTo("typed/2"), {
                condition: { filters: [{ tags: ["taken"] }], after: position(0) }
              })
            ),
            yield* Effect.either(store.write(appendTo("typed/2", { id: eventId("taken") }))),
            yield* Effect.either(store.write(appendTo("dead/1")))
          ]
          yield* store.write(appendTo("typed/1"))
          return refused
        })
      )
      assert.deepStrictEqual(outcomes.map(tagOf), [
        "InvalidOriginalVersion",
        "AppendConditionFailed",
        "EventIdConflict",
        "StreamDeleted"
      ])
      assert.strictEqual((yield* checkLog(url)).length, 2)
      assert.strictEqual(yield* store.streamVersion("typed/1"), 2)
      assert.strictEqual(yield* store.streamVersion("typed/2"), 0)
    })
  )

  for (const level of ["REPEATABLE READ", "SERIALIZABLE"]) {
    test(`a condition in a ${level} transaction is refused by its name, and nothing is written`, 20, () =>
      Effect.gen(function* () {
        const { sql, store, url } = yield* one
        const outcome = yield* Effect.either(
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql.unsafe(`SET TRANSACTION ISOLATION LEVEL ${level}`)
              yield* store.write(appendTo("level/1"), {
                condition: { filters: [{ tags: ["x"] }], after: position(0) }
              })
            })
          )
        )
        if (outcome._tag !== "Left" || outcome.left._tag !== "InvalidArgument")
          return assert.fail(`expected InvalidArgument, not ${tagOf(outcome)}`)
        assert.strictEqual(outcome.left.field, "condition")
        assert.deepStrictEqual(yield* checkLog(url), [])
        // Without a condition it may be.
        yield* sql.withTransaction(
          Effect.zipRight(
            sql.unsafe(`SET TRANSACTION ISOLATION LEVEL ${level}`),
            store.write([appendTo("level/1"), appendTo("level/1")])
          )
        )
        assert.strictEqual((yield* checkLog(url)).length, 2)
      })
    )

    test(`a stream that moved on since a ${level} transaction began: told to try again, typed`, 20, () =>
      Effect.gen(function* () {
        const { sql, store, url } = yield* one
        yield* store.write(appendTo("level/1"))
        const context = yield* Effect.context<never>()
        const outcome = yield* Effect.either(
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql.unsafe(`SET TRANSACTION ISOLATION LEVEL ${level}`)
              yield* sql`SELECT 1`
              yield* Effect.locally(store.write(appendTo("level/1")), FiberRef.currentContext, context)
              yield* store.write(appendTo("level/1"))
            })
          )
        )
        if (outcome._tag !== "Left" || outcome.left._tag !== "StoreUnavailable")
          return assert.fail(`expected StoreUnavailable, not ${tagOf(outcome)}`)
        assert.isTrue(outcome.left.transient, outcome.left.message)
        assert.strictEqual((yield* checkLog(url)).length, 2)
      })
    )
  }

  test("a transaction of another client is not joined: neither another pool's nor SQLite's", 30, () =>
    Effect.gen(function* () {
      const { store, url } = yield* one
      const other = yield* PgClient.make({ url: Redacted.make(url) }).pipe(Effect.provide(Reactivity.layer))
      const lite = yield* SqliteClient.make({ filename: ":memory:" }).pipe(Effect.provide(Reactivity.layer))
      for (const [name, client] of [["other", other] as const, ["lite", lite] as const]) {
        const rolledBack = client.withTransaction(
          Effect.gen(function* () {
            yield* store.write(appendTo(`${name}/1`))
            // Committed already, by itself.
            assert.deepStrictEqual(
              (yield* checkLog(url)).filter((row) => row.streamId === `${name}/1`).length,
              1
            )
            assert.strictEqual(yield* store.streamVersion(`${name}/1`), 1)
            yield* store.head
            return yield* Effect.fail(undo)
          })
        )
        assert.strictEqual(yield* Effect.flip(rolledBack), undo)
      }
      assert.strictEqual((yield* checkLog(url)).length, 2)
    })
  )

  test("the transaction of one store is not joined by another store of the same database", 30, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(2)
      const [mine, theirs] = opened
      yield* Effect.ignore(
        mine!.sql.withTransaction(
          Effect.gen(function* () {
            yield* mine!.store.write(appendTo("mine/1"))
            yield* theirs!.store.write(appendTo("theirs/1"))
            return yield* Effect.fail(undo)
          })
        )
      )
      assert.deepStrictEqual(
        (yield* checkLog(url)).map((row) => row.streamId),
        ["theirs/1"]
      )
    })
  )

  test("an append whose transaction is interrupted leaves nothing, also while it waits", 30, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(2)
      const [mine, theirs] = opened
      yield* mine!.store.write(appendTo("wait/1"))
      const held = yield* Deferred.make<void>()
      const end = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(
        theirs!.sql.withTransaction(
          theirs!.store
            .write(appendTo("wait/1"))
            .pipe(Effect.zipRight(Deferred.succeed(held, undefined)), Effect.zipRight(Deferred.await(end)))
        )
      )
      yield* Deferred.await(held)
      const waiting = yield* Effect.fork(
        mine!.sql.withTransaction(
          Effect.zipRight(mine!.store.write(appendTo("wait/2")), mine!.store.write(appendTo("wait/1")))
        )
      )
      yield* untilBlocked(url)
      const interrupting = yield* Effect.fork(Fiber.interrupt(waiting))
      yield* Deferred.succeed(end, undefined)
      yield* Fiber.join(holder)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.join(interrupting)))
      yield* mine!.store.write(appendTo("wait/1"))
      assert.deepStrictEqual(
        (yield* checkLog(url)).map((row) => row.streamId),
        ["wait/1", "wait/1", "wait/1"]
      )
    })
  )

  test(
    "a statement that failed within the transaction: a later append is refused typed, and nothing stays",
    20,
    () =>
      Effect.gen(function* () {
        const { sql, store, url } = yield* one
        const outcome = yield* Effect.either(
          sql.withTransaction(
            Effect.gen(function* () {
              yield* store.write(appendTo("aborted/1"))
              yield* Effect.ignore(sql`SELECT 1 / 0`)
              yield* store.write(appendTo("aborted/1"))
            })
          )
        )
        if (outcome._tag !== "Left" || outcome.left._tag !== "StoreUnavailable")
          return assert.fail(`expected StoreUnavailable, not ${tagOf(outcome)}`)
        assert.strictEqual(codeIn(outcome.left), "25P02")
        assert.deepStrictEqual(yield* checkLog(url), [])
      })
  )

  test("twenty transactions at once on a pool of ten, each with appends and rows, all commit", 30, () =>
    Effect.gen(function* () {
      const { orders, sql, store, url } = yield* one
      yield* Effect.forEach(
        range(1, 20),
        (n) =>
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql`INSERT INTO orders VALUES (${n})`
              yield* store.write([appendTo("many/shared"), appendTo(`many/${n}`)])
              assert.strictEqual(yield* store.streamVersion(`many/${n}`), 1)
            })
          ),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(yield* orders, range(1, 20))
      assert.strictEqual((yield* checkLog(url)).length, 40)
    })
  )
})
