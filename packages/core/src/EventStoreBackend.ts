/**
 * The thin seam beneath {@link EventStore}: what a database must supply, and everything that all databases
 * have in common, written and tested once. A backend gets checked arguments and gives rows; brands, paging,
 * JSON and streaming are added here.
 */
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { ExpectedVersion, WriteResult } from "./Append.js"
import { eventBytesMaxDefault } from "./Append.js"
import type { ReadError } from "./EngineError.js"
import { SerializationError } from "./EngineError.js"
import type { EventMetadata, RecordedEvent } from "./Event.js"
import { filterFault, isUnrestricted } from "./EventFilter.js"
import type { EventFilter } from "./EventFilter.js"
import type { EventId } from "./EventId.js"
import { EventIds } from "./EventIds.js"
import type { StreamInfo, StreamListing } from "./EventQuery.js"
import { EventStore } from "./EventStore.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import type { Page } from "./Page.js"
import { pageRowsDefault } from "./Page.js"
import { Position } from "./Position.js"
import { isExpected, prepare, toJson } from "./PreparedWrite.js"
import type { PreparedWrite } from "./PreparedWrite.js"
import { listingFault, planOf } from "./ReadPlan.js"
import type { ReadPlan } from "./ReadPlan.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { InvalidStreamId, StreamId } from "./StreamId.js"
import { invalidStreamId, streamIdFault } from "./StreamId.js"
import { StreamVersion } from "./StreamVersion.js"
import type { InvalidOriginalVersion, WriteError } from "./WriteError.js"

/** An event as a backend gives it back: JSON still as text, the time as milliseconds since 1970. */
export interface EventRow {
  readonly position: number
  readonly streamId: string
  readonly version: number
  readonly id: string
  readonly type: string
  readonly data: string
  readonly metadata: string | null
  /** A null among them means that the row is broken. */
  readonly tags: ReadonlyArray<string | null> | null
  readonly recordedAtMs: number
  readonly erased: boolean
}

export type { ReadPlan } from "./ReadPlan.js"

/** The rows of one page, and whether others stand on the other side of its cursor. */
export interface RowPage {
  /** In the order read: ascending when forward, descending when backward. */
  readonly rows: ReadonlyArray<EventRow>
  /** The answer to `lookBehind`; false when it was not asked. */
  readonly behind: boolean
}

/**
 * What a database must supply. Rows in, rows out.
 *
 * A backend decides a write in this order, so that all of them refuse for the same reason: ids (a repeat
 * gives the first result, anything else of them is `EventIdConflict`), the condition, then append by append
 * the tombstone, the routing key and the expected version.
 */
export interface EventStoreBackend {
  readonly write: (write: PreparedWrite) => Effect.Effect<WriteResult, WriteError>
  readonly read: (plan: ReadPlan) => Effect.Effect<RowPage, StoreUnavailable | SerializationError>
  readonly streamVersion: (streamId: StreamId) => Effect.Effect<number, StoreUnavailable>
  readonly listStreams: (listing: StreamListing) => Effect.Effect<ReadonlyArray<StreamRow>, StoreUnavailable>
  readonly head: Effect.Effect<number, StoreUnavailable>
  readonly changes: Stream.Stream<number>
  readonly deleteStream: (
    streamId: StreamId,
    expected: ExpectedVersion,
    tombstone: boolean
  ) => Effect.Effect<number, InvalidOriginalVersion | InvalidArgument | StoreUnavailable>
  readonly archiveStream: (streamId: StreamId) => Effect.Effect<number, StoreUnavailable>
  /** `replacement` is JSON text. */
  readonly eraseEvents: (filter: EventFilter, replacement: string) => Effect.Effect<number, StoreUnavailable>
}

/** A stream as a backend lists it. */
export interface StreamRow {
  readonly streamId: string
  readonly version: number
  readonly tombstoned: boolean
}

/** Settings that every store has. */
export interface EventStoreSettings {
  /** Most bytes of an event's data and metadata. Range: 1 to 67 108 864. Default: 1 048 576. */
  readonly eventBytesMax?: number | undefined
}

/**
 * Rows of a page beneath `stream` when the query names none. Between 250 and 2 000 rows there was no difference
 * above the noise (200 000 events on Postgres in 1.0 to 1.2 s), and fewer rows hold less memory.
 */
export const streamPageRows = 500

