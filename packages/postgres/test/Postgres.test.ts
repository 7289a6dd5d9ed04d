/** The layer: it comes up in any number at once, says what is wrong with its options, and keeps the password to itself. */
import { assert, describe } from "@effect/vitest"
import { InvalidArgument } from "@millrace/core/InvalidArgument"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import net from "node:net"
import { fileURLToPath } from "node:url"
import { inspect } from "node:util"
import type { PostgresOptions } from "../src/Postgres.js"
import * as Postgres from "../src/Postgres.js"
import { appendTo, ask, checkLog, database, open, range, test, unbounded } from "./writer/Fixtures.js"

/** What is in a schema, in words that can be compared. */
const schemaOf = (url: string, schema = "millrace") =>
  ask(
    url,
    `SELECT 'relation ' || c.relkind::text || ' ' || c.relname AS what FROM pg_class c WHERE c.relnamespace = $1::regnamespace
     UNION ALL
     SELECT 'function ' || p.oid || ' ' || p.proname FROM pg_proc p WHERE p.pronamespace = $1::regnamespace
     UNION ALL
     SELECT 'migration ' || m.migration_id || ' ' || m.name || ' ' || m.created_at FROM ${schema}.migrations m
     ORDER BY 1`,
    [schema]
  )

const startOnce = (url: string, options: Partial<PostgresOptions> = {}) => Effect.scoped(open(url, options))

const outcomeOf = (options: PostgresOptions) =>
  Effect.exit(Effect.scoped(Effect.suspend(() => Layer.build(Postgres.layer(options)))))

/** Builds the layer and gives how it failed, and after how many milliseconds. */
const failureOf = (options: PostgresOptions) =>
  Effect.gen(function* () {
    const since = performance.now()
    const exit = yield* outcomeOf(options)
    if (Exit.isSuccess(exit)) return assert.fail("the layer came up")
    const error = Cause.failureOption(exit.cause)
    if (error._tag === "None") return assert.fail(`not a failure: ${Cause.pretty(exit.cause)}`)
    return { cause: exit.cause, error: error.value, ms: performance.now() - since }
  })

/** All the ways in which an error ends up in somebody's log. */
const renderings = (cause: Cause.Cause<unknown>): ReadonlyArray<string> => {
  const error = Cause.squash(cause)
  return [
    Cause.pretty(cause),
    Cause.pretty(cause, { renderErrorCause: true }),
    JSON.stringify(cause),
    JSON.stringify(error),
    JSON.stringify(error, Object.getOwnPropertyNames(error)),
    String(error),
    (error as Error).stack ?? "",
    inspect(cause, { depth: 10, showHidden: true, getters: true }),
    inspect(error, { depth: 10, showHidden: true, getters: true }),
    inspect(Cause.prettyErrors(cause), { depth: 10, showHidden: true })
  ]
}

const secret = "s3cr3t-Pa55w0rd"

const withSecret = (url: string, change: (url: URL) => void = () => undefined): string => {
  const changed = new URL(url)
  changed.password = secret
  change(changed)
  return changed.toString()
}

/** A server that accepts and says nothing. */
const mute: Effect.Effect<number, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<{ readonly server: net.Server; readonly sockets: Set<net.Socket> }>((resolve) => {
          const sockets = new Set<net.Socket>()
          const server = net.createServer((socket) => {
            sockets.add(socket)
            socket.on("error", () => undefined)
          })
          server.listen(0, "127.0.0.1", () => resolve({ server, sockets }))
        })
    ),
    ({ server, sockets }) =>
      Effect.promise(
        () =>
          new Promise<void>((resolve) => {
            for (const socket of sockets) socket.destroy()
            server.close(() => resolve())
          })
      )
  ),
  ({ server }) => (server.address() as net.AddressInfo).port
)

interface Child {
  readonly ready: Promise<void>
  readonly start: () => void
  /** What it printed after "ready", and its exit code. */
  readonly end: Promise<{ readonly code: number | null; readonly out: string; readonly err: string }>
}

