/**
 * Pages of events. Every page is one statement, keyed by position, or by version where one stream is read;
 * values come back as text and become rows in a plain loop. Statements of common shape are named, and so
 * parsed once a connection; filtered ones are planned for their values each time.
 */
import { EventDecoder } from "@millrace/core/EventStoreBackend"
import type { EventRow, ReadPlan } from "@millrace/core/EventStoreBackend"
import { parseTexts } from "./PgArray.js"
import type { Bind } from "./PgPredicate.js"
import { filtersText, parameters } from "./PgPredicate.js"
import type { TextRow } from "./PgPool.js"

/** A page's statement. `name` is undefined where the plan depends on the values. */
export interface PageStatement {
  readonly name: string | undefined
  readonly text: string
  readonly values: ReadonlyArray<unknown>
}

const columns =
  "e.position, e.stream_id, e.version, e.type, e.id, e.data, e.metadata, e.tags, e.erased, date_part('epoch', e.recorded_at)"

/**
 * The statement of a plan whose upper bound is known: for a read of the log `upTo` is at most the head.
 */
export function pageStatement(plan: ReadPlan, upTo: number | undefined, q: string): PageStatement {
  if (plan.ids !== undefined) return idsStatement(plan.ids, q)
  const { bind, values } = parameters()
  const matching = matchText(plan, bind)
  const bounds: Array<string> = []
  if (upTo !== undefined) bounds.push(`e.position <= ${bind(upTo)}`)
  if (plan.streamId === undefined) {
    if (plan.backward && plan.before !== undefined) bounds.push(`e.position < ${bind(plan.before)}`)
    if (!plan.backward) bounds.push(`e.position > ${bind(plan.after)}`)
  } else bounds.push(...streamBounds(plan, bind, q))
  const key = plan.streamId === undefined ? "e.position" : "e.version"
  const where = [...matching, ...bounds].join(" AND ")
  const rows = `
    SELECT ${columns}
    FROM ${q}.events e
    ${where === "" ? "" : `WHERE ${where}`}
    ORDER BY ${key}${plan.backward ? " DESC" : ""}
    LIMIT ${bind(plan.limit)}`
  const isCommon =
    plan.filters.length === (plan.streamId === undefined ? 0 : 1) &&
    plan.routingKey._tag === "All" &&
    plan.vnodes === undefined
  return { name: isCommon ? nameOf(plan, upTo, q) : undefined, text: rows, values }
}

/** By their ids. Without a limit: with one the planner would rather walk along the log until it has found them all. */
const idsStatement = (ids: ReadonlyArray<string>, q: string): PageStatement => ({
  name: `millrace_ids_${q}`,
  text: `
    SELECT ${columns}
    FROM ${q}.events e
    WHERE e.id = ANY ($1)
    ORDER BY e.position`,
  values: [ids]
})

/** Whether rows match on the other side of the cursor; undefined when there is no other side. */
export function behindStatement(
  plan: ReadPlan,
  upTo: number | undefined,
  q: string
): PageStatement | undefined {
  if (!plan.lookBehind || (plan.backward ? plan.before === undefined : plan.after === 0)) return undefined
  const { bind, values } = parameters()
  const where = matchText(plan, bind)
  where.push(plan.backward ? `e.position >= ${bind(plan.before)}` : `e.position <= ${bind(plan.after)}`)
  if (upTo !== undefined) where.push(`e.position <= ${bind(upTo)}`)
  if (plan.afterVersion > 0) where.push(`e.version > ${bind(plan.afterVersion)}`)
  // In the log the nearest is the likeliest to be in memory. In a stream the index is by version, and one that
  // is on the right side stands at that end of it.
  const order =
    plan.streamId === undefined
      ? `e.position ${plan.backward ? "" : "DESC"}`
      : `e.version ${plan.backward ? "DESC" : ""}`
  const text = `
    SELECT 1
    FROM ${q}.events e
    WHERE ${where.join(" AND ")}
    ORDER BY ${order}
    LIMIT 1`
  return { name: undefined, text, values }
}

