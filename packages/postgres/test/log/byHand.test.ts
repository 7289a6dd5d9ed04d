/** Statements by hand: inserts keep the protocol of the log, and nothing that is there can be changed. */
import { assert, describe, it } from "@effect/vitest"
import * as Databases from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import { append, connect, open, reached, table, tail } from "./support/PgLog.js"

/** SQLSTATE restrict_violation. */
const refused = "23001"

const insert = (stream: string, version: number): string =>
  `INSERT INTO millrace.events (stream_id, version, type, id, data, vnode)
   VALUES ('${stream}', ${version}, 'ByHand', gen_random_uuid()::text, '{}', 0)`

describe("statements by hand", () => {
  it.scopedLive("an insert in a slow transaction holds readers back, and is seen by all of them", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      const { store } = yield* open(url)
      const before = yield* store.write(append("a/1", 3))
      const reader = tail(store)
      yield* reader.drain
      for (const end of ["COMMIT", "ROLLBACK", "COMMIT"]) {
        const byHand = yield* connect(url)
        yield* byHand.rows("BEGIN")
        yield* byHand.rows(insert(`hand/${end}${reader.cursor()}`, 1))
        const other = yield* store.write(append("a/1", 2))
        yield* reader.drain
        assert.isBelow(reader.cursor(), other.position)
        assert.strictEqual(yield* store.head, reader.cursor())
        yield* byHand.rows(end)
        yield* reached(store, other.position)
        yield* reader.drain
      }
      assert.isAbove(reader.cursor(), before.position)
      const there = yield* table(url)
      assert.deepStrictEqual(reader.seen, there)
      assert.strictEqual(there.filter(({ streamId }) => streamId.startsWith("hand/")).length, 2)
    })
  )

  it.scopedLive("an insert after a savepoint was rolled back holds readers back as well", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      const { store } = yield* open(url)
      const byHand = yield* connect(url)
      yield* store.write(append("a/1"))
      yield* byHand.rows("BEGIN; SAVEPOINT one")
      yield* byHand.rows(insert("hand/1", 1))
      yield* byHand.rows("ROLLBACK TO one")
      // The rolled-back part holds nobody back any more.
      const free = yield* store.write(append("a/1"))
      assert.strictEqual(yield* store.head, free.position)
      yield* byHand.rows(insert("hand/1", 1))
      const other = yield* store.write(append("a/1"))
      assert.strictEqual(yield* store.head, free.position)
      yield* byHand.rows("COMMIT")
      yield* reached(store, other.position)
      const reader = tail(store)
      yield* reader.drain
      assert.deepStrictEqual(reader.seen, yield* table(url))
    })
  )

  it.scopedLive("update, delete, truncate, merge and upsert are refused and change nothing", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      const { sql, store } = yield* open(url)
      yield* store.write(append("a/1", 3))
      const before = yield* table(url)
      const byHand = yield* connect(url)
      for (const statement of [
        "UPDATE millrace.events SET type = 'Other'",
        "UPDATE millrace.events SET data = '1' WHERE false",
        "DELETE FROM millrace.events WHERE position = 1",
        "WITH gone AS (DELETE FROM millrace.events RETURNING 1) SELECT count(*) FROM gone",
        "TRUNCATE millrace.events",
        "TRUNCATE millrace.events CASCADE",
        "MERGE INTO millrace.events e USING (SELECT 1) x ON true WHEN MATCHED THEN DELETE",
        `${insert("a/1", 1)} ON CONFLICT (stream_id, version) DO UPDATE SET type = 'Other'`
      ]) {
        assert.strictEqual(yield* byHand.refusal(statement), refused, statement)
      }
      // The door that upkeep opens is closed behind it, also within one transaction.
      yield* Effect.scoped(
        Effect.gen(function* () {
          const attempt = sql.withTransaction(
            Effect.gen(function* () {
              yield* store.archiveStream("a/1")
              yield* store.eraseEvents({ streamId: "a/1" }, null)
              yield* store.deleteStream("a/none")
              return yield* sql`DELETE FROM millrace.events`
            })
          )
          assert.strictEqual((yield* Effect.exit(attempt))._tag, "Failure")
        })
      )
      assert.deepStrictEqual(yield* table(url), before)
    })
  )

  it.scopedLive("an insert at a position that readers have passed is refused", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      const { sql, store } = yield* open(url)
      // A gap, as a rolled-back append leaves it, and readers behind it.
      yield* Effect.exit(
        sql.withTransaction(Effect.zipRight(store.write(append("a/1", 3)), Effect.fail("no")))
      )
      yield* store.write(append("a/1"))
      const reader = tail(store)
      yield* reader.drain
      const byHand = yield* connect(url)
      yield* byHand.refusal(
        `INSERT INTO millrace.events (position, stream_id, version, type, id, data, vnode)
         VALUES (2, 'hand/1', 1, 'ByHand', 'by-hand', '{}', 0)`
      )
      yield* reader.drain
      assert.deepStrictEqual(reader.seen, yield* table(url))
    })
  )
})
