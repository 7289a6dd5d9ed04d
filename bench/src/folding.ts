/**
 * The model that the projection cases build, whoever builds it: for each stream the number of its events and the sum
 * of their amounts, in a row with a column for each. One call of a contestant makes a new model out of the whole log;
 * what it made is compared with a plain fold after the turn, and dropped before the next one.
 */
import type { Session } from "./contestant.js"
import { driveCalls } from "./drive.js"
import { payload, streamName } from "./payload.js"
import { readStreams } from "./readCheck.js"

/** A row of the model; its key is the stream. */
export interface Total {
  readonly events: number
  readonly amountSum: number
}

export type Totals = ReadonlyMap<string, Total>

/** A model that does not have the stream yet. */
export const noEvents: Total = { events: 0, amountSum: 0 }

/** The row after an event. */
export const addAmount = (total: Total, amount: number): Total => ({
  events: total.events + 1,
  amountSum: total.amountSum + amount
})

/** Events of the projection cases: 200 000, with `--quick` 20 000. */
export const foldedEvents = (quick: boolean): number => (quick ? 20_000 : 200_000)

/** The plain fold of a log of `events` events, of which event i has data `payload(i)` and is in stream i modulo `readStreams`. */
export const plainFold = (events: number, separator: "/" | "-" = "/"): Totals => {
  const totals = new Map<string, Total>()
  for (let index = 0; index < events; index++) {
    const key = streamName(index % readStreams, separator)
    totals.set(key, addAmount(totals.get(key) ?? noEvents, payload(index).amount))
  }
  return totals
}

/** Fails unless a model is what the plain fold says, no row more and no row less. */
export const checkTotals = (label: string, model: Totals, expected: Totals): void => {
  for (const [key, total] of expected) {
    const row = model.get(key)
    if (row === undefined || row.events !== total.events || row.amountSum !== total.amountSum) {
      throw new Error(
        `a model is not the fold of its log. ${label} key=${key} model=${JSON.stringify(row)} fold=${JSON.stringify(total)}`
      )
    }
  }
  if (model.size !== expected.size) {
    throw new Error(
      `a model has other rows than its log has streams. ${label} rows=${model.size} streams=${expected.size}`
    )
  }
}

/** How one contestant folds a log that it has loaded. */
export interface Folding {
  /** Events of the log. */
  readonly events: number
  /** The plain fold of that log. */
  readonly expected: Totals
  /** Makes a model out of the whole log; none of this name was there before. The only measured part. */
  readonly catchUp: (model: string) => Promise<void>
  readonly rows: (model: string) => Promise<Totals>
  readonly drop: (model: string) => Promise<void>
  readonly close: () => Promise<void>
}

/** A session in which every call is one catch-up of a new model. */
export const foldingSession = ({ catchUp, close, drop, events, expected, rows }: Folding): Session => {
  let made = 0
  let models: Array<string> = []
  return {
    drive: driveCalls(async () => {
      const model = `totals_${made++}`
      models.push(model)
      await catchUp(model)
      return events
    }),
    check: async () => {
      for (const model of models) checkTotals(`model=${model}`, await rows(model), expected)
    },
    reset: async () => {
      for (const model of models) await drop(model)
      models = []
    },
    close
  }
}
