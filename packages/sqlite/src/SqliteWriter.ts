/**
 * Group commit. Each commit of SQLite with `synchronous = FULL` waits for the disk, so writes that arrive
 * while one is under way are gathered and committed together: one wait for all of them.
 *
 *   write ──▶ queue (bounded; a full one makes callers wait) ──▶ one fiber: BEGIN IMMEDIATE … COMMIT ──▶ results
 *
 * Invariants
 *   1. A caller gets its result after the commit, never before.
 *   2. A refused write (conflict, condition, id) is refused alone. A row that SQLite itself refuses undoes the
 *      batch; its writes are then tried one by one, so that only the bad one fails.
 *   3. A caller that is interrupted before its write was begun has written nothing; later, all or nothing.
 *   4. Closing the scope commits what was accepted, and refuses what comes after.
 *
 * Inside the caller's own transaction none of this applies: the write is made there and then.
 */
import type { WriteResult } from "@millrace/core/Append"
import type { PreparedWrite } from "@millrace/core/PreparedWrite"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { EventIdConflict } from "@millrace/core/WriteError"
import type { WriteError } from "@millrace/core/WriteError"
import type { SqlError } from "@effect/sql/SqlError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Mailbox from "effect/Mailbox"
import type * as Scope from "effect/Scope"
import * as SqliteBatch from "./SqliteBatch.js"
import type { SqliteDatabase } from "./SqliteDatabase.js"
import * as SqliteFault from "./SqliteFault.js"
import type { SqliteTransaction } from "./SqliteTransaction.js"
import * as Statements from "./Statements.js"

/** Writes that may wait to be committed; the next caller waits for a place. Unit: writes. */
const waitingWritesMax = 1_024

/**
 * Events in one transaction, unless a single write has more. Larger gains nothing, since the disk is waited
 * for once in 30 ms already, and keeps other processes from the file for longer. Unit: events.
 */
const batchEventsMax = 4_096

/** Starts the fiber. `onCommit` is called with the newest position after each commit, a joined one too. */
export const make = (
  database: SqliteDatabase,
  onCommit: (position: number) => void
): Effect.Effect<(write: PreparedWrite) => Effect.Effect<WriteResult, WriteError>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const queue = yield* Mailbox.make<Waiting>({ capacity: waitingWritesMax, strategy: "suspend" })

    const loop: Effect.Effect<void> = Effect.flatMap(queue.takeAll, ([taken, done]) =>
      Effect.forEach(batchesOf(Array.from(taken)), (batch) => commitBatch(database, onCommit, batch), {
        discard: true
      }).pipe(Effect.zipRight(done ? Effect.void : loop))
    )
    const fiber = yield* Effect.forkDaemon(Effect.interruptible(loop))
    yield* Effect.addFinalizer(() => Effect.zipRight(queue.end, Fiber.await(fiber)))

    const enqueue = (write: PreparedWrite): Effect.Effect<WriteResult, WriteError> =>
      Effect.flatMap(Deferred.make<WriteResult, WriteError>(), (deferred) => {
        const waiting: Waiting = { write, deferred, abandoned: false }
        return Effect.flatMap(queue.offer(waiting), (accepted) =>
          accepted
            ? Effect.onInterrupt(Deferred.await(deferred), () =>
                Effect.sync(() => void (waiting.abandoned = true))
              )
            : Effect.fail(closed())
        )
      })

    return (write) =>
      Effect.flatMap(database.current, (transaction) =>
        transaction === undefined ? enqueue(write) : join(database, onCommit, transaction, write)
      )
  })

// ---- internal ----

interface Waiting {
  readonly write: PreparedWrite
  readonly deferred: Deferred.Deferred<WriteResult, WriteError>
  /** The caller was interrupted. */
  abandoned: boolean
}

const closed = () =>
  new StoreUnavailable({ operation: "write", transient: false, cause: new Error("the store is closed") })

