/**
 * The thin seam beneath {@link EventStore}: what a database must supply, and everything that all databases
 * have in common, written and tested once. A backend gets checked arguments and gives rows; brands, paging,
 * JSON and streaming are added here.
 */
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { ExpectedVersion, WriteResult } from "./Append.js"
import { eventBytesMaxDefault } from "./Append.js"
import { CursorAheadOfLog } from "./EngineError.js"
import type { ReadError, SerializationError } from "./EngineError.js"
import type { RecordedEvent } from "./Event.js"
import { filterFault, isUnrestricted } from "./EventFilter.js"
import type { EventFilter } from "./EventFilter.js"
import { EventIds } from "./EventIds.js"
import type { LogPage, StreamInfo, StreamListing } from "./EventQuery.js"
import { EventStore } from "./EventStore.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import type { Page } from "./Page.js"
import { pageRowsDefault } from "./Page.js"
import { Position } from "./Position.js"
import { isExpected, prepare, toJson } from "./PreparedWrite.js"
import type { PreparedWrite } from "./PreparedWrite.js"
import { listingFault, idsPlanOf, logPlanOf, planOf } from "./ReadPlan.js"
import type { ReadPlan } from "./ReadPlan.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { InvalidStreamId, StreamId } from "./StreamId.js"
import { invalidStreamId, streamIdFault } from "./StreamId.js"
import { StreamVersion } from "./StreamVersion.js"
import type { InvalidOriginalVersion, WriteError } from "./WriteError.js"

export { EventDecoder } from "./EventDecoder.js"
export type { EventRow } from "./EventDecoder.js"
export type { ReadPlan } from "./ReadPlan.js"

/** The events of one page, and whether others stand on the other side of its cursor. */
export interface EventPage {
  /** In the order read: ascending when forward, descending when backward. */
  readonly events: ReadonlyArray<RecordedEvent>
  /** What is wrong with the row that follows the last event; absent or undefined when none is broken. */
  readonly broken?: SerializationError | undefined
  /** The answer to `lookBehind`; false when it was not asked. */
  readonly behind: boolean
}

/**
 * What a database must supply.
 *
 * A backend decides a write in this order, so that all of them refuse for the same reason: ids (a repeat
 * gives the first result, anything else of them is `EventIdConflict`), the condition, then append by append
 * the tombstone, the routing key and the expected version, and last the fence, by the clock as it is then.
 */
