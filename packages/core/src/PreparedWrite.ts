/**
 * A write after everything was checked that can be checked without the database: names and sizes are within
 * their limits, ids are given, data is JSON text. Backends get this and nothing else, so that the rules of
 * the arguments are written once.
 */
import type * as Clock from "effect/Clock"
import type { AppendCondition, ExpectedVersion, StreamAppend, WriteOptions } from "./Append.js"
import { appendsMax, eventsMax, writeUnitsMax } from "./Append.js"
import type { NewEvent } from "./Event.js"
import { eventTagsMax, eventTextCodePointsMax } from "./Event.js"
import { filtersFault, tagsFault } from "./EventFilter.js"
import type { EventFilter } from "./EventFilter.js"
import type { EventId } from "./EventId.js"
import { isEventId } from "./EventId.js"
import type { EventIdSource } from "./EventIds.js"
import { invalid } from "./InvalidArgument.js"
import type { Lease } from "./Lease.js"
import { textFault, utf8Bytes } from "./Text.js"
import { routingKeyCodePointsMax } from "./RoutingKey.js"
import type { StreamId } from "./StreamId.js"
import { categoryOf, invalidStreamId, streamIdFault } from "./StreamId.js"
import { isTtl, nameFault, ttlMsOf } from "./SubscriberArguments.js"
import { vnodeOf } from "./Vnode.js"
import type { WriteError } from "./WriteError.js"
import { EventTooLarge, MissingData } from "./WriteError.js"

/** An event with its id and its JSON text. */
export interface PreparedEvent {
  readonly id: EventId
  readonly type: string
  /** JSON text. */
  readonly data: string
  /** JSON text of a non-empty object, or null. */
  readonly metadata: string | null
  /** Without repeats; null when there are none. */
  readonly tags: ReadonlyArray<string> | null
}

/** An append whose stream, category and vnode are known. */
export interface PreparedAppend {
  readonly streamId: StreamId
  readonly category: string
  readonly vnode: number
  readonly expected: ExpectedVersion
  /** null: the caller named none. */
  readonly routingKey: string | null
  readonly events: ReadonlyArray<PreparedEvent>
}

/** A write that no argument check can refuse any more. */
export interface PreparedWrite {
  readonly appends: ReadonlyArray<PreparedAppend>
  readonly condition: AppendCondition | undefined
  /** Which lease it is, key, worker and epoch say. */
  readonly fence: Lease | undefined
  /** Number of events in all appends. */
  readonly eventCount: number
  /** Whether the caller named any event's id. If not, no id of this write can be in the log yet. */
  readonly namesIds: boolean
  /** The clock when the write arrived, in milliseconds since 1970. */
  readonly nowMs: number
  /** The caller's. A store that keeps time by it asks again whether the fence holds when the write is made. */
  readonly clock: Clock.Clock
}

/** What preparing needs from the store. */
export interface PrepareOptions {
  readonly ids: EventIdSource
  readonly clock: Clock.Clock
  readonly eventBytesMax: number
}

/** Checks and encodes a write. Gives the prepared write, or the error of the first argument that is wrong. */
export function prepare(
  input: StreamAppend | ReadonlyArray<StreamAppend>,
  options: WriteOptions | undefined,
  settings: PrepareOptions
): PreparedWrite | WriteError {
  const list: ReadonlyArray<StreamAppend> = Array.isArray(input) ? input : [input as StreamAppend]
  if (list.length === 0) return new MissingData({ field: "appends" })
  if (list.length > appendsMax) return invalid("appends", `at most ${appendsMax} appends`, list)

  const nowMs = settings.clock.unsafeCurrentTimeMillis()
  const state: Preparing = { settings, nowMs, namesIds: false, eventCount: 0, units: 0, seen: undefined }
  const appends: Array<PreparedAppend> = []
  for (let i = 0; i < list.length; i++) {
    const append = prepareAppend(list[i]!, `appends[${i}]`, state)
    if ("_tag" in append) return append
    appends.push(append)
    if (state.eventCount > eventsMax)
      return invalid("appends", `at most ${eventsMax} events in one write`, state.eventCount)
  }

  const condition = options?.condition
  if (condition !== undefined) {
    const fault = conditionFault(condition)
    if (fault !== undefined) return fault
  }
  const fence = options?.fence
  if (fence !== undefined) {
    const fault = fenceFault(fence)
    if (fault !== undefined) return fault
  }
  const { eventCount, namesIds } = state
  return { appends, condition, fence, eventCount, namesIds, nowMs, clock: settings.clock }
}

// ---- internal ----

interface Preparing {
  readonly settings: PrepareOptions
  readonly nowMs: number
  namesIds: boolean
  eventCount: number
  /** JSON text so far, in UTF-16 units. */
  units: number
  /** Ids that the caller named so far: one id twice in a write is wrong. */
  seen: Set<string> | undefined
}

function prepareAppend(append: StreamAppend, path: string, state: Preparing): PreparedAppend | WriteError {
  if (typeof append !== "object" || append === null)
    return invalid(path, "an append { streamId, events }", append)
  const { events, expected = "any", routingKey, streamId } = append
  const fault = streamIdFault(streamId)
  if (fault !== undefined) return invalidStreamId(streamId, fault)
  if (!isExpected(expected)) {
    return invalid(`${path}.expected`, `"any", "exists", "empty" or a version of 0 to 2^53 - 1`, expected)
  }
  if (routingKey !== undefined) {
    const keyFault = textFault(routingKey, routingKeyCodePointsMax)
    if (keyFault !== undefined)
      return invalid(
        `${path}.routingKey`,
        `1 to ${routingKeyCodePointsMax} characters; this one ${keyFault}`,
        routingKey
      )
  }
  if (!Array.isArray(events) || events.length === 0) return new MissingData({ field: `${path}.events` })
  if (events.length > eventsMax)
    return invalid(`${path}.events`, `at most ${eventsMax} events in one write`, events)

  const prepared: Array<PreparedEvent> = []
  for (let i = 0; i < events.length; i++) {
    const event = prepareEvent(events[i] as NewEvent, streamId as StreamId, i, path, state)
    if ("_tag" in event) return event
    prepared.push(event)
  }
  state.eventCount += prepared.length
  return {
    streamId: streamId as StreamId,
    category: categoryOf(streamId),
    vnode: vnodeOf(streamId),
    expected,
    routingKey: routingKey ?? null,
    events: prepared
  }
}

