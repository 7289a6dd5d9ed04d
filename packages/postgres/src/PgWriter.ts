/**
 * Group commit: concurrent writes of the process are merged into one call and one commit, each with its own
 * result. The path of a write:
 *
 *     waiting ──▶ batch (two in flight at most) ──▶ written, refused
 *        │          │
 *        │          ├─ a row is held by somebody's long transaction ──▶ lane of that stream
 *        │          ├─ its lease is being taken over ──▶ lane of that lease
 *        │          ├─ the batch failed as a whole ──▶ each write in a lane of its own
 *        │          └─ connection lost, outcome unknown ──▶ the same, looking at ids first
 *        └─ has a condition, or a lease known to be lost ──▶ lane of its own
 *
 * Lanes are described in PgLanes. Invariants
 *
 *  1. A batch waits for nobody: rows that are held are passed over or given up after 10 ms. So one caller's
 *     slow transaction delays the writers of its streams and nobody else.
 *  2. Two batches in flight share no stream and no named id, so that a process never blocks itself.
 *  3. While a stream has a lane, all its writes go there: nothing is probed twice, nothing overtakes.
 *  4. A write whose outcome is unknown is repeated with its ids looked at after its rows are locked. If the
 *     first attempt took effect, or still does, the repeat finds that and gives the first result.
 *  5. Every write ends by its deadline, with a result or an error; two seconds later when the database is silent.
 *
 * A batch may fail for one bad row (a value that the server refuses): then each of its writes is tried alone,
 * so that only the bad one fails. A lease that is lost undoes the fast forms as a whole; they are sent again in
 * the general form, which refuses only the writes under that lease, and what comes later under it goes apart: who
 * was overtaken and does not stop slows nobody down.
 */
import type { WriteResult } from "@millrace/core/Append"
import type { Lease } from "@millrace/core/Lease"
import type { PreparedWrite } from "@millrace/core/PreparedWrite"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { WriteError } from "@millrace/core/WriteError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { isSimple } from "./PgAppend.js"
import type { Outcome } from "./PgAppend.js"
import * as PgCalls from "./PgCalls.js"
import { isFenceBroken, isLockTimeout, PgError } from "./PgFault.js"
import * as PgLanes from "./PgLanes.js"
import type { PgNames } from "./PgNames.js"
import { giveUp, hasEnded, settle, streamOf } from "./PgPending.js"
import type { Pending } from "./PgPending.js"
import type { PgPool } from "./PgPool.js"

/** The bounds of a write, and who hears of a commit. */
export interface PgWriterOptions {
  /** Longest time from the call of a write to its end. Unit: milliseconds. */
  readonly writeTimeoutMs: number
  /** Whether a batch that is alone should notify the other processes in its own transaction: see PgWakeUps. */
  readonly takesNotice: () => boolean
  /** Called after each commit; `notified`: the other processes hear of it already. */
  readonly onCommit: (notified: boolean) => void
}

/** The merging writer of one log. */
export interface PgWriter {
  /** Queues a write of the fiber `caller`, which must be the one that runs the effect. */
  readonly write: (
    write: PreparedWrite,
    caller: Fiber.RuntimeFiber<unknown, unknown>
  ) => Effect.Effect<WriteResult, WriteError>
}

/** Most events in one batch, unless a single write has more. Above 1 000 the gain is under 5 %. */
const batchEventsMax = 1_000

/** Most text in one batch, unless a single write has more. Unit: UTF-16 units. */
const batchUnitsMax = 4_000_000

/** Most writes that wait. Each is a suspended fiber of the caller's; more than this is a caller without bounds. */
const waitingMax = 100_000

/** Batches in flight. One leaves the server idle while the client works; three are slower than two. */
const inFlightMax = 2

/** Longest wait of a batch for a row that somebody is just inserting or holds. Unit: milliseconds. */
const batchLockMs = 10

/** Between two looks for writes that are past their deadline. */
const sweepEvery = "100 millis"

/** Writes that go together. */
interface Batch {
  readonly pendings: Array<Pending>
  /** Their streams and named ids. */
  readonly keys: ReadonlySet<string>
  /** Whether they may go through the fast forms: simple writes to distinct streams. */
  readonly simple: boolean
}

