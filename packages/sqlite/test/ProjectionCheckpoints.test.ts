/** Checkpoints of projections on a SQLite file: the rules of every store, transactions, and what is written. */
import { assert, it } from "@effect/vitest"
import { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { sqliteFile } from "@millrace/testkit/Databases"
import { sameCheckpointsAsMemory } from "@millrace/testkit/ProjectionCheckpointStoreModel"
import { projectionCheckpointStoreSuite } from "@millrace/testkit/ProjectionCheckpointStoreSuite"
import { checkpoint, plain } from "@millrace/testkit/suites/ProjectionScene"
import { refused } from "@millrace/testkit/suites/Scene"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { projectionTransactions } from "../../sql/test/ProjectionTransactions.js"

/** A new file for each build. It is removed after the store has closed it. */
const sqlite = Layer.unwrapScoped(Effect.map(sqliteFile, (filename) => Sqlite.layer({ filename })))

projectionCheckpointStoreSuite("sqlite", sqlite)
sameCheckpointsAsMemory("sqlite", sqlite)
projectionTransactions("sqlite", sqlite)

const streams = (count: number, version: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`s/${n}`, version]))

it.live(
  "a catch-up that touched 10 of 100 000 streams writes 10 cursors and one projection",
  () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const store = yield* ProjectionCheckpointStore
      yield* store.saveProjectionCheckpoint("totals", checkpoint(1, streams(100_000, 1)))
      yield* sql`CREATE TABLE writes (what TEXT, stream_id TEXT)`
      for (const what of ["INSERT", "UPDATE", "DELETE"])
        yield* sql.unsafe(`
          CREATE TRIGGER count_${what} AFTER ${what} ON millrace_projection_cursors BEGIN
            INSERT INTO writes VALUES ('${what}', ${what === "DELETE" ? "OLD" : "NEW"}.stream_id);
          END
        `)
      const touched = Array.from({ length: 10 }, (_, n) => (n === 9 ? "s/new" : `s/${n * 10_000}`))
      const total = sql<{ readonly n: number }>`SELECT total_changes() AS n`
      const before = yield* store.loadProjectionCursors("totals", touched)
      const [{ n: since }] = (yield* total) as [{ n: number }]
      yield* store.advanceProjectionCursors(
        "totals",
        { ...checkpoint(1), cursors: before },
        checkpoint(11, Object.fromEntries(touched.map((id) => [id, 2])))
      )
      const [{ n: until }] = (yield* total) as [{ n: number }]
      const written = yield* sql<{ readonly what: string; readonly stream_id: string }>`SELECT * FROM writes`
      assert.deepStrictEqual(
        written.map(({ stream_id, what }) => `${what} ${stream_id}`).sort(),
        touched.map((id) => `${id === "s/new" ? "INSERT" : "UPDATE"} ${id}`).sort()
      )
      assert.strictEqual(until - since, 10 + 10 + 1, "cursors, rows of the triggers, the projection")

      yield* sql`DELETE FROM writes`
      const all = { ...streams(100_000, 1), ...Object.fromEntries(touched.map((id) => [id, 2])), "s/5": 2 }
      yield* store.saveProjectionCheckpoint("totals", checkpoint(12, all))
      assert.strictEqual((yield* sql`SELECT * FROM writes`).length, 1, "and so does a save: what differs")
    }).pipe(Effect.provide(sqlite)),
  120_000
)

it.live("no statement of a step scans the cursors", () =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const plans = yield* Effect.forEach(
      [
        `SELECT stream_id, version FROM millrace_projection_cursors
         WHERE projection_id = (SELECT p.id FROM millrace_projections AS p WHERE p.name = 'a')
           AND stream_id IN (SELECT value FROM json_each('["a/1"]'))`,
        "SELECT id FROM millrace_projections WHERE name = 'a'",
        "SELECT name FROM millrace_projections WHERE name > '' AND name >= 'a' AND name < 'b' ORDER BY name LIMIT 1",
        `SELECT stream_id FROM millrace_projection_cursors
         WHERE projection_id = 1 AND stream_id > 'a' ORDER BY stream_id LIMIT 1`
      ],
      (text) => sql.unsafe<{ readonly detail: string }>(`EXPLAIN QUERY PLAN ${text}`)
    )
    for (const { detail } of plans.flat()) assert.notMatch(detail, /SCAN (p|millrace)|TEMP B-TREE/, detail)
  }).pipe(Effect.provide(sqlite))
)

it.live("two connections to one file: each step is one's", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    const stores = yield* Effect.forEach([1, 2], () =>
      Effect.map(Layer.build(Sqlite.layer({ filename })), Context.get(ProjectionCheckpointStore))
    )
    const won: Array<number> = []
    const worker = (store: (typeof stores)[number], self: number) =>
      Effect.gen(function* () {
        for (;;) {
          const { cursors: before, position } = yield* store.loadProjectionCheckpoint("p")
          if (position >= 100) return
          const current = checkpoint(position + 1, { "a/1": position + 1, [`b/${self}`]: 0 })
          yield* Effect.yieldNow()
          yield* store.advanceProjectionCursors("p", { position, cursors: before }, current).pipe(
            Effect.andThen(Effect.sync(() => won.push(position))),
            Effect.catchTag("ProjectionMoved", () => Effect.void)
          )
        }
      })
    yield* Effect.all(stores.map(worker), { concurrency: "unbounded" })
    assert.deepStrictEqual(
      won.sort((a, b) => a - b),
      Array.from({ length: 100 }, (_, n) => n)
    )
    assert.deepStrictEqual(plain(yield* stores[0]!.loadProjectionCheckpoint("p")), [100, { "a/1": 100 }])
  }).pipe(Effect.scoped)
)

it.live("storage that fails is a typed error, and nothing of the write is left", () =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const store = yield* ProjectionCheckpointStore
    yield* store.saveProjectionCheckpoint("p", checkpoint(1, { "a/1": 1 }))
    yield* sql`
      CREATE TRIGGER refuse BEFORE UPDATE ON millrace_projections WHEN NEW.position = 7 BEGIN
        SELECT RAISE(ABORT, 'disk is on fire');
      END
    `
    const saved = yield* refused(
      store.saveProjectionCheckpoint("p", checkpoint(7, { "a/2": 1 })),
      "StoreUnavailable"
    )
    assert.strictEqual(saved.operation, "saveProjectionCheckpoint")
    const advanced = yield* refused(
      store.advanceProjectionCursors("p", checkpoint(1), checkpoint(7, { "a/2": 1 })),
      "StoreUnavailable"
    )
    assert.strictEqual(advanced.operation, "advanceProjectionCursors")
    assert.match(advanced.message, /disk is on fire/)
    assert.deepStrictEqual(plain(yield* store.loadProjectionCheckpoint("p")), [1, { "a/1": 1 }])
  }).pipe(Effect.provide(sqlite))
)
