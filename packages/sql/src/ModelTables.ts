/**
 * The tables of a projection's models: what they are called, and how all of them are made, renamed and emptied at
 * once. A table that a model does not have (its version did not know it) stays where it is.
 */
import { ModelRefused } from "@millrace/core/ModelStore"
import type { Fold, Projection } from "@millrace/core/Projection"
import { projectionFault } from "@millrace/core/Projection"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { FoldTable } from "./FoldTable.js"
import * as FoldTables from "./FoldTable.js"
import type { ModelStatements, StoredColumn } from "./ModelStatements.js"
import { columnTypes } from "./ModelStatements.js"

/** A projection whose handlers are not called here. */
export type AnyProjection = Projection<unknown, unknown>

/** Which model beside the live one. */
export interface Part {
  readonly part: "b" | "f"
  readonly generation: number
}

// ---- names ----

/** While it is built. */
const builtName = (table: string, generation: number): string => `${table}__g${generation}`

/** Once another one took its place. */
export const formerName = (table: string, generation: number): string => `${table}__f${generation}`

/** In a model beside the live one. */
export const nameIn =
  ({ generation, part }: Part) =>
  (table: string): string =>
    part === "b" ? builtName(table, generation) : formerName(table, generation)

/** The projection's own names of its tables; none where it keeps its model elsewhere. */
export const tablesOf = ({ strength }: AnyProjection): ReadonlyArray<string> =>
  strength._tag === "Fold" ? [strength.table] : strength.place === "sql" ? Object.keys(strength.tables) : []

/** The names that they have in a model beside the live one. */
export const tablesOfPart = (projection: AnyProjection, part: Part): ReadonlyArray<string> =>
  tablesOf(projection).map(nameIn(part))

/** The names that they have in one model, by their own. */
export const namesOf = (
  projection: AnyProjection,
  name: (table: string) => string
): ReadonlyMap<string, string> => new Map(tablesOf(projection).map((table) => [table, name(table)]))

/** The name of one of them. Throws for a table that was not declared. */
export const nameAmong = (names: ReadonlyMap<string, string>, table: string): string => {
  const name = names.get(table)
  if (name === undefined) throw new Error(`table is not declared. table=${table}`)
  return name
}

// ---- what can be kept ----

/** Why a projection cannot be kept in a database, if it cannot. */
export const faultOf = (projection: AnyProjection): string | undefined => {
  const fault = projectionFault(projection)
  if (fault !== undefined) return fault.message
  const { strength } = projection
  if (strength._tag === "Fold") {
    const table = FoldTables.make(strength)
    return "fault" in table ? table.fault : undefined
  }
  return strength.place === "memory"
    ? "its model is in memory and its checkpoint would outlive it: keep the model elsewhere, or run it on a store in memory"
    : undefined
}

/** The table of a fold that {@link faultOf} found nothing wrong with. */
export const foldTable = (fold: Fold<unknown>): FoldTable => {
  const table = FoldTables.make(fold)
  if ("fault" in table) throw new Error(`fold has no table. fault=${table.fault}`)
  return table
}

/** The reason of a refusal. */
export const otherForm =
  "its table has other columns than its rows have now: raise the version of the projection, and the model is rebuilt"

// ---- all tables of a model ----

/** What {@link make} gives. */
export type ModelTables = ReturnType<typeof make>

