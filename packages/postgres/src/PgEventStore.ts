/**
 * The log on Postgres. What makes it one: positions are drawn under a lock that tells readers up to where
 * nothing can appear any more (PgHead, docs/decisions/001-head.md), writes are merged (PgWriter), and pages
 * of the log are read in statements that begin after the head was found.
 *
 * Inside `sql.withTransaction` of the same pool, every operation runs on the connection of that transaction:
 * appends are committed with it, a read of a stream sees them at once, and a read of the log when they are at
 * or below the head. Such a transaction should be short: until it ends, other writers of its streams wait,
 * and readers of the log stop before its first event.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { WriteResult } from "@millrace/core/Append"
import * as EventStoreBackend from "@millrace/core/EventStoreBackend"
import type { EventPage, EventStoreSettings, ReadPlan } from "@millrace/core/EventStoreBackend"
import type { EventStore } from "@millrace/core/EventStore"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { invalid } from "@millrace/core/InvalidArgument"
import type { PreparedWrite } from "@millrace/core/PreparedWrite"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { StreamId } from "@millrace/core/StreamId"
import type { StreamVersion } from "@millrace/core/StreamVersion"
import { afterPrefix } from "@millrace/core/Text"
import type { WriteError } from "@millrace/core/WriteError"
import { EventIdConflict, InvalidOriginalVersion } from "@millrace/core/WriteError"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type pg from "pg"
import { appendOutcomes, appendStatement, appendValues, expectedCode } from "./PgAppend.js"
import { codeOf, constraintOf, isTransient, PgError, storeUnavailable } from "./PgFault.js"
import * as PgBinary from "./PgBinary.js"
import type { PgHead } from "./PgHead.js"
import type { PgNames } from "./PgNames.js"
import type { PgPool, Statement, TextRow } from "./PgPool.js"
import { filterText, literals } from "./PgPredicate.js"
import { behindStatement, PageDecoder, pageStatement } from "./PgReader.js"
import type { PgWakeUps } from "./PgWakeUps.js"
import type { PgWriter } from "./PgWriter.js"

/** What the store is put together from. */
export interface PgEventStoreParts {
  readonly pool: PgPool
  readonly names: PgNames
  readonly head: PgHead
  readonly writer: PgWriter
  readonly wakeUps: PgWakeUps
}

/** How often a read is tried again after its connection was lost. Reads have no effect, so that it does no harm. */
const readRetry = Schedule.exponential("10 millis").pipe(Schedule.intersect(Schedule.recurs(3)))

/** How long a deletion waits until readers may see all that it deletes: 30 s, looking every 20 ms. */
const deleteRetry = Schedule.spaced("20 millis").pipe(Schedule.upTo("30 seconds"))

