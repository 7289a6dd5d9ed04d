/**
 * A logical dump restored into a fresh server: positions, versions and cursors mean there what they meant, and
 * the next append comes behind all of them. By `pg_dump` and `psql` where those of the server's version are on
 * the PATH; else as a migration tool would do it, with the schema made by the layer and the rows copied.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Page from "@millrace/core/Page"
import * as Databases from "@millrace/testkit/Databases"
import * as PostgresServer from "@millrace/testkit/PostgresServer"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { execFileSync, spawnSync } from "node:child_process"
import pg from "pg"
import type { Url } from "./support/PgLog.js"
import {
  append,
  connect,
  events,
  hold,
  noDifference,
  compare,
  open,
  select,
  table,
  tail
} from "./support/PgLog.js"

/** Major version of a program of PostgreSQL on the PATH; 0 when there is none. */
const majorOf = (program: string): number => {
  const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8" })
  return Number(/\(PostgreSQL\) (\d+)/.exec(stdout ?? "")?.[1] ?? 0)
}

const serverMajor = (url: Url): Effect.Effect<number> =>
  Effect.map(
    select<{ readonly major: number }>(
      url,
      "SELECT current_setting('server_version_num')::int / 10000 AS major"
    ),
    ([row]) => row!.major
  )

const byDump = (from: Url, to: Url): Effect.Effect<void> =>
  Effect.sync(() => {
    const dump = execFileSync("pg_dump", ["--dbname", Redacted.value(from)], { maxBuffer: 1 << 28 })
    execFileSync("psql", ["--quiet", "--set=ON_ERROR_STOP=1", "--dbname", Redacted.value(to)], {
      input: dump,
      stdio: ["pipe", "ignore", "pipe"]
    })
  })

/** The rows of every table of the log as text, within one snapshot, and where the sequence stands. */
const byRows = (from: Url, to: Url): Effect.Effect<void> =>
  Effect.scoped(
    Effect.gen(function* () {
      yield* Effect.orDie(open(to))
      const source = yield* connect(from)
      const target = yield* connect(to)
      yield* source.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
      for (const name of ["streams", "events", "head_floor", "snapshots"]) {
        const columns = yield* source.rows<{ readonly name: string; readonly type: string }>(
          `SELECT quote_ident(attname) AS name, format_type(atttypid, atttypmod) AS type
           FROM pg_attribute
           WHERE attrelid = 'millrace.${name}'::regclass AND attnum > 0 AND NOT attisdropped
           ORDER BY attnum`
        )
        const rows = yield* source.rows<Record<string, string | null>>(
          `SELECT ${columns.map(({ name }) => `${name}::text`).join(", ")} FROM millrace.${name}`
        )
        yield* target.rows(`DELETE FROM millrace.head_floor WHERE '${name}' = 'head_floor'`)
        yield* target.rows(
          `INSERT INTO millrace.${name} (${columns.map(({ name }) => name).join(", ")})
           OVERRIDING SYSTEM VALUE
           SELECT ${columns.map(({ type }, n) => `x.c${n}::${type}`).join(", ")}
           FROM unnest(${columns.map((_, n) => `$${n + 1}::text[]`).join(", ")})
             AS x(${columns.map((_, n) => `c${n}`).join(", ")})`,
          columns.map(({ name }) => rows.map((row) => row[name.replaceAll('"', "")]))
        )
      }
      const [sequence] = yield* source.rows<{ readonly last: string; readonly called: boolean }>(
        "SELECT last_value AS last, is_called AS called FROM millrace.positions"
      )
      yield* target.rows("SELECT setval('millrace.positions', $1::bigint, $2)", [
        sequence!.last,
        sequence!.called
      ])
    })
  )

describe("a log restored into a fresh server", () => {
  it.scopedLive(
    "has every position, honours the cursors, and appends behind them",
    () =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const log = yield* open(url)
        const { sql, store } = log
        const odd = { text: `\u0000 ' " \\ é 😀`, nothing: null }
        yield* store.write({
          streamId: "odd/1",
          events: [
            { type: "Odd", data: odd, tags: ['a"b', "c,d", "{}"], metadata: { correlationId: "x" } },
            { type: "Null", data: null }
          ],
          routingKey: "key"
        })
        for (let n = 0; n < 30; n++) yield* store.write([append(`a/${n % 4}`, 2), append("b/1")])
        const middle = tail(store, 7)
        for (let n = 0; n < 3; n++) {
          const page = yield* store.read({ page: Page.forward({ first: 7, after: middle.cursor() }) })
          middle.seen.push(...Page.nodes(page))
        }
        yield* Effect.exit(
          sql.withTransaction(Effect.zipRight(store.write(append("a/1", 20)), Effect.fail("no")))
        )
        yield* store.archiveStream("a/3")
        yield* store.deleteStream("a/2", { tombstone: true })
        // The newest events are deleted: the head stands behind the last row.
        const newest = yield* store.write({ streamId: "newest/1", events: events(3) })
        const atHead = tail(store)
        yield* atHead.drain
        assert.strictEqual(atHead.cursor(), newest.position)
        yield* store.deleteStream("newest/1")
        const head = yield* store.head
        // Open while the dump is taken: not part of it, but positions are drawn.
        const slow = yield* hold(log, store.write(append("slow/1", 5)))

        const fresh = yield* PostgresServer.start()
        const restored = yield* Databases.postgresAt(fresh.url)
        const major = yield* serverMajor(url)
        const dumps =
          majorOf("pg_dump") === major && majorOf("psql") >= major && (yield* serverMajor(fresh.url)) >= major
        yield* dumps ? byDump(url, restored.url) : byRows(url, restored.url)
        yield* Effect.logInfo("restored", { by: dumps ? "pg_dump" : "rows", major })
        yield* slow.rollBack

        const there = yield* open(restored.url)
        const before = yield* table(url)
        assert.deepStrictEqual(yield* table(restored.url), before)
        const everything = { page: Page.forward({ first: 1_000 }), includeArchived: true }
        assert.deepStrictEqual(yield* there.store.read(everything), yield* store.read(everything))
        assert.strictEqual(yield* there.store.head, head)
        assert.isAtLeast(yield* there.store.head, atHead.cursor())
        // A cursor in the middle goes on without a gap.
        const cursor = middle.seen.at(-1)!.position
        const rest = yield* there.store.read({
          page: Page.forward({ first: 1_000, after: cursor as never }),
          includeArchived: true
        })
        assert.deepStrictEqual(
          compare(
            Page.nodes(rest),
            before.filter(({ position }) => position > cursor)
          ),
          noDifference
        )
        // The next append: behind all positions that were ever drawn, with the next version.
        const next = yield* there.store.write([append("a/1"), append("newest/1")])
        assert.isAbove(next.appends[0]!.firstPosition, slow.value.position)
        assert.strictEqual(next.appends[0]!.version, (yield* store.streamVersion("a/1")) + 1)
        assert.strictEqual(next.appends[1]!.version, 4)
        const news = yield* there.store.read({ page: Page.forward({ after: atHead.cursor() }) })
        assert.deepStrictEqual(
          news.edges.map(({ cursor }) => cursor),
          next.appends.map(({ position }) => position)
        )
        assert.strictEqual((yield* Effect.flip(there.store.write(append("a/2"))))._tag, "StreamDeleted")
        // Nothing can be changed there either.
        const byHand = yield* connect(restored.url)
        assert.strictEqual(yield* byHand.refusal("DELETE FROM millrace.events"), "23001")
        assert.instanceOf(byHand.client, pg.Client)
      }),
    60_000
  )
})