const child = (...args: ReadonlyArray<string>): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        spawn(
          process.execPath,
          [
            "--conditions=millrace-source",
            "--import",
            "tsx",
            fileURLToPath(new URL("writer/startingProcess.ts", import.meta.url)),
            ...args
          ],
          { stdio: "pipe" }
        )
      ),
      (process) => Effect.sync(() => void process.kill("SIGKILL"))
    ),
    (process): Child => {
      let out = ""
      let err = ""
      const ready = new Promise<void>((resolve) => {
        process.stdout.on("data", (data: Buffer) => {
          out += data.toString()
          if (out.startsWith("ready\n")) resolve()
        })
        process.stderr.on("data", (data: Buffer) => (err += data.toString()))
        process.on("exit", () => resolve())
      })
      return {
        ready,
        start: () => void process.stdin.write("go\n"),
        end: new Promise((resolve) =>
          process.on("exit", (code) => resolve({ code, out: out.slice("ready\n".length), err }))
        )
      }
    }
  )

describe("Postgres.layer", () => {
  test("six processes start at once on an empty database: all come up, on one schema", 60, () =>
    Effect.gen(function* () {
      const url = yield* database
      const children = yield* Effect.forEach(range(1, 6), (n) => child(url, `${n}`))
      yield* Effect.promise(() => Promise.all(children.map(({ ready }) => ready)))
      for (const { start } of children) start()
      const ends = yield* Effect.promise(() => Promise.all(children.map(({ end }) => end)))
      for (const { code, err } of ends) assert.strictEqual(code, 0, err)
      const rows = yield* checkLog(url)
      assert.strictEqual(rows.length, 12)
      assert.deepStrictEqual(
        rows.filter((row) => row.streamId === "process/all").map((row) => row.version),
        range(1, 6)
      )
      assert.deepStrictEqual(
        yield* ask(url, "SELECT migration_id, name FROM millrace.migrations ORDER BY migration_id"),
        [
          "log",
          "append",
          "append_simple",
          "upkeep",
          "snapshots",
          "subscribers",
          "projections",
          "fence",
          "advance",
          "acknowledge",
          "checkpoints",
          "fence_holder"
        ].map((name, i) => ({ migration_id: i + 1, name }))
      )
    })
  )

  test("twelve stores of one process start at once on an empty database", 40, () =>
    Effect.gen(function* () {
      const url = yield* database
      const opened = yield* Effect.forEach(range(1, 12), () => open(url, { maxConnections: 4 }), unbounded)
      yield* Effect.forEach(opened, ({ store }) => store.write(appendTo("all/1")), unbounded)
      assert.strictEqual((yield* checkLog(url)).length, 12)
    })
  )

  test("starting again changes nothing", 20, () =>
    Effect.gen(function* () {
      const url = yield* database
      yield* startOnce(url)
      const before = yield* schemaOf(url)
      assert.isAbove(before.length, 10)
      yield* startOnce(url)
      yield* Effect.forEach(range(1, 4), () => startOnce(url), unbounded)
      assert.deepStrictEqual(yield* schemaOf(url), before)
    })
  )

  test("two schemas of one database are two logs that know nothing of one another", 30, () =>
    Effect.gen(function* () {
      const url = yield* database
      const [one, other] = yield* Effect.forEach(["one", "other_2"], (schema) => open(url, { schema }))
      yield* one!.store.write(appendTo("same/1", { tags: ["t"] }))
      const condition = { filters: [{ tags: ["t"] }], after: 0 as never }
      // A condition and an open transaction of the one are nothing to the other.
      yield* one!.sql.withTransaction(
        Effect.gen(function* () {
          yield* one!.store.write(appendTo("same/1", { tags: ["t"] }))
          const written = yield* other!.store
            .write(appendTo("same/1", { tags: ["t"] }), { condition })
            .pipe(Effect.timeout("3 seconds"))
          assert.deepStrictEqual([Number(written.position), Number(written.appends[0]!.version)], [1, 1])
          assert.strictEqual(yield* other!.store.head, 1)
        })
      )
      assert.strictEqual((yield* checkLog(url, "one")).length, 2)
      assert.strictEqual((yield* checkLog(url, "other_2")).length, 1)
      assert.strictEqual(yield* one!.store.head, 2)
    })
  )

  test("a wrong option is refused by its name, before anything is opened", 20, () =>
    Effect.gen(function* () {
      const url = Redacted.make("postgres://nobody:secret@127.0.0.1:1/none")
      const wrong: ReadonlyArray<readonly [string, Partial<Record<keyof PostgresOptions, unknown>>]> = [
        ["schema", { schema: "" }],
        ["schema", { schema: "Upper" }],
        ["schema", { schema: 'x"; DROP TABLE events; --' }],
        ["schema", { schema: "x".repeat(41) }],
        ["schema", { schema: "1st" }],
        ["schema", { schema: 5 }],
        ["schema", { schema: null }],
        ["maxConnections", { maxConnections: 3 }],
        ["maxConnections", { maxConnections: 1_001 }],
        ["maxConnections", { maxConnections: 4.5 }],
        ["maxConnections", { maxConnections: NaN }],
        ["maxConnections", { maxConnections: "10" }],
        ["connectTimeout", { connectTimeout: 0 }],
        ["connectTimeout", { connectTimeout: "soon" }],
        ["connectTimeout", { connectTimeout: -5 }],
        ["writeTimeout", { writeTimeout: "2 days" }],
        ["writeTimeout", { writeTimeout: Infinity }],
        ["writeTimeout", { writeTimeout: NaN }],
        ["pollInterval", { pollInterval: 0 }],
        ["eventBytesMax", { eventBytesMax: 0 }],
        ["eventBytesMax", { eventBytesMax: 1e9 }],
        ["url", { url: Redacted.make("") }],
        ["url", { url: Redacted.make("not a url") }],
        ["url", { url: Redacted.make("mysql://u:secret@h/d") }],
        ["url", { url: Redacted.make("postgres://u:secret@h:port/d") }],
        ["url", { url: "postgres://u:secret@h/d" }],
        ["url", { url: undefined }]
      ]
      const told: Array<string> = []
      for (const [field, options] of wrong) {
        const exit = yield* outcomeOf({ url, ...options } as PostgresOptions)
        const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        told.push(`${inspect(options)} ${error instanceof InvalidArgument ? error.field : String(error)}`)
        if (error instanceof InvalidArgument) assert.isAbove(error.allowed.length, 0)
        if (Exit.isSuccess(exit)) continue
        for (const text of renderings(exit.cause))
          assert.notInclude(text, "secret", `${field} ${inspect(options)}`)
      }
      assert.deepStrictEqual(
        told,
        wrong.map(([field, options]) => `${inspect(options)} ${field}`)
      )
    })
  )

  test("layerConfig takes its options from the configuration, and says which one is missing", 20, () =>
    Effect.gen(function* () {
      const url = yield* database
      const layer = Postgres.layerConfig({
        url: Config.redacted("MILLRACE_URL"),
        schema: Config.withDefault(Config.string("MILLRACE_SCHEMA"), "millrace")
      })
      const build = (values: ReadonlyArray<readonly [string, string]>) =>
        Effect.withConfigProvider(Effect.scoped(Layer.build(layer)), ConfigProvider.fromMap(new Map(values)))
      yield* build([
        ["MILLRACE_URL", url],
        ["MILLRACE_SCHEMA", "configured"]
      ])
      assert.isAbove((yield* schemaOf(url, "configured")).length, 10)
      const missing = yield* Effect.flip(build([]))
      assert.include(String(missing), "MILLRACE_URL")
    })
  )

  test(
    "what keeps it from coming up is a StoreUnavailable, soon, and never shows the password or the url",
    60,
    () =>
      Effect.gen(function* () {
        const url = yield* database
        const port = yield* mute
        yield* ask(url, `CREATE ROLE poor_${port} LOGIN PASSWORD '${secret}'`)
        const name = new URL(url).pathname.slice(1)
        yield* ask(url, `CREATE TABLE public.keep (n integer)`)
        const cases: ReadonlyArray<readonly [string, string, boolean]> = [
          ["wrong password", withSecret(url), false],
          ["missing database", new URL(`/none_${name}`, url).toString(), false],
          ["missing user", withSecret(url, (u) => (u.username = "nobody_at_all")), false],
          ["refused port", withSecret(url, (u) => (u.port = "1")), true],
          ["unknown host", withSecret(url, (u) => (u.hostname = "no-such-host.invalid")), true],
          ["mute server", withSecret(url, (u) => (u.port = String(port))), true],
          ["no right to create", withSecret(url, (u) => (u.username = `poor_${port}`)), false]
        ]
        for (const [what, address, transient] of cases) {
          const { cause, error, ms } = yield* failureOf({
            url: Redacted.make(address),
            connectTimeout: "2 seconds"
          })
          if (error._tag !== "StoreUnavailable") return assert.fail(`${what}: ${error._tag} ${error.message}`)
          assert.strictEqual(error.transient, transient, `${what}: ${error.message}`)
          assert.isBelow(ms, 6_000, what)
          const password = decodeURIComponent(new URL(address).password)
          for (const text of renderings(cause)) {
            assert.notInclude(text, password, what)
            assert.notInclude(text, "postgres://", what)
            assert.notInclude(text, "postgresql://", what)
          }
        }
        yield* ask(url, `DROP ROLE poor_${port}`)
      })
  )

  test("a database that is not READ COMMITTED by default is refused, and told how to mend it", 20, () =>
    Effect.gen(function* () {
      const url = yield* database
      const name = new URL(url).pathname.slice(1)
      yield* ask(url, `ALTER DATABASE ${name} SET default_transaction_isolation = 'repeatable read'`)
      const { error } = yield* failureOf({ url: Redacted.make(url) })
      assert.strictEqual(error._tag, "StoreUnavailable")
      assert.include(error.message, "default_transaction_isolation")
    })
  )

  test("a store that fails later keeps the password to itself as well", 30, () =>
    Effect.gen(function* () {
      const url = yield* database
      const { store } = yield* open(url, { writeTimeout: "1 second" })
      yield* ask(url, "DROP SCHEMA millrace CASCADE")
      const password = decodeURIComponent(new URL(url).password)
      const exits: ReadonlyArray<Exit.Exit<unknown, unknown>> = yield* Effect.all([
        Effect.exit(store.write(appendTo("gone/1"))),
        Effect.exit(store.read()),
        Effect.exit(store.head),
        Effect.exit(store.streamVersion("gone/1"))
      ])
      for (const exit of exits) {
        if (Exit.isSuccess(exit)) return assert.fail("there is no schema any more")
        const error = Cause.squash(exit.cause) as { readonly _tag?: string; readonly transient?: boolean }
        assert.strictEqual(error._tag, "StoreUnavailable", Cause.pretty(exit.cause))
        assert.isFalse(error.transient)
        for (const text of renderings(exit.cause)) {
          assert.notInclude(text, password)
          assert.notInclude(text, "postgres://")
        }
      }
    })
  )

  test("closed while writes wait, it ends them typed, and leaves no connection behind", 30, () =>
    Effect.gen(function* () {
      const url = yield* database
      const outcomes = yield* Effect.scoped(
        Effect.gen(function* () {
          const { store } = yield* open(url, { applicationName: "closing", listen: true })
          return yield* Effect.forEach(range(1, 300), (n) =>
            Effect.forkDaemon(Effect.either(store.write(appendTo(`closing/${n % 40}`))))
          )
        })
      )
      let written = 0
      for (const fiber of outcomes) {
        const outcome = yield* Effect.flatten(fiber.await)
        if (outcome._tag === "Right") written++
        else assert.strictEqual(outcome.left._tag, "StoreUnavailable")
      }
      assert.strictEqual((yield* checkLog(url)).length, written)
      const left = ask(url, "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'closing%'")
      // A backend that was told goodbye takes a moment to leave.
      yield* Effect.repeat(left, { until: (rows) => rows.length === 0 }).pipe(Effect.timeout("5 seconds"))
    })
  )
})