function prepareEvent(
  event: NewEvent,
  streamId: StreamId,
  index: number,
  path: string,
  state: Preparing
): PreparedEvent | WriteError {
  const field = `${path}.events[${index}]`
  if (typeof event !== "object" || event === null) return invalid(field, "an event { type, data }", event)
  if (event.type === undefined || event.type === "") return new MissingData({ field: `${field}.type` })
  const typeFault = textFault(event.type, eventTextCodePointsMax)
  if (typeFault !== undefined)
    return invalid(
      `${field}.type`,
      `1 to ${eventTextCodePointsMax} characters; this one ${typeFault}`,
      event.type
    )

  const data = toJson(event.data)
  if (data === undefined)
    return invalid(`${field}.data`, "a JSON value (no undefined, function, bigint or cycle)", event.data)
  const metadata = metadataText(event.metadata, field)
  if (typeof metadata === "object" && metadata !== null) return metadata

  const { eventBytesMax, ids } = state.settings
  const unitsTotal = data.length + (metadata === null ? 0 : metadata.length)
  state.units += unitsTotal
  if (state.units > writeUnitsMax) {
    return invalid(field, `at most ${writeUnitsMax} characters of JSON in one write`, state.units)
  }
  // One UTF-16 unit is at most three bytes, so that most events need not be counted.
  if (unitsTotal * 3 > eventBytesMax) {
    const bytes = utf8Bytes(data) + (metadata === null ? 0 : utf8Bytes(metadata))
    if (bytes > eventBytesMax) return new EventTooLarge({ streamId, index, bytes, maxBytes: eventBytesMax })
  }

  let tags: ReadonlyArray<string> | null = null
  if (event.tags !== undefined) {
    const checked = prepareTags(event.tags, field)
    if (checked !== null && "_tag" in checked) return checked
    tags = checked
  }

  let id = event.id
  if (id === undefined) id = ids.next(state.nowMs)
  else {
    if (!isEventId(id))
      return invalid(
        `${field}.id`,
        "26 characters of Crockford's base 32 in upper case, the first 0 to 7",
        id
      )
    state.namesIds = true
    state.seen ??= new Set()
    if (state.seen.has(id)) return invalid(`${field}.id`, "an id that occurs once in the write", id)
    state.seen.add(id)
  }
  return { id, type: event.type, data, metadata, tags }
}

/** JSON text of a value, or `undefined` when it has none. */
export function toJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

function metadataText(metadata: NewEvent["metadata"], field: string): string | null | WriteError {
  if (metadata === undefined) return null
  const path = `${field}.metadata`
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata))
    return invalid(path, "a JSON object", metadata)
  for (const key of ["correlationId", "causationId"] as const) {
    if (metadata[key] !== undefined && typeof metadata[key] !== "string")
      return invalid(`${path}.${key}`, "a text", metadata[key])
  }
  const text = toJson(metadata)
  if (text === undefined || !text.startsWith("{")) return invalid(path, "a JSON object", metadata)
  return text === "{}" ? null : text
}

function prepareTags(tags: ReadonlyArray<string>, field: string): ReadonlyArray<string> | null | WriteError {
  const fault = tagsFault(`${field}.tags`, tags, eventTagsMax)
  if (fault !== undefined) return fault
  if (tags.length === 0) return null
  return tags.length === 1 ? [tags[0]!] : Array.from(new Set(tags))
}

/** Whether a value is an {@link ExpectedVersion}. */
export const isExpected = (expected: unknown): expected is ExpectedVersion =>
  expected === "any" ||
  expected === "exists" ||
  expected === "empty" ||
  (typeof expected === "number" && Number.isSafeInteger(expected) && expected >= 0)

function conditionFault(condition: AppendCondition): WriteError | undefined {
  if (typeof condition !== "object" || condition === null)
    return invalid("condition", "a condition { filters, after }", condition)
  const filters: ReadonlyArray<EventFilter> = condition.filters
  const fault = filtersFault("condition.filters", filters)
  if (fault !== undefined) return fault
  if (filters.length === 0) return invalid("condition.filters", "at least one filter", filters)
  if (!Number.isSafeInteger(condition.after) || condition.after < 0) {
    return invalid("condition.after", "a position of 0 to 2^53 - 1", condition.after)
  }
  return undefined
}

const fenceFault = (fence: Lease): WriteError | undefined =>
  typeof fence !== "object" || fence === null
    ? invalid("fence", "a lease, as upsertSubscriber gives it", fence)
    : (nameFault("fence.key", fence.key) ??
      nameFault("fence.workerId", fence.workerId) ??
      (!Number.isSafeInteger(fence.epoch) || fence.epoch < 1
        ? invalid("fence.epoch", "an integer of 1 to 2^53 - 1", fence.epoch)
        : isTtl(ttlMsOf(fence.ttl))
          ? undefined
          : invalid("fence.ttl", "a duration of 100 milliseconds to 1 day", fence.ttl)))
