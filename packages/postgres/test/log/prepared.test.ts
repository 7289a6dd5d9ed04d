/** Prepared transactions: they have no process and outlive the server, and hold readers back all the same. */
import { assert, describe, it } from "@effect/vitest"
import { namesOf } from "@millrace/postgres/PgNames"
import * as PgHead from "@millrace/postgres/PgHead"
import * as PgPool from "@millrace/postgres/PgPool"
import * as Databases from "@millrace/testkit/Databases"
import * as PostgresServer from "@millrace/testkit/PostgresServer"
import * as Effect from "effect/Effect"
import type { Url } from "./support/PgLog.js"
import { append, connect, open, reached, table, tail } from "./support/PgLog.js"

/** An append in a transaction that is then prepared, as a transaction manager would do it. */
const prepare = (url: Url, gid: string, stream: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { rows } = yield* connect(url, "manager")
      yield* rows("BEGIN")
      yield* rows(
        `SELECT millrace.append_one('${stream}', 7::smallint, -1, NULL, 'Prepared', gen_random_uuid()::text, '{}', NULL, NULL, '{}', 0)`
      )
      yield* rows(`PREPARE TRANSACTION '${gid}'`)
    })
  )

const holdersOf = (url: Url) =>
  Effect.scoped(
    Effect.gen(function* () {
      const pool = yield* PgPool.make({
        url,
        maxConnections: 4,
        applicationName: "holders",
        connectTimeoutMs: 5_000
      })
      return yield* PgHead.make(pool, namesOf("millrace")).holders
    })
  )

describe("a prepared transaction that appended", () => {
  for (const end of ["COMMIT", "ROLLBACK"] as const) {
    it.scopedLive(`holds the head back until ${end} PREPARED, and nothing is skipped`, () =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const { store } = yield* open(url)
        const before = yield* store.write(append("a/1", 2))
        yield* prepare(url, `hold-${end}`, "a/2")
        const behind = yield* store.write(append("a/1", 2))
        const reader = tail(store)
        yield* reader.drain
        assert.strictEqual(reader.cursor(), before.position)
        assert.strictEqual(yield* store.head, before.position)

        yield* (yield* connect(url)).rows(`${end} PREPARED 'hold-${end}'`)
        yield* reached(store, behind.position)
        yield* reader.drain
        const there = yield* table(url)
        assert.deepStrictEqual(reader.seen, there)
        assert.strictEqual(there.length, end === "COMMIT" ? 5 : 4)
        const next = yield* store.write(append("a/2"))
        assert.strictEqual(next.appends[0]!.version, end === "COMMIT" ? 2 : 1)
      })
    )
  }

  it.scopedLive("is among the holders of the head, by its name and with its age", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      yield* open(url)
      yield* prepare(url, "to-be-listed", "a/1")
      const holders = yield* holdersOf(url)
      assert.strictEqual(holders.length, 1)
      assert.isNull(holders[0]!.pid)
      assert.strictEqual(holders[0]!.application, "prepared transaction to-be-listed")
      // Its age grows; a transaction of unknown age would never be reported.
      yield* Effect.sleep("20 millis")
      assert.isAtLeast((yield* holdersOf(url))[0]!.ageMs, 20)
      yield* (yield* connect(url)).rows("ROLLBACK PREPARED 'to-be-listed'")
      assert.deepStrictEqual(yield* holdersOf(url), [])
    })
  )

  it.scopedLive("holds the head back over a crash of the server", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.start()
      const { url } = yield* Databases.postgresAt(server.url)
      const { store } = yield* open(url)
      const before = yield* store.write(append("a/1", 2))
      yield* prepare(url, "over-a-crash", "a/2")
      yield* store.write(append("a/1"))
      yield* server.restart({ mode: "kill" })
      const behind = yield* store.write(append("a/1"))
      const reader = tail(store)
      yield* reader.drain
      assert.strictEqual(reader.cursor(), before.position)
      const holders = yield* holdersOf(url)
      assert.deepStrictEqual(
        holders.map(({ application, pid }) => ({ application, pid })),
        [{ application: "prepared transaction over-a-crash", pid: null }]
      )
      yield* (yield* connect(url)).rows("COMMIT PREPARED 'over-a-crash'")
      yield* reached(store, behind.position)
      yield* reader.drain
      const there = yield* table(url)
      assert.deepStrictEqual(reader.seen, there)
      assert.strictEqual(there.length, 5)
    })
  )
})

describe("holders of the head", () => {
  it.scopedLive("are listed oldest first", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      yield* open(url)
      const connections = yield* Effect.forEach([1, 2, 3, 4, 5, 6], (n) => connect(url, `holder ${n}`))
      // In another order than that of their connections.
      const order = [4, 2, 6, 1, 5, 3]
      for (const n of order) {
        yield* connections[n - 1]!.rows("BEGIN")
        yield* connections[n - 1]!.rows(
          `INSERT INTO millrace.events (stream_id, version, type, id, data, vnode) VALUES ('h/${n}', 1, 'H', 'h${n}', '{}', 0)`
        )
      }
      const holders = yield* holdersOf(url)
      assert.deepStrictEqual(
        holders.map(({ application }) => application),
        order.map((n) => `holder ${n}`)
      )
    })
  )
})
