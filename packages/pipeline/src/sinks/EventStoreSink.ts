/**
 * Results as events of the log. They are checked and turned into JSON text when they are written, held until the
 * checkpoint, and appended when it is committed, in the order in which they came.
 *
 * Exactly once by their ids: an event's id is derived from the pipeline's name, the sink's and what the application
 * says makes the event the same, so that an event that is in the log already is recognised, whoever appended it. A
 * commit goes in several writes, and may have been cut off between any two:
 *
 *     write the chunk ──▶ all new: appended
 *                    ├──▶ all there, as one write: a repeat, nothing is written
 *                    └──▶ EventIdConflict: look which ids are there ──▶ write the others
 *
 * Invariants
 *   1. What is written to the log is never written again, wherever chunks begin and end.
 *   2. Among the events of one stream the order is that of `write`, since chunks are written one after another.
 *   3. Nothing that a store always refuses is found out at the commit: arguments are checked by `write`.
 *
 * Held in memory, and saved with the checkpoint, are the events between two checkpoints. Ids of streams that were
 * deleted are forgotten by the log, and so are those events: a commit that is repeated after that appends them again.
 */
import { eventBytesMaxDefault } from "@millrace/core/Append"
import type { StreamAppend } from "@millrace/core/Append"
import type { ReadError } from "@millrace/core/EngineError"
import type { EventMetadata, NewEvent } from "@millrace/core/Event"
import { deriveEventId } from "@millrace/core/EventId"
import type { EventId } from "@millrace/core/EventId"
import { EventIds } from "@millrace/core/EventIds"
import { EventStore } from "@millrace/core/EventStore"
import { invalid } from "@millrace/core/InvalidArgument"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { prepare } from "@millrace/core/PreparedWrite"
import type { PrepareOptions } from "@millrace/core/PreparedWrite"
import type { Sink } from "@millrace/core/Sink"
import type { StreamId } from "@millrace/core/StreamId"
import { nameFault } from "@millrace/core/SubscriberArguments"
import { textFault } from "@millrace/core/Text"
import { EventIdConflict } from "@millrace/core/WriteError"
import type { WriteError } from "@millrace/core/WriteError"
import * as Effect from "effect/Effect"

/** What a result becomes in the log. */
export interface SinkEvent {
  readonly streamId: StreamId | string
  /** What happened, for example `WindowClosed`. 1 to 255 code points, no NUL. */
  readonly type: string
  /** Any JSON value. It is turned into text at once, and may be changed afterwards. */
  readonly data: unknown
  /**
   * What makes this event the same, among all of this sink: the same text again is the same event, and is not written.
   * For example the key and the window. 1 to 1 000 code points.
   */
  readonly id: string
  readonly metadata?: EventMetadata | undefined
  readonly tags?: ReadonlyArray<string> | undefined
}

/** What {@link toEvents} needs. */
export interface EventsSinkOptions<in A> {
  /** Of the sink; see `Sink`. Ids are derived from it: another name gives other events. */
  readonly name: string
  /** The event of a result. Pure: it may be called again for the same one. */
  readonly event: (value: A) => SinkEvent
  /** Most bytes of an event's data and metadata, as the store has it. Range: 1 to 67 108 864. Default: 1 048 576. */
  readonly eventBytesMax?: number | undefined
}

/**
 * What appending results can fail with. `EventIdConflict`: one id for two events that differ in stream or type, so
 * give them different ids; `StreamDeleted`: the stream takes no more events, use another; `StoreUnavailable`: run
 * the pipeline again, when it was `transient`; the others: correct the argument.
 */
export type EventsSinkError = WriteError | ReadError

/**
 * A sink of events. Needs the `EventStore`.
 *
 * @example
 * ```ts
 * const totals = toEvents({
 *   name: "totals",
 *   event: ({ key, total, windowEndMs }: Total) => ({
 *     streamId: `total/${key}`,
 *     type: "WindowTotalled",
 *     data: { total, windowEndMs },
 *     id: `${key}@${windowEndMs}`
 *   })
 * })
 * ```
 */
export const toEvents = <A>(options: EventsSinkOptions<A>): Sink<A, EventsSinkError, EventStore> => ({
  name: options.name,
  delivery: "exactly-once",
  rewind: "idempotent",
  open: ({ pipeline }) =>
    Effect.gen(function* () {
      const { eventBytesMax = eventBytesMaxDefault, name } = options
      const fault = optionsFault(name, eventBytesMax)
      if (fault !== undefined) return yield* fault
      const store = yield* EventStore
      // It has nothing to give: every event has an id.
      const ids = yield* EventIds
      const clock = yield* Effect.clock
      const stage = stageOf(pipeline, options, { ids, clock, eventBytesMax })
      let staged = new Map<string, StagedEvent>()
      return {
        write: (values) =>
          Effect.suspend((): Effect.Effect<void, EventsSinkError> => stage(staged, values) ?? Effect.void),
        prepare: () =>
          Effect.sync(() => {
            if (staged.size === 0) return undefined
            const events = Array.from(staged.values())
            staged = new Map()
            return events
          }),
        commit: (_, prepared) =>
          prepared === undefined
            ? Effect.void
            : Effect.forEach(
                chunksOf(prepared as ReadonlyArray<StagedEvent>),
                (chunk) => append(store, chunk),
                { discard: true }
              )
      }
    })
})

