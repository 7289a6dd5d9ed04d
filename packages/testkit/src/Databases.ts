/**
 * Fresh places for tests to keep data in: each exists for one scope, is empty at its start and gone at its
 * end, whatever the test left open. Names are random, so test files run side by side, also against a server
 * that several people share.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { place, reason, sqlState, withClient } from "./internal/postgresConnection.js"
import { PostgresServerError } from "./PostgresServerError.js"

/** A database of its own for one test. */
export interface PostgresDatabase {
  /** For example `mr_x3k9q2vb`. Printed when the test fails, to be found in the server's log. */
  readonly name: string
  readonly url: Redacted.Redacted<string>
}

/**
 * A new database on the given server: `Databases.postgresAt(server.url)` for a test with a server of its own.
 * Closing the scope drops it together with its connections and its prepared transactions. Fails with
 * `PostgresServerError` (`connect`) when the server does not answer or its user may not create databases.
 */
export const postgresAt = (
  server: Redacted.Redacted<string>
): Effect.Effect<PostgresDatabase, PostgresServerError, Scope.Scope> =>
  Effect.acquireRelease(create(server), (database, exit) =>
    Effect.zipRight(
      Exit.isFailure(exit) ? Console.error(`failed on PostgreSQL database ${database.name}`) : Effect.void,
      // A server that the test stopped for good has taken the database along.
      Effect.promise(() => drop(server, database).catch(unlessServerGone))
    )
  )

/**
 * A new database on the server of this test run. Fails with `PostgresServerError` (`connect`) when there is no
 * such server: the run needs `@millrace/testkit/globalSetup`, or `MILLRACE_TEST_PG_URL`.
 *
 * @example
 * const { url } = yield* Databases.postgres
 */
export const postgres: Effect.Effect<PostgresDatabase, PostgresServerError, Scope.Scope> = Effect.suspend(
  () => {
    const url = process.env.MILLRACE_TEST_PG_URL
    return url === undefined || url === ""
      ? new PostgresServerError({
          step: "connect",
          output:
            "no server was started for this run: @millrace/testkit/globalSetup is missing from the vitest config"
        })
      : postgresAt(Redacted.make(url))
  }
)

/** An empty folder below the system's temporary one. Closing the scope removes it with all it holds. */
export const folder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  // A temporary folder that cannot be written leaves a test nothing to handle.
  Effect.promise(() => mkdtemp(join(tmpdir(), "millrace-test-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

/** Path of a SQLite file that does not exist yet. Closing the scope removes it with its -wal and -shm. */
export const sqliteFile: Effect.Effect<string, never, Scope.Scope> = Effect.map(folder, (path) =>
  join(path, "test.db")
)

// ---- internal ----

const alphabet = "abcdefghijkmnpqrstuvwxyz23456789"

/** 40 random bits: among a thousand databases two are equal once in two million runs. */
const randomName = (): string =>
  `mr_${Array.from(randomBytes(8), (byte) => alphabet[byte % alphabet.length]).join("")}`

const create = (server: Redacted.Redacted<string>): Effect.Effect<PostgresDatabase, PostgresServerError> =>
  Effect.tryPromise({
    try: async () => {
      const name = randomName()
      // From template0, which nobody can be connected to: template1 in use makes CREATE DATABASE fail.
      await withClient(Redacted.value(server), (client) =>
        client.query(`CREATE DATABASE ${name} TEMPLATE template0`)
      )
      return { name, url: Redacted.make(withDatabase(Redacted.value(server), name)) }
    },
    catch: (cause) =>
      new PostgresServerError({
        step: "connect",
        output: `cannot create a database: ${reason(cause)}. server=${place(Redacted.value(server))}`
      })
  })

const withDatabase = (url: string, name: string): string => {
  const changed = new URL(url)
  changed.pathname = `/${name}`
  return changed.toString()
}

/** SQLSTATE object_in_use: FORCE ends connections, but a prepared transaction has none. */
const objectInUse = "55006"

const drop = async (server: Redacted.Redacted<string>, database: PostgresDatabase): Promise<void> => {
  const attempt = () =>
    withClient(Redacted.value(server), (client) =>
      client.query(`DROP DATABASE IF EXISTS ${database.name} WITH (FORCE)`)
    )
  try {
    await attempt()
  } catch (cause) {
    if (sqlState(cause) !== objectInUse) throw cause
    await rollBackPrepared(Redacted.value(database.url))
    await attempt()
  }
}

const rollBackPrepared = (url: string): Promise<void> =>
  withClient(url, async (client) => {
    const { rows } = await client.query<{ readonly gid: string }>(
      "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
    )
    for (const { gid } of rows) await client.query(`ROLLBACK PREPARED ${client.escapeLiteral(gid)}`)
  })

const unlessServerGone = (cause: unknown): void => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  if (code !== "ECONNREFUSED" && code !== "ECONNRESET") throw cause
}
