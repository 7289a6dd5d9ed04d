/** Checkpoints of projections on Postgres: the rules of every store, transactions, and what is written. */
import { assert, it } from "@effect/vitest"
import { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import * as Databases from "@millrace/testkit/Databases"
import { sameCheckpointsAsMemory } from "@millrace/testkit/ProjectionCheckpointStoreModel"
import { projectionCheckpointStoreSuite } from "@millrace/testkit/ProjectionCheckpointStoreSuite"
import { checkpoint, plain } from "@millrace/testkit/suites/ProjectionScene"
import { refused } from "@millrace/testkit/suites/Scene"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { projectionTransactions } from "../../sql/test/ProjectionTransactions.js"
import * as Postgres from "../src/Postgres.js"

const postgres = Layer.unwrapScoped(Effect.map(Databases.postgres, ({ url }) => Postgres.layer({ url })))

projectionCheckpointStoreSuite("postgres", postgres)
sameCheckpointsAsMemory("postgres", postgres)
projectionTransactions("postgres", postgres)

const streams = (count: number, version: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`s/${n}`, version]))

/** Where each cursor's row is and which transaction wrote it: what changes when a row is written. */
const rowsOf = (sql: SqlClient) =>
  Effect.map(
    sql<{ readonly stream_id: string; readonly row: string }>`
      SELECT stream_id, ctid::text || ' ' || xmin::text AS row FROM millrace.projection_cursors
    `,
    (rows) => new Map(rows.map(({ row, stream_id }) => [stream_id, row]))
  )

/** What this connection did with the cursors. It is kept from before, too, until the server has counted it. */
const countsOf = (sql: SqlClient) =>
  Effect.map(
    sql<Record<"scanned" | "fetched" | "inserted" | "updated" | "deleted", number>>`
      SELECT seq_tup_read::int AS scanned, idx_tup_fetch::int AS fetched, n_tup_ins::int AS inserted,
        n_tup_upd::int AS updated, n_tup_del::int AS deleted
      FROM pg_stat_xact_user_tables
      WHERE schemaname = 'millrace' AND relname = 'projection_cursors'
    `,
    ([counts]) => counts!
  )

it.live(
  "a catch-up that touched 10 of 100 000 streams reads and writes 10 cursors",
  () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const store = yield* ProjectionCheckpointStore
      // Small first, and known to be, so that the server keeps plans that it made for a small table.
      for (let at = 0; at < 30; at++) {
        yield* store.advanceProjectionCursors(
          "totals",
          checkpoint(at, streams(20, at)),
          checkpoint(at + 1, streams(20, at + 1))
        )
        if (at === 10) yield* sql`ANALYZE millrace.projection_cursors`
      }
      yield* store.resetProjectionCheckpoint("totals")
      yield* store.saveProjectionCheckpoint("totals", checkpoint(100, streams(100_000, 1)))
      const touched = Array.from({ length: 10 }, (_, n) => (n === 9 ? "s/new" : `s/${n * 10_000}`))
      const old = yield* rowsOf(sql)
      const [first, last] = yield* sql.withTransaction(
        Effect.gen(function* () {
          const since = yield* countsOf(sql)
          const before = yield* store.loadProjectionCursors("totals", touched)
          yield* store.advanceProjectionCursors(
            "totals",
            { ...checkpoint(100), cursors: before },
            checkpoint(111, Object.fromEntries(touched.map((id) => [id, 2])))
          )
          return [since, yield* countsOf(sql)] as const
        })
      )
      assert.deepStrictEqual(
        [last.scanned - first.scanned, last.inserted - first.inserted, last.updated - first.updated],
        [0, 1, 9]
      )
      assert.strictEqual(last.deleted, first.deleted)
      assert.isAtMost(
        last.fetched - first.fetched,
        3 * 10,
        "for the caller, for the comparison, for the write"
      )
      const now = yield* rowsOf(sql)
      const written = [...now].filter(([id, row]) => old.get(id) !== row).map(([id]) => id)
      assert.deepStrictEqual(written.sort(), touched.toSorted())

      const all = { ...streams(100_000, 1), ...Object.fromEntries(touched.map((id) => [id, 2])), "s/5": 2 }
      yield* store.saveProjectionCheckpoint("totals", checkpoint(112, all))
      const saved = [...(yield* rowsOf(sql))].filter(([id, row]) => now.get(id) !== row).map(([id]) => id)
      assert.deepStrictEqual(saved, ["s/5"], "and so does a save: what differs")
    }).pipe(Effect.provide(postgres)),
  120_000
)

