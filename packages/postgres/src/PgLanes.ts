/**
 * Writes that cannot go with a batch: what they need is held by somebody's transaction, their batch failed, or
 * they have a condition. They go on in lanes, each of which makes one attempt after another on a connection of
 * its own until its writes have ended.
 *
 *     lane of a stream     its row is held: waits for it, 100 ms at a time, then lets the next lane try
 *     lane of a lease      it is being taken over: asks again every 20 ms, and holds nothing in between
 *     lane without a name  one write that is to be tried alone, a condition, or writes whose bucket a condition
 *                          holds
 *
 * Invariants
 *
 *  1. While a stream has a lane, all its writes go there, those of a lease's lane apart: nothing is probed
 *     twice.
 *  2. An attempt that waits does so for stream rows and buckets, never for the row of a lease, so that a lease
 *     which is being taken over delays nobody but those who write under it.
 *  3. A write whose outcome is unknown is repeated with its ids looked at.
 *  4. Every lane has its turn: those that wait do not keep out those that need not, nor conditions.
 */
import type { PreparedWrite } from "@millrace/core/PreparedWrite"
import type { StreamId } from "@millrace/core/StreamId"
import { EventIdConflict } from "@millrace/core/WriteError"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import type { Outcome } from "./PgAppend.js"
import { constraintOf, isLockTimeout, isTransient, isUnknownOutcome, storeUnavailable } from "./PgFault.js"
import { fail, settle } from "./PgPending.js"
import type { Pending } from "./PgPending.js"
import * as PgTurns from "./PgTurns.js"

/** What lanes need from the writer. */
export interface PgLanesParts {
  readonly clock: Clock.Clock
  /** One call of the general function. Rejects with the driver's error. */
  readonly call: (
    batch: ReadonlyArray<Pending>,
    waits: boolean,
    lockMs: number
  ) => Promise<ReadonlyArray<Outcome>>
  /** Called after each commit. */
  readonly committed: (outcomes: ReadonlyArray<Outcome>) => void
  /** Whether the write is over, or out of time: then it is ended here. `cause`: what it met last. */
  readonly expired: (pending: Pending, cause: unknown) => boolean
  /** Longest wait, for one lock, of an attempt that should wait for nobody. Unit: milliseconds. */
  readonly shortLockMs: number
}

/** The lanes of one writer. They end with their writes. */
export interface PgLanes {
  /** The stream of a write that has a lane already. */
  readonly laneOf: (write: PreparedWrite) => StreamId | undefined
  /** Into the lane of a stream; without one into a lane of its own. */
  readonly add: (pending: Pending, streamId: StreamId | undefined) => void
  /** A write that an attempt has found something of held: where it goes from here. */
  readonly addHeld: (pending: Pending, outcome: Outcome) => void
  /** All of them into one lane, which waits for what held them back: a condition's bucket, for a moment. */
  readonly addTogether: (batch: ReadonlyArray<Pending>) => void
  /** After a batch failed as a whole: what its writes do next depends on why. */
  readonly addApart: (batch: ReadonlyArray<Pending>, cause: unknown) => void
  /** Ends the writes that wait and are past their deadline. */
  readonly sweep: () => void
  readonly isEmpty: () => boolean
}

/** Longest wait of a lane before it lets the next one try. Unit: milliseconds. */
const laneLockMs = 100

/** Between two looks at a lease that is being taken over, which is over in a moment. Unit: milliseconds. */
const leasePollMs = 20

/** Lanes that may wait on a connection at once. */
const lanesMax = 3

/** Conditional writes at once. They have turns of their own, so that held streams do not delay them. */
const conditionsMax = 2

/** Turns, at once, that wait for nobody: the first of a lane, and those of leases. Those that wait do not delay them. */
const quickTurnsMax = 2

/** Most writes that a lane takes at once. */
const laneWritesMax = 200

/** First and longest pause before a lane tries again after a fault. Unit: milliseconds. */
const retryMs = { first: 5, most: 1_000 }

interface Lane {
  readonly key: string
  readonly kind: "stream" | "lease" | "own"
  readonly queue: Array<Pending>
}

/** What a lane does after an attempt: goes on, asks again in a moment, or pauses, longer each time. */
type Next = "on" | "poll" | "pause"

