/**
 * Gives one PostgreSQL server to a whole vitest run: the one named by `MILLRACE_TEST_PG_URL`, which is checked
 * first, or a server that starts here and is stopped at the end. Workers find it in the same variable.
 * Where neither works the run fails before its first test, since skipping the tests would look like success.
 *
 * @example
 * // vitest.config.ts
 * export default defineConfig({ test: { globalSetup: "@millrace/testkit/globalSetup" } })
 */
import * as Redacted from "effect/Redacted"
import { place, reason, withClient } from "./internal/postgresConnection.js"
import * as PostgresServer from "./PostgresServer.js"
import { PostgresServerError } from "./PostgresServerError.js"

/** Name of the variable that names the server: a url of a user who may create databases. */
const variable = "MILLRACE_TEST_PG_URL"

/** Name of the variable that names the binaries for further servers. */
const nativeVariable = "MILLRACE_TEST_PG_NATIVE"

/** Called by vitest once before all projects; what it returns is called once after them. */
const setup = async (): Promise<() => Promise<void>> => {
  const named = process.env[variable]
  if (named !== undefined && named !== "") {
    await check(named)
    return async () => undefined
  }
  const server = await PostgresServer.startPromise()
  const before = { [variable]: named, [nativeVariable]: process.env[nativeVariable] }
  process.env[variable] = Redacted.value(server.url)
  // Tests that start servers of their own run what runs here, instead of finding out again and copying again.
  process.env[nativeVariable] = server.nativeFolder
  return async () => {
    restore(before)
    await server.stop()
  }
}

export default setup

// ---- internal ----

/** Puts variables of the environment back to what they were. */
const restore = (before: Readonly<Record<string, string | undefined>>): void => {
  for (const [name, value] of Object.entries(before)) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
}

/** Rejects unless the server answers and its user may create the databases that tests need. */
const check = async (url: string): Promise<void> => {
  const fail = (what: string) =>
    new PostgresServerError({
      step: "connect",
      output: `${variable} is set, but ${what}. server=${place(url)}`
    })
  const mayCreate = await withClient(url, async (client) => {
    const { rows } = await client.query<{ readonly ok: boolean }>(
      "SELECT rolcreatedb OR rolsuper AS ok FROM pg_roles WHERE rolname = current_user"
    )
    return rows[0]?.ok === true
  }).catch((cause: unknown) => {
    throw fail(`no connection could be made: ${reason(cause)}`)
  })
  if (!mayCreate) throw fail("its user may not create databases")
}
