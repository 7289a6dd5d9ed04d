/** The servers that all other tests stand on: they start, crash and come back, and none is left behind. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { chmod, cp, lstat, mkdir, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import pg from "pg"
import * as Databases from "../src/Databases.js"
import { packagedFolder } from "../src/internal/postgresBinaries.js"
import * as processes from "../src/internal/processes.js"
import * as PostgresServer from "../src/PostgresServer.js"

const query = (url: Redacted.Redacted<string>, sql: string): Effect.Effect<ReadonlyArray<unknown>> =>
  Effect.promise(async () => {
    const client = new pg.Client({ connectionString: Redacted.value(url) })
    client.on("error", () => undefined)
    await client.connect()
    try {
      return (await client.query(sql)).rows
    } finally {
      await client.end()
    }
  })

const isRoot = process.getuid?.() === 0

/** Longest time that a server may outlive the process that held it. Measured: under 200 ms. */
const outliveMaxMs = 10_000

// ---- a process of its own that holds a server ----

interface Held {
  readonly holder: ChildProcess
  readonly pid: number
  readonly folder: string
  readonly watchdogPid: number | undefined
}

const fixture = join(dirname(fileURLToPath(import.meta.url)), "fixtures", "holdServer.ts")

const holdServer = Effect.acquireRelease(
  Effect.promise(async (): Promise<Held> => {
    const holder = spawn(
      process.execPath,
      ["--conditions=millrace-source", "--import", "tsx", fixture],
      // Leads a process group, as the command of a terminal does.
      { stdio: ["pipe", "pipe", "inherit"], detached: true }
    )
    const [line] = await once(createInterface(holder.stdout), "line")
    return { holder, ...JSON.parse(String(line)) }
  }),
  ({ holder }) => Effect.sync(() => holder.kill("SIGKILL"))
)

