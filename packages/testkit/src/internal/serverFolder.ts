/**
 * The folder of one server for tests: `<tmp>/millrace-pg-XXXXXX` with `owner.json`, `data/`, `server.log` and,
 * where needed, a copy of the binaries. Who owns it is written inside, so the temporary folder itself is the
 * register of all servers, and three nets catch a server whose owner is gone:
 *
 *   scope closed, or process ended in order  →  the owner stops it and removes the folder
 *   owner killed, even by SIGKILL            →  the watchdog sees its pipe close and does the same
 *   owner and watchdog both killed           →  the next start on this machine sweeps it away
 *
 * Invariants
 *   1. A process is signalled only if it is named by the folder's own postmaster.pid *and* its command line
 *      holds the folder's data directory.
 *   2. A folder is swept only if it is ours (same user), its pids can be judged here (same pid space), and
 *      its owner is not running (pid and start time).
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync, rmSync } from "node:fs"
import { chmod, lstat, mkdtemp, readdir, readFile, realpath, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as processes from "./processes.js"

const prefix = "millrace-pg-"

/** A folder without an owner file is being made right now, unless it is older than this. */
const unownedAgeMaxMs = 10 * 60_000

/** How long a server may take for an immediate shutdown before it is killed. Measured: 20 to 60 ms. */
const immediateShutdownMaxMs = 5_000

interface Owner {
  readonly pidSpace: string
  readonly pid: number
  readonly startedAt: string
}

export const dataFolder = (folder: string): string => join(folder, "data")
export const logFile = (folder: string): string => join(folder, "server.log")

/** Places for such folders, best first. Others than the first serve where that one is closed to the server. */
export const temporaryFolders = async (): Promise<ReadonlyArray<string>> => {
  const found = await Promise.all(
    [tmpdir(), "/tmp", "/var/tmp"].map((place) => realpath(place).catch(() => undefined))
  )
  return [...new Set(found.filter((place) => place !== undefined))]
}

/** Makes a folder that others may walk through but not list, and writes down who owns it. */
export const make = async (temporaryFolder: string): Promise<string> => {
  const folder = await mkdtemp(join(temporaryFolder, prefix))
  const owner: Owner = {
    pidSpace: processes.pidSpace(),
    pid: process.pid,
    startedAt: processes.look(process.pid)?.startedAt ?? ""
  }
  // Renamed into place: a sweep elsewhere sees no owner file or a whole one.
  await writeFile(join(folder, "owner.tmp"), JSON.stringify(owner))
  await rename(join(folder, "owner.tmp"), join(folder, "owner.json"))
  await chmod(folder, 0o711)
  return folder
}

export const remove = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true })

export const removeBlocking = (folder: string): void => rmSync(folder, { recursive: true, force: true })

export interface PostmasterFile {
  readonly pid: number
  readonly isReady: boolean
}

/** What a running postgres says of itself: its first line is the pid, its eighth the status. */
export const readPostmasterFile = (folder: string): PostmasterFile | undefined => {
  try {
    const lines = readFileSync(join(dataFolder(folder), "postmaster.pid"), "utf8").split("\n")
    const pid = Number(lines[0])
    return Number.isSafeInteger(pid) && pid > 0 ? { pid, isReady: lines[7]?.trim() === "ready" } : undefined
  } catch {
    return undefined
  }
}

/** The pid of the server that really runs on this folder (invariant 1). */
export const serverPid = (folder: string): number | undefined => {
  const pid = readPostmasterFile(folder)?.pid
  if (pid === undefined || processes.look(pid) === undefined) return undefined
  return processes.commandLine(pid).includes(dataFolder(folder)) ? pid : undefined
}

// ---- the second net: a watchdog ----

/**
 * Waits for the end of its input, which comes when the owner closes it or dies in any way, then ends what
 * is left. Plain `sh`, because it has to be there everywhere and costs under a megabyte; in a session of
 * its own, so that neither Ctrl-C nor a closing terminal ends it before its work is done.
 */
const watchdogScript = `
while read -r _; do :; done
[ -d "$1" ] || exit 0
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
is_ours() {
  if [ -r "/proc/$pid/cmdline" ]; then command=$(tr '\\0' ' ' <"/proc/$pid/cmdline")
  else command=$(ps -o command= -p "$pid" 2>/dev/null); fi
  case "$command" in *"$1/data"*) return 0 ;; *) return 1 ;; esac
}
if [ -n "$pid" ] && is_ours "$1"; then
  kill -QUIT "$pid"
  tenths=0
  while is_ours "$1" && [ "$tenths" -lt 50 ]; do sleep 0.1; tenths=$((tenths + 1)); done
  if is_ours "$1"; then kill -KILL "$pid"; sleep 0.5; fi
fi
# Twice, because an initdb that was under way when the owner died may still be adding files.
rm -rf "$1" 2>/dev/null || { sleep 2; rm -rf "$1"; }
`

export interface Watchdog {
  /** Lets it go. It looks once whether the folder is still there, then ends. */
  readonly dismiss: () => void
}

export const watch = async (folder: string): Promise<Watchdog> => {
  const child = spawn("/bin/sh", ["-c", watchdogScript, "millrace-pg-watchdog", folder], {
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"]
  })
  await once(child, "spawn")
  // Somebody may have killed it already; then there is nobody to tell.
  child.stdin.on("error", () => undefined)
  child.unref()
  if ("unref" in child.stdin && typeof child.stdin.unref === "function") child.stdin.unref()
  return { dismiss: () => void child.stdin.end() }
}

// ---- the third net: a sweep ----

const readOwner = async (folder: string): Promise<Owner | undefined> => {
  try {
    return JSON.parse(await readFile(join(folder, "owner.json"), "utf8"))
  } catch {
    return undefined
  }
}

const isAbandoned = async (folder: string): Promise<boolean> => {
  const stat = await lstat(folder)
  if (!stat.isDirectory() || stat.uid !== process.getuid?.()) return false
  const owner = await readOwner(folder)
  if (owner === undefined) return Date.now() - stat.mtimeMs > unownedAgeMaxMs
  // Without a start time the owner could not look at processes, so neither can its life be judged.
  if (owner.pidSpace !== processes.pidSpace() || owner.startedAt === "") return false
  return processes.look(owner.pid)?.startedAt !== owner.startedAt
}

/** Stops the server of one abandoned folder and removes it. */
const clear = async (folder: string): Promise<void> => {
  const pid = serverPid(folder)
  if (pid !== undefined) {
    processes.signal(pid, "SIGQUIT")
    if (!(await processes.gone([pid], immediateShutdownMaxMs))) processes.signal(pid, "SIGKILL")
  }
  await remove(folder)
}

/**
 * Ends the servers of owners that are gone. Never fails: what cannot be judged or removed belongs to
 * somebody else or is being removed by somebody else, and neither may stop a new server.
 */
export const sweep = async (): Promise<void> => {
  for (const place of await temporaryFolders()) {
    const names = await readdir(place).catch(() => [])
    for (const name of names.filter((entry) => entry.startsWith(prefix))) {
      const folder = join(place, name)
      if (await isAbandoned(folder).catch(() => false)) await clear(folder).catch(() => undefined)
    }
  }
}
