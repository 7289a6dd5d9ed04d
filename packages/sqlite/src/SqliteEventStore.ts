/**
 * The log in one SQLite file. It keeps every promise of {@link EventStore}; those that differ among databases
 * are kept like this:
 *
 *  - SQLite has one writer at a time, also across processes, and positions are given out inside its
 *    transaction: every committed event may be read, the head is the newest position, and a condition that
 *    was looked at in the transaction still holds when it commits.
 *  - A write returns when SQLite has synced its log file (`synchronous` FULL): it survives a loss of power.
 *    With NORMAL it survives a crash of the process only.
 *  - Reads wait for no other process. Within the process they share one connection with the writes, and wait
 *    while another fiber is inside `sql.withTransaction`: keep those short.
 *  - Text is compared by its bytes, times come from the `Clock`.
 *
 * A process that is frozen inside a transaction keeps every writer of the file waiting; those fail with a
 * transient `StoreUnavailable` after `busyTimeout`.
 */
import type { ExpectedVersion } from "@millrace/core/Append"
import type { EventFilter } from "@millrace/core/EventFilter"
import type { EventStore } from "@millrace/core/EventStore"
import * as EventStoreBackend from "@millrace/core/EventStoreBackend"
import type { EventStoreSettings } from "@millrace/core/EventStoreBackend"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { StreamId } from "@millrace/core/StreamId"
import type { StreamVersion } from "@millrace/core/StreamVersion"
import { InvalidOriginalVersion } from "@millrace/core/WriteError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ReadStatements from "./ReadStatements.js"
import { holds } from "./SqliteBatch.js"
import * as SqliteChanges from "./SqliteChanges.js"
import type { Body, SqliteDatabase } from "./SqliteDatabase.js"
import { storeUnavailable } from "./SqliteFault.js"
import * as SqliteReader from "./SqliteReader.js"
import type { SqliteSession } from "./SqliteSession.js"
import * as SqliteWriter from "./SqliteWriter.js"
import * as Statements from "./Statements.js"

/** Settings of the store, checked by its caller. */
export interface SqliteEventStoreOptions extends EventStoreSettings {
  /** How often `changes` looks for commits of other processes. */
  readonly pollInterval: Duration.Duration
}

/**
 * Builds the store over a database whose tables exist. Closing the scope commits the writes that were
 * accepted; later ones fail with `StoreUnavailable`. Most callers want `Sqlite.layer`.
 */
export const make = (
  database: SqliteDatabase,
  options: SqliteEventStoreOptions
): Effect.Effect<EventStore["Type"], StoreUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const changes = yield* SqliteChanges.make(database, options.pollInterval)
    const write = yield* SqliteWriter.make(database, changes.publish)
    const one = <A>(operation: string, body: Body<A>) =>
      Effect.mapError(database.statement(body), storeUnavailable(operation))
    return yield* EventStoreBackend.make(
      {
        write,
        read: (plan) => SqliteReader.read(database, plan),
        streamVersion: (streamId) =>
          one("streamVersion", (session) => Statements.streamVersion(session, streamId)),
        listStreams: (listing) => {
          const { params, sql } = ReadStatements.listStreams(listing)
          return one("listStreams", (session) =>
            session
              .rows<ReadStatements.ListedStream>(sql, params)
              .map(([streamId, version, tombstoned, deletedThrough]) => ({
                streamId,
                version,
                tombstoned: tombstoned === 1,
                deletedThrough
              }))
          )
        },
        head: one("head", Statements.head),
        changes: changes.stream,
        deleteStream: (streamId, expected, tombstone) =>
          maintenance(database, "deleteStream", (session) =>
            deleteStream(session, streamId, expected, tombstone)
          ).pipe(
            Effect.flatMap((result) =>
              typeof result === "number" ? Effect.succeed(result) : Effect.fail(result)
            )
          ),
        archiveStream: (streamId) =>
          maintenance(database, "archiveStream", (session) => Statements.archiveEvents(session, streamId)),
        eraseEvents: (filter, replacement) =>
          maintenance(database, "eraseEvents", (connection) => eraseEvents(connection, filter, replacement))
      },
      options
    )
  })

// ---- internal ----

/**
 * Runs what changes events, with the append-only triggers off: in a transaction of its own, or as a part of
 * the caller's.
 */
const maintenance = <A>(
  database: SqliteDatabase,
  operation: string,
  body: Body<A>
): Effect.Effect<A, StoreUnavailable> => {
  const maintained: Body<A> = (session) => {
    Statements.beginMaintenance(session)
    const result = body(session)
    Statements.endMaintenance(session)
    return result
  }
  return Effect.flatMap(database.current, (transaction) =>
    transaction === undefined ? database.commit(maintained) : database.join(transaction, maintained)
  ).pipe(Effect.mapError(storeUnavailable(operation)))
}

function deleteStream(
  session: SqliteSession,
  streamId: StreamId,
  expected: ExpectedVersion,
  tombstone: boolean
): number | InvalidOriginalVersion {
  const [row] = Statements.streams(session, [streamId])
  const stream = { version: row?.[1] ?? 0, base: row?.[2] ?? 0 }
  if (!holds(expected, stream))
    return new InvalidOriginalVersion({ streamId, expected, actual: stream.version as StreamVersion })
  if (row === undefined && !tombstone) return 0
  Statements.removeTags(session, streamId)
  const count = Statements.removeEvents(session, streamId)
  Statements.markDeleted(session, streamId, tombstone)
  Statements.removeSnapshots(session, streamId)
  return count
}

function eraseEvents(session: SqliteSession, filter: EventFilter, replacement: string): number {
  const positions = ReadStatements.positionsOf(filter)
  Statements.removeSnapshotsOf(session, positions)
  return Statements.eraseEvents(session, positions, replacement)
}
