/**
 * Results as rows of an application's own table: each result is a row under a key, and the newest of a key is the one
 * that stays. Rows are staged in memory, one for each key, and written when the checkpoint is committed, in one
 * transaction of multi-row statements. Inside `sql.withTransaction` the commit belongs to that transaction.
 *
 * Exactly once, since a row that is written again is as it was: whatever was committed may be committed again, and the
 * pipeline may go back to an older checkpoint. Rows that a pipeline gave once and, going back, does not give again,
 * stay: the sink never removes a row.
 *
 *     INSERT INTO "totals" ("account", "cents") VALUES (…), (…), …
 *     ON CONFLICT ("account") DO UPDATE SET "cents" = excluded."cents"
 *
 * The table needs a primary key or a unique constraint on exactly the key columns. Memory, and what is saved with a
 * checkpoint, is bounded by the keys between two checkpoints.
 *
 * What the database says is given as it is, a `SqlError`, since the table and its rules are the application's: one that
 * comes from a lost connection goes away by itself, and the pipeline may be run again; one about the table (no such
 * column, a value that does not fit, a constraint) comes again at each start until the table is mended, and the results
 * are then written as they were saved.
 */
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { invalid } from "@millrace/core/InvalidArgument"
import type { Sink } from "@millrace/core/Sink"
import { nameFault } from "@millrace/core/SubscriberArguments"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { placed, quoted } from "./TablePlace.js"

/** What a column may hold. SQLite gets booleans as 1 and 0. */
export type SqlValue = string | number | bigint | boolean | null | Uint8Array

/** What {@link upsert} needs. */
export interface UpsertOptions<in A> {
  /** Of the sink; see `Sink`. */
  readonly name: string
  /** Name of the table, as it is written in the database: quoted, a dot has no meaning. */
  readonly table: string
  /** The schema of the table (Postgres). Default: where the connection looks first. */
  readonly schema?: string | undefined
  /** The columns that make a row the same: at least one, never null. */
  readonly key: ReadonlyArray<string>
  /** All columns that are written, the key's included: 1 to 500. Default: those of the first row. */
  readonly columns?: ReadonlyArray<string> | undefined
  /**
   * The row of a result: a value for each of the columns, and nothing else. Pure. Values of the key that the database
   * takes for equal must be equal: let a column always get the same type.
   */
  readonly row: (value: A) => Readonly<Record<string, SqlValue>>
  /**
   * Runs when the sink is opened, with the name of the table: makes it, unless it is there (`IF NOT EXISTS`). Default:
   * the table is there.
   */
  readonly createTable?:
    ((table: string) => Effect.Effect<unknown, SqlError, SqlClient.SqlClient>) | undefined
}

/**
 * What writing rows can fail with: `SqlError` (see the header of this module: run the pipeline again, or mend the
 * table), `InvalidArgument` (correct the option, or what `row` gives).
 */
export type SqlSinkError = SqlError | InvalidArgument

/**
 * A sink that upserts rows. Needs the `SqlClient` of the table's database; where checkpoints are in the same one, rows
 * and checkpoint are one transaction.
 *
 * @example
 * ```ts
 * const totals = SqlSink.upsert({
 *   name: "totals",
 *   table: "totals",
 *   key: ["account"],
 *   row: ({ key, cents }: Total) => ({ account: key, cents }),
 *   createTable: (table) =>
 *     Effect.flatMap(
 *       SqlClient.SqlClient,
 *       (sql) => sql`CREATE TABLE IF NOT EXISTS ${sql(table)} (account TEXT PRIMARY KEY, cents BIGINT NOT NULL)`
 *     )
 * })
 * ```
 */
