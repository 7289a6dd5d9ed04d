/**
 * One PostgreSQL server: its data directory, and the process that runs on it, which may be stopped, crashed
 * and started again any number of times.
 *
 *   make ──▶ Running ──stop, crash──▶ Stopped ──start──▶ Running …
 *               └───────────── remove ────┴──▶ Removed
 *
 * Written with promises and Node's own timers rather than with Effect's: a test that starts a server runs
 * under a `TestClock`, on which an `Effect.sleep` would wait for ever.
 */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { randomBytes, randomInt } from "node:crypto"
import { once } from "node:events"
import { chown, mkdir, open, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { PostgresServerError } from "../PostgresServerError.js"
import * as binaries from "./postgresBinaries.js"
import type { Account } from "./postgresBinaries.js"
import * as processes from "./processes.js"
import * as serverFolder from "./serverFolder.js"

export type StopMode = "fast" | "immediate" | "kill"

export interface Settings {
  readonly nativeFolder: string | undefined
  readonly settings: Readonly<Record<string, string | number | boolean>>
  readonly initdbFlags: ReadonlyArray<string>
  readonly postgresFlags: ReadonlyArray<string>
}

export interface ServerProcess {
  readonly url: string
  readonly port: number
  readonly folder: string
  /** The binaries in use: those of the package, or their copy inside `folder`. */
  readonly nativeFolder: string
  /** Pid of the running postmaster. */
  readonly pid: () => number | undefined
  readonly start: () => Promise<void>
  readonly stop: (mode: StopMode) => Promise<void>
  /** Stops the server and deletes all of it. */
  readonly remove: () => Promise<void>
}

/**
 * Ports are drawn from below the range from which systems take the local ports of outgoing connections
 * (Linux from 32 768, others from 49 152): else a connection could sit on a server's port between its crash
 * and its restart.
 */
const portMin = 15_000
const portMax = 32_000

/** Ports tried before giving up. Two in a row are taken only on a machine with thousands of listeners. */
const portAttemptsMax = 10

/** Longest wait for a server to become ready; recovery after a crash is part of it. Measured: 0.1 to 0.5 s. */
const readyMaxMs = 60_000

/** Longest wait for an orderly end, then the server is killed. */
const stopMaxMs = 30_000

/** Characters of the log's end that an error carries: some fifty lines. */
const logTailChars = 4_000

/** Finds a place and binaries for the server, makes its data directory, and starts it. */
export const make = async (settings: Settings): Promise<ServerProcess> => {
  if (process.platform === "win32") {
    throw new PostgresServerError({
      step: "binaries",
      output: "not supported on this platform. platform=win32"
    })
  }
  await serverFolder.sweep()
  const account = await binaries.findAccount()
  const site = await settle(settings.nativeFolder ?? binaries.packagedFolder(), account)
  const watchdog = await serverFolder.watch(site.folder)
  try {
    const password = randomBytes(12).toString("base64url")
    await initialise({ ...site, account, password, initdbFlags: settings.initdbFlags })
    const server = await startFirst({ ...site, account, password, settings, watchdog })
    return server
  } catch (cause) {
    await serverFolder.remove(site.folder)
    watchdog.dismiss()
    throw cause
  }
}

// ---- internal ----

interface Site {
  readonly folder: string
  readonly nativeFolder: string
}

/** The first temporary folder in which the account may work, with binaries that it can run. */
const settle = async (packaged: string, account: Account): Promise<Site> => {
  const refusals: Array<string> = []
  for (const place of await serverFolder.temporaryFolders()) {
    let folder: string
    try {
      folder = await serverFolder.make(place)
    } catch (cause) {
      refusals.push(String(cause))
      continue
    }
    const site = await settleIn(folder, packaged, account).catch((cause: unknown) => String(cause))
    if (typeof site !== "string") return site
    refusals.push(site)
    await serverFolder.remove(folder)
  }
  throw new PostgresServerError({ step: "binaries", output: refusals.join("\n") })
}

/** The site, or why it cannot be one. */
const settleIn = async (folder: string, packaged: string, account: Account): Promise<Site | string> => {
  const data = serverFolder.dataFolder(folder)
  await mkdir(data, { mode: 0o700 })
  if (account.uid !== undefined && account.gid !== undefined) await chown(data, account.uid, account.gid)
  const canEnter = await binaries.run("/bin/sh", ["-c", 'cd "$1" && test -w .', "sh", data], {
    account,
    cwd: "/"
  })
  if (!canEnter.isOk) return `${folder}: closed to the account that runs the server. ${canEnter.output}`

  const inPlace = await binaries.tryFolder(packaged, account, folder)
  if (inPlace.isOk) return { folder, nativeFolder: packaged }
  const copy = join(folder, "native")
  await binaries.copyFolder(packaged, copy)
  const copied = await binaries.tryFolder(copy, account, folder)
  return copied.isOk ? { folder, nativeFolder: copy } : `${inPlace.output}\n${copied.output}`
}

const initialise = async (options: {
  readonly folder: string
  readonly nativeFolder: string
  readonly account: Account
  readonly password: string
  readonly initdbFlags: ReadonlyArray<string>
}): Promise<void> => {
  const { account, folder } = options
  const passwordFile = join(folder, "password")
  await writeFile(passwordFile, `${options.password}\n`, { mode: 0o600 })
  if (account.uid !== undefined && account.gid !== undefined) {
    await chown(passwordFile, account.uid, account.gid)
  }
  const result = await binaries.run(
    join(options.nativeFolder, "bin", "initdb"),
    [
      `--pgdata=${serverFolder.dataFolder(folder)}`,
      "--username=postgres",
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      // Only the files of this step: what is written later is synced as everywhere.
      "--no-sync",
      "--no-instructions",
      ...options.initdbFlags
    ],
    { account, cwd: folder }
  )
  await rm(passwordFile)
  if (!result.isOk) throw new PostgresServerError({ step: "initdb", output: result.output })
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer()
    probe.once("error", () => resolve(false))
    probe.listen({ port, host: "127.0.0.1" }, () => probe.close(() => resolve(true)))
  })