/** Builds the writer. It ends with the scope: what waits then fails, what is in flight is waited for. */
export const make = (
  pool: PgPool,
  names: PgNames,
  options: PgWriterOptions
): Effect.Effect<PgWriter, never, Scope.Scope> =>
  Effect.gen(function* () {
    // Real time, also where the application runs on a test clock: the database does not.
    const clock = Clock.make()
    const calls = PgCalls.make(pool, names, clock)

    let waiting: Array<Pending> = []
    let scheduled = false
    /** Writes in the newest batch. */
    let lastTaken = 0
    let closed = false
    /** Streams and named ids of each batch in flight. */
    const busy: Array<ReadonlySet<string>> = []
    /** Leases that were lost, which is for good. */
    const lost = new WeakSet<Lease>()

    // --- ends ---

    const committed = (outcomes: ReadonlyArray<Outcome | undefined>, notified = false): void => {
      if (outcomes.some((outcome) => outcome?._tag === "Written")) options.onCommit(notified)
    }

    /** Ends a write that is past its deadline, or whose store is closed. */
    const expired = (pending: Pending, cause: unknown): boolean => {
      if (hasEnded(pending)) return true
      if (!closed && clock.unsafeCurrentTimeMillis() < pending.deadlineMs) return false
      giveUp(pending, closed, cause)
      return true
    }

    const lanes = yield* PgLanes.make({
      clock,
      call: calls.general,
      committed,
      expired,
      shortLockMs: batchLockMs
    })

    // --- batches ---

    const schedule = (): void => {
      if (scheduled || busy.length >= inFlightMax) return
      scheduled = true
      // Whoever writes alone has nobody to wait for.
      if (busy.length === 0 && lastTaken === 1) return queueMicrotask(flush)
      // After the callers that were resumed together have all had their turn; a fiber for it would cost as much
      // as a small write.
      // oxlint-disable-next-line no-restricted-globals
      setImmediate(flush)
    }

    const flush = (): void => {
      scheduled = false
      while (busy.length < inFlightMax && waiting.length > 0) {
        // With nothing in flight one batch would take all callers, and the next would find none: the two
        // would never overlap. Half of them: 73 600 → 89 500 events/s at 256 callers.
        const batch = take(busy.length === 0 ? Math.ceil(waiting.length / 2) : waiting.length)
        if (batch.pendings.length === 0) return
        void send(batch)
      }
    }

    /** Takes up to `most` writes that share nothing with the batches in flight, in order. */
    const take = (most: number): Batch => {
      const batch: Array<Pending> = []
      const left: Array<Pending> = []
      const own = new Set<string>()
      let simple = true
      let events = 0
      let units = 0
      for (let i = 0; i < waiting.length; i++) {
        const pending = waiting[i]!
        if (hasEnded(pending)) continue
        const stuck = lanes.laneOf(pending.write)
        if (stuck !== undefined) {
          lanes.add(pending, stuck)
          continue
        }
        const size = unitsOf(pending.write)
        const fits =
          batch.length === 0 ||
          (events + pending.write.eventCount <= batchEventsMax && units + size <= batchUnitsMax)
        if (!fits || batch.length >= most) {
          for (; i < waiting.length; i++) left.push(waiting[i]!)
          break
        }
        if (overlaps(pending.write, own)) {
          left.push(pending)
          continue
        }
        simple &&= !pending.looksAtIds && isSimple(pending.write) && !own.has(streamOf(pending))
        claim(pending.write, own)
        events += pending.write.eventCount
        units += size
        batch.push(pending)
      }
      waiting = left
      lastTaken = batch.length
      return { pendings: batch, keys: own, simple }
    }

    /** Whether the write shares a stream with a batch in flight, or a named id with that or with this batch. */
    const overlaps = (write: PreparedWrite, own: Set<string>): boolean => {
      for (const append of write.appends) {
        if (isBusy(append.streamId)) return true
        if (write.namesIds)
          for (const event of append.events) if (isBusy(event.id) || own.has(event.id)) return true
      }
      return false
    }

    const isBusy = (key: string): boolean => {
      for (let i = 0; i < busy.length; i++) if (busy[i]!.has(key)) return true
      return false
    }

    const send = async ({ keys, pendings, simple }: Batch): Promise<void> => {
      busy.push(keys)
      if (simple) {
        // The simple form gives up as a whole when a row is held or a lease is lost; the general one says which,
        // and does the rest.
        await attempt(
          pendings,
          sendSimple,
          (cause) => (isLockTimeout(cause) || isFenceBroken(cause)) && attempt(pendings, sendGeneral)
        )
      } else await attempt(pendings, sendGeneral)
      busy.splice(busy.indexOf(keys), 1)
      if (waiting.length > 0) schedule()
    }

    /** Sends; when that fails as a whole, does what `instead` says, or else takes the batch apart. */
    const attempt = async (
      batch: Array<Pending>,
      how: (batch: Array<Pending>) => Promise<void>,
      instead?: (cause: unknown) => false | Promise<void>
    ): Promise<void> => {
      try {
        await how(batch)
      } catch (cause) {
        const other = instead?.(cause)
        if (other) await other
        else lanes.addApart(batch, cause)
      }
    }

    const sendSimple = async (batch: Array<Pending>): Promise<void> => {
      const notifies = busy.length === 1 && options.takesNotice()
      const outcomes = await calls.simple(batch, batchLockMs, notifies)
      if (outcomes === undefined) return lanes.addTogether(batch)
      committed(outcomes, notifies)
      const unexplained: Array<Pending> = []
      for (let i = 0; i < batch.length; i++) {
        const outcome = outcomes[i]
        if (outcome === undefined) unexplained.push(batch[i]!)
        else settle(batch[i]!, outcome)
      }
      if (unexplained.length > 0) await attempt(unexplained, sendGeneral)
    }

    const sendGeneral = async (batch: ReadonlyArray<Pending>): Promise<void> => {
      const outcomes = await calls.general(batch, false, batchLockMs)
      if (outcomes.every((outcome) => outcome._tag === "Blocked" && outcome.streamId === undefined)) {
        return lanes.addTogether(batch)
      }
      committed(outcomes)
      for (let i = 0; i < batch.length; i++) {
        const pending = batch[i]!
        const outcome = outcomes[i]!
        if (!settle(pending, outcome)) lanes.addHeld(pending, outcome)
        if (outcome._tag === "Refused" && outcome.error._tag === "LeaseLost") lost.add(pending.write.fence!)
      }
    }

    // --- deadlines: of what waits for its turn; what is in flight has its own, see PgCalls ---
    const sweep = Effect.sync(() => {
      lanes.sweep()
      waiting = waiting.filter((pending) => !expired(pending, undefined))
    })
    yield* Effect.forkScoped(Effect.withClock(Effect.repeat(sweep, Schedule.spaced(sweepEvery)), clock))

    // --- shutdown: what waits fails, what is in flight ends by itself and within its statement ---
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        closed = true
        const rest = waiting
        waiting = []
        for (const pending of rest) expired(pending, undefined)
      }).pipe(
        Effect.zipRight(
          Effect.repeat(Effect.sleep("5 millis"), { while: () => busy.length > 0 || !lanes.isEmpty() })
        ),
        Effect.withClock(clock)
      )
    )

    return {
      write: (write, caller) =>
        Effect.async<WriteResult, WriteError>((resume) => {
          if (closed || waiting.length >= waitingMax) {
            const reason = closed ? "the store was closed" : `more than ${waitingMax} writes are waiting`
            return resume(
              Effect.fail(
                new StoreUnavailable({
                  operation: "write",
                  transient: !closed,
                  cause: new PgError(reason, "")
                })
              )
            )
          }
          const pending: Pending = {
            write,
            looksAtIds: write.namesIds,
            deadlineMs: clock.unsafeCurrentTimeMillis() + options.writeTimeoutMs,
            caller,
            end: resume
          }
          const { condition, fence } = write
          if (condition !== undefined || (fence !== undefined && lost.has(fence)))
            lanes.add(pending, undefined)
          else {
            waiting.push(pending)
            schedule()
          }
        })
    }
  })

// ---- internal ----

const claim = (write: PreparedWrite, own: Set<string>): void => {
  for (const append of write.appends) {
    own.add(append.streamId)
    if (write.namesIds) for (const event of append.events) own.add(event.id)
  }
}

/** Rough size of a write's texts. */
function unitsOf(write: PreparedWrite): number {
  let units = 0
  for (const append of write.appends)
    for (const event of append.events) units += event.data.length + (event.metadata?.length ?? 0)
  return units
}