/** Builds the store from a backend. Event ids come from {@link EventIds} as it is when this runs. */
export const make = (
  backend: EventStoreBackend,
  settings: EventStoreSettings = {}
): Effect.Effect<EventStore["Type"]> =>
  Effect.map(EventIds, (ids) => {
    const eventBytesMax = settings.eventBytesMax ?? eventBytesMaxDefault
    return EventStore.of({
      write: (appends, options) =>
        // The fiber at hand has the clock; asking for it by an effect of its own costs a twentieth of a write.
        Effect.withFiberRuntime((fiber) => {
          const nowMs = Context.get(fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeMillis()
          const prepared = prepare(appends, options, { ids, nowMs, eventBytesMax })
          return "_tag" in prepared ? Effect.fail(prepared) : backend.write(prepared)
        }),
      read: (query) => {
        const plan = planOf(query ?? {}, pageRowsDefault)
        return "_tag" in plan ? Effect.fail(plan) : readPage(backend, plan)
      },
      stream: (query) => {
        const plan = planOf(query ?? {}, streamPageRows)
        return "_tag" in plan ? Stream.fail(plan) : streamPages(backend, plan)
      },
      streamVersion: (streamId) =>
        withStreamId(streamId, (id) => Effect.map(backend.streamVersion(id), asVersion)),
      listStreams: (listing) => {
        const fault = listingFault(listing)
        return fault === undefined ? Effect.map(backend.listStreams(listing), asInfos) : Effect.fail(fault)
      },
      head: Effect.map(backend.head, asPosition),
      changes: Stream.map(backend.changes, asPosition),
      deleteStream: (streamId, options) =>
        withStreamId(streamId, (id) => {
          const expected = options?.expected ?? "any"
          return isExpected(expected)
            ? backend.deleteStream(id, expected, options?.tombstone ?? false)
            : Effect.fail(
                invalid("expected", `"any", "exists", "empty" or a version of 0 to 2^53 - 1`, expected)
              )
        }),
      archiveStream: (streamId) => withStreamId(streamId, backend.archiveStream),
      eraseEvents: (filter, replacement) => {
        const fault = filterFault("filter", filter)
        if (fault !== undefined) return Effect.fail(fault)
        if (isUnrestricted(filter))
          return Effect.fail(invalid("filter", "a filter with at least one field", filter))
        const text = toJson(replacement)
        return text === undefined
          ? Effect.fail(
              invalid("replacement", "a JSON value (no undefined, function, bigint or cycle)", replacement)
            )
          : backend.eraseEvents(filter, text)
      }
    })
  })

/** What is wrong with a store's settings, or `undefined`. Layers check it before they open anything. */
export const settingsFault = (settings: EventStoreSettings): InvalidArgument | undefined => {
  const max = settings.eventBytesMax
  return max === undefined || (Number.isInteger(max) && max >= 1 && max <= 67_108_864)
    ? undefined
    : invalid("eventBytesMax", "an integer of 1 to 67 108 864 bytes", max)
}

// ---- rows ----

const noTags: ReadonlyArray<string> = Object.freeze([])
const noMetadata: EventMetadata = Object.freeze({})
const none: Option.Option<string> = Option.none()

/**
 * Rows to events. Stored rows are trusted but for their JSON: text that does not parse is a
 * `SerializationError` that names the position.
 *
 * Hot: touches every event that is read. A plain loop; a Schema here costs 6 to 12 times as much.
 */
export function toEvents(rows: ReadonlyArray<EventRow>): Array<RecordedEvent> | SerializationError {
  const events = new Array<RecordedEvent>(rows.length)
  // Events of one write share their time, so the object is kept: a fifth of the whole loop.
  let recordedAt = DateTime.unsafeMake(0)
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!
    let data: unknown
    let metadata: EventMetadata = noMetadata
    let correlationId = none
    let causationId = none
    try {
      data = JSON.parse(row.data)
    } catch (cause) {
      return corrupt(row, "data", cause)
    }
    if (row.metadata !== null) {
      try {
        metadata = JSON.parse(row.metadata)
      } catch (cause) {
        return corrupt(row, "metadata", cause)
      }
      if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
        return corrupt(row, "metadata", "not an object")
      }
      if (metadata.correlationId !== undefined) {
        if (typeof metadata.correlationId !== "string")
          return corrupt(row, "metadata.correlationId", "not a text")
        correlationId = Option.some(metadata.correlationId)
      }
      if (metadata.causationId !== undefined) {
        if (typeof metadata.causationId !== "string")
          return corrupt(row, "metadata.causationId", "not a text")
        causationId = Option.some(metadata.causationId)
      }
    }
    if (row.tags !== null && row.tags.includes(null)) return corrupt(row, "tags", "not a list of texts")
    // The greatest time that a Date can hold.
    if (!(Math.abs(row.recordedAtMs) <= 8.64e15)) return corrupt(row, "recordedAt", "not a time")
    if (recordedAt.epochMillis !== row.recordedAtMs) recordedAt = DateTime.unsafeMake(row.recordedAtMs)
    if (!Number.isSafeInteger(row.position)) return corrupt(row, "position", "beyond 2^53 - 1")
    if (!Number.isSafeInteger(row.version)) return corrupt(row, "version", "beyond 2^53 - 1")
    events[i] = {
      streamId: row.streamId as StreamId,
      version: row.version as StreamVersion,
      position: row.position as Position,
      id: row.id as EventId,
      type: row.type,
      data,
      metadata,
      tags: (row.tags as ReadonlyArray<string> | null) ?? noTags,
      recordedAt,
      correlationId,
      causationId,
      erased: row.erased
    }
  }
  return events
}

