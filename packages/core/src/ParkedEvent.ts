/**
 * Events that were set aside. A handler that fails on an event for good need not stop everybody: the event's
 * *park key* (as a rule its stream) is set aside, later events of that key queue behind it in order, and every
 * other key flows on. The events stay in the log; what is parked is their place and the reason.
 */
import type * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import type { Position } from "./Position.js"

/** What somebody asked for a parked key: handle its events again in order, or forget them. */
export type ParkedRequest = "retry" | "drop"

/** An event that waits, as it is to be set aside. */
export interface Parking {
  /** What waits together, in order. 1 to 255 code points. */
  readonly parkKey: string
  readonly position: Position
  /** Why; empty for an event that only waits behind another one. Cut at 1 000 characters. */
  readonly reason: string
}

/** An event that was set aside. */
export interface ParkedEvent extends Parking {
  /** How often its handler was tried, the retries of the policy counted as one. 0: it only waits behind another one. */
  readonly attempts: number
  readonly parkedAt: DateTime.Utc
  /** What was asked for its key and not done yet. */
  readonly request: ParkedRequest | undefined
}

/** As many events are set aside as there may be. Nothing was written. Mend the cause, then retry or drop some. */
export class ParkedFull extends Schema.TaggedError<ParkedFull>()("ParkedFull", {
  /** The consumer whose events they are. */
  key: Schema.String,
  /** Most events that may be set aside. */
  max: Schema.Number
}) {
  override get message(): string {
    return `too many events are parked. key=${this.key} max=${this.max}`
  }
}

/** Longest reason that is kept. Unit: UTF-16 units. */
export const parkedReasonUnitsMax = 1_000

/** Most events of one call of `park`. */
export const parkingsMax = 10_000
