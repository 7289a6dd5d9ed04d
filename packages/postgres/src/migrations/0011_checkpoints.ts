/** Operator checkpoints: a row a pipeline, its manifests, and sidecars in pieces of 1 MiB. */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { PgNames } from "../PgNames.js"

/** Makes the tables. */
export const createCheckpoints = ({ q }: PgNames) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(`
      CREATE TABLE ${q}.checkpoint_pipelines (
        name    text COLLATE "C" PRIMARY KEY,
        latest  bigint CHECK (latest > 0),
        highest bigint NOT NULL CHECK (highest >= 0),
        fence   bigint NOT NULL CHECK (fence >= 0)
      ) WITH (fillfactor = 50)
    `)
    // Text, for what cannot be read must be storable: it is a result that it cannot be read.
    yield* sql.unsafe(`
      CREATE TABLE ${q}.checkpoints (
        pipeline text COLLATE "C" NOT NULL,
        id       bigint NOT NULL CHECK (id > 0),
        manifest text NOT NULL,
        decided  smallint NOT NULL CHECK (decided IN (0, 1)),
        PRIMARY KEY (pipeline, id)
      )
    `)
    yield* sql.unsafe(`
      CREATE TABLE ${q}.checkpoint_sidecars (
        pipeline text COLLATE "C" NOT NULL,
        id       bigint NOT NULL,
        attempt  bigint NOT NULL,
        length   bigint NOT NULL CHECK (length >= 0),
        PRIMARY KEY (pipeline, id)
      )
    `)
    // Of the attempt that is the sidecar, and of others that broke off. State is packed already, or does not pack.
    yield* sql.unsafe(`
      CREATE TABLE ${q}.checkpoint_pieces (
        pipeline text COLLATE "C" NOT NULL,
        id       bigint NOT NULL,
        attempt  bigint NOT NULL,
        piece    integer NOT NULL,
        data     bytea NOT NULL,
        PRIMARY KEY (pipeline, id, attempt, piece)
      )
    `)
    yield* sql.unsafe(`ALTER TABLE ${q}.checkpoint_pieces ALTER COLUMN data SET STORAGE EXTERNAL`)
  })
