/** Results as rows of an application's table: what holds on every database. */
import { assert, layer as testsWith } from "@effect/vitest"
import * as SqlSink from "@millrace/sql/SqlSink"
import type { UpsertOptions } from "@millrace/sql/SqlSink"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"

interface Total {
  readonly account: string
  readonly cents: number
}

const context = { pipeline: "p", checkpointId: 0 }

/** As it comes back from a checkpoint, whose bytes are their own kind. */
const saved = (prepared: unknown): unknown => structuredClone(prepared)

/** Declares the tests for one database. */
export const sqlSinks = <E>(name: string, layer: Layer.Layer<SqlClient.SqlClient, E>): void => {
  let tables = 0
  /** A sink of totals with a table of its own. */
  const scene = (options: Partial<UpsertOptions<Total>> = {}) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const table = `Totals "${++tables}".x`
      const quoted = sql.literal(`"${table.replaceAll(`"`, `""`)}"`)
      const sink = SqlSink.upsert<Total>({
        name: "totals",
        table,
        key: ["account"],
        row: ({ account, cents }) => ({ account, "Ce nts": cents }),
        createTable: () =>
          sql`CREATE TABLE IF NOT EXISTS ${quoted} (account TEXT PRIMARY KEY, "Ce nts" BIGINT NOT NULL)`,
        ...options
      })
      const rows = Effect.map(
        sql<{ readonly account: string; readonly cents: number | string }>`
          SELECT account, "Ce nts" AS cents FROM ${quoted} ORDER BY account
        `,
        (found) => found.map(({ account, cents }) => [account, Number(cents)] as const)
      )
      return { sql, sink, rows }
    })
  const total = (account: string, cents: number): Total => ({ account, cents })

  testsWith(layer, { timeout: "60 seconds", excludeTestServices: true })(`SqlSink / ${name}`, (it) => {
    it.scoped("rows are there when they are committed, the last one of each key", () =>
      Effect.gen(function* () {
        const { rows, sink } = yield* scene()
        const writer = yield* sink.open(context)
        yield* writer.write([total("a", 1), total("b", 2), total("a", 3)])
        const first = yield* writer.prepare(1)
        yield* writer.write([total("a", 4), total("c", 5)])
        assert.deepStrictEqual(yield* rows, [])
        yield* writer.commit(1, first)
        assert.deepStrictEqual(yield* rows, [
          ["a", 3],
          ["b", 2]
        ])
        yield* writer.commit(2, yield* writer.prepare(2))
        assert.deepStrictEqual(yield* rows, [
          ["a", 4],
          ["b", 2],
          ["c", 5]
        ])
        assert.isUndefined(yield* writer.prepare(3))
        yield* writer.commit(3, undefined)
      })
    )

    it.scoped("a commit again, here or after a crash, changes nothing; what was not committed is gone", () =>
      Effect.gen(function* () {
        const { rows, sink } = yield* scene()
        const writer = yield* sink.open(context)
        yield* writer.write([total("a", 1), total("b", 2)])
        const prepared = saved(yield* writer.prepare(1))
        yield* writer.write([total("z", 9)])
        const again = yield* sink.open({ ...context, checkpointId: 1 })
        yield* again.commit(1, prepared)
        yield* again.commit(1, prepared)
        assert.isUndefined(yield* again.prepare(2))
        assert.deepStrictEqual(yield* rows, [
          ["a", 1],
          ["b", 2]
        ])
      })
    )

    it.scoped(
      "many rows go in several statements of one transaction, and a commit that breaks off writes none",
      () =>
        Effect.gen(function* () {
          const { rows, sink, sql } = yield* scene()
          const writer = yield* sink.open(context)
          const many = Array.from({ length: 3_210 }, (_, n) => total(String(n).padStart(5, "0"), n))
          yield* writer.write(many)
          const prepared = (yield* writer.prepare(1)) as { readonly rows: ReadonlyArray<unknown> }
          const broken = { ...prepared, rows: [...prepared.rows, ["x", null]] }
          assert.strictEqual((yield* Effect.flip(writer.commit(1, broken)))._tag, "SqlError")
          assert.deepStrictEqual(yield* rows, [])
          const undone = sql.withTransaction(
            Effect.zipRight(writer.commit(1, prepared), Effect.fail("no" as const))
          )
          assert.strictEqual(yield* Effect.flip(undone), "no")
          assert.deepStrictEqual(yield* rows, [])
          yield* sql.withTransaction(writer.commit(1, prepared))
          assert.deepStrictEqual(
            yield* rows,
            many.map(({ account, cents }) => [account, cents] as const)
          )
          assert.strictEqual(yield* sink.database!, sql)
        })
    )

    it.scoped("every kind of value comes through, under keys of several columns", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const table = `kinds_${++tables}`
        const bytes = name === "postgres" ? sql.literal("BYTEA") : sql.literal("BLOB")
        const sink = SqlSink.upsert({
          name: "kinds",
          table,
          key: ["n", "text"],
          columns: ["text", "n", "big", "yes", "bytes", "empty"],
          row: (row: Readonly<Record<string, SqlSink.SqlValue>>) => row,
          createTable: (given) => sql`
            CREATE TABLE IF NOT EXISTS ${sql(given)} (
              n BIGINT NOT NULL, text TEXT NOT NULL, big BIGINT, yes BOOLEAN, bytes ${bytes}, empty TEXT,
              PRIMARY KEY (n, text)
            )`
        })
        const writer = yield* sink.open(context)
        const row = {
          n: 1,
          text: `"'ä😀`,
          big: 2n ** 53n + 1n,
          yes: true,
          bytes: Uint8Array.of(0, 255),
          empty: null
        }
        yield* writer.write([row, { ...row, n: 1n, yes: false }, { ...row, text: "1", n: 2 }])
        yield* writer.commit(1, saved(yield* writer.prepare(1)))
        const found = yield* sql<{
          readonly text: string
          readonly big: string
          readonly yes: boolean | number
          readonly bytes: Uint8Array
          readonly empty: null
        }>`SELECT text, CAST(big AS TEXT) AS big, yes, bytes, empty FROM ${sql(table)} ORDER BY n`
        assert.deepStrictEqual(
          found.map(({ big, bytes, empty, text, yes }) => [text, big, Boolean(yes), [...bytes], empty]),
          [
            [`"'ä😀`, "9007199254740993", false, [0, 255], null],
            ["1", "9007199254740993", true, [0, 255], null]
          ]
        )
      })
    )

    it.scoped("wide rows go in as many at a time as the database takes parameters", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const table = `wide_${++tables}`
        const columns = Array.from({ length: 70 }, (_, at) => `c${at}`)
        const sink = SqlSink.upsert({
          name: "wide",
          table,
          key: ["c0"],
          row: (n: number) => Object.fromEntries(columns.map((column, at) => [column, n + at])),
          createTable: (given) =>
            sql`CREATE TABLE IF NOT EXISTS ${sql(given)} (${sql.literal(
              columns.map((column, at) => `${column} INTEGER${at === 0 ? " PRIMARY KEY" : ""}`).join(", ")
            )})`
        })
        const writer = yield* sink.open(context)
        yield* writer.write(Array.from({ length: 1_500 }, (_, n) => n))
        yield* writer.commit(1, yield* writer.prepare(1))
        const [row] = yield* sql<{ readonly rows: unknown; readonly last: unknown }>`
          SELECT count(*) AS rows, sum(c69) AS last FROM ${sql(table)}
        `
        assert.deepStrictEqual([Number(row!.rows), Number(row!.last)], [1_500, 1_227_750])
      })
    )

    it.scoped("a table of nothing but its key", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const table = `seen_${++tables}`
        const sink = SqlSink.upsert({
          name: "seen",
          table,
          key: ["id"],
          row: (id: number) => ({ id }),
          createTable: (given) => sql`CREATE TABLE IF NOT EXISTS ${sql(given)} (id INTEGER PRIMARY KEY)`
        })
        for (const [at, ids] of [
          [1, [1, 2]],
          [2, [2, 3]]
        ] as const) {
          const writer = yield* sink.open(context)
          yield* writer.write(ids)
          yield* writer.commit(at, yield* writer.prepare(at))
        }
        const found = yield* sql<{ readonly id: number }>`SELECT id FROM ${sql(table)} ORDER BY id`
        assert.deepStrictEqual(
          found.map(({ id }) => id),
          [1, 2, 3]
        )
      })
    )

    if (name === "postgres")
      it.scoped("a table of another schema", () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`CREATE SCHEMA "An other"`
          const sink = SqlSink.upsert({
            name: "seen",
            table: "seen",
            schema: "An other",
            key: ["id"],
            row: (id: number) => ({ id }),
            createTable: () => sql`CREATE TABLE "An other".seen (id INTEGER PRIMARY KEY)`
          })
          const writer = yield* sink.open(context)
          yield* writer.write([1])
          yield* writer.commit(1, yield* writer.prepare(1))
          assert.deepStrictEqual(yield* sql`SELECT id FROM "An other".seen`, [{ id: 1 }])
        })
      )

    it.scoped("rows that the table could not take, and wrong options, are told", () =>
      Effect.gen(function* () {
        const fields: Array<string> = []
        const bad: ReadonlyArray<Partial<UpsertOptions<Total>>> = [
          { name: "" },
          { table: "" },
          { table: "x".repeat(64) },
          { key: [] },
          { key: ["account", "account"] },
          { columns: ["cents"] },
          { columns: ["account", "\u0000"] },
          { schema: "" }
        ]
        for (const options of bad) {
          const error = yield* Effect.flip((yield* scene(options)).sink.open(context))
          fields.push(error._tag === "InvalidArgument" ? error.field : error._tag)
        }
        assert.deepStrictEqual(fields, [
          "name",
          "table",
          "table",
          "key",
          "key[1]",
          "columns",
          "columns[1]",
          "schema"
        ])
        const wrong: ReadonlyArray<Readonly<Record<string, unknown>>> = [
          { account: "a", more: 1 },
          { account: "a", "Ce nts": 1, more: 1 },
          { account: null, "Ce nts": 1 },
          { account: "\u0000", "Ce nts": 1 },
          { account: "a", "Ce nts": {} },
          { account: "a", "Ce nts": undefined }
        ]
        for (const row of wrong) {
          const { sink } = yield* scene({ row: () => row as never, columns: ["account", "Ce nts"] })
          const writer = yield* sink.open(context)
          assert.strictEqual((yield* Effect.flip(writer.write([total("a", 1)])))._tag, "InvalidArgument")
        }
        const { sink } = yield* scene({ row: ({ cents }) => ({ cents }) })
        const keyless = yield* Effect.flip((yield* sink.open(context)).write([total("a", 1)]))
        assert.strictEqual(keyless._tag, "InvalidArgument")
      })
    )
  })
}
