/**
 * The SQL of {@link SqlModelStore} that changes whole models: tables that are made, emptied, renamed and dropped,
 * and the rows of their checkpoints that go along. What reads and writes the rows of folds is in
 * {@link FoldStatements}.
 *
 * Tables of models have no schema in their names: they are where the connection looks first, as are the names in
 * the application's own statements. Cursors hang on the id of a checkpoint's row, so renaming one costs the same
 * for any number of streams.
 */
import { afterPrefix } from "@millrace/core/Text"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type { ColumnKind, FoldColumn } from "./FoldTable.js"
import { placed, quoted } from "./TablePlace.js"
import type { TablePlace } from "./TablePlace.js"

/** Postgres gives 64-bit integers as text. */
export type Integer = number | string

/** The row of a checkpoint. */
export interface StoredCheckpoint {
  readonly id: number
  readonly name: string
  readonly position: Integer
  readonly epoch: Integer
  readonly revision: Integer | null
}

/** A column as the database describes it. SQLite has no booleans. */
export interface StoredColumn {
  readonly name: string
  readonly type: string
  readonly required: boolean | number
}

/** What {@link makeStatements} gives. */
export type ModelStatements = ReturnType<typeof makeStatements>

/** What a kind of column is called. */
export const columnTypes = (sql: SqlClient.SqlClient): Readonly<Record<ColumnKind, string>> =>
  sql.onDialectOrElse({
    pg: () => ({
      text: "text",
      integer: "bigint",
      number: "double precision",
      boolean: "boolean",
      json: "json"
    }),
    orElse: () => ({ text: "TEXT", integer: "INTEGER", number: "REAL", boolean: "INTEGER", json: "TEXT" })
  })

/** The statements, for checkpoints at `place`. */
export const makeStatements = (sql: SqlClient.SqlClient, place: TablePlace) => {
  const projections = sql.literal(placed(place, "projections"))
  const cursors = sql.literal(placed(place, "projection_cursors"))
  const types = columnTypes(sql)
  const dialect = dialectOf(sql)
  const columns = sql`id, name, position, epoch, revision`
  const list = (tables: ReadonlyArray<string>) => tables.map(quoted).join(", ")
  /** One text, for statements in which nothing is a value. */
  const run = (text: string): Effect.Effect<void, SqlError> => Effect.asVoid(sql.unsafe(text))
  const unlessNone = (
    tables: ReadonlyArray<string>,
    use: (tables: ReadonlyArray<string>) => Effect.Effect<void, SqlError>
  ) => (tables.length === 0 ? Effect.void : use(tables))

  return {
    // ---- tables ----

    /** Those of the names that are tables. */
    tablesAmong: (names: ReadonlyArray<string>): Effect.Effect<ReadonlySet<string>, SqlError> =>
      names.length === 0
        ? Effect.succeed(new Set())
        : Effect.map(dialect.tablesAmong(names), (rows) => new Set(rows.map(({ name }) => name))),

    /** The columns of a table; none where there is no such table. */
    columnsOf: dialect.columnsOf,

    /** Makes the table of a fold. */
    makeFold: (table: string, columns: ReadonlyArray<FoldColumn>) =>
      run(
        `CREATE TABLE ${quoted(table)} (key ${dialect.keyType} NOT NULL PRIMARY KEY${columns
          .map(
            ({ empty, kind, name }) =>
              `, ${quoted(name)} ${types[kind]}${empty === "none" ? " NOT NULL" : ""}`
          )
          .join("")}) ${dialect.foldOptions}`
      ),

    rename: (from: string, to: string) => run(`ALTER TABLE ${quoted(from)} RENAME TO ${quoted(to)}`),

    /** Drops tables; those that are not there are no fault. */
    drop: (tables: ReadonlyArray<string>) => unlessNone(tables, dialect.drop),

    /** Takes all rows out of tables. */
    clear: (tables: ReadonlyArray<string>) => unlessNone(tables, dialect.clear),

    /** The rows of all tables together. */
    count: (tables: ReadonlyArray<string>): Effect.Effect<number, SqlError> =>
      tables.length === 0
        ? Effect.succeed(0)
        : Effect.map(
            sql.unsafe<{ readonly rows: Integer }>(
              `SELECT ${tables.map((table) => `(SELECT count(*) FROM ${quoted(table)})`).join(" + ")} AS rows`
            ).withoutTransform,
            ([row]) => Number(row!.rows)
          ),

    // ---- checkpoints ----

    /** The checkpoints of a projection: of the live model and of those beside it. `held`: until the transaction ends. */
    checkpoints: (projectionName: string, held: boolean) => {
      const prefix = `${projectionName}~`
      return sql<StoredCheckpoint>`
        SELECT ${columns} FROM ${projections}
        WHERE name = ${projectionName} OR (name >= ${prefix} AND name < ${afterPrefix(prefix)!})
        ORDER BY name
        ${held ? dialect.forUpdate : sql``}
      `.withoutTransform
    },

    /** One checkpoint, held against being moved, renamed or removed until the transaction ends. */
    hold: (name: string): Effect.Effect<StoredCheckpoint | undefined, SqlError> =>
      Effect.map(
        sql<StoredCheckpoint>`
          SELECT ${columns} FROM ${projections} WHERE name = ${name} ${dialect.forNoKeyUpdate}
        `.withoutTransform,
        ([row]) => row
      ),

    /** Makes an empty checkpoint. */
    insert: (name: string, revision: number, epoch: number, nowMs: number) =>
      sql`
        INSERT INTO ${projections} (name, position, epoch, revision, updated_at)
        VALUES (${name}, 0, ${epoch}, ${revision}, ${dialect.now(nowMs)})
      `,

    /** Gives a checkpoint another name and epoch. */
    renameCheckpoint: (id: number, name: string, epoch: number, nowMs: number) =>
      sql`
        UPDATE ${projections} SET name = ${name}, epoch = ${epoch}, updated_at = ${dialect.now(nowMs)}
        WHERE id = ${id}
      `,

    /** Takes a checkpoint back to the beginning. Its cursors are removed beside. */
    restart: (id: number, revision: number, epoch: number, nowMs: number) =>
      sql`
        UPDATE ${projections}
        SET position = 0, epoch = ${epoch}, revision = ${revision}, updated_at = ${dialect.now(nowMs)}
        WHERE id = ${id}
      `,

    removeCursors: (id: number) => sql`DELETE FROM ${cursors} WHERE projection_id = ${id}`,

    /** Removes a checkpoint whose cursors were removed. */
    removeCheckpoint: (id: number) => sql`DELETE FROM ${projections} WHERE id = ${id}`,

    // ---- locks and limits: nothing on SQLite, where a transaction has the whole file ----

    /** Makes every wait for a lock a short one, for the rest of the transaction. */
    limitLocks: dialect.limitLocks,

    /** Lets the server end the transaction when it stands idle for longer. */
    limitIdle: dialect.limitIdle,

    /** One at a time makes, renames or drops tables of a projection. */
    takeTurn: dialect.takeTurn,

    /** Locks tables as those who write to them do, and before they do. */
    holdTables: (tables: ReadonlyArray<string>) =>
      unlessNone(tables.toSorted(), (sorted) => dialect.holdTables(list(sorted))),

    /** Keeps everybody from tables until the transaction ends, always in the same order. */
    lockTables: (tables: ReadonlyArray<string>) =>
      unlessNone(tables.toSorted(), (sorted) => dialect.lockTables(list(sorted)))
  }
}