/** What a row must be like, apart from where it stands. */
function matchText(plan: ReadPlan, bind: Bind): Array<string> {
  const parts: Array<string> = []
  if (plan.filters.length > 0) parts.push(filtersText(plan.filters, bind))
  if (!plan.includeArchived) parts.push("NOT e.archived")
  if (plan.routingKey._tag === "Value") parts.push(`e.routing_key = ${bind(plan.routingKey.key)}`)
  if (plan.routingKey._tag === "Unkeyed") parts.push("e.routing_key IS NULL")
  if (plan.vnodes !== undefined)
    parts.push(`e.vnode BETWEEN ${bind(plan.vnodes.from)} AND ${bind(plan.vnodes.to)}`)
  return parts
}

/**
 * Bounds of a read of one stream. A cursor is a position, the index is by version: the version that stands
 * at the cursor is looked up by the primary key, so that deep pages begin where they should. The bound by
 * position stays, for cursors at which no event of this stream stands.
 */
function streamBounds(plan: ReadPlan, bind: Bind, q: string): Array<string> {
  const stream = bind(plan.streamId)
  const bounds = [`e.stream_id = ${stream}`]
  const versionAt = (position: string, otherwise: string): string =>
    `coalesce((SELECT c.version FROM ${q}.events c WHERE c.position = ${position} AND c.stream_id = ${stream}), ${otherwise})`
  if (plan.backward && plan.before !== undefined) {
    const before = bind(plan.before)
    bounds.push(`e.position < ${before}`, `e.version < ${versionAt(before, "9223372036854775807")}`)
  }
  if (!plan.backward && plan.after > 0) {
    const after = bind(plan.after)
    bounds.push(`e.position > ${after}`, `e.version > ${versionAt(after, "0")}`)
  }
  if (plan.afterVersion > 0) bounds.push(`e.version > ${bind(plan.afterVersion)}`)
  return bounds
}

/** One name for one text: what the text depends on, for the shapes that are named. */
const nameOf = (plan: ReadPlan, upTo: number | undefined, q: string): string | undefined => {
  const filter = plan.filters[0]
  if (
    filter !== undefined &&
    Object.entries(filter).some(([key, value]) => key !== "streamId" && value !== undefined)
  ) {
    return undefined
  }
  const shape = [
    plan.streamId === undefined ? "log" : "stream",
    plan.backward ? `b${plan.before === undefined ? 0 : 1}` : `f${plan.after > 0 ? 1 : 0}`,
    upTo === undefined ? 0 : 1,
    plan.includeArchived ? 1 : 0,
    plan.afterVersion > 0 ? 1 : 0
  ]
  return `millrace_page_${shape.join("_")}_${q}`
}

/**
 * A row as the decoder looks at it, over what the server printed: one for a whole page.
 *
 * Hot: stands before every event that is read.
 */
class Row implements EventRow {
  texts!: TextRow
  get position(): number {
    return Number(this.texts[0])
  }
  get streamId(): string {
    return this.texts[1]!
  }
  get version(): number {
    return Number(this.texts[2])
  }
  get type(): string {
    return this.texts[3]!
  }
  get id(): string {
    return this.texts[4]!
  }
  get data(): string {
    return this.texts[5]!
  }
  get metadata(): string | null {
    return this.texts[6]!
  }
  get tags(): ReadonlyArray<string | null> | null {
    const literal = this.texts[7]!
    return literal === null ? null : tagsOf(literal)
  }
  get erased(): boolean {
    return this.texts[8] === "t"
  }
  get recordedAtMs(): number {
    return Math.round(Number(this.texts[9]) * 1000)
  }
}

/** Makes events of rows while they come in. */
export class PageDecoder extends EventDecoder {
  private readonly row = new Row()

  readonly addTexts = (texts: TextRow): void => {
    this.row.texts = texts
    this.add(this.row)
  }
}

/** A list that is not flat, or does not begin at 1, is none of ours: the null in it says so. */
const tagsOf = (literal: string): Array<string | null> =>
  /^\{(?!\{)/.test(literal) ? parseTexts(literal) : [null]
