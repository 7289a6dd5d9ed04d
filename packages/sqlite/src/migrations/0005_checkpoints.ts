import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"

/** Operator checkpoints: a row a pipeline, its manifests, and sidecars in pieces of 1 MiB. */
export const createCheckpoints = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    CREATE TABLE millrace_checkpoint_pipelines (
      name    TEXT    NOT NULL PRIMARY KEY,
      latest  INTEGER CHECK (latest > 0),
      highest INTEGER NOT NULL CHECK (highest >= 0),
      fence   INTEGER NOT NULL CHECK (fence >= 0)
    ) STRICT, WITHOUT ROWID
  `
  yield* sql`
    CREATE TABLE millrace_checkpoints (
      pipeline TEXT    NOT NULL,
      id       INTEGER NOT NULL CHECK (id > 0),
      manifest TEXT    NOT NULL,
      decided  INTEGER NOT NULL CHECK (decided IN (0, 1)),
      PRIMARY KEY (pipeline, id)
    ) STRICT
  `
  yield* sql`
    CREATE TABLE millrace_checkpoint_sidecars (
      pipeline TEXT    NOT NULL,
      id       INTEGER NOT NULL,
      attempt  INTEGER NOT NULL,
      length   INTEGER NOT NULL CHECK (length >= 0),
      PRIMARY KEY (pipeline, id)
    ) STRICT, WITHOUT ROWID
  `
  // Of the attempt that is the sidecar, and of others that broke off.
  yield* sql`
    CREATE TABLE millrace_checkpoint_pieces (
      pipeline TEXT    NOT NULL,
      id       INTEGER NOT NULL,
      attempt  INTEGER NOT NULL,
      piece    INTEGER NOT NULL,
      data     BLOB    NOT NULL,
      PRIMARY KEY (pipeline, id, attempt, piece)
    ) STRICT
  `
})
