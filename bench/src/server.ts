/**
 * The Postgres server of one run: the one `MILLRACE_BENCH_PG_URL` names, or an embedded Postgres 18 that starts
 * here and is stopped and deleted at the end.
 *
 * All contestants of a run share it, each in a database of its own, dropped at the end. Durability stays as Postgres
 * ships it; a server with `fsync`, `synchronous_commit` or `full_page_writes` off is refused, because its
 * figures would be about something else.
 */
import { statfs } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as PostgresServer from "@millrace/testkit/PostgresServer"
import { Redacted } from "effect"
import pg from "pg"

export interface Server {
  /** Names the server in the report: "PostgreSQL 18.4, embedded". */
  readonly description: string
  /** A fresh, empty database. What is not dropped before is dropped by `stop`. */
  readonly createDatabase: (name: string) => Promise<Database>
  /** Writes all dirty pages now, so that no turn pays for the one before it. */
  readonly checkpoint: () => Promise<void>
  readonly stop: () => Promise<void>
}

export interface Database {
  readonly url: string
  readonly drop: () => Promise<void>
}

/** Starts or finds the server, or fails and says why. */
export const startServer = async (progress: (line: string) => void): Promise<Server> => {
  const external = process.env.MILLRACE_BENCH_PG_URL
  const running =
    external === undefined ? await startEmbedded(progress) : { url: external, stop: async () => {} }
  const admin = new pg.Client({ connectionString: running.url, application_name: "millrace-bench" })
  try {
    admin.on("error", () => {})
    await admin.connect()
    const version = await refuseWeakDurability(admin)
    const databases = new Set<string>()
    const drop = async (database: string): Promise<void> => {
      await admin.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`)
      databases.delete(database)
    }
    let checkpointAllowed = true
    return {
      description: `PostgreSQL ${version}, ${external === undefined ? "embedded" : "MILLRACE_BENCH_PG_URL"}`,
      createDatabase: async (name) => {
        const database = `millrace_bench_${process.pid}_${name.toLowerCase().replaceAll(/[^a-z0-9]/g, "_")}`
        await admin.query(`CREATE DATABASE ${database}`)
        databases.add(database)
        const url = new URL(running.url)
        url.pathname = `/${database}`
        return { url: url.toString(), drop: () => drop(database) }
      },
      checkpoint: async () => {
        if (!checkpointAllowed) return
        await admin.query("CHECKPOINT").catch((cause: unknown) => {
          checkpointAllowed = false
          progress(
            `CHECKPOINT between turns is not allowed on this server; figures will be noisier (${String(cause)})`
          )
        })
      },
      stop: async () => {
        try {
          for (const database of databases) await drop(database)
          await admin.end()
        } finally {
          await running.stop()
        }
      }
    }
  } catch (cause) {
    await admin.end().catch(() => {})
    await running.stop()
    throw cause
  }
}

// ---- internal ----

const durabilitySettings = ["fsync", "synchronous_commit", "full_page_writes"]

const refuseWeakDurability = async (admin: pg.Client): Promise<string> => {
  for (const name of durabilitySettings) {
    const result = await admin.query<Record<string, string>>(`SHOW ${name}`)
    const value = result.rows[0]?.[name]
    if (value !== "on") {
      throw new Error(
        `the benchmark needs a server with default durability. setting=${name} value=${value} allowed=on`
      )
    }
  }
  const version = await admin.query<{ server_version: string }>("SHOW server_version")
  return version.rows[0]?.server_version ?? "unknown"
}

const startEmbedded = async (progress: (line: string) => void) => {
  await warnAboutMemoryDisk(tmpdir(), progress)
  const { stop, url } = await PostgresServer.startPromise()
  return { url: Redacted.value(url), stop }
}

/** On a memory disk fsync costs nothing, which flatters whoever commits most often. */
const warnAboutMemoryDisk = async (folder: string, progress: (line: string) => void): Promise<void> => {
  const tmpfsMagic = 0x01021994
  const { type } = await statfs(folder)
  if (type === tmpfsMagic)
    progress(`${folder} is on a memory disk: fsync is free there, set TMPDIR to a real disk`)
}