/** Builds the store from its parts. */
export const make = (
  parts: PgEventStoreParts,
  settings: EventStoreSettings
): Effect.Effect<EventStore["Type"]> => {
  const { head, names, pool, wakeUps, writer } = parts
  const statements = makeStatements(names)
  const general = appendStatement(names)

  /**
   * Does what has no effect where the calling fiber is: in its transaction, if that is one of our pool, else on
   * the pool, and there again when the connection was lost.
   */
  const repeatable = <A>(
    operation: string,
    body: (client: pg.PoolClient | undefined) => Promise<A>
  ): Effect.Effect<A, StoreUnavailable> =>
    withTransaction(pool, (client) => {
      const once = Effect.tryPromise({ try: () => body(client), catch: storeUnavailable(operation) })
      return client === undefined
        ? live(Effect.retry(once, { schedule: readRetry, while: (error) => error.transient }))
        : once
    })
  const run = (operation: string, statement: Statement, values: ReadonlyArray<unknown>) =>
    repeatable(operation, (client) => pool.query(statement, values, client))

  const readPage = (plan: ReadPlan, upTo: number | undefined): Effect.Effect<EventPage, StoreUnavailable> => {
    const page = pageStatement(plan, upTo, names.q)
    const behind = behindStatement(plan, upTo, names.q)
    // The decoder is handed over in a variable, which is then emptied: see PgPool about dead timers.
    const events = Effect.suspend(() => {
      let decoder: PageDecoder | undefined
      return Effect.map(
        repeatable("read", (client) => {
          decoder = new PageDecoder()
          return pool.each(page, page.values, decoder.addTexts, client)
        }),
        () => {
          const read = decoder!
          decoder = undefined
          return read
        }
      )
    })
    if (behind === undefined)
      return Effect.map(events, ({ broken, events }) => ({ events, broken, behind: false }))
    return Effect.zipWith(events, run("read", behind, behind.values), ({ broken, events }, others) => ({
      events,
      broken,
      behind: others.length > 0
    }))
  }

  /** The head for a read of the log, found where the read will be made. */
  const headForRead: Effect.Effect<number, StoreUnavailable> = withTransaction(pool, (client) =>
    client === undefined
      ? live(Effect.retry(head.fresh, { schedule: readRetry, while: (error) => error.transient }))
      : Effect.map(query(pool, "read", statements.head, [], client), ([row]) => Number(row![0]))
  )

  return EventStoreBackend.make(
    {
      write: (write) =>
        withTransaction(pool, (client, fiber) =>
          client === undefined ? writer.write(write, fiber) : writeJoined(client, write)
        ),
      read: (plan) => {
        if (plan.streamId !== undefined || plan.ids !== undefined) return readPage(plan, plan.upTo)
        // Up to a head that was known before, no look at the present one is needed.
        if (plan.upTo !== undefined && plan.upTo <= head.known()) return readPage(plan, plan.upTo)
        return Effect.flatMap(headForRead, (position) =>
          readPage(plan, Math.min(position, plan.upTo ?? position))
        )
      },
      streamVersion: (streamId) =>
        Effect.map(run("streamVersion", statements.streamVersion, [streamId]), ([row]) =>
          Number(row?.[0] ?? 0)
        ),
      listStreams: ({ after, limit, prefix }) =>
        Effect.map(
          run("listStreams", statements.listStreams, [
            prefix ?? "",
            prefix === undefined ? null : (afterPrefix(prefix) ?? null),
            after ?? "",
            limit
          ]),
          (rows) =>
            rows.map(([streamId, version, tombstoned, deletedThrough]) => ({
              streamId: streamId!,
              version: Number(version),
              tombstoned: tombstoned === "t",
              deletedThrough: Number(deletedThrough)
            }))
        ),
      head: headForRead,
      changes: wakeUps.changes,
      deleteStream: (streamId, expected, tombstone) =>
        run("deleteStream", statements.deleteStream, [streamId, expectedCode(expected), tombstone]).pipe(
          Effect.flatMap(
            ([row]): Effect.Effect<number, InvalidOriginalVersion | InvalidArgument | StoreUnavailable> => {
              const [deleted, refusedAt] = row!
              if (refusedAt != null) {
                return Effect.fail(
                  new InvalidOriginalVersion({
                    streamId,
                    expected,
                    actual: Number(refusedAt) as StreamVersion
                  })
                )
              }
              if (deleted === "-2") return Effect.fail(deletesOwn(streamId))
              return deleted === "-1" ? Effect.fail(heldBack(streamId)) : Effect.succeed(Number(deleted))
            }
          ),
          Effect.retry({
            schedule: deleteRetry,
            while: (error) => error._tag === "StoreUnavailable" && isHeldBack(error)
          }),
          live
        ),
      archiveStream: (streamId) =>
        Effect.map(run("archiveStream", statements.archiveStream, [streamId]), ([row]) => Number(row![0])),
      eraseEvents: (filter, replacement) =>
        Effect.map(
          run("eraseEvents", statements.eraseEvents, [filterText(filter, literals), replacement]),
          ([row]) => Number(row![0])
        )
    },
    settings
  )

  /** An append that belongs to the caller's transaction: it waits for what it needs, and notifies with the commit. */
  function writeJoined(client: pg.PoolClient, write: PreparedWrite): Effect.Effect<WriteResult, WriteError> {
    const mode = { looksAtIds: write.namesIds, waits: true, lockMs: null, joined: true }
    return Effect.flatMap(
      Effect.tryPromise({
        try: () => pool.query(general, appendValues([write], mode, names, PgBinary.make()), client),
        catch: (cause): WriteError => joinedFault(write, cause)
      }),
      ([row]) => {
        const outcome = appendOutcomes([write], row!)[0]!
        if (outcome._tag === "Written") return Effect.succeed(outcome.result)
        return Effect.fail(
          outcome._tag === "Refused" ? outcome.error : storeUnavailable("write")(new Error("blocked"))
        )
      }
    )
  }
}

// ---- internal ----

