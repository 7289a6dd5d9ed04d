/**
 * The SQL of {@link SqlProjectionCheckpointStore}, one function a statement. Both dialects have the same tables;
 * they differ in how an array of values is bound, in the locking of rows, and in whose clock is used.
 */
import type { ProjectionListing } from "@millrace/core/ProjectionCheckpoint"
import type { AdvanceRequest, ProjectionStamp } from "@millrace/core/ProjectionCheckpointStoreBackend"
import { afterPrefix } from "@millrace/core/Text"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"

/** Postgres gives 64-bit integers as text. */
export type Integer = number | string

/** A row of the projections. */
export interface StoredProjection {
  readonly id: number
  readonly name: string
  readonly position: Integer
  readonly epoch: Integer
  readonly revision: Integer | null
  readonly updated_at_ms: Integer
}

/** A row of the cursors. */
export interface StoredCursor {
  readonly stream_id: string
  readonly version: Integer
}

/** The row of the projection, whose `stream_id` is null, or one of its cursors, whose version is the position. */
export interface StoredPart extends Omit<StoredProjection, "id" | "name"> {
  readonly stream_id: string | null
}

/** What the function on Postgres says: the stored things before its step, and the cursor that was another one. */
export interface StoredAdvance {
  readonly advanced: boolean
  readonly stored_position: Integer
  readonly stored_epoch: Integer
  readonly other_id: string | null
  readonly other_version: Integer | null
}

/** Cursors to write, as two columns. */
export interface CursorColumns {
  readonly streamIds: ReadonlyArray<string>
  readonly versions: ReadonlyArray<number>
}

/** What {@link makeStatements} gives. */
export type ProjectionStatements = ReturnType<typeof makeStatements>

/** The statements, for tables in `schema` whose names begin with `prefix`. */
export const makeStatements = (
  sql: SqlClient.SqlClient,
  { prefix = "", schema }: { readonly prefix?: string | undefined; readonly schema?: string | undefined }
) => {
  const place = schema === undefined ? "" : `${quoted(schema)}.`
  const projections = sql.literal(`${place}${quoted(`${prefix}projections`)}`)
  const cursorsName = `${place}${quoted(`${prefix}projection_cursors`)}`
  const cursors = sql.literal(cursorsName)
  const advance = sql.literal(`${place}${quoted(`${prefix}advance_projection`)}`)
  const { among, forUpdate, now, updatedAtMs, ...dialect } = makeDialect(sql, cursorsName)
  const columns = sql`id, name, position, epoch, revision, ${updatedAtMs} AS updated_at_ms`
  const idOf = (name: string) => sql`(SELECT p.id FROM ${projections} AS p WHERE p.name = ${name})`

  return {
    /** The row of a projection. */
    find: (name: string) =>
      first(
        sql<StoredProjection>`
          SELECT ${columns} FROM ${projections} WHERE name = ${name}
        `.withoutTransform
      ),

    /** The same row, held until the transaction ends. */
    lock: (name: string) =>
      first(
        sql<StoredProjection>`
          SELECT ${columns} FROM ${projections} WHERE name = ${name} ${forUpdate}
        `.withoutTransform
      ),

    /** One statement, so that the row and its cursors are of one moment. */
    findWithCursors: (name: string) =>
      sql<StoredPart>`
        SELECT NULL AS stream_id, p.position, p.epoch, p.revision, ${updatedAtMs} AS updated_at_ms
        FROM ${projections} AS p
        WHERE p.name = ${name}
        UNION ALL
        SELECT c.stream_id, c.version, NULL, NULL, NULL
        FROM ${cursors} AS c
        WHERE c.projection_id = ${idOf(name)}
      `.withoutTransform,

    /** The cursors that some streams have. */
    cursorsAmong: (name: string, streamIds: ReadonlyArray<string>) =>
      sql<StoredCursor>`
        SELECT stream_id, version
        FROM ${cursors}
        WHERE projection_id = ${idOf(name)} AND ${among(streamIds)}
      `.withoutTransform,

    /** A page of the cursors in byte order. */
    cursorsBehind: (id: number, streamId: string, limit: number) =>
      sql<StoredCursor>`
        SELECT stream_id, version
        FROM ${cursors}
        WHERE projection_id = ${id} AND stream_id > ${streamId}
        ORDER BY stream_id
        LIMIT ${limit}
      `.withoutTransform,

    /** Makes the row of a projection, unless somebody else was first. */
    insert: (name: string, nowMs: number) =>
      sql`
        INSERT INTO ${projections} (name, position, epoch, updated_at)
        VALUES (${name}, 0, 0, ${now(nowMs)})
        ON CONFLICT (name) DO NOTHING
      `,

    /** Moves the row, takes down a greater epoch, and the revision where there is none. */
    move: (id: number, position: number, { epoch = 0, revision = null }: NullableStamp, nowMs: number) =>
      sql`
        UPDATE ${projections}
        SET position = ${position},
          epoch = CASE WHEN epoch < ${epoch} THEN ${epoch} ELSE epoch END,
          revision = coalesce(revision, ${revision}),
          updated_at = ${now(nowMs)}
        WHERE id = ${id}
      `,

    /** Forgets the revision. */
    clearRevision: (id: number) => sql`UPDATE ${projections} SET revision = NULL WHERE id = ${id}`,

    /** Whether all cursors are those to move from; false also where that takes a look at each of them. */
    areAsExpected: dialect.areAsExpected,

    /** Writes cursors, whether they have a row or not. */
    putCursors: dialect.putCursors,

    /** Removes the cursors of some streams. */
    removeCursors: (id: number, streamIds: ReadonlyArray<string>) =>
      sql`DELETE FROM ${cursors} WHERE projection_id = ${id} AND ${among(streamIds)}`,

    /** Removes all cursors. */
    removeAllCursors: (id: number) => sql`DELETE FROM ${cursors} WHERE projection_id = ${id}`,

    /** Raises the epoch. No row back: it has a greater one. */
    claim: (name: string, epoch: number, revision: number | undefined, nowMs: number) =>
      first(
        sql<StoredProjection>`
          INSERT INTO ${projections} AS kept (name, position, epoch, revision, updated_at)
          VALUES (${name}, 0, ${epoch}, ${revision ?? null}, ${now(nowMs)})
          ON CONFLICT (name) DO UPDATE
            SET epoch = excluded.epoch,
              revision = coalesce(kept.revision, excluded.revision),
              updated_at = excluded.updated_at
            WHERE kept.epoch <= excluded.epoch
          RETURNING ${columns}
        `.withoutTransform
      ),

    /** The rows of projections in byte order of their names. */
    list: ({ after = "", limit, prefix = "" }: ProjectionListing) => {
      const end = afterPrefix(prefix)
      const conditions = [sql`name > ${after}`, sql`name >= ${prefix}`]
      if (end !== undefined) conditions.push(sql`name < ${end}`)
      return sql<StoredProjection>`
        SELECT ${columns} FROM ${projections} WHERE ${sql.and(conditions)} ORDER BY name LIMIT ${limit}
      `.withoutTransform
    },

    /** Postgres alone: the whole compare-and-set, as its function does it. */
    advanceByFunction: ({ epoch, expected, moves, name, position, revision }: AdvanceRequest) =>
      Effect.map(
        sql<StoredAdvance>`
          SELECT advanced, stored_position, stored_epoch, other_id, other_version
          FROM ${advance}(
            ${name}, ${expected}, ${position}, ${epoch ?? null}, ${revision ?? null},
            ${moves.map(({ streamId }) => streamId)}::text[],
            ${moves.map(({ before }) => before)}::bigint[],
            ${moves.map(({ after }) => after)}::bigint[]
          )
        `.withoutTransform,
        (rows) => rows[0]!
      )
  }
}

