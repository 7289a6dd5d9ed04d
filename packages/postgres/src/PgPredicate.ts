/**
 * Filters as SQL. Values never become part of the text by hand: the caller says how a value is written,
 * either as a parameter (`$3`, for reads) or as an escaped literal (for the condition of an append, which
 * the server runs as dynamic SQL, so that it is planned for the very values).
 */
import { filterTagsMax } from "@millrace/core/EventFilter"
import type { EventFilter } from "@millrace/core/EventFilter"
import { afterPrefix } from "@millrace/core/Text"
import pg from "pg"
import { textArray } from "./PgArray.js"

/** How a value stands in the text: gives the expression for it. */
export type Bind = (value: unknown) => string

/** Collects parameters: each call gives the next `$n`. */
export const parameters = (): { readonly values: Array<unknown>; readonly bind: Bind } => {
  const values: Array<unknown> = []
  return { values, bind: (value) => `$${values.push(value)}` }
}

/** Writes values as escaped literals of the server. */
export const literals: Bind = (value) => pg.escapeLiteral(String(value))

/** One filter: all of its fields. */
export function filterText(filter: EventFilter, bind: Bind): string {
  const parts: Array<string> = []
  if (filter.streamId !== undefined) parts.push(`e.stream_id = ${bind(filter.streamId)}`)
  if (filter.category !== undefined) parts.push(rangeText(`${filter.category}/`, bind))
  if (filter.prefix !== undefined) parts.push(rangeText(filter.prefix, bind))
  if (filter.type !== undefined) parts.push(`e.type = ${bind(filter.type)}`)
  if (filter.tags !== undefined && filter.tags.length > 0) {
    parts.push(
      `e.tags IS NOT NULL AND e.tags @> ${bind(textArray(filter.tags.slice(0, filterTagsMax)))}::text[]`
    )
  }
  return parts.length === 0 ? "true" : `(${parts.join(" AND ")})`
}

/** A list of filters: one of them is enough; none means every event. */
export const filtersText = (filters: ReadonlyArray<EventFilter>, bind: Bind): string =>
  filters.length === 0 ? "true" : `(${filters.map((filter) => filterText(filter, bind)).join(" OR ")})`

/** "Starts with" as a range, which the index on the stream serves and in which "%" means itself. */
const rangeText = (prefix: string, bind: Bind): string => {
  const end = afterPrefix(prefix)
  const from = `e.stream_id >= ${bind(prefix)} COLLATE "C"`
  return end === undefined ? from : `${from} AND e.stream_id < ${bind(end)} COLLATE "C"`
}
