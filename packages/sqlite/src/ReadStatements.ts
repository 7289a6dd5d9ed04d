/**
 * What readers and conditions ask, as SQL. One place decides how the events of a filter are found:
 *
 *  - one stream: by the index on (stream_id, version), a cursor's position turned into a version first;
 *  - filters that all name a stream or a tag: each by its own index, in order, and no further than the limit,
 *    then merged;
 *  - everything else (category, prefix, type, or nothing): along the log.
 *
 * Every text is compared literally: prefixes and categories are ranges, never patterns.
 */
import type { EventFilter } from "@millrace/core/EventFilter"
import { commonStream, isUnrestricted } from "@millrace/core/EventFilter"
import type { ReadPlan } from "@millrace/core/EventStoreBackend"
import type { StreamListing } from "@millrace/core/EventQuery"
import { afterPrefix } from "@millrace/core/Text"
import type { Query } from "./SqliteSession.js"

/** A row of {@link page}: its columns in this order. */
export type EventValues = readonly [
  position: number,
  streamId: string,
  version: number,
  id: string,
  type: string,
  data: string,
  metadata: string | null,
  tags: string | null,
  recordedAtMs: number,
  erased: 0 | 1
]

const eventColumns =
  "e.position, e.stream_id, e.version, e.id, e.type, e.data, e.metadata, e.tags, e.recorded_at, e.erased"

/** The rows of a page. */
export const page = (plan: ReadPlan): Query =>
  select(
    eventColumns,
    plan,
    { after: plan.after > 0 ? plan.after : undefined, before: plan.before, upTo: plan.upTo },
    plan.backward,
    plan.limit
  )

/** One row if the plan has any on the other side of its cursor; undefined when there is no cursor to look behind. */
export const behind = (plan: ReadPlan): Query | undefined => {
  if (plan.backward) {
    return plan.before === undefined
      ? undefined
      : select("1", plan, { from: plan.before, upTo: plan.upTo }, false, 1)
  }
  const upTo = plan.upTo === undefined ? plan.after : Math.min(plan.after, plan.upTo)
  return upTo === 0 ? undefined : select("1", plan, { upTo }, true, 1)
}

/** `position` of the first event past `after` that any of the filters matches. */
export const firstMatch = (filters: ReadonlyArray<EventFilter>, after: number): Query =>
  select("e.position", matching(filters), { after }, false, 1)

/** `position` of every event that the filter matches. */
export const positionsOf = (filter: EventFilter): Query =>
  select("e.position", matching([filter]), {}, false, undefined)

/** A row of {@link listStreams}. */
export type ListedStream = readonly [
  streamId: string,
  version: number,
  tombstoned: 0 | 1,
  deletedThrough: number
]

/** The streams of a listing, each a {@link ListedStream}. */
export const listStreams = ({ after, limit, prefix }: StreamListing): Query => {
  const params: Array<unknown> = []
  const where = ["(version > base_version OR tombstoned = 1)"]
  if (prefix !== undefined) where.push(inRange("stream_id", prefix, params))
  if (after !== undefined) {
    where.push("stream_id > ?")
    params.push(after)
  }
  params.push(limit)
  return {
    sql: `SELECT stream_id, version, tombstoned, base_version FROM millrace_streams
          WHERE ${where.join(" AND ")} ORDER BY stream_id LIMIT ?`,
    params
  }
}

// ---- internal ----

/** What `select` needs of a plan. */
type Wanted = Pick<
  ReadPlan,
  "filters" | "ids" | "streamId" | "routingKey" | "afterVersion" | "vnodes" | "includeArchived"
>

const matching = (filters: ReadonlyArray<EventFilter>): Wanted => ({
  ids: undefined,
  filters: filters.some(isUnrestricted) ? [] : filters,
  streamId: commonStream(filters),
  routingKey: { _tag: "All" },
  afterVersion: 0,
  vnodes: undefined,
  includeArchived: true
})

