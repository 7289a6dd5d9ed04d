/** Snapshots: one row a stream and name, its state JSON kept as text. */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { PgNames } from "../PgNames.js"

/** The table of snapshots. */
export const createSnapshots = ({ q }: PgNames) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(`
      CREATE TABLE ${q}.snapshots (
        stream_id text COLLATE "C" NOT NULL,
        name      text COLLATE "C" NOT NULL,
        revision  bigint NOT NULL,
        version   bigint NOT NULL,
        state     text NOT NULL,
        PRIMARY KEY (stream_id, name)
      )
    `)
  })
