/**
 * What checkpoints of projections promise inside the caller's own transactions: rows of a model and the cursor
 * that says so commit together or not at all. The tests of each SQL database run this.
 */
import { assert, it } from "@effect/vitest"
import { Epoch } from "@millrace/core/Lease"
import { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import { StreamId } from "@millrace/core/StreamId"
import { checkpoint, plain } from "@millrace/testkit/suites/ProjectionScene"
import { refused } from "@millrace/testkit/suites/Scene"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"

const name = "totals"

/** A model in a table of the application's: the sum of what was handled. */
const model = Effect.gen(function* () {
  const sql = yield* SqlClient
  const store = yield* ProjectionCheckpointStore
  yield* sql`CREATE TABLE totals (id INTEGER PRIMARY KEY, total INTEGER NOT NULL)`
  yield* sql`INSERT INTO totals VALUES (1, 0)`
  return {
    sql,
    store,
    add: (amount: number) => sql`UPDATE totals SET total = total + ${amount} WHERE id = 1`,
    state: Effect.gen(function* () {
      const rows = yield* sql<{ readonly total: number }>`SELECT total FROM totals`
      return [rows[0]!.total, ...plain(yield* store.loadProjectionCheckpoint(name))] as const
    }),
    step: (from: number, versions: Readonly<Record<string, number>>, to: number, next: typeof versions) =>
      store.advanceProjectionCursors(name, checkpoint(from, versions), checkpoint(to, next))
  }
})

/** Declares the tests for one database. Each gets a `layer` of its own, and so must each a database. */
export const projectionTransactions = <E>(
  database: string,
  layer: Layer.Layer<ProjectionCheckpointStore | SqlClient, E>
): void => {
  const test = (
    what: string,
    body: Effect.Effect<void, unknown, ProjectionCheckpointStore | SqlClient>
  ): void => it.live(`${database}: ${what}`, () => Effect.provide(body, layer))

  test(
    "model and cursor commit together",
    Effect.gen(function* () {
      const { add, sql, state, step } = yield* model
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* add(5)
          yield* step(0, {}, 3, { "a/1": 1 })
          yield* add(7)
          yield* step(3, { "a/1": 1 }, 4, { "a/1": 2 })
          assert.deepStrictEqual(yield* state, [12, 4, { "a/1": 2 }], "what it wrote itself is seen")
        })
      )
      assert.deepStrictEqual(yield* state, [12, 4, { "a/1": 2 }])
    })
  )

  test(
    "a transaction that rolls back leaves nothing of any write",
    Effect.gen(function* () {
      const { add, sql, state, step, store } = yield* model
      yield* step(0, {}, 1, { "a/1": 1 })
      const rolledBack = (write: Effect.Effect<unknown, unknown>) =>
        Effect.gen(function* () {
          const before = [yield* state, yield* store.listProjections({ limit: 10 })]
          const end = sql.withTransaction(Effect.zipRight(Effect.zipRight(add(5), write), Effect.fail("end")))
          assert.strictEqual(yield* Effect.flip(end), "end")
          assert.deepStrictEqual([yield* state, yield* store.listProjections({ limit: 10 })], before)
        })
      yield* rolledBack(step(1, { "a/1": 1 }, 2, { "a/1": 2, "a/2": 1 }))
      yield* rolledBack(store.saveProjectionCheckpoint(name, checkpoint(9, { "a/3": 1 })))
      yield* rolledBack(store.resetProjectionCheckpoint(name))
      yield* rolledBack(store.claimProjection(name, Epoch.make(9), { revision: 9 }))
      yield* rolledBack(store.advanceProjectionCursors("new", checkpoint(0), checkpoint(1)))
      yield* rolledBack(store.saveProjectionCheckpoint("new", checkpoint(1)))
      yield* rolledBack(store.claimProjection("new", Epoch.make(1)))
      yield* store.claimProjection(name, Epoch.make(1))
    })
  )

  test(
    "a refused write leaves the caller's transaction as it was, to go on or to end",
    Effect.gen(function* () {
      const { add, sql, state, step, store } = yield* model
      yield* step(0, {}, 5, { "a/1": 1, "a/2": 2 })
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* add(5)
          yield* refused(step(4, {}, 6, { "a/3": 1 }), "ProjectionMoved")
          yield* refused(step(5, {}, 6, { "a/3": 1, "a/1": 2 }), "ProjectionMoved")
          const lower = checkpoint(6, { "a/3": 1, "a/2": 1 })
          yield* refused(store.saveProjectionCheckpoint(name, lower), "CheckpointBehind")
          yield* refused(store.saveProjectionCheckpoint(name, checkpoint(4)), "CheckpointBehind")
          yield* add(7)
        })
      )
      assert.deepStrictEqual(yield* state, [12, 5, { "a/1": 1, "a/2": 2 }])
      const fails = sql.withTransaction(Effect.zipRight(add(100), step(4, {}, 6, { "a/3": 1 })))
      yield* refused(fails, "ProjectionMoved")
      assert.deepStrictEqual(
        yield* state,
        [12, 5, { "a/1": 1, "a/2": 2 }],
        "and ends it when it is not caught"
      )
    })
  )

  test(
    "a claim waits for the transaction of the former holder, and finds what it committed",
    Effect.gen(function* () {
      const { add, sql, state, store } = yield* model
      yield* store.claimProjection(name, Epoch.make(1))
      const written = yield* Deferred.make<void>()
      const commit = yield* Deferred.make<void>()
      const options = { epoch: Epoch.make(1) }
      const former = yield* sql
        .withTransaction(
          Effect.gen(function* () {
            yield* add(5)
            yield* store.advanceProjectionCursors(name, checkpoint(0), checkpoint(3, { "a/1": 1 }), options)
            yield* Deferred.succeed(written, undefined)
            yield* Deferred.await(commit)
          })
        )
        .pipe(Effect.fork)
      yield* Deferred.await(written)
      const newcomer = yield* Effect.fork(store.claimProjection(name, Epoch.make(2)))
      yield* Effect.sleep("100 millis")
      assert.isTrue((yield* Fiber.poll(newcomer))._tag === "None", "it waits")
      yield* Deferred.succeed(commit, undefined)
      yield* Fiber.join(former)
      assert.strictEqual((yield* Fiber.join(newcomer)).position, 3)
      const late = sql.withTransaction(
        Effect.zipRight(
          add(100),
          store.advanceProjectionCursors(name, checkpoint(3), checkpoint(4, { "a/2": 1 }), options)
        )
      )
      yield* refused(late, "LeaseLost")
      assert.deepStrictEqual(yield* state, [5, 3, { "a/1": 1 }])
    })
  )

  test(
    "workers that write model and cursor in one transaction count every step once",
    Effect.gen(function* () {
      const { add, sql, state, store } = yield* model
      const last = 40
      const step = Effect.gen(function* () {
        const { position } = yield* store.loadProjectionCheckpoint(name)
        if (position >= last) return false
        const stream = StreamId.make(`a/${position % 7}`)
        const before = yield* store.loadProjectionCursors(name, [stream])
        const current = checkpoint(position + 1, { [stream]: (before.get(stream) ?? 0) + 1 })
        const advance = store.advanceProjectionCursors(name, { position, cursors: before }, current)
        yield* sql
          .withTransaction(Effect.zipRight(add(position + 1), advance))
          .pipe(Effect.catchTag("ProjectionMoved", () => Effect.void))
        return true
      })
      const worker = Effect.repeat(step, { while: (more) => more })
      yield* Effect.all([worker, worker, worker], { concurrency: "unbounded" })
      const versions = Object.fromEntries(
        Array.from({ length: 7 }, (_, n) => [`a/${n}`, Math.ceil((last - n) / 7)])
      )
      assert.deepStrictEqual(yield* state, [(last * (last + 1)) / 2, last, versions])
    })
  )
}
