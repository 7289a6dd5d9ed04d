/**
 * Which events a reader, a consumer or a condition means. The fields of one filter must all hold; of a list
 * of filters one is enough; an empty list means every event. Texts are compared whole and literally: "%"
 * and "_" mean themselves.
 */
import { eventTextCodePointsMax } from "./Event.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import { textFault } from "./Text.js"
import { categoryOf, streamIdCodePointsMax, streamIdFault } from "./StreamId.js"

/** A filter. All given fields must hold; one without any field matches every event. */
export interface EventFilter {
  /** The part of the stream id before its first "/". */
  readonly category?: string | undefined
  readonly streamId?: string | undefined
  /** What the stream id begins with, literally: `"account/4"` matches `account/42`. */
  readonly prefix?: string | undefined
  readonly type?: string | undefined
  /** Tags that the event must all have. */
  readonly tags?: ReadonlyArray<string> | undefined
}

/** Most filters in one query or condition. */
export const filtersMax = 100
/** Most tags in one filter. */
export const filterTagsMax = 16

/** What a filter looks at in an event. */
export interface Filterable {
  readonly streamId: string
  readonly type: string
  readonly tags: ReadonlyArray<string>
}

/** Whether the filter has no field, and so matches every event. */
export const isUnrestricted = (filter: EventFilter): boolean =>
  filter.category === undefined &&
  filter.streamId === undefined &&
  filter.prefix === undefined &&
  filter.type === undefined &&
  (filter.tags === undefined || filter.tags.length === 0)

/** Whether one filter matches an event. */
export function matches(filter: EventFilter, event: Filterable): boolean {
  if (filter.streamId !== undefined && filter.streamId !== event.streamId) return false
  if (filter.type !== undefined && filter.type !== event.type) return false
  if (filter.category !== undefined && filter.category !== categoryOf(event.streamId)) return false
  if (filter.prefix !== undefined && !event.streamId.startsWith(filter.prefix)) return false
  if (filter.tags !== undefined) for (const tag of filter.tags) if (!event.tags.includes(tag)) return false
  return true
}

/** Whether any of the filters matches an event; an empty list matches every event. */
export function matchesAny(filters: ReadonlyArray<EventFilter>, event: Filterable): boolean {
  if (filters.length === 0) return true
  for (const filter of filters) if (matches(filter, event)) return true
  return false
}

/**
 * The stream that all of the filters name, if they name one and the same: such a read is the read of one
 * stream, which sees every committed event of it whatever the head.
 */
export function commonStream(filters: ReadonlyArray<EventFilter>): string | undefined {
  const first = filters[0]?.streamId
  if (first === undefined) return undefined
  for (const filter of filters) if (filter.streamId !== first) return undefined
  return first
}

/** The first thing wrong with a list of filters, or `undefined`. `field` is the path of the list. */
export function filtersFault(field: string, filters: unknown): InvalidArgument | undefined {
  if (!Array.isArray(filters)) return invalid(field, "a list of filters", filters)
  if (filters.length > filtersMax) return invalid(field, `at most ${filtersMax} filters`, filters)
  for (let i = 0; i < filters.length; i++) {
    const fault = filterFault(`${field}[${i}]`, filters[i])
    if (fault !== undefined) return fault
  }
  return undefined
}

const fields: ReadonlyArray<string> = ["category", "streamId", "prefix", "type", "tags"]

/** A list, a Map or a Date has none of a filter's fields, and so would match everything. */
const isRecord = (value: unknown): value is object => {
  if (typeof value !== "object" || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** The first thing wrong with one filter, or `undefined`. `field` is its path. */
export function filterFault(field: string, filter: unknown): InvalidArgument | undefined {
  if (!isRecord(filter)) return invalid(field, "a filter { category, streamId, prefix, type, tags }", filter)
  for (const key of Object.keys(filter)) {
    if (!fields.includes(key))
      return invalid(`${field}.${key}`, `one of the fields ${fields.join(", ")}`, key)
  }
  const { category, prefix, streamId, tags, type } = filter as EventFilter
  if (category !== undefined) {
    const fault =
      textFault(category, streamIdCodePointsMax) ?? (category.includes("/") ? "contains '/'" : undefined)
    if (fault !== undefined)
      return invalid(`${field}.category`, `a category, without "/"; this one ${fault}`, category)
  }
  if (streamId !== undefined) {
    const fault = streamIdFault(streamId)
    if (fault !== undefined) return invalid(`${field}.streamId`, `category/id; this one ${fault}`, streamId)
  }
  if (prefix !== undefined) {
    const fault = textFault(prefix, streamIdCodePointsMax)
    if (fault !== undefined)
      return invalid(`${field}.prefix`, `1 to ${streamIdCodePointsMax} characters; this one ${fault}`, prefix)
  }
  if (type !== undefined) {
    const fault = textFault(type, eventTextCodePointsMax)
    if (fault !== undefined)
      return invalid(`${field}.type`, `1 to ${eventTextCodePointsMax} characters; this one ${fault}`, type)
  }
  return tags === undefined ? undefined : tagsFault(`${field}.tags`, tags, filterTagsMax)
}

/** The first thing wrong with a list of tags, or `undefined`. `field` is its path. */
export function tagsFault(field: string, tags: unknown, tagsMax: number): InvalidArgument | undefined {
  if (!Array.isArray(tags) || tags.length > tagsMax)
    return invalid(field, `a list of at most ${tagsMax} tags`, tags)
  for (let i = 0; i < tags.length; i++) {
    const fault = textFault(tags[i], eventTextCodePointsMax)
    if (fault !== undefined)
      return invalid(
        `${field}[${i}]`,
        `1 to ${eventTextCodePointsMax} characters; this one ${fault}`,
        tags[i]
      )
  }
  return undefined
}
