/**
 * Snapshots in a table, in one SQL text for both dialects. The table has at most one row for each stream and
 * name (`PRIMARY KEY (stream_id, name)`), its `state` is JSON kept as plain text, and its numbers are 64-bit
 * integers. Each database's package makes the table in its migrations and says what its driver's errors mean.
 *
 * Inside `sql.withTransaction` all three operations belong to that transaction.
 */
import type { SnapshotStore } from "@millrace/core/SnapshotStore"
import * as SnapshotStoreBackend from "@millrace/core/SnapshotStoreBackend"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"

/** Where the table is, and what the driver's errors mean. */
export interface SqlSnapshotOptions {
  /** Schema that the table is in. Default: the one that the connection looks in first; SQLite has no other. */
  readonly schema?: string | undefined
  /** Name of the table. Default: `snapshots`. */
  readonly table?: string | undefined
  /** Turns what the driver failed with while it did `operation` into the typed error of the store. */
  readonly storeUnavailable: (operation: string) => (cause: unknown) => StoreUnavailable
}

/**
 * Builds the store over the `SqlClient` of the context.
 *
 * It fails at no time for reasons of storage: what the database reports is logged, and the snapshot counts as
 * missing. A row whose JSON is broken is a miss as well.
 *
 * @example
 * ```ts
 * const snapshots = yield* SqlSnapshotStore.make({ schema: "millrace", storeUnavailable: PgFault.storeUnavailable })
 * ```
 */
export const make = (
  options: SqlSnapshotOptions
): Effect.Effect<SnapshotStore["Type"], never, SqlClient.SqlClient> =>
  Effect.map(SqlClient.SqlClient, (sql) => {
    const statements = makeStatements(sql, options)
    const failed = options.storeUnavailable
    return SnapshotStoreBackend.make({
      get: (name, streamId) =>
        statements.find(name, streamId).pipe(
          Effect.map((rows) => {
            const row = rows[0]
            // Postgres gives 64-bit integers as text.
            return row === undefined
              ? undefined
              : { revision: Number(row.revision), version: Number(row.version), state: row.state }
          }),
          Effect.mapError(failed("getSnapshot"))
        ),
      save: (name, streamId, row) =>
        Effect.asVoid(Effect.mapError(statements.replaceOlder(name, streamId, row), failed("saveSnapshot"))),
      delete: (name, streamId) =>
        Effect.asVoid(Effect.mapError(statements.remove(name, streamId), failed("deleteSnapshot")))
    })
  })

// ---- internal ----

interface StoredSnapshot {
  readonly revision: number | string
  readonly version: number | string
  readonly state: string
}

const makeStatements = (sql: SqlClient.SqlClient, { schema, table = "snapshots" }: SqlSnapshotOptions) => {
  const snapshots = schema === undefined ? sql(table) : sql.literal(`${quoted(schema)}.${quoted(table)}`)
  return {
    /** The one row of a stream and name. */
    find: (name: string, streamId: string) =>
      sql<StoredSnapshot>`
        SELECT revision, version, state
        FROM ${snapshots}
        WHERE stream_id = ${streamId} AND name = ${name}
      `.withoutTransform,

    /** Inserts, or replaces a row whose (revision, version) is not greater. */
    replaceOlder: (name: string, streamId: string, row: SnapshotStoreBackend.SnapshotRow) =>
      sql`
        INSERT INTO ${snapshots} AS kept (stream_id, name, revision, version, state)
        VALUES (${streamId}, ${name}, ${row.revision}, ${row.version}, ${row.state})
        ON CONFLICT (stream_id, name) DO UPDATE
          SET revision = excluded.revision, version = excluded.version, state = excluded.state
          WHERE kept.revision < excluded.revision
             OR (kept.revision = excluded.revision AND kept.version <= excluded.version)
      `,

    /** Removes the row of a stream and name, whatever its revision. */
    remove: (name: string, streamId: string) =>
      sql`
        DELETE FROM ${snapshots}
        WHERE stream_id = ${streamId} AND name = ${name}
      `
  }
}

/** A name as SQL text, whatever characters it has: `sql(name)` would take a dot in it for a separator. */
const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