/** Builds the lanes. Closing the scope interrupts what is left of them. */
export const make = (parts: PgLanesParts): Effect.Effect<PgLanes, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { call, clock, committed, expired, shortLockMs } = parts
    const runLane = yield* FiberSet.makeRuntime<never>()
    const laneTurns = PgTurns.make(lanesMax)
    const quickTurns = PgTurns.make(quickTurnsMax)
    const conditionTurns = PgTurns.make(conditionsMax)

    /** By stream, by lease behind a NUL, which no stream has in its name, and by number. */
    const lanes = new Map<string, Lane>()
    let laneNumber = 0

    // --- ways in ---

    const into = (kind: Lane["kind"], key: string, pendings: ReadonlyArray<Pending>): void => {
      const lane = lanes.get(key)
      if (lane !== undefined) return void lane.queue.push(...pendings)
      const opened: Lane = { kind, key, queue: [...pendings] }
      lanes.set(key, opened)
      runLane(Effect.withClock(run(opened), clock))
    }

    const addTogether: PgLanes["addTogether"] = (batch) => into("own", `#${++laneNumber}`, batch)

    const add: PgLanes["add"] = (pending, streamId) =>
      streamId === undefined ? addTogether([pending]) : into("stream", streamId, [pending])

    const addHeld: PgLanes["addHeld"] = (pending, outcome) => {
      // A condition has a lane to itself, whatever it waits for.
      if (outcome._tag === "LeaseBusy" && pending.write.condition === undefined)
        into("lease", `\u0000${pending.write.fence!.key}`, [pending])
      else add(pending, heldStream(outcome))
    }

    const addApart: PgLanes["addApart"] = (batch, cause) => {
      if (isUnknownOutcome(cause)) for (const pending of batch) pending.looksAtIds = true
      for (const pending of batch) add(pending, onlyStream(pending))
    }

    // --- the life of a lane ---

    const run = (lane: Lane): Effect.Effect<void> =>
      Effect.gen(function* () {
        const { key, kind, queue } = lane
        const conditional = queue[0]!.write.condition !== undefined
        let pauseMs = retryMs.first
        // What was never said to be held gets a turn that waits for nobody. A condition cannot be checked so.
        let waits = kind === "own" && (conditional || queue.length > 1)
        for (;;) {
          if (queue.length === 0) {
            lanes.delete(key)
            return
          }
          const turns = conditional ? conditionTurns : waits ? laneTurns : quickTurns
          const next = yield* turns.take(
            Effect.promise(async (): Promise<Next> => {
              const batch = queue.splice(0, laneWritesMax).filter((pending) => !expired(pending, undefined))
              return batch.length === 0 ? "on" : attempt(lane, batch, waits)
            })
          )
          waits = kind !== "lease"
          if (next === "on") pauseMs = retryMs.first
          else if (next === "poll") yield* Effect.sleep(leasePollMs)
          else {
            yield* Effect.sleep(pauseMs)
            pauseMs = Math.min(retryMs.most, pauseMs * 2)
          }
        }
      })

    /** One attempt. Never rejects. */
    const attempt = async (lane: Lane, batch: ReadonlyArray<Pending>, waits: boolean): Promise<Next> => {
      try {
        // A condition is checked for the call as a whole, so that such a write is alone in its lane.
        const outcomes = await call(batch, waits, waits ? laneLockMs : shortLockMs)
        committed(outcomes)
        return after(lane, batch, outcomes)
      } catch (cause) {
        if (isLockTimeout(cause)) {
          afterWait(
            lane,
            batch,
            batch.filter((pending) => !expired(pending, cause))
          )
          // The wait itself was the pause; the next lane has its turn meanwhile.
          return "on"
        }
        if (isUnknownOutcome(cause)) for (const pending of batch) pending.looksAtIds = true
        if (isTransient(cause)) {
          requeue(
            lane,
            batch.filter((pending) => !expired(pending, cause))
          )
          return "pause"
        }
        if (batch.length > 1) for (const pending of batch) add(pending, undefined)
        else if (!refuse(batch[0]!, cause)) requeue(lane, batch)
        return "on"
      }
    }

    const requeue = (lane: Lane, pendings: ReadonlyArray<Pending>): void =>
      void lane.queue.unshift(...pendings)

    /** Ends what was decided. What found something held stays, or goes where that is waited for. */
    const after = (lane: Lane, batch: ReadonlyArray<Pending>, outcomes: ReadonlyArray<Outcome>): Next => {
      const held: Array<Pending> = []
      let busy = false
      for (let i = 0; i < batch.length; i++) {
        const pending = batch[i]!
        const outcome = outcomes[i]!
        if (settle(pending, outcome)) continue
        const leaseBusy = outcome._tag === "LeaseBusy"
        const stays = leaseBusy
          ? lane.kind === "lease" || pending.write.condition !== undefined
          : lane.kind !== "lease" || heldStream(outcome) === undefined
        if (stays) {
          held.push(pending)
          busy ||= leaseBusy || lane.kind === "lease"
        } else addHeld(pending, outcome)
      }
      requeue(lane, held)
      return busy ? "poll" : "on"
    }

    /** A lock was not to be had in time. `left`: those of the batch that may go on. */
    const afterWait = (lane: Lane, batch: ReadonlyArray<Pending>, left: ReadonlyArray<Pending>): void => {
      if (batch.length === 1) return requeue(lane, left)
      // Those of this stream alone stay; another may have been held by its other stream.
      const isOfLane = (pending: Pending): boolean => onlyStream(pending) === lane.key
      requeue(lane, left.filter(isOfLane))
      for (const pending of left) if (!isOfLane(pending)) add(pending, onlyStream(pending))
    }

    return {
      laneOf: ({ appends }) => {
        if (lanes.size === 0) return undefined
        for (const append of appends) if (lanes.has(append.streamId)) return append.streamId
        return undefined
      },
      add,
      addHeld,
      addTogether,
      addApart,
      sweep: () => {
        for (const { queue } of lanes.values()) {
          const left = queue.filter((pending) => !expired(pending, undefined))
          if (left.length < queue.length) queue.splice(0, queue.length, ...left)
        }
      },
      isEmpty: () => lanes.size === 0
    }
  })

// ---- internal ----

/** The stream whose lane a write belongs into, if it is about one stream only. */
const onlyStream = ({ write }: Pending): StreamId | undefined =>
  write.appends.length === 1 && write.condition === undefined ? write.appends[0]!.streamId : undefined

const heldStream = (outcome: Outcome): StreamId | undefined =>
  outcome._tag === "Blocked" ? outcome.streamId : undefined

/**
 * A write that failed by itself, for a reason that trying again as it is would not change. False: its ids must be
 * looked at first, since somebody wrote one of them. Which, and whether it is a repeat, that will tell.
 */
const refuse = (pending: Pending, cause: unknown): boolean => {
  if (constraintOf(cause) !== "events_id") fail(pending, storeUnavailable("write")(cause))
  else if (pending.looksAtIds) {
    const { events, streamId } = pending.write.appends[0]!
    fail(pending, new EventIdConflict({ streamId, id: events[0]!.id }))
  } else {
    pending.looksAtIds = true
    return false
  }
  return true
}
