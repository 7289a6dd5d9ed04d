/**
 * Puts one PgBouncer before the Postgres server of the run; `PooledDatabases.ts` leads the suites through it. Where
 * there is none to be had the run ends here with one sentence, since skipping the tests would look like success.
 */
import setupServer from "@millrace/testkit/globalSetup"
import * as PgBouncer from "./PgBouncer.js"
import { poolerVariable } from "./PooledDatabases.js"

/** Called by vitest once before the run; what it returns is called once after it. */
const setup = async (): Promise<() => Promise<void>> => {
  const binary = PgBouncer.find()
  if (binary === undefined) {
    process.stderr.write(`${PgBouncer.missing}\n`)
    process.exit(1)
  }
  const stopServer = await setupServer()
  try {
    const pooler = await PgBouncer.start(binary, new URL(process.env["MILLRACE_TEST_PG_URL"]!))
    process.env[poolerVariable] = String(pooler.port)
    return async () => {
      delete process.env[poolerVariable]
      await pooler.stop()
      await stopServer()
    }
  } catch (cause) {
    await stopServer()
    throw cause
  }
}

export default setup
