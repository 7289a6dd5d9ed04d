/**
 * Looking at and ending processes that are not our children any more, or never were. Node can send a
 * signal to a pid and nothing else, and a pid alone proves nothing: it may belong to somebody new by now.
 * So every look here gives the start time as well, and callers compare it or the command line first.
 *
 * Linux answers from /proc, which also works in slim images without `ps`; other systems answer from `ps`.
 */
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs"
import { hostname } from "node:os"
import { setTimeout as delay } from "node:timers/promises"

export interface ProcessLook {
  readonly parentPid: number
  /** In the system's own form; only good for comparing with another look at the same pid. */
  readonly startedAt: string
}

const hasProc = existsSync("/proc/self/stat")

/** Time between two looks at a process that has no event to wait for. Unit: milliseconds. */
const lookEveryMs = 10

const ps = (args: ReadonlyArray<string>): string => {
  try {
    return execFileSync("ps", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim()
  } catch {
    return ""
  }
}

const lookInProc = (pid: number): ProcessLook | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The second field is the program's name in parentheses and may hold blanks, so count from its end.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    if (fields[0] === "Z" || fields[0] === "X") return undefined
    return { parentPid: Number(fields[1]), startedAt: fields[19] ?? "" }
  } catch {
    return undefined
  }
}

const lookWithPs = (pid: number): ProcessLook | undefined => {
  const match = /^(\S+)\s+(\d+)\s+(.+)$/.exec(ps(["-o", "stat=,ppid=,lstart=", "-p", String(pid)]))
  if (match === null || match[1]!.startsWith("Z")) return undefined
  return { parentPid: Number(match[2]), startedAt: match[3]!.trim() }
}

/** A running process, or undefined. A zombie counts as gone: it holds nothing but its number. */
export const look = (pid: number): ProcessLook | undefined => (hasProc ? lookInProc(pid) : lookWithPs(pid))

/** The command with its arguments, separated by blanks; empty when the process is gone. */
export const commandLine = (pid: number): string => {
  if (!hasProc) return ps(["-o", "command=", "-p", String(pid)])
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")
  } catch {
    return ""
  }
}

/** Pids of the direct children. */
export const childrenOf = (pid: number): ReadonlyArray<number> => {
  if (hasProc) {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((candidate) => lookInProc(candidate)?.parentPid === pid)
  }
  return ps(["-A", "-o", "pid=,ppid="])
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([child, parent]) => (child !== undefined && parent === pid ? [child] : []))
}

/** Sends a signal; false when there is nobody to send it to. */
export const signal = (pid: number, name: NodeJS.Signals): boolean => {
  try {
    process.kill(pid, name)
    return true
  } catch {
    return false
  }
}

/** Waits until all of `pids` are gone; false when some are still there after `timeoutMs`. */
export const gone = async (pids: ReadonlyArray<number>, timeoutMs: number): Promise<boolean> => {
  const deadlineMs = performance.now() + timeoutMs
  while (pids.some((pid) => look(pid) !== undefined)) {
    if (performance.now() > deadlineMs) return false
    await delay(lookEveryMs)
  }
  return true
}

/** The same for an `exit` hook, where no promise is waited for any more: blocks the thread. */
export const goneBlocking = (pid: number, timeoutMs: number): boolean => {
  const nobodyWakesUs = new Int32Array(new SharedArrayBuffer(4))
  const deadlineMs = performance.now() + timeoutMs
  while (look(pid) !== undefined) {
    if (performance.now() > deadlineMs) return false
    Atomics.wait(nobodyWakesUs, 0, 0, lookEveryMs)
  }
  return true
}

/**
 * Names the set of processes in which pids mean the same: containers may share a temporary folder without
 * sharing pids, and a pid of another set must not be judged here.
 */
export const pidSpace = (): string => {
  try {
    return `${hostname()} ${readlinkSync("/proc/self/ns/pid")}`
  } catch {
    return hostname()
  }
}