// ---- internal ----

/** In whose name a row is moved; 0 and null leave what is there. */
interface NullableStamp {
  readonly epoch?: ProjectionStamp["epoch"]
  readonly revision?: number | null | undefined
}

const first = <A>(rows: Effect.Effect<ReadonlyArray<A>, SqlError>): Effect.Effect<A | undefined, SqlError> =>
  Effect.map(rows, (found) => found[0])

/** What the two dialects say differently. */
const makeDialect = (sql: SqlClient.SqlClient, cursors: string) =>
  sql.onDialectOrElse({
    pg: () => ({
      forUpdate: sql`FOR NO KEY UPDATE`,
      now: (_nowMs: number) => sql`clock_timestamp()`,
      updatedAtMs: sql`floor(extract(epoch FROM updated_at) * 1000)::bigint`,
      among: (streamIds: ReadonlyArray<string>) => sql`stream_id = ANY(${streamIds}::text[])`,
      areAsExpected: (_id: number, _moves: AdvanceRequest["moves"]): Effect.Effect<boolean, SqlError> =>
        Effect.succeed(false),
      putCursors: (id: number, { streamIds, versions }: CursorColumns): Effect.Effect<void, SqlError> =>
        Effect.asVoid(sql`
          INSERT INTO ${sql.literal(cursors)} (projection_id, stream_id, version)
          SELECT ${id}, stream_id, version
          FROM unnest(${streamIds}::text[], ${versions}::bigint[]) AS given (stream_id, version)
          ON CONFLICT (projection_id, stream_id) DO UPDATE SET version = excluded.version
        `)
    }),
    orElse: () => ({
      forUpdate: sql``,
      now: (nowMs: number) => sql`${nowMs}`,
      updatedAtMs: sql`updated_at`,
      among: (streamIds: ReadonlyArray<string>) =>
        sql`stream_id IN (SELECT value FROM json_each(${JSON.stringify(streamIds)}))`,
      // Hot: 0.45 ms for 500 cursors, and 0.68 where each of them comes up to be compared in JavaScript.
      areAsExpected: (id: number, moves: AdvanceRequest["moves"]): Effect.Effect<boolean, SqlError> =>
        Effect.map(
          sql<{ readonly others: number }>`
            SELECT count(*) AS others
            FROM json_each(${JSON.stringify(moves.map(({ before, streamId }) => [streamId, before]))}) AS given
            WHERE (given.value ->> 1) <> coalesce((
              SELECT c.version FROM ${sql.literal(cursors)} AS c
              WHERE c.projection_id = ${id} AND c.stream_id = (given.value ->> 0)
            ), 0)
          `.withoutTransform,
          ([row]) => row!.others === 0
        ),
      putCursors: (id: number, { streamIds, versions }: CursorColumns): Effect.Effect<void, SqlError> => {
        const pairs = JSON.stringify(streamIds.map((streamId, i) => [streamId, versions[i]]))
        return Effect.asVoid(sql`
          INSERT INTO ${sql.literal(cursors)} (projection_id, stream_id, version)
          SELECT ${id}, value ->> 0, value ->> 1
          FROM json_each(${pairs})
          WHERE true
          ON CONFLICT (projection_id, stream_id) DO UPDATE SET version = excluded.version
        `)
      }
    })
  })

/** A name as SQL text, whatever characters it has: `sql(name)` would take a dot in it for a separator. */
const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
