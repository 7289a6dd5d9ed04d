/**
 * A write between its call and its end: who waits for it, until when, and the two ways in which it ends. Plain
 * functions, which batches (PgWriter) and lanes (PgLanes) share.
 */
import type { WriteResult } from "@millrace/core/Append"
import type { PreparedWrite } from "@millrace/core/PreparedWrite"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { StreamId } from "@millrace/core/StreamId"
import type { WriteError } from "@millrace/core/WriteError"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Outcome } from "./PgAppend.js"
import { isLockTimeout, PgError, storeUnavailable } from "./PgFault.js"

/** A write that has not ended. */
export interface Pending {
  readonly write: PreparedWrite
  /** Whether its ids may be in the log: named by the caller, or written by an attempt that broke off. */
  looksAtIds: boolean
  readonly deadlineMs: number
  /**
   * The caller. When it has ended while its write waits, it was interrupted, and the write is dropped. Asking
   * costs nothing; a handler for interruption was a fifth of the client's part of a write.
   */
  readonly caller: Fiber.RuntimeFiber<unknown, unknown>
  readonly end: (outcome: Effect.Effect<WriteResult, WriteError>) => void
}

/** Ends a write with its error. */
export const fail = (pending: Pending, error: WriteError): void => pending.end(Effect.fail(error))

/** Ends a write as the server decided. False when it did not decide: something that the write needs is held. */
export const settle = (pending: Pending, outcome: Outcome): boolean => {
  if (outcome._tag === "Written") pending.end(Effect.succeed(outcome.result))
  else if (outcome._tag === "Refused") fail(pending, outcome.error)
  else return false
  return true
}

/** Ends a write that ran out of time, or whose store is closed. `cause`: what it met last, if anything. */
export const giveUp = (pending: Pending, closed: boolean, cause: unknown): void => {
  const reason = closed
    ? "the store was closed"
    : "the write timeout passed while its stream or its lease was held, or the database away"
  fail(
    pending,
    new StoreUnavailable({
      operation: "write",
      transient: true,
      cause:
        cause === undefined || isLockTimeout(cause)
          ? new PgError(reason, "")
          : storeUnavailable("write")(cause).cause
    })
  )
}

/** Whether the caller is gone. */
export const hasEnded = (pending: Pending): boolean => pending.caller.unsafePoll() !== null

/** The stream of the first append. */
export const streamOf = (pending: Pending): StreamId => pending.write.appends[0]!.streamId

/** Until the first deadline of a batch, at least 1. Unit: milliseconds. */
export const timeLeft = (batch: ReadonlyArray<Pending>, nowMs: number): number => {
  let deadlineMs = Infinity
  for (const pending of batch) deadlineMs = Math.min(deadlineMs, pending.deadlineMs)
  return Math.max(1, Math.ceil(deadlineMs - nowMs))
}
