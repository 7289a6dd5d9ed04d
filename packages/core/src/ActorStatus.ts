/** What an actor looks like from outside: the phase it is in, how it may be stopped, and what it has counted. */
import type * as Cause from "effect/Cause"
import type * as DateTime from "effect/DateTime"
import type * as Option from "effect/Option"

/**
 * Where an actor is in its life.
 *
 * - `idle`: no message came yet, so nothing was started.
 * - `running`: handles messages, or waits for the next one.
 * - `paused`: handles none; they queue up. The one in hand may still be finishing (`busy`).
 * - `stopping`: takes no new messages, and finishes as its `StopMode` says.
 * - `stopped`: over; there is no way back.
 */
export type ActorPhase = "idle" | "running" | "paused" | "stopping" | "stopped"

/**
 * How an actor stops. A later call can only make it quicker.
 *
 * - `drain`: handles every message in the mailbox first, also when it was paused.
 * - `finish`: finishes the message in hand and drops the others.
 * - `interrupt`: interrupts the message in hand and drops all.
 */
export type StopMode = "drain" | "finish" | "interrupt"

/**
 * What happens to a message for which the mailbox has no room.
 *
 * - `suspend`: its sender waits. Nothing is lost and the sender slows down: for work.
 * - `drop`: it is refused with `MailboxFull`. The sender decides: for requests that can be turned away.
 * - `slide`: the oldest message goes and it takes a place. The sender never waits: for readings, of which only
 *   the newest count.
 */
export type MailboxStrategy = "suspend" | "drop" | "slide"

/**
 * Messages since the actor was made. At every moment
 * `received = handled + failed + dropped + messages in the mailbox + the one in hand`.
 */
export interface ActorCounters {
  /** Taken into the mailbox. */
  readonly received: number
  /** Handled with success. */
  readonly handled: number
  /** Handled with a failure or defect. They are not handled again. */
  readonly failed: number
  /** Never handled though received: pushed out by newer ones, left over at the stop, or taken back by an ask that ended. */
  readonly dropped: number
  /** Never received, for want of room. */
  readonly refused: number
  /** How often `initial` was run anew. */
  readonly restarts: number
}

/** A failure of `initial`, `receive` or `onStop`. */
export interface ActorFailure {
  readonly at: DateTime.Utc
  readonly cause: Cause.Cause<unknown>
}

/** An actor as it is at one moment. */
export interface ActorStatus {
  readonly name: string
  readonly phase: ActorPhase
  /** Whether it is at work on a message or on its `initial` at this moment. */
  readonly busy: boolean
  readonly counters: ActorCounters
  readonly mailbox: {
    /** Messages received and not yet begun with. Range: 0 to capacity + 1. */
    readonly size: number
    readonly capacity: number
    readonly strategy: MailboxStrategy
    /** Senders that wait for room. */
    readonly senders: number
  }
  /** When the first message came; none while it is idle. */
  readonly startedAt: Option.Option<DateTime.Utc>
  /** The newest failure, whether it went on afterwards or ended by it. */
  readonly lastFailure: Option.Option<ActorFailure>
}
