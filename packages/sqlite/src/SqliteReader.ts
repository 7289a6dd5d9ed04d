/**
 * Pages of the log. A read finds and fetches its rows in one go; rows stay the arrays that the driver gives
 * and are only looked at through {@link EventRow}.
 */
import { SerializationError } from "@millrace/core/EngineError"
import type { EventRow, ReadPlan, RowPage } from "@millrace/core/EventStoreBackend"
import type { Position } from "@millrace/core/Position"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { StreamVersion } from "@millrace/core/StreamVersion"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type { EventValues } from "./ReadStatements.js"
import * as ReadStatements from "./ReadStatements.js"
import type { SqliteDatabase } from "./SqliteDatabase.js"
import { storeUnavailable } from "./SqliteFault.js"

/**
 * The rows that the plan asks for. Fails with `SerializationError`, which names the position, when the tags of
 * a row are broken; core looks at the rest of its JSON.
 */
export const read = (
  database: SqliteDatabase,
  plan: ReadPlan
): Effect.Effect<RowPage, StoreUnavailable | SerializationError> =>
  Effect.flatMap(Effect.mapError(valuesOf(database, plan), storeUnavailable("read")), asPage)

// ---- internal ----

interface ValuesPage {
  readonly values: ReadonlyArray<EventValues>
  readonly behind: boolean
}

/** Both statements of a page see the same state, so that it is true as a whole. */
const valuesOf = (database: SqliteDatabase, plan: ReadPlan): Effect.Effect<ValuesPage, SqlError> => {
  const page = ReadStatements.page(plan)
  const behind = plan.lookBehind ? ReadStatements.behind(plan) : undefined
  if (behind === undefined)
    return database.statement((session) => ({ values: session.rows(page.sql, page.params), behind: false }))
  return database.snapshot((session) => ({
    values: session.rows(page.sql, page.params),
    behind: session.rows(behind.sql, behind.params).length > 0
  }))
}

const asPage = ({ behind, values }: ValuesPage): Effect.Effect<RowPage, SerializationError> => {
  const rows = toRows(values)
  return Array.isArray(rows) ? Effect.succeed({ rows, behind }) : Effect.fail(rows as SerializationError)
}

/**
 * One row of a page.
 *
 * Hot: made for every event that is read. The driver makes an array of a row in 1.6 µs, an object with names
 * in 2.6 µs, and a view costs less to make and to collect than a copy.
 */
class Row implements EventRow {
  constructor(
    private readonly values: EventValues,
    readonly tags: ReadonlyArray<string> | null
  ) {}
  get position(): number {
    return this.values[0]
  }
  get streamId(): string {
    return this.values[1]
  }
  get version(): number {
    return this.values[2]
  }
  get id(): string {
    return this.values[3]
  }
  get type(): string {
    return this.values[4]
  }
  get data(): string {
    return this.values[5]
  }
  get metadata(): string | null {
    return this.values[6]
  }
  get recordedAtMs(): number {
    return this.values[8]
  }
  get erased(): boolean {
    return this.values[9] === 1
  }
}

function toRows(page: ReadonlyArray<EventValues>): Array<EventRow> | SerializationError {
  const rows = new Array<EventRow>(page.length)
  for (let i = 0; i < page.length; i++) {
    const values = page[i]!
    const tags = values[7] === null ? null : parseTags(values[7])
    if (typeof tags === "string") return corruptTags(new Row(values, null), tags)
    rows[i] = new Row(values, tags)
  }
  return rows
}

/** The tags, or what is wrong with them. */
function parseTags(text: string): ReadonlyArray<string> | string {
  try {
    const tags: unknown = JSON.parse(text)
    if (Array.isArray(tags) && tags.every((tag) => typeof tag === "string")) return tags
    return "not a list of texts"
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause)
  }
}

const corruptTags = (row: EventRow, reason: string): SerializationError =>
  new SerializationError({
    eventType: row.type,
    streamId: row.streamId,
    version: row.version as StreamVersion,
    position: row.position as Position,
    path: "tags",
    reason: `stored value is broken: ${reason}`
  })
