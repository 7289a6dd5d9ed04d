/**
 * What every contestant stores: one event of 200 bytes of JSON, an id, a stream's name.
 *
 * Contestants are handed objects and make the text themselves, since that is what an event store is given.
 */
import { monotonicFactory } from "ulidx"

/** The data of one event: 200 bytes as JSON. */
export interface Payload {
  readonly sequence: number
  readonly amount: number
  readonly account: string
  readonly note: string
}

const sequenceBase = 100_000
const sequenceSpan = 900_000
const account = "account/0123456789"
const note = "n".repeat(
  200 - JSON.stringify({ sequence: sequenceBase, amount: 10, account, note: "" }).length
)

/** The data of event `index`. The same index gives the same data. */
export const payload = (index: number): Payload => ({
  sequence: sequenceBase + (index % sequenceSpan),
  amount: 10 + (index % 90),
  account,
  note
})

/** The sum of `amount` over the first `events` payloads: proof that a reader decoded every one of them. */
export const amountSum = (events: number): number => {
  let sum = 0
  for (let index = 0; index < events; index++) sum += 10 + (index % 90)
  return sum
}

/** A new ULID, rising within this process. */
export const eventId: () => string = monotonicFactory()

export const eventType = "Deposited"

/** Stream of caller `caller`. `account-7` is what Emmett and message-db read as category `account`. */
export const streamName = (caller: number, separator: "/" | "-" = "/"): string =>
  `account${separator}${caller}`