export interface EventStoreBackend {
  readonly write: (write: PreparedWrite) => Effect.Effect<WriteResult, WriteError>
  readonly read: (plan: ReadPlan) => Effect.Effect<EventPage, StoreUnavailable>
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
  readonly deletedThrough: number
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
export const streamPageRows = 1000

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
          const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
          const prepared = prepare(appends, options, { ids, clock, eventBytesMax })
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
      readAfter: (query) => {
        const plan = logPlanOf(query)
        return "_tag" in plan ? Effect.fail(plan) : readAfter(backend, plan, query.head)
      },
      readByIds: (ids) => {
        const plan = idsPlanOf(ids)
        if ("_tag" in plan) return Effect.fail(plan)
        return ids.length === 0
          ? Effect.succeed([])
          : Effect.flatMap(backend.read(plan), ({ broken, events }) =>
              broken === undefined ? Effect.succeed(events) : Effect.fail(broken)
            )
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

// ---- results ----

const asVersion = (version: number): StreamVersion => StreamVersion.make(version)
const asPosition = (position: number): Position => Position.make(position)
const asInfos = (rows: ReadonlyArray<StreamRow>): ReadonlyArray<StreamInfo> =>
  rows.map((row) => ({
    streamId: row.streamId as StreamId,
    version: asVersion(row.version),
    tombstoned: row.tombstoned,
    deletedThrough: asVersion(row.deletedThrough)
  }))

// ---- pages ----

/** One row more than asked for tells whether there is a next page, also at exactly n rows. */
const readPage = (
  backend: EventStoreBackend,
  plan: ReadPlan
): Effect.Effect<Page<RecordedEvent>, ReadError> =>
  Effect.flatMap(
    backend.read({ ...plan, limit: plan.limit + 1, lookBehind: true }),
    ({ behind, broken, events }) => {
      // The row beyond the page may be broken: it is there, and that is all that is asked of it.
      if (broken !== undefined && events.length < plan.limit) return Effect.fail(broken)
      const more = broken !== undefined || events.length > plan.limit
      const kept = events.slice(0, plan.limit)
      if (plan.backward) kept.reverse()
      const page: Page<RecordedEvent> = {
        edges: kept.map((node) => ({ cursor: node.position, node })),
        pageInfo: {
          hasNextPage: plan.backward ? behind : more,
          hasPreviousPage: plan.backward ? more : behind,
          startCursor: Option.map(Option.fromNullable(kept[0]), (event) => event.position),
          endCursor: Option.map(Option.fromNullable(kept[kept.length - 1]), (event) => event.position)
        }
      }
      return Effect.succeed(page)
    }
  )

/** Most positions that one call of `readAfter` with a filter looks at: 100 000 take a scan 20 to 40 ms. */
const lookedAtMax = 100_000

const readAfter = (
  backend: EventStoreBackend,
  plan: ReadPlan,
  known: number | undefined
): Effect.Effect<LogPage, ReadError | CursorAheadOfLog> => {
  const upTo = (head: number): Effect.Effect<LogPage, ReadError | CursorAheadOfLog> => {
    if (plan.after > head)
      return Effect.fail(new CursorAheadOfLog({ cursor: asPosition(plan.after), head: asPosition(head) }))
    if (plan.after === head)
      return Effect.succeed({ events: [], through: asPosition(head), head: asPosition(head) })
    const bound = isSelective(plan) ? Math.min(head, plan.after + lookedAtMax) : head
    return Effect.flatMap(backend.read({ ...plan, upTo: bound }), ({ broken, events }) => {
      const last = events[events.length - 1]
      if (broken !== undefined && last === undefined) return Effect.fail(broken)
      const through =
        last !== undefined && (broken !== undefined || events.length === plan.limit)
          ? last.position
          : asPosition(bound)
      return Effect.succeed({ events, through, head: asPosition(head) })
    })
  }
  return known !== undefined && plan.after < known ? upTo(known) : Effect.flatMap(backend.head, upTo)
}

const isSelective = ({ filters, routingKey, vnodes }: ReadPlan): boolean =>
  filters.length > 0 || vnodes !== undefined || routingKey._tag !== "All"

/**
 * Pages until one is short. The next page is read while the consumer has the present one, and no further: at
 * most two are held. Events before a broken one are given before the stream fails with it.
 *
 * A page is handed over in a field, which is then emptied, and not as the result of the fiber that read it:
 * dead fibers hang together, and what one of them holds survives every minor collection. Reading 200 000 events
 * took a third longer, and 100 MB of garbage.
 */
const streamPages = (backend: EventStoreBackend, plan: ReadPlan): Stream.Stream<RecordedEvent, ReadError> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      // A stream may be longer than the head shows, and grows while it is read: it ends where it has no more.
      const head = plan.streamId === undefined ? yield* backend.head : undefined
      const upTo = head === undefined ? plan.upTo : Math.min(head, plan.upTo ?? head)
      let next: ReadPlan | undefined = { ...plan, upTo }
      let read: EventPage | undefined
      let broken: SerializationError | undefined
      let reading: Fiber.Fiber<void, StoreUnavailable>

      const readAhead = Effect.suspend(() =>
        next === undefined
          ? Effect.void
          : Effect.map(
              Effect.forkIn(
                Effect.map(backend.read(next), (page) => {
                  read = page
                }),
                scope
              ),
              (fiber) => {
                reading = fiber
              }
            )
      )
      const take = (): Chunk.Chunk<RecordedEvent> => {
        const { broken: fault, events } = read!
        read = undefined
        broken = fault
        const last = events[events.length - 1]
        next =
          fault !== undefined || last === undefined || events.length < next!.limit
            ? undefined
            : next!.backward
              ? { ...next!, before: last.position }
              : { ...next!, after: last.position }
        return Chunk.unsafeFromArray(events)
      }
      yield* readAhead
      return Stream.repeatEffectChunkOption(
        Effect.suspend(() =>
          next === undefined
            ? Effect.fail(Option.fromNullable<ReadError | undefined>(broken))
            : Fiber.join(reading).pipe(
                Effect.mapError(Option.some<ReadError>),
                Effect.map(take),
                Effect.zipLeft(readAhead)
              )
        )
      )
    })
  )

// ---- checks ----

const withStreamId = <Use extends Effect.Effect<unknown, unknown>>(
  streamId: string,
  use: (id: StreamId) => Use
): Use | Effect.Effect<never, InvalidStreamId> => {
  const reason = streamIdFault(streamId)
  return reason === undefined ? use(streamId as StreamId) : Effect.fail(invalidStreamId(streamId, reason))
}
