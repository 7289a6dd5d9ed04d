/**
 * What the reading cases share: how much is read, and the proof that all of it was read and decoded.
 */
import type { Call } from "./drive.js"
import { amountSum } from "./payload.js"

/** Events of `pg-stream` and `sqlite-stream`. */
export const readEvents = 200_000

/** Streams they are spread over, in turn: event i is in stream i modulo this. */
export const readStreams = 1000

/** What a reader says about one pass over the log. */
export interface Pass {
  readonly events: number
  /** Sum of `data.amount`, taken from the decoded objects. */
  readonly amountSum: number
}

/** One call = one pass; fails unless it saw every event's data. */
export const checkedPass = (pass: () => Promise<Pass> | Pass, events = readEvents): Call => {
  const expected: Pass = { events, amountSum: amountSum(events) }
  const check = (seen: Pass): number => {
    if (seen.events !== expected.events || seen.amountSum !== expected.amountSum) {
      throw new Error(`a pass over the log read something else. ${JSON.stringify({ seen, expected })}`)
    }
    return seen.events
  }
  return () => {
    const pending = pass()
    return pending instanceof Promise ? pending.then(check) : check(pending)
  }
}
