/**
 * Every SQL text of {@link SqlCheckpointStore}, one function a statement, one text for both dialects. All statements
 * are about one pipeline.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import { placed } from "./TablePlace.js"
import type { TablePlace } from "./TablePlace.js"

/** A number as the driver gives it: Postgres gives 64-bit integers as text. */
type Integer = number | string

/** Builds the statements. */
export const makeStatements = (sql: SqlClient.SqlClient, place: TablePlace, pipeline: string) => {
  const pipelines = sql.literal(placed(place, "checkpoint_pipelines"))
  const checkpoints = sql.literal(placed(place, "checkpoints"))
  const sidecars = sql.literal(placed(place, "checkpoint_sidecars"))
  const pieces = sql.literal(placed(place, "checkpoint_pieces"))
  type Ids = { readonly id: Integer }

  return {
    /** Makes the pipeline's row, if there is none. */
    open: sql`
      INSERT INTO ${pipelines} (name, highest, fence) VALUES (${pipeline}, 0, 0)
      ON CONFLICT (name) DO NOTHING
    `,

    /** Locks the pipeline's row until the transaction ends. No row: a newer epoch has written. */
    admit: (epoch: number) =>
      sql<{ readonly fence: Integer }>`
      UPDATE ${pipelines} SET fence = ${epoch} WHERE name = ${pipeline} AND fence <= ${epoch}
      RETURNING fence
    `.withoutTransform,

    /** The next number. */
    reserve: sql<{ readonly highest: Integer }>`
      UPDATE ${pipelines} SET highest = highest + 1 WHERE name = ${pipeline} RETURNING highest
    `.withoutTransform,

    /** Notes that an id was given. */
    give: (id: number) => sql`
      UPDATE ${pipelines} SET highest = ${id} WHERE name = ${pipeline} AND highest < ${id}
    `,

    /** No row: there is one already. */
    create: (id: number, manifest: string) =>
      sql<Ids>`
      INSERT INTO ${checkpoints} (pipeline, id, manifest, decided) VALUES (${pipeline}, ${id}, ${manifest}, 0)
      ON CONFLICT (pipeline, id) DO NOTHING
      RETURNING id
    `.withoutTransform,

    /** No row: there is none. */
    replace: (id: number, manifest: string) =>
      sql<Ids>`
      UPDATE ${checkpoints} SET manifest = ${manifest} WHERE pipeline = ${pipeline} AND id = ${id} RETURNING id
    `.withoutTransform,

    decide: (id: number) => sql`
      UPDATE ${checkpoints} SET decided = 1 WHERE pipeline = ${pipeline} AND id = ${id}
    `,

    checkpoint: (id: number) =>
      sql<{ readonly manifest: string; readonly decided: Integer }>`
      SELECT manifest, decided FROM ${checkpoints} WHERE pipeline = ${pipeline} AND id = ${id}
    `.withoutTransform,

    checkpointIds: sql<Ids>`
      SELECT id FROM ${checkpoints} WHERE pipeline = ${pipeline} ORDER BY id
    `.withoutTransform,

    removeCheckpoint: (id: number) => sql`
      DELETE FROM ${checkpoints} WHERE pipeline = ${pipeline} AND id = ${id}
    `,

    pointer: sql<{ readonly latest: Integer | null }>`
      SELECT latest FROM ${pipelines} WHERE name = ${pipeline}
    `.withoutTransform,

    point: (id: number) => sql`
      UPDATE ${pipelines} SET latest = ${id}
      WHERE name = ${pipeline} AND (latest IS NULL OR latest < ${id})
    `,

    unpoint: sql`UPDATE ${pipelines} SET latest = NULL WHERE name = ${pipeline}`,

    addPiece: (id: number, attempt: number, piece: number, data: Uint8Array) => sql`
      INSERT INTO ${pieces} (pipeline, id, attempt, piece, data)
      VALUES (${pipeline}, ${id}, ${attempt}, ${piece}, ${data})
    `,

    /** Makes an attempt the sidecar. */
    setSidecar: (id: number, attempt: number, length: number) => sql`
      INSERT INTO ${sidecars} (pipeline, id, attempt, length) VALUES (${pipeline}, ${id}, ${attempt}, ${length})
      ON CONFLICT (pipeline, id) DO UPDATE SET attempt = excluded.attempt, length = excluded.length
    `,

    /** Removes the pieces of all attempts but one; of all when it is 0. */
    removePieces: (id: number, but: number) => sql`
      DELETE FROM ${pieces} WHERE pipeline = ${pipeline} AND id = ${id} AND attempt <> ${but}
    `,

    removeAttempt: (id: number, attempt: number) => sql`
      DELETE FROM ${pieces} WHERE pipeline = ${pipeline} AND id = ${id} AND attempt = ${attempt}
    `,

    removeSidecar: (id: number) => sql`
      DELETE FROM ${sidecars} WHERE pipeline = ${pipeline} AND id = ${id}
    `,

    sidecar: (id: number) =>
      sql<{ readonly attempt: Integer; readonly length: Integer }>`
      SELECT attempt, length FROM ${sidecars} WHERE pipeline = ${pipeline} AND id = ${id}
    `.withoutTransform,

    piece: (id: number, attempt: number, piece: number) =>
      sql<{ readonly data: Uint8Array }>`
      SELECT data FROM ${pieces}
      WHERE pipeline = ${pipeline} AND id = ${id} AND attempt = ${attempt} AND piece = ${piece}
    `.withoutTransform,

    /** Also those of which a crash has left pieces only. */
    stateIds: sql<Ids>`
      SELECT id FROM ${sidecars} WHERE pipeline = ${pipeline}
      UNION
      SELECT id FROM ${pieces} WHERE pipeline = ${pipeline} AND piece = 0
      ORDER BY id
    `.withoutTransform
  }
}