const corrupt = (row: EventRow, path: string, cause: unknown): SerializationError =>
  new SerializationError({
    eventType: row.type,
    streamId: row.streamId,
    version: row.version,
    position: row.position,
    path,
    reason: `stored value is broken: ${cause instanceof Error ? cause.message : String(cause)}`
  })

const decode = (rows: ReadonlyArray<EventRow>): Effect.Effect<Array<RecordedEvent>, SerializationError> => {
  const events = toEvents(rows)
  return Array.isArray(events) ? Effect.succeed(events) : Effect.fail(events)
}

const asVersion = (version: number): StreamVersion => StreamVersion.make(version)
const asPosition = (position: number): Position => Position.make(position)
const asInfos = (rows: ReadonlyArray<StreamRow>): ReadonlyArray<StreamInfo> =>
  rows.map((row) => ({
    streamId: row.streamId as StreamId,
    version: asVersion(row.version),
    tombstoned: row.tombstoned
  }))

// ---- pages ----

/** One row more than asked for tells whether there is a next page, also at exactly n rows. */
const readPage = (
  backend: EventStoreBackend,
  plan: ReadPlan
): Effect.Effect<Page<RecordedEvent>, ReadError> =>
  Effect.flatMap(backend.read({ ...plan, limit: plan.limit + 1, lookBehind: true }), ({ behind, rows }) => {
    const more = rows.length > plan.limit
    const kept = more ? rows.slice(0, plan.limit) : rows
    return Effect.map(decode(plan.backward ? kept.toReversed() : kept), (events): Page<RecordedEvent> => ({
      edges: events.map((node) => ({ cursor: node.position, node })),
      pageInfo: {
        hasNextPage: plan.backward ? behind : more,
        hasPreviousPage: plan.backward ? more : behind,
        startCursor: Option.map(Option.fromNullable(events[0]), (event) => event.position),
        endCursor: Option.map(Option.fromNullable(events[events.length - 1]), (event) => event.position)
      }
    }))
  })

/** Pages until one is short. The next page is read while the consumer has the present one. */
const streamPages = (backend: EventStoreBackend, plan: ReadPlan): Stream.Stream<RecordedEvent, ReadError> => {
  const pagesUpTo = (upTo: number | undefined): Stream.Stream<RecordedEvent, ReadError> =>
    Stream.paginateChunkEffect({ ...plan, upTo }, (page) =>
      Effect.flatMap(backend.read(page), ({ rows }) =>
        Effect.map(decode(rows), (events) => {
          const last = rows[rows.length - 1]
          const next =
            rows.length < page.limit || last === undefined
              ? Option.none()
              : Option.some(
                  page.backward ? { ...page, before: last.position } : { ...page, after: last.position }
                )
          return [Chunk.unsafeFromArray(events), next] as const
        })
      )
    ).pipe(Stream.bufferChunks({ capacity: 1 }))
  // A stream may be longer than the head shows, and grows while it is read: it ends where it has no more.
  if (plan.streamId !== undefined) return pagesUpTo(plan.upTo)
  return Stream.unwrap(
    Effect.map(backend.head, (head) => pagesUpTo(plan.upTo === undefined ? head : Math.min(head, plan.upTo)))
  )
}

// ---- checks ----

const withStreamId = <Use extends Effect.Effect<unknown, unknown>>(
  streamId: string,
  use: (id: StreamId) => Use
): Use | Effect.Effect<never, InvalidStreamId> => {
  const reason = streamIdFault(streamId)
  return reason === undefined ? use(streamId as StreamId) : Effect.fail(invalidStreamId(streamId, reason))
}
