/** Places that tests keep data in: empty at the start, gone at the end. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { existsSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { dirname } from "node:path"
import pg from "pg"
import * as Databases from "../src/Databases.js"

const query = (url: string, sql: string): Effect.Effect<ReadonlyArray<unknown>> =>
  Effect.promise(async () => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      return (await client.query(sql)).rows
    } finally {
      await client.end()
    }
  })

const exists = (name: string): Effect.Effect<boolean> =>
  Effect.map(
    query(process.env.MILLRACE_TEST_PG_URL ?? "", `SELECT FROM pg_database WHERE datname = '${name}'`),
    (rows) => rows.length === 1
  )

describe("Databases", () => {
  it.scoped("every Postgres database is new and empty", () =>
    Effect.gen(function* () {
      const [one, other] = yield* Effect.all([Databases.postgres, Databases.postgres], { concurrency: 2 })
      assert.notStrictEqual(one.name, other.name)
      yield* query(Redacted.value(one.url), "CREATE TABLE mine (n INT)")
      assert.deepStrictEqual(
        yield* query(
          Redacted.value(other.url),
          "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ),
        []
      )
    })
  )

  it.scoped(
    "closing the scope drops the database, also with a connection and a prepared transaction left open",
    () =>
      Effect.gen(function* () {
        const name = yield* Effect.scoped(
          Effect.gen(function* () {
            const { name, url } = yield* Databases.postgres
            const left = new pg.Client({ connectionString: Redacted.value(url) })
            left.on("error", () => undefined)
            yield* Effect.promise(() => left.connect())
            yield* Effect.promise(() =>
              left.query(
                `CREATE TABLE mine (n INT); BEGIN; INSERT INTO mine VALUES (1); PREPARE TRANSACTION '${name}'`
              )
            )
            assert.isTrue(yield* exists(name))
            return name
          })
        )
        assert.isFalse(yield* exists(name))
      })
  )

  it.effect("a server that does not answer is a typed error without the password", () =>
    Effect.gen(function* () {
      const nobody = Redacted.make("postgres://someone:s3cret@127.0.0.1:9/postgres")
      const error = yield* Effect.flip(Effect.scoped(Databases.postgresAt(nobody)))
      assert.strictEqual(error.step, "connect")
      assert.include(error.message, "127.0.0.1:9")
      assert.notInclude(JSON.stringify(error) + error.message, "s3cret")
    })
  )

  it.effect("closing the scope removes a SQLite file with all that stands beside it", () =>
    Effect.gen(function* () {
      const file = yield* Effect.scoped(
        Effect.gen(function* () {
          const file = yield* Databases.sqliteFile
          assert.isFalse(existsSync(file))
          for (const suffix of ["", "-wal", "-shm"])
            yield* Effect.promise(() => writeFile(file + suffix, "x"))
          return file
        })
      )
      assert.isFalse(existsSync(dirname(file)))
    })
  )
})
