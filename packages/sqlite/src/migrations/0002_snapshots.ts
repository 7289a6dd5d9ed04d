import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"

/** Folded states. The stream comes first in the key, since deleting a stream removes all of its snapshots. */
export const createSnapshots = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    CREATE TABLE millrace_snapshots (
      stream_id TEXT    NOT NULL,
      name      TEXT    NOT NULL,
      revision  INTEGER NOT NULL,
      version   INTEGER NOT NULL,
      state     TEXT    NOT NULL,
      PRIMARY KEY (stream_id, name)
    ) STRICT
  `
})