export const upsert = <A>(options: UpsertOptions<A>): Sink<A, SqlSinkError, SqlClient.SqlClient> => ({
  name: options.name,
  delivery: "exactly-once",
  rewind: "idempotent",
  database: Effect.map(SqlClient.SqlClient, (sql) => sql as object),
  open: () =>
    Effect.gen(function* () {
      const { columns, createTable, key, row, table } = options
      const fault = optionsFault(options)
      if (fault !== undefined) return yield* fault
      const sql = yield* SqlClient.SqlClient
      if (createTable !== undefined) yield* createTable(table)
      const write = writerOf(sql, options)
      const staged = stagingOf(key, columns)
      return {
        write: (values) =>
          Effect.suspend((): Effect.Effect<void, InvalidArgument> => {
            for (const value of values) {
              const fault = staged.add(row(value))
              if (fault !== undefined) return fault
            }
            return Effect.void
          }),
        prepare: () => Effect.sync(staged.take),
        commit: (_, prepared) =>
          prepared === undefined ? Effect.void : sql.withTransaction(write(prepared as StagedRows))
      }
    })
})

// ---- internal ----

/** Most columns. */
const columnsMax = 500

/** Longest name of a table or column: Postgres cuts off what is longer. Unit: characters. */
const nameCharsMax = 63

/** Most rows of one statement. */
const rowsMax = 1_000

/** Most parameters of one statement. SQLite takes 32 766, Postgres 65 535. */
const parametersMax = 30_000

/** Rows until they are committed: plain data, saved with the checkpoint. */
interface StagedRows {
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<StagedValue>>
}

/** A bigint is saved as its digits. */
type StagedValue = Exclude<SqlValue, bigint> | { readonly bigint: string }

const isName = (name: unknown): boolean =>
  typeof name === "string" &&
  name.length >= 1 &&
  name.length <= nameCharsMax &&
  !name.includes("\u0000") &&
  name.isWellFormed()

const nameRule = `1 to ${nameCharsMax} characters without NUL`

const optionsFault = (options: UpsertOptions<never>): InvalidArgument | undefined => {
  const { columns, key, name, schema, table } = options
  const fault = nameFault("name", name)
  if (fault !== undefined) return fault
  if (!isName(table)) return invalid("table", nameRule, table)
  if (schema !== undefined && !isName(schema)) return invalid("schema", nameRule, schema)
  if (key.length === 0) return invalid("key", "at least one column", key)
  return columnsFault("key", key) ?? (columns && (columnsFault("columns", columns) ?? keyFault(key, columns)))
}

const columnsFault = (field: string, columns: ReadonlyArray<string>): InvalidArgument | undefined => {
  if (columns.length < 1 || columns.length > columnsMax)
    return invalid(field, `1 to ${columnsMax} columns`, columns.length)
  const bad = columns.findIndex((name) => !isName(name))
  if (bad !== -1) return invalid(`${field}[${bad}]`, nameRule, columns[bad])
  const twice = columns.findIndex((name, at) => columns.indexOf(name) !== at)
  return twice === -1 ? undefined : invalid(`${field}[${twice}]`, "a column that occurs once", columns[twice])
}

const keyFault = (
  key: ReadonlyArray<string>,
  columns: ReadonlyArray<string>
): InvalidArgument | undefined => {
  const missing = key.find((name) => !columns.includes(name))
  return missing === undefined
    ? undefined
    : invalid("columns", `all columns of the key, ${missing} among them`, columns.join(", "))
}

// --- staging ---

/** The rows between two checkpoints, the last one of each key. */
const stagingOf = (key: ReadonlyArray<string>, given: ReadonlyArray<string> | undefined) => {
  let columns = given
  let keyAt = given === undefined ? [] : key.map((name) => given.indexOf(name))
  let rows = new Map<string, ReadonlyArray<StagedValue>>()

  const begin = (first: Readonly<Record<string, SqlValue>>): InvalidArgument | undefined => {
    const names = Object.keys(first)
    const fault = columnsFault("row", names) ?? keyFault(key, names)
    if (fault !== undefined) return fault
    columns = names
    keyAt = key.map((name) => names.indexOf(name))
    return undefined
  }
  return {
    /** Gives what is wrong with the row. Hot: once for every result. */
    add: (row: Readonly<Record<string, SqlValue>>): InvalidArgument | undefined => {
      if (columns === undefined) {
        const fault = begin(row)
        if (fault !== undefined) return fault
      }
      const names = columns!
      const values = new Array<StagedValue>(names.length)
      for (let i = 0; i < names.length; i++) {
        const value = row[names[i]!]
        if (!isValue(value)) return invalid(`row.${names[i]}`, valueRule, value)
        values[i] = typeof value === "bigint" ? { bigint: String(value) } : value
      }
      if (Object.keys(row).length !== names.length)
        return invalid("row", `the columns ${names.join(", ")} and no other`, Object.keys(row).join(", "))
      let text = ""
      for (const at of keyAt) {
        const value = values[at]!
        if (value === null) return invalid(`row.${names[at]}`, "no null, since it is in the key", value)
        text += keyText(value)
      }
      rows.set(text, values)
      return undefined
    },
    /** What there is; undefined for nothing. */
    take: (): StagedRows | undefined => {
      if (rows.size === 0) return undefined
      const taken: StagedRows = { columns: columns!, rows: Array.from(rows.values()) }
      rows = new Map()
      return taken
    }
  }
}

