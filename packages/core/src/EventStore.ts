/**
 * The log: events appended to streams, readable stream by stream and as one whole in a single order.
 *
 * Promises, the same on every store (memory, SQLite, Postgres):
 *
 *  1. All appends of one `write` are in the log, or none. When `write` returns they are durable; inside the
 *     caller's own transaction they are when that commits.
 *  2. Within a stream, versions follow one another without a gap, and positions rise with versions.
 *  3. A reader of the log that goes on from the last position it has seen never misses an event: nothing
 *     can appear any more at or below the head.
 *  4. Event ids are unique. A write repeated with the ids of the first gives the first result.
 *
 * In the worst case (connection lost while committing) `write` finds out by the event ids whether it took
 * effect; only when the database stays unreachable it fails with a `StoreUnavailable`, and the same write
 * with the same ids may be tried again without harm.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { ExpectedVersion, StreamAppend, WriteOptions, WriteResult } from "./Append.js"
import type { CursorAheadOfLog, ReadError } from "./EngineError.js"
import type { RecordedEvent } from "./Event.js"
import type { EventId } from "./EventId.js"
import type { EventFilter } from "./EventFilter.js"
import type { LogPage, LogQuery, ReadQuery, StreamInfo, StreamListing } from "./EventQuery.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Page } from "./Page.js"
import type { Position } from "./Position.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { InvalidStreamId, StreamId } from "./StreamId.js"
import type { StreamVersion } from "./StreamVersion.js"
import type { InvalidOriginalVersion, WriteError } from "./WriteError.js"

/** The service. Ready-made layers: `Memory.layer`, `Sqlite.layer`, `Postgres.layer`. */
export class EventStore extends Context.Tag("@millrace/core/EventStore")<
  EventStore,
  {
    /**
     * Appends events to the end of one or several streams: all of them, or none.
     *
     * - Up to 1 000 appends and 10 000 events. Appends to one stream are applied in the order given.
     * - Event ids are looked at first: when all ids of the write are in the log, each append's in its own
     *   stream, contiguous and in order, the write is a repeat and gives the first result again.
     * - Then `condition`, then each `expected`, then `fence`.
     * - Inside `sql.withTransaction` of the same database the write joins that transaction.
     *
     * Errors, each with the next step: `InvalidOriginalVersion`, `AppendConditionFailed` (read again, decide
     * again); `EventIdConflict` (another id); `MissingData`, `InvalidStreamId`, `InvalidArgument`,
     * `RoutingKeyMismatch`, `EventTooLarge` (correct the argument); `StreamDeleted` (another stream);
     * `LeaseLost` (stop); `StoreUnavailable` (try again if `transient`).
     *
     * @example
     * ```ts
     * const { appends } = yield* store.write({
     *   streamId: "account/42",
     *   events: [{ type: "Deposited", data: { amountCents: 500 } }],
     *   expected: "any"
     * })
     * ```
     */
    readonly write: (
      appends: StreamAppend | ReadonlyArray<StreamAppend>,
      options?: WriteOptions
    ) => Effect.Effect<WriteResult, WriteError>

    /**
     * One page of events, ascending. Default: the first 40 of the log.
     *
     * Fails with `InvalidArgument` (correct the named field), `SerializationError` (a stored row is broken:
     * it names the position), `StoreUnavailable`.
     *
     * @example
     * ```ts
     * const page = yield* store.read({ filters: [{ streamId: "account/42" }], page: Page.forward({ first: 100 }) })
     * ```
     */
    readonly read: (query?: ReadQuery) => Effect.Effect<Page<RecordedEvent>, ReadError>

    /**
     * Every event that the query matches, up to the head as it is when the stream starts; then it ends. A
     * read of one stream ends where that stream ends when its last page is read.
     *
     * Reads pages underneath (`page.first`, 1 to 10 000, default 1 000 rows) in constant memory, one ahead
     * of the consumer. A forward page request begins after its `after`; a backward one gives the newest
     * event first and goes down from its `before`. Errors as for `read`.
     */
    readonly stream: (query?: ReadQuery) => Stream.Stream<RecordedEvent, ReadError>

    /**
     * The next events for a consumer, which goes on with `after: page.through`. Unlike `read` it tells how far
     * it has looked, so that a consumer of few events moves past all the others and never reads them again: a
     * call with a filter looks at no more than 100 000 positions, so that each one ends soon.
     *
     * Archived events are left out. Fails with `CursorAheadOfLog` when `after` is past the head (the log is not
     * the one that the cursor was made on), `SerializationError` when the very next event is broken (those
     * before it are given first), `InvalidArgument`, `StoreUnavailable`.
     *
     * @example
     * ```ts
     * let { events, head, through } = yield* store.readAfter({ after: Position.start, limit: 300 })
     * ;({ events, head, through } = yield* store.readAfter({ after: through, limit: 300, head }))
     * ```
     */
    readonly readAfter: (query: LogQuery) => Effect.Effect<LogPage, ReadError | CursorAheadOfLog>

    /**
     * The events with these ids, ascending, at most 10 000 of them. Like a read of one stream it sees every committed
     * event, whatever the head, and those that the caller's transaction has written. Archived ones are given; ids
     * that are not in the log are left out.
     *
     * Fails with `InvalidArgument`, `SerializationError` (one of them is broken), `StoreUnavailable`.
     */
    readonly readByIds: (
      ids: ReadonlyArray<EventId | string>
    ) => Effect.Effect<ReadonlyArray<RecordedEvent>, ReadError>

    /**
     * Version of a stream: 0 when it was never written; where it stood, when it was deleted. One index
     * look-up.
     */
    readonly streamVersion: (
      streamId: StreamId | string
    ) => Effect.Effect<StreamVersion, InvalidStreamId | StoreUnavailable>

    /**
     * Streams in byte order of their names, at most `limit` of them, behind `after`. Deleted ones are left
     * out, tombstoned ones are shown as such.
     */
    readonly listStreams: (
      listing: StreamListing
    ) => Effect.Effect<ReadonlyArray<StreamInfo>, InvalidArgument | StoreUnavailable>

    /** The newest position that every log reader may read; 0 for an empty log. Never falls. */
    readonly head: Effect.Effect<Position, StoreUnavailable>

    /**
     * A hint when one begins to listen, and after each commit, here or in another process: the head as it was then,
     * up to which a reader may read. Hints may come late or coalesce, and one may be missing after a connection was lost, so they
     * are never the only way to learn: poll as well.
     */
    readonly changes: Stream.Stream<Position>

    /**
     * Removes all events of a stream for good, and its snapshots. Gives the number of events removed.
     *
     * Positions of other events stay. Written again, the stream goes on with its versions; with `tombstone`
     * it refuses all writes from now on (`StreamDeleted`). Deleting a stream that has no events removes
     * nothing, and `tombstone` still holds.
     *
     * Fails with `InvalidOriginalVersion` when `expected` is given and does not hold.
     */
    readonly deleteStream: (
      streamId: StreamId | string,
      options?: { readonly expected?: ExpectedVersion | undefined; readonly tombstone?: boolean | undefined }
    ) => Effect.Effect<number, InvalidStreamId | InvalidArgument | InvalidOriginalVersion | StoreUnavailable>

    /**
     * Takes the events that a stream has now out of reads of the log; reads of the stream itself still give
     * them. Events appended later are in the log as usual. Gives the number of events newly archived.
     */
    readonly archiveStream: (
      streamId: StreamId | string
    ) => Effect.Effect<number, InvalidStreamId | StoreUnavailable>

    /**
     * Replaces the `data` of every matching event for good (the right to be forgotten), and removes the
     * snapshots of the streams concerned. Position, version, id, type, metadata and tags stay; the event is
     * marked `erased`. Gives the number of events that match.
     *
     * The filter must have at least one field. Keep personal data out of metadata, tags and stream names.
     */
    readonly eraseEvents: (
      filter: EventFilter,
      replacement: unknown
    ) => Effect.Effect<number, InvalidArgument | StoreUnavailable>
  }
>() {}
