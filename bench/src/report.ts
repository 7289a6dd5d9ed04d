/** The report of a run: figures into ratios and verdicts, as one JSON object or as a table. */
import Table from "cli-table3"
import type { Case, Goal } from "./contestant.js"
import type { CaseResult, ContestantResult } from "./run.js"
import { ratio, round } from "./statistics.js"
import type { Latency } from "./statistics.js"

/** One case of `--json`. Figures that were not measured are null or absent. */
export interface CaseReport {
  readonly name: string
  readonly unit: string
  readonly ours: number | null
  readonly peers: { readonly [name: string]: number }
  readonly limit: number | null
  /** ours / limit. */
  readonly ratioToLimit: number | null
  /** ours / the best of `peers`. */
  readonly ratioToBestPeer: number | null
  /** Further figures for the reader, no part of any goal. */
  readonly references: { readonly [name: string]: number }
  /** Per contestant, over all calls of all rounds. Unit: milliseconds. */
  readonly latencyMs: { readonly [name: string]: Latency }
  readonly goals: ReadonlyArray<GoalReport>
}

export interface GoalReport {
  /** "≥ 0.85 × limit". */
  readonly goal: string
  readonly measured: number | null
  readonly ok: boolean | null
}

export const toReport = (benchCase: Case, result: CaseResult): CaseReport => {
  const lowerIsBetter = benchCase.unit === "MB over idle" || benchCase.unit === "µs"
  const digits = benchCase.unit === "MB over idle" ? 1 : 0
  const ours = result.contestants.find(({ role }) => role === "ours") ?? null
  const limit = result.contestants.find(({ role }) => role === "limit") ?? null
  const peers = result.contestants.filter(({ role }) => role === "peer")
  const medians = peers.map((peer) => peer.median)
  const bestPeer = medians.length === 0 ? null : lowerIsBetter ? Math.min(...medians) : Math.max(...medians)
  const toNumber = (contestant: ContestantResult | null) =>
    contestant === null ? null : round(contestant.median, digits)
  const byName = (contestants: ReadonlyArray<ContestantResult>) =>
    Object.fromEntries(contestants.map(({ median, name }) => [name, round(median, digits)]))
  return {
    name: result.name,
    unit: benchCase.unit,
    ours: toNumber(ours),
    peers: byName(peers),
    limit: toNumber(limit),
    ratioToLimit: rounded(ratio(ours?.median ?? null, limit?.median ?? null)),
    ratioToBestPeer: rounded(ratio(ours?.median ?? null, bestPeer)),
    references: byName(result.contestants.filter(({ role }) => role === "reference")),
    latencyMs: Object.fromEntries(
      result.contestants.flatMap(({ latencyMs, name }) =>
        latencyMs === null ? [] : [[name, mapLatency(latencyMs, (ms) => round(ms, 3))] as const]
      )
    ),
    goals: benchCase.goals.map((goal) => judge(goal, result))
  }
}

/** The last line of `--json`. */
export const toJsonLine = (reports: ReadonlyArray<CaseReport>): string => JSON.stringify({ cases: reports })

/** A row per contestant; the goals of "ours" stand in the rows that they are measured against. */
export const toTable = (reports: ReadonlyArray<CaseReport>): string => {
  const table = new Table({
    head: ["case", "contestant", "median", "p50 ms", "p99 ms", "max ms", "ours is", "goal", ""],
    colAligns: ["left", "left", "right", "right", "right", "right", "right", "left", "left"],
    style: { head: [], border: [], compact: true }
  })
  for (const report of reports) {
    rowsOf(report).forEach(([name, value], index) => {
      const goals = report.goals.filter((goal) => rowOf(goal, report) === name)
      const { max, p50, p99 } = latencyCells(report.latencyMs[name])
      table.push([
        index === 0 ? report.name : "",
        name,
        `${value.toLocaleString("en")} ${report.unit}`,
        p50,
        p99,
        max,
        name === "ours" || report.ours === null ? "" : `${formatRatio(ratio(report.ours, value))} ×`,
        goals.map(({ goal }) => goal).join("\n"),
        goals.map(({ ok }) => verdict(ok)).join("\n")
      ])
    })
  }
  return table.toString()
}

// ---- internal ----

const rounded = (value: number | null): number | null => (value === null ? null : round(value, 3))

const formatRatio = (value: number | null): string =>
  value === null ? "–" : value.toLocaleString("en", { maximumFractionDigits: 2 })

const verdict = (ok: boolean | null): string => (ok === null ? "not measured" : ok ? "ok" : "miss")

const mapLatency = (of: Latency, f: (ms: number) => number): Latency => ({
  p50: f(of.p50),
  p99: f(of.p99),
  max: f(of.max)
})

const latencyCells = (of: Latency | undefined) =>
  of === undefined
    ? { p50: "", p99: "", max: "" }
    : { p50: of.p50.toFixed(2), p99: of.p99.toFixed(2), max: of.max.toFixed(1) }

const judge = (goal: Goal, result: CaseResult): GoalReport => {
  const ours = result.contestants.find(({ role }) => role === "ours")
  switch (goal.kind) {
    case "timesContestant": {
      const who = goal.of === undefined ? ours : result.contestants.find(({ name }) => name === goal.of)
      const other = result.contestants.find(({ name }) => name === goal.contestant)
      const measured = ratio(who?.median ?? null, other?.median ?? null)
      return {
        goal: `${goal.of === undefined ? "" : `${goal.of} `}≥ ${goal.atLeast} × ${goal.contestant}`,
        measured: rounded(measured),
        ok: measured === null ? null : measured >= goal.atLeast
      }
    }
    case "atMostTimesContestant": {
      const other = result.contestants.find(({ name }) => name === goal.contestant)
      const measured = ratio(ours?.median ?? null, other?.median ?? null)
      return {
        goal: `≤ ${goal.atMost} × ${goal.contestant}`,
        measured: rounded(measured),
        ok: measured === null ? null : measured <= goal.atMost
      }
    }
    case "p99":
    case "max": {
      const measured = ours?.latencyMs?.[goal.kind] ?? null
      return {
        goal: `${goal.kind} ≤ ${goal.atMostMs} ms`,
        measured: rounded(measured),
        ok: measured === null ? null : measured <= goal.atMostMs
      }
    }
    case "value": {
      const measured = ours?.median ?? null
      return {
        goal: `< ${goal.below}`,
        measured: rounded(measured),
        ok: measured === null ? null : measured < goal.below
      }
    }
  }
}

const rowsOf = (report: CaseReport): ReadonlyArray<readonly [string, number]> => [
  ...(report.ours === null ? [] : [["ours", report.ours] as const]),
  ...Object.entries(report.peers),
  ...(report.limit === null ? [] : [["limit", report.limit] as const]),
  ...Object.entries(report.references)
]

/** The row a goal is printed in: the contestant it compares with, else our own, else the first. */
const rowOf = ({ goal }: GoalReport, report: CaseReport): string | undefined => {
  const names = rowsOf(report).map(([name]) => name)
  return names.find((name) => goal.endsWith(` × ${name}`)) ?? (names.includes("ours") ? "ours" : names[0])
}