/** Real time, also where the application runs on a test clock: the database does not. */
const live = Effect.withClock(Clock.make())

/**
 * Calls `use` with the connection of the transaction that the fiber is in, if that is one of this pool. All
 * clients of @effect/sql share one tag, so that it may be another database's: then it is none of ours.
 */
const withTransaction = <A, E>(
  pool: PgPool,
  use: (client: pg.PoolClient | undefined, fiber: Fiber.RuntimeFiber<unknown, unknown>) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.withFiberRuntime((fiber) => {
    const transaction = fiber.currentContext.unsafeMap.get(SqlClient.TransactionConnection.key) as
      Context.Tag.Service<typeof SqlClient.TransactionConnection> | undefined
    const client: unknown =
      transaction === undefined ? undefined : (transaction[0] as { readonly pg?: unknown }).pg
    return use(pool.owns(client) ? client : undefined, fiber)
  })

const query = (
  pool: PgPool,
  operation: string,
  { name, text }: { readonly name: string | undefined; readonly text: string },
  values: ReadonlyArray<unknown>,
  client: pg.PoolClient | undefined
): Effect.Effect<ReadonlyArray<TextRow>, StoreUnavailable> =>
  Effect.tryPromise({
    try: () => pool.query({ name, text }, values, client),
    catch: storeUnavailable(operation)
  })

/** An error inside the caller's transaction: the transaction is over, and the caller decides about the next one. */
const joinedFault = (write: PreparedWrite, cause: unknown): WriteError => {
  const field = write.condition !== undefined ? "condition" : write.fence !== undefined ? "fence" : undefined
  if (codeOf(cause) === "25001" && field !== undefined) {
    return invalid(
      field,
      `a ${field} only in a READ COMMITTED transaction`,
      "REPEATABLE READ or SERIALIZABLE"
    )
  }
  if (constraintOf(cause) === "events_id") {
    const { events, streamId } = write.appends[0]!
    return new EventIdConflict({ streamId, id: events[0]!.id })
  }
  if (constraintOf(cause) === "events_stream_version" && !isTransient(cause)) {
    // The transaction looks at an old snapshot, and the stream has moved on since.
    return new StoreUnavailable({
      operation: "write",
      transient: true,
      cause: storeUnavailable("write")(cause).cause
    })
  }
  return storeUnavailable("write")(cause)
}

const heldBackCode = "millrace: held back"

/** The transaction keeps readers from what it is to delete, and cannot end while it waits for them. */
const deletesOwn = (streamId: StreamId): InvalidArgument =>
  invalid(
    "streamId",
    "in a transaction that has appended, only a stream that is older than its first append",
    streamId
  )

/** Readers do not see all of the stream yet, because an older transaction that appended is still open. */
const heldBack = (streamId: StreamId): StoreUnavailable =>
  new StoreUnavailable({
    operation: "deleteStream",
    transient: true,
    cause: new PgError(
      `an open transaction keeps readers from events of the stream. streamId=${streamId}`,
      heldBackCode
    )
  })

const isHeldBack = (error: StoreUnavailable): boolean =>
  error.cause instanceof PgError && error.cause.code === heldBackCode

/** Every statement beside pages and appends, in the order of the contract. */
const makeStatements = ({ q }: PgNames) => {
  const named = (name: string, text: string): Statement => ({ name: `millrace_${name}_${q}`, text })
  return {
    head: named("head", `SELECT ${q}.head()`),
    streamVersion: named("version", `SELECT s.version FROM ${q}.streams s WHERE s.stream_id = $1`),
    // Deleted streams have no events and no tombstone; both bounds are in byte order.
    listStreams: named(
      "list",
      `SELECT s.stream_id, s.version, s.tombstoned, s.base_version
       FROM ${q}.streams s
       WHERE s.stream_id >= $1 COLLATE "C"
         AND ($2::text IS NULL OR s.stream_id < $2 COLLATE "C")
         AND s.stream_id > $3 COLLATE "C"
         AND (s.version > s.base_version OR s.tombstoned)
       ORDER BY s.stream_id
       LIMIT $4`
    ),
    deleteStream: named("delete", `SELECT deleted, refused_at FROM ${q}.delete_stream($1, $2::bigint, $3)`),
    archiveStream: named("archive", `SELECT ${q}.archive_stream($1)`),
    eraseEvents: named("erase", `SELECT ${q}.erase_events($1, $2::json)`)
  }
}
