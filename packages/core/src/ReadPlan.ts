/**
 * A query after everything was checked that can be checked without the database. Backends get this and
 * nothing else, so that the rules of the arguments are written once.
 */
import { commonStream, filtersFault, isUnrestricted } from "./EventFilter.js"
import type { EventFilter } from "./EventFilter.js"
import { isEventId } from "./EventId.js"
import type { EventId } from "./EventId.js"
import type { LogQuery, ReadQuery, StreamListing } from "./EventQuery.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import { pageRowsMax } from "./Page.js"
import type { RoutingKey } from "./RoutingKey.js"
import * as RoutingKeys from "./RoutingKey.js"
import { streamIdCodePointsMax } from "./StreamId.js"
import { textFault } from "./Text.js"
import { vnodeCount } from "./Vnode.js"

/** A checked query: bounds are numbers, absent means none. */
export interface ReadPlan {
  readonly filters: ReadonlyArray<EventFilter>
  /** Only these events; such a read does not stop at the head. Undefined: whatever their ids. */
  readonly ids: ReadonlyArray<EventId> | undefined
  /** The one stream that the query reads, or undefined for a read of the log, which must stop at the head. */
  readonly streamId: string | undefined
  readonly routingKey: RoutingKey
  /** Only positions greater than this; 0 = from the beginning. */
  readonly after: number
  /** Only positions smaller than this; undefined = no bound. */
  readonly before: number | undefined
  /** Only positions up to and including this one; undefined = no bound but the head. */
  readonly upTo: number | undefined
  /** Only versions greater than this; 0 = all. */
  readonly afterVersion: number
  readonly vnodes: { readonly from: number; readonly to: number } | undefined
  readonly includeArchived: boolean
  /** Newest first; the rows still come back in the order read, that is descending. */
  readonly backward: boolean
  /** Most rows to give. */
  readonly limit: number
  /**
   * Whether to find out if rows match on the other side of the cursor as well: forward at or before
   * `after`, backward at or after `before` (and up to `upTo` and the head).
   */
  readonly lookBehind: boolean
}

const isPosition = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const positionAllowed = "a position of 0 to 2^53 - 1"

/** A checked plan, or what is wrong with the query. */
export function planOf(query: ReadQuery, rowsDefault: number): ReadPlan | InvalidArgument {
  const filters = query.filters ?? []
  const fault =
    filtersFault("filters", filters) ?? routingFault(query.routingKey) ?? vnodesFault(query.vnodes)
  if (fault !== undefined) return fault
  const page = query.page ?? { _tag: "Forward" as const }
  if (page._tag !== "Forward" && page._tag !== "Backward")
    return invalid("page", "Page.forward(…) or Page.backward(…)", page)
  const backward = page._tag === "Backward"
  const limit = (backward ? page.last : page.first) ?? rowsDefault
  if (!Number.isInteger(limit) || limit < 1 || limit > pageRowsMax) {
    return invalid(backward ? "page.last" : "page.first", `an integer of 1 to ${pageRowsMax} rows`, limit)
  }
  const after = backward ? 0 : (page.after ?? 0)
  if (!isPosition(after)) return invalid("page.after", positionAllowed, after)
  const before = backward ? page.before : undefined
  if (before !== undefined && !isPosition(before)) return invalid("page.before", positionAllowed, before)
  if (query.upTo !== undefined && !isPosition(query.upTo)) return invalid("upTo", positionAllowed, query.upTo)

  const streamId = commonStream(filters)
  const afterVersion = query.afterVersion ?? 0
  if (!isPosition(afterVersion)) return invalid("afterVersion", "a version of 0 to 2^53 - 1", afterVersion)
  if (afterVersion > 0 && streamId === undefined) {
    return invalid("afterVersion", "only together with filters that all name one stream", afterVersion)
  }
  return {
    filters: filters.some(isUnrestricted) ? [] : filters,
    ids: undefined,
    streamId,
    routingKey: query.routingKey ?? RoutingKeys.all,
    after,
    before,
    upTo: query.upTo,
    afterVersion,
    vnodes: query.vnodes,
    includeArchived: streamId !== undefined || (query.includeArchived ?? false),
    backward,
    limit,
    lookBehind: false
  }
}

/** The checked plan of a read by ids, or what is wrong with them. */
export function idsPlanOf(ids: ReadonlyArray<string>): ReadPlan | InvalidArgument {
  if (!Array.isArray(ids) || ids.length > pageRowsMax)
    return invalid("ids", `an array of at most ${pageRowsMax} ids`, ids)
  const wrong = ids.findIndex((id) => !isEventId(id))
  if (wrong >= 0) return invalid(`ids[${wrong}]`, "an event id: 26 Crockford characters", ids[wrong])
  const plan = planOf({ includeArchived: true }, Math.max(1, ids.length))
  return "_tag" in plan ? plan : { ...plan, ids: ids as ReadonlyArray<EventId> }
}

/** The checked plan of a consumer's query, its upper bound still to be set; or what is wrong with it. */
export function logPlanOf(query: LogQuery): ReadPlan | InvalidArgument {
  const { after, filters, head, limit, routingKey, vnodes } = query
  if (!isPosition(after)) return invalid("after", positionAllowed, after)
  if (!Number.isInteger(limit) || limit < 1 || limit > pageRowsMax)
    return invalid("limit", `an integer of 1 to ${pageRowsMax} events`, limit)
  if (head !== undefined && !isPosition(head)) return invalid("head", positionAllowed, head)
  const plan = planOf({ filters, routingKey, vnodes, page: { _tag: "Forward", first: limit, after } }, limit)
  // Also where the filters name one stream this is a read of the log.
  return "_tag" in plan ? plan : { ...plan, includeArchived: false }
}

function routingFault(key: RoutingKey | undefined): InvalidArgument | undefined {
  if (key === undefined) return undefined
  const tag: unknown = typeof key === "object" && key !== null ? key._tag : undefined
  if (tag === "All" || tag === "Unkeyed") return undefined
  if (tag !== "Value" || key._tag !== "Value")
    return invalid("routingKey", "RoutingKey.all, RoutingKey.value(key) or RoutingKey.unkeyed", key)
  const fault = textFault(key.key, RoutingKeys.routingKeyCodePointsMax)
  return fault === undefined
    ? undefined
    : invalid(
        "routingKey.key",
        `1 to ${RoutingKeys.routingKeyCodePointsMax} characters; this one ${fault}`,
        key.key
      )
}

function vnodesFault(vnodes: ReadQuery["vnodes"]): InvalidArgument | undefined {
  if (vnodes === undefined) return undefined
  if (typeof vnodes !== "object" || vnodes === null) return invalid("vnodes", "{ from, to }", vnodes)
  const { from, to } = vnodes
  const ok = Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to < vnodeCount
  return ok
    ? undefined
    : invalid("vnodes", `{ from, to } with 0 <= from <= to <= ${vnodeCount - 1}`, `${from} to ${to}`)
}

/** The first thing wrong with a listing, or `undefined`. */
export function listingFault(listing: StreamListing): InvalidArgument | undefined {
  const { after, limit, prefix } = listing
  if (!Number.isInteger(limit) || limit < 1 || limit > pageRowsMax)
    return invalid("limit", `an integer of 1 to ${pageRowsMax} streams`, limit)
  for (const [field, text] of [
    ["prefix", prefix],
    ["after", after]
  ] as const) {
    if (text === undefined) continue
    const fault = textFault(text, streamIdCodePointsMax)
    if (fault !== undefined)
      return invalid(field, `1 to ${streamIdCodePointsMax} characters; this one ${fault}`, text)
  }
  return undefined
}
