/** Reads the rows of a fold's table as the rows of the fold. */
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { broken } from "./FoldPage.js"
import type { StoredRow } from "./FoldStatements.js"
import type { FoldTable } from "./FoldTable.js"
import type { FoldParts } from "./ModelApply.js"

/** A row with its key. */
export interface KeyedRow {
  readonly key: string
  readonly row: unknown
}

/** The rows of these keys; one without a row is not in the map. */
export const rowsOf = (
  { statements, table }: FoldParts,
  keys: ReadonlyArray<string>
): Effect.Effect<ReadonlyMap<string, unknown>, SqlError | StoreUnavailable> =>
  keys.length === 0
    ? Effect.succeed(new Map())
    : Effect.map(
        Effect.flatMap(statements.load([...new Set(keys)]), (stored) => decoded("rows", table, stored)),
        (rows) => new Map(rows.map(({ key, row }) => [key, row]))
      )

/** A page of rows in byte order of their keys. */
export const page = (
  { statements, table }: FoldParts,
  { after = "", limit }: { readonly after?: string | undefined; readonly limit: number }
): Effect.Effect<ReadonlyArray<KeyedRow>, SqlError | StoreUnavailable> =>
  Effect.flatMap(statements.list(after, limit), (stored) => decoded("list", table, stored))

// ---- internal ----

const decoded = (
  operation: string,
  table: FoldTable,
  stored: ReadonlyArray<StoredRow>
): Effect.Effect<ReadonlyArray<KeyedRow>, StoreUnavailable> => {
  const rows: Array<KeyedRow> = []
  for (const each of stored) {
    try {
      rows.push({ key: each.key, row: table.decode(each) })
    } catch (cause) {
      return Effect.fail(broken(operation, each.key, cause))
    }
  }
  return Effect.succeed(rows)
}
