/**
 * One PgBouncer in transaction mode before a Postgres server: a client has one of few connections only until its
 * transaction ends, so that LISTEN, settings and named statements of a session are lost or somebody else's.
 *
 * Every database of the server can be reached through it, under its own name and as the server's own user. Support of
 * named statements (PgBouncer 1.21 and later) is left off, which is what an older one is.
 */
import { execFileSync, spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { accessSync, constants } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import net from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"

export interface PgBouncer {
  /** On 127.0.0.1. */
  readonly port: number
  readonly stop: () => Promise<void>
}

/** Said when there is no PgBouncer. */
export const missing =
  "npm run test:pooler needs PgBouncer: install it (Debian and Ubuntu: apt-get install pgbouncer), or name its binary in MILLRACE_PGBOUNCER."

/**
 * Connections that all clients of a database share. Few, so that they change hands all the time: the pool of a store
 * alone has up to 16.
 */
const serverConnections = 5

/** Longest wait until it accepts connections. Measured: 30 ms. */
const readyMaxMs = 10_000

/** The binary: the one that `MILLRACE_PGBOUNCER` names, else one on PATH or where Debian keeps it. */
export const find = (): string | undefined => {
  const named = process.env["MILLRACE_PGBOUNCER"]
  if (named !== undefined && named !== "") return canRun(named) ? named : undefined
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin"]
  return folders.map((folder) => join(folder, "pgbouncer")).find(canRun)
}

/** Starts it before the server at `server`. Rejects with what it said when it does not come up. */
export const start = async (binary: string, server: URL): Promise<PgBouncer> => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-pooler-"))
  const port = await freePort()
  const settings = join(folder, "pgbouncer.ini")
  await writeFile(settings, settingsText(server, port, versionOf(binary)), { mode: 0o600 })
  // It refuses to run as root. The settings, with a password in them, are read before it changes over.
  const asUser = process.getuid?.() === 0 ? ["--user=nobody"] : []
  const child = spawn(binary, [...asUser, settings], { stdio: ["ignore", "ignore", "pipe"] })
  // The vitest process may end without the tear-down.
  const killOnExit = () => void child.kill("SIGKILL")
  process.once("exit", killOnExit)
  let said = ""
  child.stderr.on("data", (text: Buffer) => {
    said = `${said}${text.toString()}`.slice(-4_000)
  })
  const stop = async (): Promise<void> => {
    process.off("exit", killOnExit)
    if (!hasEnded(child)) {
      const ended = once(child, "exit")
      // There is nothing to finish, and which softer signal means "now" depends on the version.
      child.kill("SIGKILL")
      await ended
    }
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await once(child, "spawn")
    await ready(child, port)
    return { port, stop }
  } catch (cause) {
    await stop()
    throw new Error(`PgBouncer did not start. binary=${binary}\n${said}`, { cause })
  }
}

// ---- internal ----

const canRun = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** "PgBouncer 1.18.0" → [1, 18]. */
const versionOf = (binary: string): readonly [number, number] => {
  const [, major, minor] =
    /PgBouncer (\d+)\.(\d+)/.exec(execFileSync(binary, ["--version"], { encoding: "utf8" })) ?? []
  return [Number(major), Number(minor)]
}

const settingsText = (server: URL, port: number, [major, minor]: readonly [number, number]): string => {
  const user = quoted(decodeURIComponent(server.username))
  const password = quoted(decodeURIComponent(server.password))
  // A version that does not know the setting refuses to start.
  const knowsNamedStatements = major > 1 || minor >= 21
  return [
    "[databases]",
    `* = host=${server.hostname} port=${server.port || "5432"} user=${user} password=${password}`,
    "[pgbouncer]",
    "listen_addr = 127.0.0.1",
    `listen_port = ${port}`,
    "unix_socket_dir =",
    "auth_type = any",
    "pool_mode = transaction",
    `default_pool_size = ${serverConnections}`,
    // Takes turns, so that two transactions of a client seldom have the same connection.
    "server_round_robin = 1",
    "max_client_conn = 1000",
    ...(knowsNamedStatements ? ["max_prepared_statements = 0"] : []),
    ""
  ].join("\n")
}

/** A value within a line of `[databases]`. */
const quoted = (value: string): string => `'${value.replaceAll("'", "''")}'`

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

const freePort = async (): Promise<number> => {
  const probe = net.createServer().listen(0, "127.0.0.1")
  await once(probe, "listening")
  const { port } = probe.address() as net.AddressInfo
  probe.close()
  await once(probe, "close")
  return port
}

const ready = async (child: ChildProcess, port: number): Promise<void> => {
  const deadlineMs = performance.now() + readyMaxMs
  for (;;) {
    if (hasEnded(child)) throw new Error(`it ended. code=${child.exitCode ?? child.signalCode}`)
    if (performance.now() > deadlineMs) throw new Error(`it accepts no connection. port=${port}`)
    const socket = net.connect(port, "127.0.0.1")
    const connected = await once(socket, "connect").then(
      () => true,
      () => false
    )
    socket.destroy()
    if (connected) return
    await delay(10)
  }
}
