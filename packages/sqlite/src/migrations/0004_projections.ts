import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"

/** Projections: one row each, and one a stream that it has seen. Times are milliseconds since 1970. */
export const createProjections = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // epoch 0: it was never fenced. Each cursor has the id and not the name, which may have 255 characters.
  yield* sql`
    CREATE TABLE millrace_projections (
      id         INTEGER NOT NULL PRIMARY KEY,
      name       TEXT    NOT NULL UNIQUE,
      position   INTEGER NOT NULL CHECK (position >= 0),
      epoch      INTEGER NOT NULL CHECK (epoch >= 0),
      revision   INTEGER CHECK (revision >= 0),
      updated_at INTEGER NOT NULL
    ) STRICT
  `
  yield* sql`
    CREATE TABLE millrace_projection_cursors (
      projection_id INTEGER NOT NULL,
      stream_id     TEXT    NOT NULL,
      version       INTEGER NOT NULL CHECK (version > 0),
      PRIMARY KEY (projection_id, stream_id)
    ) STRICT, WITHOUT ROWID
  `
})
