/** The command line: what may be said, checked before anything starts. */
import { parseArgs } from "node:util"
import type { Case, Contestant, Group } from "./contestant.js"

export interface BenchArguments {
  readonly json: boolean
  readonly quick: boolean
  readonly rounds: number
  /** Length of one turn. Unit: seconds. */
  readonly seconds: number
  /** Which contestants of which cases run, in order. */
  readonly selection: ReadonlyArray<Selected>
}

export interface Selected {
  readonly benchCase: Case
  readonly contestants: ReadonlyArray<Contestant>
}

/** A wrong argument; the message says what is allowed. */
export class ArgumentError extends Error {}

export const usage = `npm run bench -- GROUP [--quick] [--json] [--only NAME] [--rounds N] [--seconds S]

  GROUP           which cases to measure, one of
                  append, read, project, rebuild, subscribe, pipeline, checkpoint
  --quick         3 rounds of 0.7 s instead of 5 of 2 s, and less of what is in a log, in memory or in a state
  --json          the last line of stdout is one JSON object, and nothing else is on stdout
  --only NAME     one case ("pg-append-1") or one contestant ("pg-append-1/limit"); may be repeated
  --rounds N      turns of each contestant, 3 to 99
  --seconds S     length of a turn, 0.1 to 600

  MILLRACE_BENCH_PG_URL   a Postgres server to use instead of the embedded one`

/** Checks `args` (without node and script) against `cases`. Fails with `ArgumentError`. */
export const parseBenchArguments = (
  args: ReadonlyArray<string>,
  cases: ReadonlyArray<Case>
): BenchArguments => {
  const { positionals, values } = parse(args)
  const group = toGroup(positionals)
  const ofGroup = cases.filter((benchCase) => benchCase.group === group)
  return {
    json: values.json ?? false,
    quick: values.quick ?? false,
    rounds: toNumber("--rounds", values.rounds, values.quick ? 3 : 5, { min: 3, max: 99, integer: true }),
    seconds: toNumber("--seconds", values.seconds, values.quick ? 0.7 : 2, {
      min: 0.1,
      max: 600,
      integer: false
    }),
    selection: select(values.only, ofGroup, group).filter(({ contestants }) => contestants.length > 0)
  }
}

// ---- internal ----

const parse = (args: ReadonlyArray<string>) => {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        quick: { type: "boolean" },
        json: { type: "boolean" },
        only: { type: "string", multiple: true },
        rounds: { type: "string" },
        seconds: { type: "string" }
      }
    })
  } catch (cause) {
    throw new ArgumentError(cause instanceof Error ? cause.message : String(cause))
  }
}

const groups: ReadonlyArray<Group> = [
  "append",
  "read",
  "project",
  "rebuild",
  "subscribe",
  "pipeline",
  "checkpoint"
]

const toGroup = (positionals: ReadonlyArray<string>): Group => {
  const [first, ...more] = positionals
  const group = groups.find((name) => name === first)
  if (group !== undefined && more.length === 0) return group
  throw new ArgumentError(
    `say one of: ${groups.join(", ")}. given=${positionals.length === 0 ? "nothing" : positionals.join(" ")}`
  )
}

interface Range {
  readonly min: number
  readonly max: number
  readonly integer: boolean
}

const toNumber = (name: string, given: string | undefined, otherwise: number, range: Range): number => {
  if (given === undefined) return otherwise
  const value = given.trim() === "" ? Number.NaN : Number(given)
  if (value >= range.min && value <= range.max && (!range.integer || Number.isInteger(value))) return value
  const kind = range.integer ? "a whole number" : "a number"
  throw new ArgumentError(`${name} must be ${kind} from ${range.min} to ${range.max}. given=${given}`)
}

const select = (
  only: ReadonlyArray<string> | undefined,
  cases: ReadonlyArray<Case>,
  group: Group
): ReadonlyArray<Selected> => {
  if (only === undefined) return cases.map((benchCase) => ({ benchCase, contestants: benchCase.contestants }))
  const isWanted = (benchCase: Case, contestant: Contestant): boolean =>
    only.includes(benchCase.name) || only.includes(`${benchCase.name}/${contestant.name}`)
  const names = cases.flatMap(({ contestants, name }) => [
    ...(contestants.length === 0 ? [] : [name]),
    ...contestants.map((contestant) => `${name}/${contestant.name}`)
  ])
  const unknown = only.find((name) => !names.includes(name))
  if (unknown !== undefined) {
    throw new ArgumentError(
      `--only does not know this name for "${group}". given=${unknown} allowed=${names.join(", ")}`
    )
  }
  return cases.map((benchCase) => ({
    benchCase,
    contestants: benchCase.contestants.filter((contestant) => isWanted(benchCase, contestant))
  }))
}