/** Where the rows lie in the log; absent means no bound. */
interface Bounds {
  /** Exclusive. */
  readonly after?: number | undefined
  /** Inclusive. */
  readonly from?: number | undefined
  /** Exclusive. */
  readonly before?: number | undefined
  /** Inclusive. */
  readonly upTo?: number | undefined
}

const boundOperators = [
  ["after", ">"],
  ["from", ">="],
  ["before", "<"],
  ["upTo", "<="]
] as const

const tagsOf = (filter: EventFilter): ReadonlyArray<string> => filter.tags ?? []

const isKeyed = (filter: EventFilter): boolean => filter.streamId !== undefined || tagsOf(filter).length > 0

/** A text with its parameters in the order in which their "?" stand in it. */
function select(
  columns: string,
  wanted: Wanted,
  bounds: Bounds,
  descending: boolean,
  limit: number | undefined
): Query {
  const { filters, streamId } = wanted
  const order = descending ? "DESC" : "ASC"
  if (wanted.ids !== undefined) return ofIds(columns, wanted.ids)
  if (streamId !== undefined) return ofStream(columns, wanted, filters, streamId, bounds, order, limit)
  if (filters.length === 0 || !filters.every(isKeyed)) return alongLog(columns, wanted, bounds, order, limit)
  const [only] = filters
  if (filters.length === 1 && only !== undefined) return ofFilter(columns, wanted, only, bounds, order, limit)

  const branches = filters.map((filter) => ofFilter("e.position", wanted, filter, bounds, order, limit))
  const params = branches.flatMap((branch) => branch.params)
  return {
    sql: `SELECT ${columns} FROM millrace_events AS e
          WHERE e.position IN (${branches.map((branch) => `SELECT * FROM (${branch.sql})`).join(" UNION ALL ")})
          ORDER BY e.position ${order}${limitText(limit, params)}`,
    params
  }
}

/** The events with these ids, of which each is found by its own. */
const ofIds = (columns: string, ids: ReadonlyArray<string>): Query => ({
  sql: `SELECT ${columns} FROM millrace_events AS e
        WHERE e.id IN (SELECT value FROM json_each(?)) ORDER BY e.position`,
  params: [JSON.stringify(ids)]
})

/** The events of one filter that names a stream or a tag. */
const ofFilter = (
  columns: string,
  wanted: Wanted,
  filter: EventFilter,
  bounds: Bounds,
  order: string,
  limit: number | undefined
): Query =>
  filter.streamId !== undefined
    ? ofStream(columns, wanted, [filter], filter.streamId, bounds, order, limit)
    : ofTag(columns, wanted, filter, bounds, order, limit)

/**
 * Along the index on (stream_id, version), which holds the position as well. A cursor is as a rule an event
 * of the stream, whose version the index then starts from; when it is not, its position still holds. The "+"
 * keeps SQLite from walking along the log instead.
 */
function ofStream(
  columns: string,
  wanted: Wanted,
  filters: ReadonlyArray<EventFilter>,
  streamId: string,
  bounds: Bounds,
  order: string,
  limit: number | undefined
): Query {
  const params: Array<unknown> = [streamId]
  const where = ["e.stream_id = ?"]
  for (const [bound, operator] of boundOperators) {
    const position = bounds[bound]
    if (position === undefined) continue
    const none = operator.startsWith(">") ? "0" : "9223372036854775807"
    where.push(
      `e.version ${operator} coalesce((SELECT version FROM millrace_events WHERE position = ? AND stream_id = ?), ${none})`,
      `+e.position ${operator} ?`
    )
    params.push(position, streamId, position)
  }
  where.push(...common(wanted, params))
  const rest = filters.map((filter) => ({ ...filter, streamId: undefined }))
  if (!rest.some(isUnrestricted)) where.push(anyOf(rest, params))
  return {
    sql: `SELECT ${columns} FROM millrace_events AS e INDEXED BY millrace_events_of_stream
          WHERE ${where.join(" AND ")} ORDER BY e.version ${order}${limitText(limit, params)}`,
    params
  }
}

