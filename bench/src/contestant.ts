/**
 * What takes part in a measurement, and what a measurement is.
 *
 * A `Case` is one table row of "the speed it must reach": several contestants do the same work in turns. A
 * `Contestant` opens a `Session` once per case; the session is then driven once per round. To plug in a store, give
 * `open` (see `ours` in `cases.ts`); nothing else of the harness has to know it.
 */

/** `reference` is printed for the reader and takes part in no goal. */
export type Role = "ours" | "peer" | "limit" | "reference"

export interface Contestant {
  /** Key of the report: `ours`, `emmett`, `messageDb`, `limit`, … */
  readonly name: string
  readonly role: Role
  readonly open: (place: Place) => Promise<Session>
}

/** Where a contestant keeps its data during one case. All of it is gone afterwards. */
export interface Place {
  /** Creates an empty Postgres database; gives its url. */
  readonly database: () => Promise<string>
  /** Creates an empty folder; gives its path. */
  readonly folder: () => Promise<string>
  readonly quick: boolean
  /** Tells the one who waits, on stderr. */
  readonly progress: (line: string) => void
}

/** One contestant, ready to run. */
export interface Session {
  /** Works for `turn.seconds` and tells what it did. The only measured part. */
  readonly drive: (turn: Turn) => Promise<Outcome>
  /** Removes what the turns before have left. Before every turn, outside the measured time. */
  readonly reset?: () => Promise<void>
  /** Events stored since `reset`. The harness fails when a turn acknowledged another number. */
  readonly count?: () => Promise<number>
  /** Fails unless what the turn left behind is right. After every turn, outside the measured time. */
  readonly check?: () => Promise<void>
  readonly close: () => Promise<void>
}

export interface Turn {
  readonly callers: number
  readonly seconds: number
}

export interface Outcome {
  /** In the case's unit. */
  readonly value: number
  /** Events acknowledged or read. */
  readonly events: number
  /** One per call, or what else the case says that it times; empty where calls mean nothing. */
  readonly latenciesMs: ReadonlyArray<number>
}

export type Group = "append" | "read" | "project" | "rebuild" | "subscribe" | "pipeline" | "checkpoint"

export interface Case {
  readonly name: string
  readonly group: Group
  /** One line for the reader: what is done, and what the limit is. */
  readonly about: string
  readonly unit: "events/s" | "records/s" | "keys/s" | "steps/s" | "MB over idle" | "µs"
  readonly callers: number
  readonly goals: ReadonlyArray<Goal>
  readonly contestants: ReadonlyArray<Contestant>
  /** One short unmeasured turn each before the first round. Default: true. */
  readonly warmUp?: boolean
}

/** What "ours" must reach. */
export type Goal =
  | {
      readonly kind: "timesContestant"
      readonly contestant: string
      readonly atLeast: number
      /** Who must reach it. Default: "ours". */
      readonly of?: string
    }
  | { readonly kind: "atMostTimesContestant"; readonly contestant: string; readonly atMost: number }
  | { readonly kind: "p99"; readonly atMostMs: number }
  | { readonly kind: "max"; readonly atMostMs: number }
  | { readonly kind: "value"; readonly below: number }