it.live("who waited for a writer compares with what that one wrote, also when no position moved", () =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const store = yield* ProjectionCheckpointStore
    yield* store.saveProjectionCheckpoint("p", checkpoint(5, { "a/1": 1, "a/2": 1 }))
    const written = yield* Deferred.make<void>()
    const commit = yield* Deferred.make<void>()
    const first = store.advanceProjectionCursors(
      "p",
      checkpoint(5, { "a/1": 1 }),
      checkpoint(5, { "a/1": 2 })
    )
    const holder = yield* Effect.fork(
      sql.withTransaction(
        first.pipe(
          Effect.zipRight(Deferred.succeed(written, undefined)),
          Effect.zipRight(Deferred.await(commit))
        )
      )
    )
    yield* Deferred.await(written)
    const second = (versions: Record<string, number>) =>
      store.advanceProjectionCursors("p", checkpoint(5, { "a/1": 1, "a/2": 1 }), checkpoint(5, versions))
    const lost = yield* Effect.fork(refused(second({ "a/1": 3, "a/2": 3 }), "ProjectionMoved"))
    const behind = yield* Effect.fork(
      refused(store.saveProjectionCheckpoint("p", checkpoint(5, { "a/1": 1, "a/2": 9 })), "CheckpointBehind")
    )
    yield* Effect.sleep("100 millis")
    yield* Deferred.succeed(commit, undefined)
    yield* Fiber.join(holder)
    assert.deepStrictEqual((yield* Fiber.join(lost)).stream, {
      streamId: "a/1",
      expected: 1,
      actual: 2
    } as never)
    yield* Fiber.join(behind)
    assert.deepStrictEqual(plain(yield* store.loadProjectionCheckpoint("p")), [5, { "a/1": 2, "a/2": 1 }])
  }).pipe(Effect.provide(postgres))
)

it.live("a projection that moves does not hold up another one", () =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const store = yield* ProjectionCheckpointStore
    const step = (name: string) =>
      store.advanceProjectionCursors(name, checkpoint(0), checkpoint(1, { "a/1": 1 }))
    const written = yield* Deferred.make<void>()
    const commit = yield* Deferred.make<void>()
    const holder = yield* Effect.fork(
      sql.withTransaction(
        step("p").pipe(
          Effect.zipRight(Deferred.succeed(written, undefined)),
          Effect.zipRight(Deferred.await(commit))
        )
      )
    )
    yield* Deferred.await(written)
    yield* step("q")
    assert.deepStrictEqual(plain(yield* store.loadProjectionCheckpoint("p")), [0, {}], "not committed yet")
    yield* Deferred.succeed(commit, undefined)
    yield* Fiber.join(holder)
    assert.strictEqual((yield* store.listProjections({ limit: 10 })).length, 2)
  }).pipe(Effect.timeout("20 seconds"), Effect.provide(postgres))
)

it.live("storage that fails is a typed error, and nothing of the write is left", () =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const store = yield* ProjectionCheckpointStore
    yield* store.saveProjectionCheckpoint("p", checkpoint(1, { "a/1": 1 }))
    // Checked at COMMIT, whose failure @effect/sql takes for a defect.
    yield* sql`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN IF NEW.position = 7 THEN RAISE EXCEPTION ''disk is on fire''; END IF; RETURN NULL; END'
    `
    yield* sql`
      CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON millrace.projections
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
    `
    const saved = yield* refused(
      store.saveProjectionCheckpoint("p", checkpoint(7, { "a/2": 1 })),
      "StoreUnavailable"
    )
    assert.strictEqual(saved.operation, "saveProjectionCheckpoint")
    assert.isFalse(saved.transient)
    const advanced = yield* refused(
      store.advanceProjectionCursors("p", checkpoint(1), checkpoint(7, { "a/2": 1 })),
      "StoreUnavailable"
    )
    assert.strictEqual(advanced.operation, "advanceProjectionCursors")
    assert.match(advanced.message, /disk is on fire/)
    assert.deepStrictEqual(plain(yield* store.loadProjectionCheckpoint("p")), [1, { "a/1": 1 }])
  }).pipe(Effect.provide(postgres))
)