// ---- internal ----

/** Longest wait of a swap for those who read the live model. Unit: milliseconds. */
const lockTimeoutMs = 1_000

const dialectOf = (sql: SqlClient.SqlClient) => {
  const run = (text: string): Effect.Effect<void, SqlError> => Effect.asVoid(sql.unsafe(text))
  const list = (tables: ReadonlyArray<string>) => tables.map(quoted).join(", ")
  type Named = { readonly name: string }
  return sql.onDialectOrElse({
    pg: () => ({
      forUpdate: sql`FOR UPDATE`,
      forNoKeyUpdate: sql`FOR NO KEY UPDATE`,
      now: (_nowMs: number) => sql`clock_timestamp()`,
      keyType: `text COLLATE "C"`,
      // Rows are changed again and again: with room beside them the index need not be.
      foldOptions: "WITH (fillfactor = 80)",
      tablesAmong: (names: ReadonlyArray<string>) =>
        sql<Named>`
          SELECT c.relname AS name
          FROM pg_catalog.pg_class AS c
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
          WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND c.relname = ANY(${names}::text[])
        `.withoutTransform,
      columnsOf: (table: string) =>
        sql<StoredColumn>`
          SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required
          FROM pg_catalog.pg_attribute AS a
          JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
          WHERE n.nspname = current_schema() AND c.relname = ${table} AND a.attnum > 0 AND NOT a.attisdropped
        `.withoutTransform,
      drop: (tables: ReadonlyArray<string>) => run(`DROP TABLE IF EXISTS ${list(tables)}`),
      clear: (tables: ReadonlyArray<string>) => run(`TRUNCATE ${list(tables)}`),
      limitLocks: Effect.asVoid(sql`SELECT set_config('lock_timeout', ${String(lockTimeoutMs)}, true)`),
      limitIdle: (ms: number) =>
        Effect.asVoid(sql`
          SELECT set_config('idle_in_transaction_session_timeout', ${String(ms)}, true)
          WHERE current_setting('idle_in_transaction_session_timeout')::interval
            NOT BETWEEN interval '1 microsecond' AND ${ms} * interval '1 millisecond'
        `),
      takeTurn: (projectionName: string) =>
        Effect.asVoid(
          sql`SELECT pg_advisory_xact_lock(hashtextextended('millrace/model/' || ${projectionName}, 0))`
        ),
      holdTables: (names: string) => run(`LOCK TABLE ${names} IN ROW EXCLUSIVE MODE`),
      lockTables: (names: string) => run(`LOCK TABLE ${names} IN ACCESS EXCLUSIVE MODE`)
    }),
    orElse: () => ({
      forUpdate: sql``,
      forNoKeyUpdate: sql``,
      now: (nowMs: number) => sql`${nowMs}`,
      keyType: "TEXT",
      foldOptions: "WITHOUT ROWID",
      tablesAmong: (names: ReadonlyArray<string>) =>
        sql<Named>`
          SELECT name FROM sqlite_schema
          WHERE type = 'table' AND name IN (SELECT value FROM json_each(${JSON.stringify(names)}))
        `.withoutTransform,
      columnsOf: (table: string) =>
        sql<StoredColumn>`
          SELECT name, type, "notnull" AS required FROM pragma_table_info(${table})
        `.withoutTransform,
      drop: (tables: ReadonlyArray<string>) =>
        Effect.forEach(tables, (table) => run(`DROP TABLE IF EXISTS ${quoted(table)}`), { discard: true }),
      clear: (tables: ReadonlyArray<string>) =>
        Effect.forEach(tables, (table) => run(`DELETE FROM ${quoted(table)}`), { discard: true }),
      limitLocks: Effect.void,
      limitIdle: (_ms: number) => Effect.void,
      takeTurn: (_projectionName: string) => Effect.void,
      holdTables: (_names: string) => Effect.void,
      lockTables: (_names: string) => Effect.void
    })
  })
}
