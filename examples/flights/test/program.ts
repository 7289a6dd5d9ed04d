/** Runs the real program as a user does, in a process of its own, and the plain computation to compare it with. */
import { afterAll, assert, beforeAll } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const here = dirname(fileURLToPath(import.meta.url))
const root = resolve(here, "../../..")
/** By its path, so that the program can run in any folder. */
const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href
const main = resolve(here, "../src/main.ts")

export interface Outcome {
  /** null when a signal ended it. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** SIGKILL, `afterMs` after this text appeared on stderr; an empty text is there from the start. */
  readonly kill?: { readonly text: string; readonly afterMs: number }
}

/** Each run of the program takes a few seconds alone, and several times that beside other tests. */
export const timeout = 240_000

/** Longest run, at several times what the slowest machine needs. One that takes longer hangs. */
const runLimitMs = 120_000

/** `npm start -- …args`. A test that is interrupted takes its program along; one that hangs is killed, and so seen. */
export const run = (args: ReadonlyArray<string>, options: RunOptions = {}): Effect.Effect<Outcome> =>
  Effect.async((resume) => {
    const { MILLRACE_URL: _, ...environment } = process.env
    const child = spawn(process.execPath, ["--conditions=millrace-source", "--import", tsx, main, ...args], {
      cwd: options.cwd ?? root,
      env: { ...environment, ...options.env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    let killer: NodeJS.Timeout | undefined
    const killWhenDue = (): void => {
      const { kill } = options
      if (kill !== undefined && killer === undefined && stderr.includes(kill.text))
        killer = setTimeout(() => child.kill("SIGKILL"), kill.afterMs)
    }
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
      killWhenDue()
    })
    killWhenDue()
    const limit = setTimeout(() => {
      stderr += `\nkilled: still running after ${runLimitMs} ms`
      child.kill("SIGKILL")
    }, runLimitMs)
    child.once("error", (error) => resume(Effect.die(error)))
    child.once("close", (code, signal) => {
      clearTimeout(killer)
      clearTimeout(limit)
      resume(Effect.succeed({ code, signal, stdout, stderr }))
    })
    return Effect.sync(() => {
      clearTimeout(killer)
      clearTimeout(limit)
      child.kill("SIGKILL")
    })
  })

export const succeeded = (outcome: Outcome): Outcome => {
  assert.strictEqual(outcome.code, 0, outcome.stderr)
  return outcome
}

/** The one line of stdout, which must be all of it. */
export const onlyLine = (outcome: Outcome): string => {
  const [line, ...rest] = succeeded(outcome).stdout.split("\n")
  assert.deepStrictEqual(rest, [""], "stdout is one line")
  return line!
}

/** A finished data folder, made once for the tests of a file; each takes a copy, since a run takes seconds. */
export const finishedFolder = () => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-flights-"))
  beforeAll(async () => {
    succeeded(await Effect.runPromise(run(["--data", folder, "--json"])))
  }, timeout)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return {
    copyTo: (target: string): Effect.Effect<void> =>
      Effect.sync(() => cpSync(folder, target, { recursive: true }))
  }
}

export interface Row {
  readonly date: string
  readonly delay: number
  readonly distance: number
  readonly origin: string
  readonly destination: string
}

/** The file itself, past all of the program's code. */
export const rows = (): ReadonlyArray<Row> => {
  const entry = createRequire(import.meta.url).resolve("vega-datasets")
  return JSON.parse(
    readFileSync(join(dirname(entry), "../data/flights-20k.json"), "utf8")
  ) as ReadonlyArray<Row>
}

/** The airports as one would compute them by hand. */
export const expectedAirports = () =>
  byOrder(({ origin }) => origin).map(({ delays, key, ...counted }) => ({
    airport: key,
    ...counted,
    over60: delays.filter((delay) => delay > 60).length
  }))