/** Along the positions of the filter's first tag. */
function ofTag(
  columns: string,
  wanted: Wanted,
  filter: EventFilter,
  bounds: Bounds,
  order: string,
  limit: number | undefined
): Query {
  const [tag, ...tags] = tagsOf(filter)
  const params: Array<unknown> = [tag]
  const where = ["t.tag = ?", ...within("t.position", bounds, params), ...common(wanted, params)]
  const rest = { ...filter, tags }
  if (!isUnrestricted(rest)) where.push(anyOf([rest], params))
  return {
    sql: `SELECT ${columns} FROM millrace_event_tags AS t CROSS JOIN millrace_events AS e ON e.position = t.position
          WHERE ${where.join(" AND ")} ORDER BY t.position ${order}${limitText(limit, params)}`,
    params
  }
}

/** Along the log. */
function alongLog(
  columns: string,
  wanted: Wanted,
  bounds: Bounds,
  order: string,
  limit: number | undefined
): Query {
  const params: Array<unknown> = []
  const where = [...within("e.position", bounds, params), ...common(wanted, params)]
  if (wanted.filters.length > 0) where.push(anyOf(wanted.filters, params))
  return {
    sql: `SELECT ${columns} FROM millrace_events AS e NOT INDEXED
          ${where.length === 0 ? "" : `WHERE ${where.join(" AND ")}`} ORDER BY e.position ${order}${limitText(limit, params)}`,
    params
  }
}

const limitText = (limit: number | undefined, params: Array<unknown>): string => {
  if (limit === undefined) return ""
  params.push(limit)
  return " LIMIT ?"
}

const within = (column: string, bounds: Bounds, params: Array<unknown>): Array<string> =>
  boundOperators.flatMap(([bound, operator]) => {
    if (bounds[bound] === undefined) return []
    params.push(bounds[bound])
    return [`${column} ${operator} ?`]
  })

/** What holds for every row of the plan, beside filters and bounds. */
function common(wanted: Wanted, params: Array<unknown>): Array<string> {
  const where: Array<string> = []
  if (!wanted.includeArchived) where.push("e.archived = 0")
  if (wanted.afterVersion > 0) {
    where.push("e.version > ?")
    params.push(wanted.afterVersion)
  }
  if (wanted.vnodes !== undefined) {
    where.push("e.vnode BETWEEN ? AND ?")
    params.push(wanted.vnodes.from, wanted.vnodes.to)
  }
  if (wanted.routingKey._tag === "Unkeyed") where.push("e.routing_key IS NULL")
  if (wanted.routingKey._tag === "Value") {
    where.push("e.routing_key = ?")
    params.push(wanted.routingKey.key)
  }
  return where
}

/** True for a row that any of the filters matches; none of them is without fields. */
const anyOf = (filters: ReadonlyArray<EventFilter>, params: Array<unknown>): string => {
  const alternatives = filters.map((filter) => allOf(filter, params))
  return alternatives.length === 1
    ? alternatives[0]!
    : `(${alternatives.map((text) => `(${text})`).join(" OR ")})`
}

function allOf(filter: EventFilter, params: Array<unknown>): string {
  const where: Array<string> = []
  if (filter.streamId !== undefined) {
    where.push("e.stream_id = ?")
    params.push(filter.streamId)
  }
  if (filter.category !== undefined) where.push(inRange("e.stream_id", `${filter.category}/`, params))
  if (filter.prefix !== undefined) where.push(inRange("e.stream_id", filter.prefix, params))
  if (filter.type !== undefined) {
    where.push("e.type = ?")
    params.push(filter.type)
  }
  for (const tag of tagsOf(filter)) {
    where.push("EXISTS (SELECT 1 FROM millrace_event_tags AS f WHERE f.tag = ? AND f.position = e.position)")
    params.push(tag)
  }
  return where.join(" AND ")
}

/** True for texts that start with `prefix`. */
function inRange(column: string, prefix: string, params: Array<unknown>): string {
  const end = afterPrefix(prefix)
  params.push(prefix)
  if (end === undefined) return `${column} >= ?`
  params.push(end)
  return `${column} >= ? AND ${column} < ?`
}
