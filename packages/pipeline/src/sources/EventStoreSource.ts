/**
 * The log as a source: the events that its filters match, in the order of the log, of the streams whose vnodes the
 * instance owns. There is one partition, "log", and its offset is the position up to which nothing is missing, so that
 * a source of few events moves past all the others as well: a batch may be empty.
 *
 *     read a page ──▶ batch ──▶ read a page … at the head ──▶ "head": ends
 *                                                        └──▶ "forever": waits for a hint of `changes`, or the poll
 *
 * A batch holds whole pages, and a page begins where the one before it ended: pages that lie below the head have the
 * same events whenever they are read. Those that were cut off by the head, as it was then, have not.
 *
 * Storage that is away for a moment is waited for, at most a minute: reading has no effect, so that doing it again
 * does no harm. Archived events are left out.
 */
import { CursorAheadOfLog } from "@millrace/core/EngineError"
import type { ReadError, SerializationError } from "@millrace/core/EngineError"
import type { RecordedEvent } from "@millrace/core/Event"
import type { EventFilter } from "@millrace/core/EventFilter"
import { filtersFault } from "@millrace/core/EventFilter"
import type { LogPage, VnodeRange } from "@millrace/core/EventQuery"
import { EventStore } from "@millrace/core/EventStore"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { invalid } from "@millrace/core/InvalidArgument"
import { pageRowsMax } from "@millrace/core/Page"
import { patient } from "@millrace/core/Patience"
import { Position } from "@millrace/core/Position"
import type { RoutingKey } from "@millrace/core/RoutingKey"
import type { Source, SourceBatch } from "@millrace/core/Source"
import { nameFault } from "@millrace/core/SubscriberArguments"
import { vnodeCount } from "@millrace/core/Vnode"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { numberOf } from "./IterableSource.js"

/** What decodes events: an `EventCodec`, or a category of one. */
export interface EventsCodec<out Fact> {
  /** Whether it knows the event's category and type. */
  readonly handles: (event: RecordedEvent) => boolean
  /** Filters that find the events it knows. */
  readonly filters: () => ReadonlyArray<EventFilter>
  /** Decodes one event. */
  readonly decodeEither: (event: RecordedEvent) => Either.Either<Fact, SerializationError>
}

/** Which events are read, and how. */
export interface EventsOptions<in A> {
  /** Of the source; see `Source`. */
  readonly name: string
  /** Of these one must match, at most 100. Default: those of the codec; without one, every event. */
  readonly filters?: ReadonlyArray<EventFilter> | undefined
  /** Default: all. */
  readonly routingKey?: RoutingKey | undefined
  /**
   * Most events of one batch. Unit: events. Range: 1 to 10 000. Default: 1 000.
   *
   * - Larger: fewer round trips to the database.
   * - Smaller: less memory, and checkpoints, which come between batches, wait less long.
   */
  readonly pageSize?: number | undefined
  /**
   * How far it reads.
   *
   * - `"forever"` (default): what is appended later as well.
   * - `"head"`: up to the head as it is when the source is opened.
   * - a position: up to it, itself included; waits for it while the log is shorter.
   */
  readonly until?: "head" | "forever" | Position | undefined
  /** Longest time at the head without a look for something new. Range: 1 millisecond to 1 day. Default: 250 milliseconds. */
  readonly pollInterval?: Duration.DurationInput | undefined
  /** When it happened. Unit: milliseconds since 1970. Default: when the store recorded the event. */
  readonly timestamp?: ((value: A, event: RecordedEvent) => number) | undefined
}

/** The same, of decoded events. */
export interface FactsOptions<Fact> extends EventsOptions<Fact> {
  readonly codec: EventsCodec<Fact>
}

/**
 * What reading events can fail with: `CursorAheadOfLog` (the log is not the one that the checkpoint was made on: find
 * out which, then begin anew), `SerializationError` (mend the code or the row), `InvalidArgument` (correct it),
 * `StoreUnavailable` (the database was away for too long, or somebody must mend it).
 */
export type EventsError = ReadError | CursorAheadOfLog

/**
 * A source of events. With a `codec` its records are the decoded events: those that the codec does not know are passed
 * over, and one that does not have its form fails with its `SerializationError`, after all before it were given.
 *
 * @example
 * ```ts
 * const deposits = fromEvents({ name: "accounts", codec: Account, until: "head" })
 * const everything = fromEvents({ name: "log", pollInterval: "1 second" })
 * ```
 */
export function fromEvents<Fact>(options: FactsOptions<Fact>): Source<Fact, EventsError, EventStore>
export function fromEvents(
  options: EventsOptions<RecordedEvent>
): Source<RecordedEvent, EventsError, EventStore>
export function fromEvents<Fact>(
  options: EventsOptions<RecordedEvent> | FactsOptions<Fact>
): Source<RecordedEvent | Fact, EventsError, EventStore> {
  return "codec" in options
    ? sourceOf(options, options.codec.filters, decoding(options.codec, options.timestamp ?? recordedAtMs))
    : sourceOf(options, () => [], plain(options.timestamp ?? recordedAtMs))
}

// ---- internal ----

/** Its only partition. */
const partition = "log"

/** Unit: events. */
const pageSizeDefault = 1_000