/** The operations, for use in the transaction of whoever calls them. */
export const make = (sql: SqlClient.SqlClient, statements: ModelStatements) => {
  const types = columnTypes(sql)

  const isOfForm = ({ columns }: FoldTable, stored: ReadonlyArray<StoredColumn>): boolean =>
    stored.length === columns.length + 1 &&
    columns.every(({ empty, kind, name }) =>
      stored.some(
        (column) =>
          column.name === name &&
          column.type.toLowerCase() === types[kind].toLowerCase() &&
          Boolean(column.required) === (empty === "none")
      )
    )

  /** Whether the table of a fold has the columns of its rows. */
  const formOf = (table: FoldTable, name: string): Effect.Effect<"same" | "other" | "missing", SqlError> =>
    Effect.map(statements.columnsOf(name), (stored) =>
      stored.length === 0 ? "missing" : isOfForm(table, stored) ? "same" : "other"
    )

  /** Makes one table. What its effect fails with is the projection's fault, unless the database is just away. */
  const makeOne = (
    projection: AnyProjection,
    table: string,
    name: string
  ): Effect.Effect<void, ModelRefused | SqlError> => {
    const { strength } = projection
    if (strength._tag === "Fold") return statements.makeFold(name, foldTable(strength).columns)
    const refused = (reason: string) =>
      new ModelRefused({
        projectionName: projection.name,
        reason: `the effect that makes table ${table} ${reason}`
      })
    return Effect.suspend(() => strength.tables[table]!(name)).pipe(
      Effect.provideService(SqlClient.SqlClient, sql),
      Effect.catchAllCause((cause): Effect.Effect<never, ModelRefused | SqlError> => {
        if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
        const reason = Cause.squash(cause)
        return Effect.fail(
          reason instanceof SqlError
            ? reason
            : refused(`failed: ${reason instanceof Error ? reason.message : String(reason)}`)
        )
      }),
      Effect.zipRight(statements.tablesAmong([name])),
      Effect.flatMap((found) => (found.has(name) ? Effect.void : Effect.fail(refused("did not make it"))))
    )
  }

  /**
   * Makes the tables that are missing. Where there are models beside the live one, whose indexes may have names
   * from a table of that name, a new live table is made under another name and gets its own only then.
   */
  const makeMissing = (
    projection: AnyProjection,
    nameOf: (table: string) => string,
    beside: ReadonlyArray<Part>
  ): Effect.Effect<void, ModelRefused | SqlError> =>
    Effect.gen(function* () {
      const names = namesOf(projection, nameOf)
      const existing = yield* statements.tablesAmong([...names.values()])
      const nowMs = yield* Clock.currentTimeMillis
      for (const [table, name] of names) {
        if (existing.has(name)) continue
        const first = beside.length === 0 ? name : `${table}__n${nowMs}`
        yield* makeOne(projection, table, first)
        if (first !== name) yield* statements.rename(first, name)
      }
    })

  return {
    formOf,
    makeMissing,

    /** Whether every table of the live model is there. */
    isComplete: (projection: AnyProjection): Effect.Effect<boolean, SqlError> =>
      Effect.map(
        statements.tablesAmong(tablesOf(projection)),
        (existing) => existing.size === tablesOf(projection).length
      ),

    /** Keeps everybody from the tables of the live model and of those beside it. */
    lockAll: (projection: AnyProjection, parts: ReadonlyArray<Part>): Effect.Effect<void, SqlError> =>
      Effect.flatMap(
        statements.tablesAmong([
          ...tablesOf(projection),
          ...parts.flatMap((part) => tablesOfPart(projection, part))
        ]),
        (existing) => statements.lockTables([...existing])
      ),

    /** Puts the tables of a model in the live one's place, whose own are kept as the former ones or dropped. */
    replaceAll: (
      projection: AnyProjection,
      next: Part,
      keepsFormer: boolean
    ): Effect.Effect<void, SqlError> =>
      Effect.gen(function* () {
        const comingName = nameIn(next)
        // The former name of the live one may be the name of the one that comes: that one steps aside first.
        const asideName = (table: string): string => `${table}__n${next.generation}`
        const coming = yield* statements.tablesAmong(tablesOfPart(projection, next))
        const live = yield* statements.tablesAmong(tablesOf(projection))
        for (const table of tablesOf(projection)) {
          if (!coming.has(comingName(table))) continue
          yield* statements.rename(comingName(table), asideName(table))
          if (live.has(table))
            yield* keepsFormer
              ? statements.rename(table, formerName(table, next.generation))
              : statements.drop([table])
          yield* statements.rename(asideName(table), table)
        }
      }),

    /** Empties the live model. A fold's table of another form is made anew. */
    emptyAll: (projection: AnyProjection): Effect.Effect<void, ModelRefused | SqlError> =>
      Effect.gen(function* () {
        const tables = tablesOf(projection)
        const existing = yield* statements.tablesAmong(tables)
        yield* statements.lockTables([...existing])
        if (projection.strength._tag === "Fold") {
          const form = yield* formOf(foldTable(projection.strength), projection.strength.table)
          if (form === "other") {
            yield* statements.drop(tables)
            return yield* makeMissing(projection, (table) => table, [])
          }
        }
        yield* makeMissing(projection, (table) => table, [])
        yield* statements.clear([...existing])
      })
  }
}
