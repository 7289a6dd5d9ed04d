/**
 * Group commit: concurrent writes of the process are merged into one call and one commit, each with its own
 * result. The path of a write:
 *
 *     waiting ──▶ batch (two in flight at most) ──▶ written, refused
 *        │          │
 *        │          ├─ a row is held by somebody's long transaction ──▶ lane of that stream
 *        │          ├─ the batch failed as a whole ──▶ each write in a lane of its own
 *        │          └─ connection lost, outcome unknown ──▶ the same, looking at ids first
 *        └─ has a condition ──▶ lane of its own
 *
 * Invariants
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
 * so that only the bad one fails.
 */
import type { WriteResult } from "@millrace/core/Append"
import type { PreparedWrite } from "@millrace/core/PreparedWrite"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { compareStreamIds } from "@millrace/core/StreamId"
import type { StreamId } from "@millrace/core/StreamId"
import { EventIdConflict } from "@millrace/core/WriteError"
import type { WriteError } from "@millrace/core/WriteError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import {
  appendOutcomes,
  appendStatement,
  appendValues,
  isSimple,
  oneStatement,
  oneValues,
  simpleOutcomes,
  simpleStatement,
  simpleValues
} from "./PgAppend.js"
import type { Outcome } from "./PgAppend.js"
import {
  constraintOf,
  isLockTimeout,
  isTransient,
  isUnknownOutcome,
  PgError,
  storeUnavailable
} from "./PgFault.js"
import * as PgBinary from "./PgBinary.js"
import type { PgNames } from "./PgNames.js"
import type { PgPool } from "./PgPool.js"
import * as PgTurns from "./PgTurns.js"

/** The bounds of a write, and who hears of a commit. */
export interface PgWriterOptions {
  /** Longest time from the call of a write to its end. Unit: milliseconds. */
  readonly writeTimeoutMs: number
  /** Called after each commit with the greatest position of it. */
  readonly onCommit: (position: number) => void
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

/** Longest wait of a lane before it lets the next one try. Unit: milliseconds. */
const laneLockMs = 100

/** Lanes that may wait on a connection at once. */
const lanesMax = 3

/** Conditional writes at once. They have turns of their own, so that held streams do not delay them. */
const conditionsMax = 2

/** Lanes that may have their first turn at once, which waits for nobody, so that those that wait do not delay it. */
const firstTurnsMax = 2

/** Most writes that a lane takes at once. */
const laneWritesMax = 200

/**
 * How much longer than the deadline an answer is waited for. The server ends its own waits by the deadline; only
 * when it is silent for so long is a write given up whose outcome is not known. Unit: milliseconds.
 */
const silenceMs = 2_000

/** Between two looks for writes that are past their deadline. */
const sweepEvery = "100 millis"

/** First and longest pause before a lane tries again after a fault. Unit: milliseconds. */
const retryMs = { first: 5, most: 1_000 }

interface Pending {
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
    const runLane = yield* FiberSet.makeRuntime<never>()
    const laneTurns = PgTurns.make(lanesMax)
    const firstTurns = PgTurns.make(firstTurnsMax)
    const conditionTurns = PgTurns.make(conditionsMax)
    const general = appendStatement(names)
    const simple = simpleStatement(names)
    const one = oneStatement(names)

    let waiting: Array<Pending> = []
    let scheduled = false
    /** Writes in the newest batch. */
    let lastTaken = 0
    let closed = false
    /** Streams and named ids of each batch in flight. */
    const busy: Array<ReadonlySet<string>> = []
    /** Lanes by stream, and by number for a write that has one to itself. */
    const lanes = new Map<string, Array<Pending>>()
    let laneNumber = 0

    // --- ends ---

    /** Until the first deadline of a batch, at least 1. Unit: milliseconds. */
    const timeLeft = (batch: ReadonlyArray<Pending>): number => {
      let deadlineMs = Infinity
      for (const pending of batch) deadlineMs = Math.min(deadlineMs, pending.deadlineMs)
      return Math.max(1, Math.ceil(deadlineMs - clock.unsafeCurrentTimeMillis()))
    }

    const fail = (pending: Pending, error: WriteError): void => pending.end(Effect.fail(error))

    const settle = (pending: Pending, outcome: Outcome): void => {
      if (outcome._tag === "Written") pending.end(Effect.succeed(outcome.result))
      else if (outcome._tag === "Refused") fail(pending, outcome.error)
      else toLane(pending, outcome.streamId)
    }

    const committed = (outcomes: ReadonlyArray<Outcome | undefined>): void => {
      let position = 0
      for (const outcome of outcomes) {
        if (outcome?._tag === "Written" && outcome.result.position > position)
          position = outcome.result.position
      }
      if (position > 0) options.onCommit(position)
    }

    // --- memory of the arguments: taken back when the answer is there, left alone when the call broke off ---