const assertLeftNothing = ({ folder, pid }: Held): Effect.Effect<void> =>
  Effect.promise(async () => {
    assert.isTrue(await processes.gone([pid], outliveMaxMs), `postgres is still there. pid=${pid}`)
    const deadlineMs = performance.now() + outliveMaxMs
    while (existsSync(folder) && performance.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    assert.isFalse(existsSync(folder), `its files are still there. folder=${folder}`)
  })

// Some cases start three servers and processes, each a second of work for one core when it has it to itself.
describe("PostgresServer", { timeout: 120_000 }, () => {
  it.scoped("starts a server with production's durability and answers queries", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.start({ settings: { max_connections: 17 } })
      const rows = yield* query(
        server.url,
        `SELECT current_setting('fsync') AS fsync,
                current_setting('synchronous_commit') AS synchronous_commit,
                current_setting('max_connections') AS max_connections,
                current_setting('max_prepared_transactions') AS max_prepared_transactions,
                current_setting('server_version_num')::int >= 180000 AS is_recent,
                'a' < 'B' AS sorts_by_language`
      )
      assert.deepStrictEqual(rows, [
        {
          fsync: "on",
          synchronous_commit: "on",
          max_connections: "17",
          max_prepared_transactions: "10",
          is_recent: true,
          sorts_by_language: true
        }
      ])
    })
  )

  it.effect("closing the scope stops the server and deletes its files", () =>
    Effect.gen(function* () {
      const { folder, pid } = yield* Effect.scoped(
        Effect.gen(function* () {
          const server = yield* PostgresServer.start()
          return { folder: server.folder, pid: (yield* server.pid)! }
        })
      )
      assert.isUndefined(processes.look(pid))
      assert.isFalse(existsSync(folder))
    })
  )

  for (const mode of ["kill", "immediate", "fast"] as const) {
    it.scoped(`committed rows survive a stop by "${mode}", open transactions do not`, () =>
      Effect.gen(function* () {
        const server = yield* PostgresServer.start()
        yield* query(server.url, "CREATE TABLE kept (n INT)")
        yield* query(server.url, "INSERT INTO kept VALUES (1)")
        const open = new pg.Client({ connectionString: Redacted.value(server.url) })
        const cut = new Promise((resolve) => open.on("error", resolve))
        yield* Effect.promise(() => open.connect())
        yield* Effect.promise(() => open.query("BEGIN; INSERT INTO kept VALUES (2)"))
        const before = yield* server.pid

        yield* server.stop({ mode })
        assert.isUndefined(yield* server.pid)
        yield* Effect.promise(() => cut)
        yield* server.restart()

        assert.notStrictEqual(yield* server.pid, before)
        assert.deepStrictEqual(yield* query(server.url, "SELECT n FROM kept"), [{ n: 1 }])
      })
    )
  }

  it.scoped("stop and restart asked for at once are done one after the other", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.start()
      yield* Effect.all(
        [server.restart({ mode: "kill" }), server.stop(), server.restart({ mode: "immediate" })],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(yield* query(server.url, "SELECT 1 AS n"), [{ n: 1 }])
    })
  )

  it.scoped("a port that is taken is not an obstacle", () =>
    Effect.gen(function* () {
      // The flag overrules the port that was found free, so the first start meets a taken one for certain.
      const taken = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const listener = createServer()
          listener.listen(0, "127.0.0.1")
          await once(listener, "listening")
          return listener
        }),
        (listener) => Effect.sync(() => listener.close())
      )
      const address = taken.address()
      assert.isTrue(address !== null && typeof address === "object")
      const port = (address as { readonly port: number }).port
      const error = yield* Effect.flip(PostgresServer.start({ postgresFlags: ["-p", String(port)] }))
      assert.strictEqual(error.step, "start")
      assert.include(error.output, "could not bind")

      const one = yield* PostgresServer.start()
      const other = yield* PostgresServer.start()
      assert.notStrictEqual(one.port, other.port)
    })
  )

  it.scoped("a server that refuses its settings fails with what it wrote and what to do next", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(PostgresServer.start({ settings: { no_such_setting: 1 } }))
      assert.strictEqual(error.step, "start")
      assert.include(error.message, "no_such_setting")
      assert.include(error.message, "MILLRACE_TEST_PG_URL")
    })
  )

  it.scoped("an initdb that fails tells why", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(PostgresServer.start({ initdbFlags: ["--no-such-flag"] }))
      assert.strictEqual(error.step, "initdb")
      assert.include(error.message, "no-such-flag")
    })
  )

  it.scoped("binaries that do not run are named", () =>
    Effect.gen(function* () {
      const nativeFolder = join(yield* Databases.folder, "native")
      yield* Effect.promise(async () => {
        await mkdir(join(nativeFolder, "bin"), { recursive: true })
        for (const program of ["initdb", "postgres"]) {
          await writeFile(
            join(nativeFolder, "bin", program),
            "#!/bin/sh\necho 'libfoo.so not found' >&2\nexit 127\n"
          )
        }
      })
      const error = yield* Effect.flip(PostgresServer.start({ nativeFolder }))
      assert.strictEqual(error.step, "binaries")
      assert.include(error.message, "libfoo.so not found")
    })
  )

  // Only root hands the server over to another account, so only root can have binaries which that account
  // cannot reach; for everybody else the same copy is asked for by binaries that are not executable.
  it.scoped("binaries that the server's account cannot reach are run from a copy", () =>
    Effect.gen(function* () {
      const closed = yield* Databases.folder
      const nativeFolder = join(closed, "native")
      yield* Effect.promise(async () => {
        // Without the links that the package makes after install, as `npm ci --ignore-scripts` leaves it.
        await cp(packagedFolder(), nativeFolder, {
          recursive: true,
          filter: async (path) => !(await lstat(path)).isSymbolicLink()
        })
        await chmod(closed, 0o700)
        if (!isRoot) await chmod(join(nativeFolder, "bin", "initdb"), 0o600)
      })
      const server = yield* PostgresServer.start({ nativeFolder })
      assert.isTrue(server.nativeFolder.startsWith(server.folder))
      assert.deepStrictEqual(yield* query(server.url, "SELECT 1 AS n"), [{ n: 1 }])
    })
  )

  for (const name of ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"] as const) {
    it.scoped(`${name} to the process that holds a server leaves no server and no files`, () =>
      Effect.gen(function* () {
        const held = yield* holdServer
        held.holder.kill(name)
        yield* assertLeftNothing(held)
      })
    )
  }

  it.scoped("Ctrl-C in a terminal, which reaches the whole process group, leaves none either", () =>
    Effect.gen(function* () {
      const held = yield* holdServer
      process.kill(-held.holder.pid!, "SIGINT")
      yield* assertLeftNothing(held)
    })
  )

  it.scoped("a process that ends by itself has stopped its server before it is gone", () =>
    Effect.gen(function* () {
      const held = yield* holdServer
      const ended = once(held.holder, "exit")
      held.holder.stdin!.write("leave\n")
      yield* Effect.promise(() => ended)
      assert.isUndefined(processes.look(held.pid))
      assert.isFalse(existsSync(held.folder))
    })
  )

  it.scoped.runIf(process.platform === "linux")(
    "a server whose holder and watchdog were both killed is stopped by the next start, others are not",
    () =>
      Effect.gen(function* () {
        const neighbour = yield* holdServer
        const held = yield* holdServer
        processes.signal(held.watchdogPid!, "SIGKILL")
        yield* Effect.promise(() => processes.gone([held.watchdogPid!], outliveMaxMs))
        const ended = once(held.holder, "exit")
        held.holder.kill("SIGKILL")
        yield* Effect.promise(() => ended)
        assert.isDefined(processes.look(held.pid), "nothing but the sweep is left to stop it")

        yield* PostgresServer.start()
        assert.isUndefined(processes.look(held.pid))
        assert.isFalse(existsSync(held.folder))
        assert.isDefined(processes.look(neighbour.pid))
      })
  )
})
