/**
 * Runs one case: every contestant takes a turn in every round, and who begins moves on by one each round, so that
 * a slow minute of the machine hits all of them alike. Medians over the rounds; latencies over all calls.
 */
import { rmSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Case, Contestant, Place, Role, Session } from "./contestant.js"
import type { Server } from "./server.js"
import { latency, median, rotate } from "./statistics.js"
import type { Latency } from "./statistics.js"

export interface RunSettings {
  readonly rounds: number
  /** Length of one turn. Unit: seconds. */
  readonly seconds: number
  readonly quick: boolean
  /** Started by the first contestant that asks. */
  readonly server: () => Promise<Server>
  readonly progress: (line: string) => void
}

export interface ContestantResult {
  readonly name: string
  readonly role: Role
  /** One per round, in the case's unit. */
  readonly values: ReadonlyArray<number>
  readonly median: number
  readonly latencyMs: Latency | null
}

export interface CaseResult {
  readonly name: string
  readonly contestants: ReadonlyArray<ContestantResult>
}

/** Measures `contestants` of `benchCase`. Whatever they created is removed, also on failure. */
export const runCase = async (
  benchCase: Case,
  contestants: ReadonlyArray<Contestant>,
  settings: RunSettings
): Promise<CaseResult> => {
  const clean: Array<() => Promise<void>> = []
  const opened: Array<Opened> = []
  try {
    for (const contestant of contestants) {
      settings.progress(`${benchCase.name}/${contestant.name}: prepare`)
      const session = await contestant.open(makePlace(benchCase, contestant, settings, clean))
      clean.push(session.close)
      opened.push({ contestant, session, values: [], latenciesMs: [] })
    }
    if (benchCase.warmUp ?? true) {
      for (const { session } of opened) {
        await session.drive({ callers: benchCase.callers, seconds: Math.min(0.5, settings.seconds) })
      }
    }
    for (let index = 0; index < settings.rounds; index++) {
      for (const turn of rotate(opened, index)) await takeTurn(benchCase, turn, index, settings)
    }
    return { name: benchCase.name, contestants: opened.map(toResult) }
  } finally {
    for (const step of clean.reverse()) await step()
  }
}

// ---- internal ----

interface Opened {
  readonly contestant: Contestant
  readonly session: Session
  readonly values: Array<number>
  readonly latenciesMs: Array<ReadonlyArray<number>>
}

const takeTurn = async (
  benchCase: Case,
  turn: Opened,
  index: number,
  settings: RunSettings
): Promise<void> => {
  const { contestant, session } = turn
  const label = `${benchCase.name}/${contestant.name}`
  await session.reset?.()
  if (benchCase.name.startsWith("pg-")) await (await settings.server()).checkpoint()
  const outcome = await session.drive({ callers: benchCase.callers, seconds: settings.seconds })
  const stored = await session.count?.()
  if (stored !== undefined && stored !== outcome.events) {
    throw new Error(
      `${label} acknowledged other events than it stored. acknowledged=${outcome.events} stored=${stored}`
    )
  }
  await session.check?.()
  turn.values.push(outcome.value)
  turn.latenciesMs.push(outcome.latenciesMs)
  settings.progress(
    `${label}: round ${index + 1} of ${settings.rounds}: ${Math.round(outcome.value).toLocaleString("en")} ${benchCase.unit}`
  )
}

const toResult = ({ contestant, latenciesMs, values }: Opened): ContestantResult => ({
  name: contestant.name,
  role: contestant.role,
  values,
  median: median(values),
  latencyMs: latency(latenciesMs.flat())
})

const makePlace = (
  benchCase: Case,
  contestant: Contestant,
  settings: RunSettings,
  clean: Array<() => Promise<void>>
): Place => {
  let created = 0
  return {
    quick: settings.quick,
    progress: settings.progress,
    database: async () => {
      const server = await settings.server()
      const database = await server.createDatabase(`${benchCase.name}_${contestant.name}_${created++}`)
      clean.push(database.drop)
      return database.url
    },
    folder: async () => {
      const folder = await mkdtemp(join(tmpdir(), "millrace-bench-"))
      const removeOnExit = () => rmSync(folder, { recursive: true, force: true })
      process.once("exit", removeOnExit)
      clean.push(async () => {
        await rm(folder, { recursive: true, force: true })
        process.off("exit", removeOnExit)
      })
      return folder
    }
  }
}