const valueRule =
  "a text without NUL and lone surrogates, a number, a bigint, a boolean, null, or bytes, for each column"

const isValue = (value: unknown): value is SqlValue => {
  switch (typeof value) {
    case "string":
      return !value.includes("\u0000") && value.isWellFormed()
    case "number":
    case "bigint":
    case "boolean":
      return true
    default:
      return value === null || value instanceof Uint8Array
  }
}

/** Equal for values that the database takes for equal, and for no others. Each begins with its kind and its length. */
const keyText = (value: NonNullable<StagedValue>): string => {
  if (typeof value === "string") return `t${value.length}:${value}`
  if (value instanceof Uint8Array) return `b${value.length}:${value.join(",")};`
  // 1, 1n and, to SQLite, true are one key.
  if (typeof value === "object") return `n${value.bigint};`
  return `n${Object.is(value, -0) ? 0 : Number(value)};`
}

// --- writing ---

/** Writes rows, in statements of bounded size whose texts are made once. */
const writerOf = (sql: SqlClient.SqlClient, { key, schema, table }: UpsertOptions<never>) => {
  const isPostgres = sql.onDialectOrElse({ pg: () => true, orElse: () => false })
  const texts = new Map<string, string>()

  const textFor = (columns: ReadonlyArray<string>, rows: number): string => {
    const form = JSON.stringify([rows, columns])
    let text = texts.get(form)
    if (text === undefined) {
      // One for whole statements and one for the last; columns are the same but for a restart with others.
      if (texts.size >= textsMax) texts.clear()
      texts.set(form, (text = statement(columns, rows)))
    }
    return text
  }
  const statement = (columns: ReadonlyArray<string>, rows: number): string => {
    const names = columns.map(quoted)
    const updated = columns.filter((name) => !key.includes(name)).map(quoted)
    let next = 1
    const row = () => `(${columns.map(() => (isPostgres ? `$${next++}` : "?")).join(", ")})`
    const action =
      updated.length === 0
        ? "DO NOTHING"
        : `DO UPDATE SET ${updated.map((name) => `${name} = excluded.${name}`).join(", ")}`
    return `INSERT INTO ${placed({ schema }, table)} (${names.join(", ")})
      VALUES ${Array.from({ length: rows }, row).join(", ")}
      ON CONFLICT (${key.map(quoted).join(", ")}) ${action}`
  }
  const parameterOf = (value: StagedValue): SqlValue => {
    if (typeof value === "boolean") return isPostgres ? value : value ? 1 : 0
    if (typeof value !== "object" || value === null) return value
    return value instanceof Uint8Array ? value : BigInt(value.bigint)
  }

  return ({ columns, rows }: StagedRows): Effect.Effect<void, SqlError> => {
    const atOnce = Math.max(1, Math.min(rowsMax, Math.floor(parametersMax / columns.length)))
    const starts = Array.from({ length: Math.ceil(rows.length / atOnce) }, (_, at) => at * atOnce)
    return Effect.forEach(
      starts,
      (start) => {
        const part = rows.slice(start, start + atOnce)
        return sql.unsafe(
          textFor(columns, part.length),
          part.flatMap((row) => row.map(parameterOf))
        )
      },
      { discard: true }
    )
  }
}

/** Texts of statements that are kept. */
const textsMax = 8