    const binaries: Array<PgBinary.BinaryWriter> = []
    const withBinary = async <A>(use: (binary: PgBinary.BinaryWriter) => Promise<A>): Promise<A> => {
      const binary = binaries.pop() ?? PgBinary.make()
      const answer = await use(binary)
      binary.reset()
      binaries.push(binary)
      return answer
    }

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
        const stuck = stuckStream(pending)
        if (stuck !== undefined) {
          toLane(pending, stuck)
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

    const claim = (write: PreparedWrite, own: Set<string>): void => {
      for (const append of write.appends) {
        own.add(append.streamId)
        if (write.namesIds) for (const event of append.events) own.add(event.id)
      }
    }

    const send = async ({ keys, pendings, simple }: Batch): Promise<void> => {
      busy.push(keys)
      if (simple) {
        // The simple form gives up as a whole when a row is held; the general one says which, and does the rest.
        await attempt(pendings, sendSimple, (cause) => isLockTimeout(cause) && attempt(pendings, sendGeneral))
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
        else apart(batch, cause)
      }
    }

    const sendSimple = async (batch: Array<Pending>): Promise<void> => {
      const single = batch.length === 1 && batch[0]!.write.eventCount === 1
      if (!single) batch.sort((a, b) => compareStreamIds(streamOf(a), streamOf(b)))
      const writes = batch.map((pending) => pending.write)
      const [row] = single
        ? await pool.query(one, oneValues(writes[0]!, batchLockMs), undefined, timeLeft(batch) + silenceMs)
        : await withBinary((binary) =>
            pool.query(
              simple,
              simpleValues(writes, batchLockMs, binary),
              undefined,
              timeLeft(batch) + silenceMs
            )
          )
      const outcomes = simpleOutcomes(writes, row!)
      if (outcomes === undefined) return toLaneTogether(batch)
      committed(outcomes)
      const unexplained: Array<Pending> = []
      for (let i = 0; i < batch.length; i++) {
        const outcome = outcomes[i]
        if (outcome === undefined) unexplained.push(batch[i]!)
        else settle(batch[i]!, outcome)
      }
      if (unexplained.length > 0) await attempt(unexplained, sendGeneral)
    }

    const sendGeneral = async (batch: ReadonlyArray<Pending>): Promise<void> => {
      const outcomes = await callGeneral(batch, false, batchLockMs)
      if (outcomes.every((outcome) => outcome._tag === "Blocked" && outcome.streamId === undefined)) {
        return toLaneTogether(batch)
      }
      committed(outcomes)
      for (let i = 0; i < batch.length; i++) settle(batch[i]!, outcomes[i]!)
    }

    const callGeneral = async (
      batch: ReadonlyArray<Pending>,
      waits: boolean,
      lockMs: number
    ): Promise<ReadonlyArray<Outcome>> => {
      const writes = batch.map((pending) => pending.write)
      const looksAtIds = batch.some((pending) => pending.looksAtIds)
      // The server gives up before we do, so that what we report as failed does not happen afterwards.
      const mode = { looksAtIds, waits, lockMs: Math.min(lockMs, timeLeft(batch)), notifies: false }
      const [row] = await withBinary((binary) =>
        pool.query(general, appendValues(writes, mode, names, binary), undefined, timeLeft(batch) + silenceMs)
      )
      return appendOutcomes(writes, row!)
    }

    // --- lanes ---

    /** The stream of a write that has a lane already. */
    const stuckStream = (pending: Pending): StreamId | undefined => {
      if (lanes.size === 0) return undefined
      for (const append of pending.write.appends) if (lanes.has(append.streamId)) return append.streamId
      return undefined
    }

    /** Into the lane of a stream; without one into a lane of its own. */
    const toLane = (pending: Pending, streamId: StreamId | undefined): void => {
      const key = streamId ?? `#${++laneNumber}`
      const lane = lanes.get(key)
      if (lane !== undefined) lane.push(pending)
      else openLane(key, [pending])
    }

    /** All of them into one lane, which waits for what held them back: a condition's bucket, for a moment. */
    const toLaneTogether = (batch: ReadonlyArray<Pending>): void => openLane(`#${++laneNumber}`, [...batch])

    const openLane = (key: string, pendings: Array<Pending>): void => {
      lanes.set(key, pendings)
      runLane(Effect.withClock(lane(key), clock))
    }

    /** After the whole batch failed: what its writes do next depends on why. */
    const apart = (batch: ReadonlyArray<Pending>, cause: unknown): void => {
      if (isUnknownOutcome(cause)) for (const pending of batch) pending.looksAtIds = true
      for (const pending of batch) toLane(pending, laneStream(pending))
    }

    const lane = (key: string): Effect.Effect<void> =>
      Effect.gen(function* () {
        let pauseMs = retryMs.first
        const first = lanes.get(key)!
        const conditional = first[0]!.write.condition !== undefined
        // What was never said to be held gets a turn that waits for nobody. A condition cannot be checked so.
        let waits = key.startsWith("#") && (conditional || first.length > 1)
        for (;;) {
          const queue = lanes.get(key)!
          if (queue.length === 0) {
            lanes.delete(key)
            return
          }
          const turns = conditional ? conditionTurns : waits ? laneTurns : firstTurns
          const fault = yield* turns.take(
            Effect.promise(async () => {
              const batch = queue.splice(0, laneWritesMax).filter((pending) => !expired(pending, undefined))
              return batch.length === 0 ? undefined : laneTurn(key, batch, waits)
            })
          )
          waits = true
          if (fault === undefined) pauseMs = retryMs.first
          else {
            yield* Effect.sleep(pauseMs)
            pauseMs = Math.min(retryMs.most, pauseMs * 2)
          }
        }
      })

    /** One attempt. Gives the fault when the lane should pause before the next one. Never rejects. */
    const laneTurn = async (key: string, batch: ReadonlyArray<Pending>, waits: boolean): Promise<unknown> => {
      const requeue = (pendings: ReadonlyArray<Pending>): void => void lanes.get(key)!.unshift(...pendings)
      const solo = batch.length === 1
      try {
        // A condition is checked for the call as a whole, so that such a write is alone in its lane.
        const outcomes = await callGeneral(batch, waits, waits ? laneLockMs : batchLockMs)
        committed(outcomes)
        const blocked: Array<Pending> = []
        for (let i = 0; i < batch.length; i++) {
          if (outcomes[i]!._tag === "Blocked") blocked.push(batch[i]!)
          else settle(batch[i]!, outcomes[i]!)
        }
        requeue(blocked)
        return undefined
      } catch (cause) {
        if (isLockTimeout(cause)) {
          // The wait itself was the pause; the next lane has its turn meanwhile.
          const left = batch.filter((pending) => !expired(pending, cause))
          if (solo) requeue(left)
          else {
            // Those of this stream alone stay; another may have been held by its other stream.
            requeue(left.filter((pending) => laneStream(pending) === key))
            for (const pending of left) {
              const stream = laneStream(pending)
              if (stream !== key) toLane(pending, stream)
            }
          }
          return undefined
        }
        if (isUnknownOutcome(cause)) for (const pending of batch) pending.looksAtIds = true
        if (isTransient(cause)) {
          requeue(batch.filter((pending) => !expired(pending, cause)))
          return cause
        }
        if (!solo) {
          for (const pending of batch) toLane(pending, undefined)
          return undefined
        }
        return retriesAlone(batch[0]!, cause, requeue)
      }
    }

    /** A write that failed by itself, for a reason that trying again as it is would not change. */
    const retriesAlone = (
      pending: Pending,
      cause: unknown,
      requeue: (pendings: ReadonlyArray<Pending>) => void
    ): unknown => {
      const constraint = constraintOf(cause)
      if (constraint === "events_id" && !pending.looksAtIds) {
        // Somebody wrote one of its ids. Which, and whether it is a repeat, the look at the ids tells.
        pending.looksAtIds = true
        requeue([pending])
        return undefined
      }
      if (constraint === "events_id") {
        const { events, streamId } = pending.write.appends[0]!
        fail(pending, new EventIdConflict({ streamId, id: events[0]!.id }))
      } else fail(pending, storeUnavailable("write")(cause))
      return undefined
    }

    /** Ends a write that is past its deadline, or whose store is closed. */
    const expired = (pending: Pending, cause: unknown): boolean => {
      if (hasEnded(pending)) return true
      if (!closed && clock.unsafeCurrentTimeMillis() < pending.deadlineMs) return false
      const reason = closed
        ? "the store was closed"
        : "the write timeout passed while its stream was held or the database away"
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
      return true
    }

    // --- deadlines: of what waits for its turn; what is in flight has its own, see timeLeft ---
    const sweep = Effect.sync(() => {
      for (const queue of lanes.values()) {
        const left = queue.filter((pending) => !expired(pending, undefined))
        if (left.length < queue.length) queue.splice(0, queue.length, ...left)
      }
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
          Effect.repeat(Effect.sleep("5 millis"), { while: () => busy.length > 0 || lanes.size > 0 })
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
          if (write.condition !== undefined) toLane(pending, undefined)
          else {
            waiting.push(pending)
            schedule()
          }
        })
    }
  })

// ---- internal ----

/** The stream whose lane a write belongs into, if it is about one stream only. */
const laneStream = ({ write }: Pending): StreamId | undefined =>
  write.appends.length === 1 && write.condition === undefined ? write.appends[0]!.streamId : undefined

/** Whether the caller is gone. */
const hasEnded = (pending: Pending): boolean => pending.caller.unsafePoll() !== null

const streamOf = (pending: Pending): string => pending.write.appends[0]!.streamId

/** Rough size of a write's texts. */
function unitsOf(write: PreparedWrite): number {
  let units = 0
  for (const append of write.appends)
    for (const event of append.events) units += event.data.length + (event.metadata?.length ?? 0)
  return units
}