const isPortTaken = (error: unknown): boolean =>
  error instanceof PostgresServerError &&
  /could not bind|could not create any TCP\/IP sockets/.test(error.output)

interface Launch extends Site {
  readonly account: Account
  readonly password: string
  readonly settings: Settings
  readonly watchdog: serverFolder.Watchdog
}

/**
 * Looks for a free port, then lets postgres take it. Between the two somebody else may: then postgres says so
 * and the next port is tried.
 */
const startFirst = async (launch: Launch): Promise<ServerProcess> => {
  for (let attempt = 1; ; attempt++) {
    const port = randomInt(portMin, portMax)
    if (!(await isFree(port)) && attempt < portAttemptsMax) continue
    const server = onPort(launch, port)
    try {
      await server.start()
      return server
    } catch (error) {
      if (!isPortTaken(error) || attempt >= portAttemptsMax) throw error
    }
  }
}

const onPort = (launch: Launch, port: number): ServerProcess => {
  const { account, folder, nativeFolder } = launch
  let child: ChildProcess | undefined

  const start = async (): Promise<void> => {
    if (child !== undefined && !hasEnded(child)) return
    const log = await open(serverFolder.logFile(folder), "w")
    try {
      child = spawn(join(nativeFolder, "bin", "postgres"), postgresArguments(launch, port), {
        ...account,
        cwd: folder,
        env: binaries.environment(),
        // Its own session: Ctrl-C in the terminal goes to the test runner, which stops the server in order.
        detached: true,
        // A file and not a pipe: nobody has to read it, and a full pipe would halt the server.
        stdio: ["ignore", log.fd, log.fd]
      })
      await once(child, "spawn")
    } catch (cause) {
      throw new PostgresServerError({ step: "start", output: String(cause) })
    } finally {
      await log.close()
    }
    child.unref()
    running.add(server)
    try {
      await ready(folder, child)
    } catch (error) {
      await stop("kill")
      throw error
    }
  }

  const stop = async (mode: StopMode): Promise<void> => {
    if (child === undefined || hasEnded(child)) {
      running.delete(server)
      return
    }
    const pid = child.pid!
    const ended = once(child, "exit")
    child.ref()
    const all = [pid, ...(mode === "kill" ? kill(pid) : processes.childrenOf(pid))]
    if (mode !== "kill") child.kill(mode === "fast" ? "SIGINT" : "SIGQUIT")
    // The backends as well: one that outlives its postmaster keeps the data directory locked.
    if (!(await processes.gone(all, stopMaxMs))) {
      kill(pid)
      for (const one of all) processes.signal(one, "SIGKILL")
      if (!(await processes.gone(all, stopMaxMs))) {
        throw new PostgresServerError({ step: "stop", output: `the server outlived SIGKILL. pid=${pid}` })
      }
    }
    await ended
    running.delete(server)
  }

  const server: ServerProcess = {
    url: `postgres://postgres:${launch.password}@127.0.0.1:${port}/postgres`,
    port,
    folder,
    nativeFolder,
    pid: () => (child === undefined || hasEnded(child) ? undefined : child.pid),
    start,
    stop,
    remove: async () => {
      try {
        await stop("fast")
        await serverFolder.remove(folder)
      } finally {
        // Whatever is left is the watchdog's, which wakes up when it is let go.
        launch.watchdog.dismiss()
      }
    }
  }
  return server
}