// ---- internal ----

/** Most events of one write of a commit: one that holds few rows for a short time. As many appends are allowed. */
const eventsPerWrite = 1_000

/** Most JSON text of one write of a commit, if it has more than one event. Unit: UTF-16 units. Store: at most 67 108 864. */
const unitsPerWrite = 8_388_608

/** Longest `id`. Unit: code points. */
const idCodePointsMax = 1_000

/** An event until it is committed: plain data, saved with the checkpoint. */
interface StagedEvent {
  readonly id: EventId
  readonly streamId: StreamId
  readonly type: string
  /** JSON text. */
  readonly data: string
  /** JSON text of an object. */
  readonly metadata: string | null
  readonly tags: ReadonlyArray<string> | null
}

const optionsFault = (name: string, eventBytesMax: number): InvalidArgument | undefined =>
  nameFault("name", name) ??
  (Number.isInteger(eventBytesMax) && eventBytesMax >= 1 && eventBytesMax <= 67_108_864
    ? undefined
    : invalid("eventBytesMax", "an integer of 1 to 67 108 864 bytes", eventBytesMax))

/**
 * Checks events as the store will, and puts them behind those that are staged. Gives what is wrong with the first one
 * that is refused.
 */
const stageOf =
  <A>(pipeline: string, { event, name }: EventsSinkOptions<A>, settings: PrepareOptions) =>
  (staged: Map<string, StagedEvent>, values: ReadonlyArray<A>): WriteError | undefined => {
    for (const value of values) {
      const { data, id: same, metadata, streamId, tags, type } = event(value)
      const fault = textFault(same, idCodePointsMax)
      if (fault !== undefined)
        return invalid("event.id", `1 to ${idCodePointsMax} characters; this one ${fault}`, same)
      const id = deriveEventId(pipeline, name, same)
      const write = prepare({ streamId, events: [{ type, data, id, metadata, tags }] }, undefined, settings)
      if ("_tag" in write) return write
      const append = write.appends[0]!
      const row: StagedEvent = { streamId: append.streamId, ...append.events[0]! }
      const former = staged.get(id)
      if (former === undefined) staged.set(id, row)
      else if (!isSame(former, row)) return conflict(row)
    }
    return undefined
  }

const isSame = (
  one: { readonly streamId: string; readonly type: string },
  other: { readonly streamId: string; readonly type: string }
): boolean => one.streamId === other.streamId && one.type === other.type

const conflict = ({ id, streamId }: StagedEvent): EventIdConflict => new EventIdConflict({ id, streamId })

/** Events that are written together. */
const chunksOf = (events: ReadonlyArray<StagedEvent>): ReadonlyArray<ReadonlyArray<StagedEvent>> => {
  const chunks: Array<Array<StagedEvent>> = []
  let units = 0
  for (const event of events) {
    const more = event.data.length + (event.metadata?.length ?? 0)
    const last = chunks.at(-1)
    if (last === undefined || last.length === eventsPerWrite || units + more > unitsPerWrite) {
      chunks.push([event])
      units = more
    } else {
      last.push(event)
      units += more
    }
  }
  return chunks
}

/** Appends what is not in the log. Each look finds more of them there, so that it ends. */
const append = (
  store: EventStore["Type"],
  events: ReadonlyArray<StagedEvent>
): Effect.Effect<void, EventsSinkError> =>
  store.write(appendsOf(events)).pipe(
    Effect.asVoid,
    Effect.catchTag("EventIdConflict", (refused) =>
      Effect.flatMap(missing(store, events), (left): Effect.Effect<void, EventsSinkError> => {
        if (left.length === 0) return Effect.void
        return left.length < events.length ? append(store, left) : refused
      })
    )
  )

/** Those that are not in the log. An id that stands for another event there is a conflict. */
const missing = (
  store: EventStore["Type"],
  events: ReadonlyArray<StagedEvent>
): Effect.Effect<ReadonlyArray<StagedEvent>, ReadError | EventIdConflict> =>
  Effect.flatMap(store.readByIds(events.map(({ id }) => id)), (recorded) => {
    const there = new Map(recorded.map((event) => [event.id, event]))
    const left: Array<StagedEvent> = []
    for (const event of events) {
      const known = there.get(event.id)
      if (known === undefined) left.push(event)
      else if (!isSame(known, event)) return conflict(event)
    }
    return Effect.succeed(left)
  })

/** Events that follow one another in the same stream are one append: the log has all in the order of `write`. */
const appendsOf = (events: ReadonlyArray<StagedEvent>): ReadonlyArray<StreamAppend> => {
  const appends: Array<{ readonly streamId: StreamId; readonly events: Array<NewEvent> }> = []
  for (const { data, id, metadata, streamId, tags, type } of events) {
    const event: NewEvent = {
      id,
      type,
      data: JSON.parse(data),
      ...(metadata !== null && { metadata: JSON.parse(metadata) as EventMetadata }),
      ...(tags !== null && { tags })
    }
    const last = appends.at(-1)
    if (last?.streamId === streamId) last.events.push(event)
    else appends.push({ streamId, events: [event] })
  }
  return appends
}