/** All routes, the busiest first. */
export const expectedRoutes = () =>
  byOrder(({ destination, origin }) => `${origin}-${destination}`).map(
    ({ averageDelayMinutes, flights, key }) => ({ route: key, flights, averageDelayMinutes })
  )

/** The flights that are to be alerted, as lines in a fixed order. */
export const expectedAlerts = (): ReadonlyArray<string> =>
  rows()
    .filter(({ delay }) => delay > 120)
    .map(alertLine)
    .sort()

export const alertLine = ({ date, delay, destination, origin }: Omit<Row, "distance">): string =>
  [date, delay, origin, destination].join()

/**
 * The whole JSON object on a store whose log has no gaps: flights and alerts have the first positions, and both
 * projections stand at its end.
 */
export const expectedSummary = (store: string) => {
  const [airports, routes, alerts] = [expectedAirports(), expectedRoutes(), expectedAlerts().length]
  const head = rows().length + alerts
  return {
    store,
    events: rows().length,
    streams: airports.length,
    head,
    airports,
    projections: [
      { name: "flights-by-airport", position: head, rows: airports.length },
      { name: "flights-by-route", position: head, rows: routes.length }
    ],
    routes: routes.slice(0, 20),
    alerts,
    hourly: {
      windows: expectedHours().length,
      busiest: [...expectedHours()]
        .sort((a, b) => b.flights - a.flights || order(a.airport, b.airport) || a.start - b.start)
        .slice(0, 10)
        .map(({ airport, flights, start }) => ({
          airport,
          windowStart: new Date(start).toISOString(),
          flights
        }))
    },
    sessions: expectedSessions().length
  }
}

/** Unit: milliseconds since 1970; times of the file are UTC. */
const timeOf = ({ date }: Row): number => Date.parse(`${date.replaceAll("/", "-").replace(" ", "T")}:00Z`)

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Airports and hours, as one would count them by hand. */
export const expectedHours = () => {
  const delays = new Map<string, Array<number>>()
  for (const row of rows()) {
    const key = `${row.origin} ${Math.floor(timeOf(row) / 3_600_000) * 3_600_000}`
    delays.set(key, [...(delays.get(key) ?? []), row.delay])
  }
  return [...delays].map(([key, list]) => ({
    airport: key.slice(0, 3),
    start: Number(key.slice(4)),
    flights: list.length,
    averageDelay: list.reduce((sum, delay) => sum + delay, 0) / list.length,
    maxDelay: Math.max(...list)
  }))
}

/** Routes while they are busy: a session ends when 6 hours have passed without a flight. */
export const expectedSessions = () => {
  const times = new Map<string, Array<number>>()
  for (const row of rows()) {
    const route = `${row.origin}-${row.destination}`
    times.set(route, [...(times.get(route) ?? []), timeOf(row)])
  }
  const sessions: Array<{ readonly route: string; readonly start: number; end: number; flights: number }> = []
  for (const [route, list] of times) {
    let last: (typeof sessions)[number] | undefined
    for (const time of list.sort((a, b) => a - b)) {
      if (last === undefined || time > last.end) {
        last = { route, start: time, end: time, flights: 0 }
        sessions.push(last)
      }
      last.flights++
      last.end = time + 6 * 3_600_000
    }
  }
  return sessions
}

/** Flights by a key, the most first, among equals by key. */
const byOrder = (keyOf: (row: Row) => string) => {
  const delays: Record<string, Array<number>> = {}
  for (const row of rows()) (delays[keyOf(row)] ??= []).push(row.delay)
  return Object.entries(delays)
    .map(([key, list]) => ({
      key,
      delays: list,
      flights: list.length,
      averageDelayMinutes: Math.round((list.reduce((sum, delay) => sum + delay, 0) / list.length) * 100) / 100
    }))
    .sort((a, b) => b.flights - a.flights || a.key.localeCompare(b.key, "en"))
}

/** Integers of 0 to `below` − 1 that depend on the seed alone (mulberry32). */
export const seeded = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}