const postgresArguments = (launch: Launch, port: number): ReadonlyArray<string> => [
  "-D",
  serverFolder.dataFolder(launch.folder),
  "-p",
  String(port),
  ...Object.entries(launch.settings.settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ...launch.settings.postgresFlags
]

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

/** Kills a postmaster with all its backends at one instant; gives the pids that were hit. */
const kill = (pid: number): ReadonlyArray<number> => {
  // Halted first, so that it starts no backend and cleans up after none while they are being killed.
  processes.signal(pid, "SIGSTOP")
  const children = processes.childrenOf(pid)
  for (const one of [pid, ...children]) processes.signal(one, "SIGKILL")
  return children
}

/** Waits until the server says in its own file that it accepts connections, or has ended. */
const ready = async (folder: string, child: ChildProcess): Promise<void> => {
  const deadlineMs = performance.now() + readyMaxMs
  for (;;) {
    if (hasEnded(child) || performance.now() > deadlineMs) {
      const log = await readFile(serverFolder.logFile(folder), "utf8").catch(String)
      const how = hasEnded(child)
        ? `postgres ended. code=${child.exitCode ?? child.signalCode}`
        : "not ready in time"
      throw new PostgresServerError({ step: "start", output: `${how}\n${log.slice(-logTailChars)}` })
    }
    const file = serverFolder.readPostmasterFile(folder)
    if (file !== undefined && file.pid === child.pid && file.isReady) return
    await delay(10)
  }
}

/** Servers of this process that nobody has stopped yet. */
const running = new Set<ServerProcess>()

// An ordinary end of the process, `process.exit` and what vitest makes of Ctrl-C all pass here. No signal
// handler is installed, since that would change how the host process dies: a process that a signal ends
// leaves its servers to the watchdog. First in line, because vitest's own listener calls `process.exit` again,
// which skips those that come after it.
process.prependListener("exit", () => {
  for (const server of running) {
    const pid = server.pid()
    if (pid === undefined) continue
    processes.signal(pid, "SIGQUIT")
    if (!processes.goneBlocking(pid, 3_000)) processes.signal(pid, "SIGKILL")
    serverFolder.removeBlocking(server.folder)
  }
})