const sourceOf = <A>(
  options: Omit<EventsOptions<never>, "timestamp">,
  filtersDefault: () => ReadonlyArray<EventFilter>,
  read: Read<A>
): Source<A, EventsError, EventStore> => ({
  name: options.name,
  isReplayable: true,
  open: (offsets, { vnodes }) =>
    Effect.gen(function* () {
      const {
        pageSize = pageSizeDefault,
        pollInterval = "250 millis",
        routingKey,
        until = "forever"
      } = options
      const filters = options.filters ?? filtersDefault()
      const text = offsets[partition] ?? "0"
      const begin = numberOf(text)
      const fault = optionsFault(options, filters, text)
      if (fault !== undefined) return yield* fault

      const store = yield* EventStore
      let cursor = Position.make(begin!)
      let head = yield* patient(store.head)
      if (cursor > head) return yield* new CursorAheadOfLog({ cursor, head })
      const target = until === "head" ? head : until === "forever" ? undefined : until
      const query = { limit: pageSize, filters, routingKey, vnodes: partOf(vnodes) }

      // The newest hint is enough: it says how far one may read.
      const hints = yield* Queue.sliding<Position>(1)
      if (until !== "head")
        yield* Effect.forkScoped(Stream.runForEach(store.changes, (hint) => Queue.offer(hints, hint)))
      const waitForMore = Effect.map(Effect.timeoutOption(Queue.take(hints), pollInterval), (hint) => {
        if (hint._tag === "Some" && hint.value > head) head = hint.value
      })
      const batchOf = (page: LogPage): Effect.Effect<SourceBatch<A>, SerializationError> => {
        const { fault, through, ...records } = read(page)
        if (fault !== undefined && through === undefined) return Effect.fail(fault)
        cursor = through ?? page.through
        return Effect.succeed({ ...records, partition, offset: String(cursor) })
      }

      const next: Effect.Effect<SourceBatch<A> | undefined, EventsError> = Effect.gen(function* () {
        while (target === undefined || cursor < target) {
          if (cursor >= head) head = yield* patient(store.head)
          if (cursor > head) return yield* new CursorAheadOfLog({ cursor, head })
          if (cursor < head) {
            const upTo = target !== undefined && target < head ? target : head
            return yield* batchOf(yield* patient(store.readAfter({ ...query, after: cursor, head: upTo })))
          }
          yield* waitForMore
        }
        return undefined
      })
      return { partitions: [partition], next }
    })
})

const optionsFault = (
  {
    name,
    pageSize = pageSizeDefault,
    pollInterval = 1,
    until = "forever"
  }: Omit<EventsOptions<never>, "timestamp">,
  filters: ReadonlyArray<EventFilter>,
  offset: string
): InvalidArgument | undefined => {
  const fault = nameFault("name", name) ?? filtersFault("filters", filters)
  if (fault !== undefined) return fault
  if (!(Number.isInteger(pageSize) && pageSize >= 1 && pageSize <= pageRowsMax))
    return invalid("pageSize", `an integer of 1 to ${pageRowsMax} events`, pageSize)
  const poll = Duration.decodeUnknown(pollInterval)
  if (poll._tag === "None" || Duration.toMillis(poll.value) < 1 || Duration.toMillis(poll.value) > 86_400_000)
    return invalid("pollInterval", "a duration of 1 millisecond to 1 day", pollInterval)
  if (until !== "head" && until !== "forever" && !(Number.isSafeInteger(until) && until >= 0))
    return invalid("until", `"head", "forever" or a position of 0 to 2^53 - 1`, until)
  return numberOf(offset) === undefined
    ? invalid(`offsets["${partition}"]`, "a position, as text", offset)
    : undefined
}

/** The part of the vnodes, for a query; none when it is all of them, which needs no look at each. */
const partOf = (vnodes: VnodeRange): VnodeRange | undefined =>
  vnodes.from === 0 && vnodes.to === vnodeCount - 1 ? undefined : vnodes

const recordedAtMs = (_: unknown, event: RecordedEvent): number => event.recordedAt.epochMillis

/** The records of a page. */
interface Records<A> {
  readonly values: ReadonlyArray<A>
  readonly times: ReadonlyArray<number>
  /** What is wrong with the first event that is not among them. */
  readonly fault?: SerializationError | undefined
  /** Where that leaves those that are; undefined when there are none before it. */
  readonly through?: Position | undefined
}

type Read<A> = (page: LogPage) => Records<A>

const plain =
  (timestamp: (event: RecordedEvent, same: RecordedEvent) => number): Read<RecordedEvent> =>
  ({ events }) => ({ values: events, times: events.map((event) => timestamp(event, event)) })

/** Hot: once for every event, a plain loop. */
const decoding =
  <Fact>(codec: EventsCodec<Fact>, timestamp: (fact: Fact, event: RecordedEvent) => number): Read<Fact> =>
  ({ events }) => {
    const values: Array<Fact> = []
    const times: Array<number> = []
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!
      if (!codec.handles(event)) continue
      const fact = codec.decodeEither(event)
      // It is the first of the next page, which fails.
      if (Either.isLeft(fact)) return { values, times, fault: fact.left, through: events[i - 1]?.position }
      values.push(fact.right)
      times.push(timestamp(fact.right, event))
    }
    return { values, times }
  }