/** Cuts what was taken into transactions. */
function batchesOf(taken: ReadonlyArray<Waiting>): Array<Array<Waiting>> {
  const batches: Array<Array<Waiting>> = []
  let batch: Array<Waiting> = []
  let events = 0
  for (const waiting of taken) {
    if (batch.length > 0 && events + waiting.write.eventCount > batchEventsMax) {
      batches.push(batch)
      batch = []
      events = 0
    }
    batch.push(waiting)
    events += waiting.write.eventCount
  }
  if (batch.length > 0) batches.push(batch)
  return batches
}

/** Commits the writes together and answers each of them, whatever happens. */
const commitBatch = (
  database: SqliteDatabase,
  onCommit: (position: number) => void,
  taken: ReadonlyArray<Waiting>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    let batch = taken
    const commit = database.commit((session) => {
      // Only now, since a caller may have left while the connection was waited for.
      batch = taken.filter((waiting) => !waiting.abandoned)
      return SqliteBatch.commit(
        session,
        batch.map((waiting) => waiting.write)
      )
    })
    return Effect.flatMap(Effect.exit(commit), (exit): Effect.Effect<void> => {
      if (Exit.isSuccess(exit)) {
        const { position, results } = exit.value
        if (position !== undefined) onCommit(position)
        for (let i = 0; i < batch.length; i++) Deferred.unsafeDone(batch[i]!.deferred, answer(results[i]!))
        return Effect.void
      }
      const error = exit.cause._tag === "Fail" ? exit.cause.error : undefined
      if (error === undefined) {
        for (const { deferred } of batch) Deferred.unsafeDone(deferred, exit as Exit.Exit<never>)
        return Effect.void
      }
      if (batch.length > 1 && SqliteFault.isRowAtFault(error)) {
        return Effect.forEach(batch, (waiting) => commitBatch(database, onCommit, [waiting]), {
          discard: true
        })
      }
      return Effect.forEach(
        batch,
        ({ deferred, write }) => Effect.intoDeferred(refusal(database, write, error), deferred),
        { discard: true }
      )
    })
  })

/** Makes the write inside the caller's transaction: all of it, or nothing and the transaction can go on. */
const join = (
  database: SqliteDatabase,
  onCommit: (position: number) => void,
  transaction: SqliteTransaction,
  write: PreparedWrite
): Effect.Effect<WriteResult, WriteError> =>
  Effect.matchEffect(
    database.join(transaction, (session) => SqliteBatch.commit(session, [write])),
    {
      onFailure: (error) => refusal(database, write, error),
      onSuccess: ({ position, results }) => {
        if (position !== undefined) transaction.onCommit(() => onCommit(position))
        return answer(results[0]!)
      }
    }
  )

const answer = (result: WriteResult | WriteError): Exit.Exit<WriteResult, WriteError> =>
  "_tag" in result ? Exit.fail(result) : Exit.succeed(result)

/**
 * What SQLite's refusal of a single write means to its caller. An id that the caller did not name was not
 * looked up before, so another source of ids that gave out the same one shows up here.
 */
const refusal = (
  database: SqliteDatabase,
  write: PreparedWrite,
  error: SqlError
): Effect.Effect<never, WriteError> => {
  const unavailable = SqliteFault.storeUnavailable("write")(error)
  if (!SqliteFault.isDuplicate(error)) return Effect.fail(unavailable)
  const streamOf = new Map(
    write.appends.flatMap(({ events, streamId }) => events.map(({ id }) => [id as string, streamId] as const))
  )
  return database
    .statement((session) => Statements.eventsById(session, Array.from(streamOf.keys())))
    .pipe(
      Effect.catchAll(() => Effect.fail(unavailable)),
      Effect.flatMap(([row]) => {
        const id = row?.[0]
        const streamId = id === undefined ? undefined : streamOf.get(id)
        return Effect.fail(
          id === undefined || streamId === undefined ? unavailable : new EventIdConflict({ streamId, id })
        )
      })
    )
}
