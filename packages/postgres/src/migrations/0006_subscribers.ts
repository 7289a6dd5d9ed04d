/**
 * Consumers: lease and cursor are two rows, with the epoch on both. A transaction that is fenced locks the row
 * of the cursor: it keeps others from taking over, who must write there, and does not keep the holder from
 * renewing, which writes only the lease.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { PgNames } from "../PgNames.js"

/** The tables of consumers and of the events that they set aside. */
export const createSubscribers = ({ q }: PgNames) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    // epoch 0: nobody ever had the lease. Released: worker_id is NULL.
    yield* sql.unsafe(`
      CREATE TABLE ${q}.leases (
        key        text COLLATE "C" PRIMARY KEY,
        epoch      bigint NOT NULL CHECK (epoch >= 0),
        worker_id  text COLLATE "C",
        expires_at timestamptz NOT NULL,
        paused     boolean NOT NULL DEFAULT false
      ) WITH (fillfactor = 50)
    `)
    yield* sql.unsafe(`
      CREATE TABLE ${q}.cursors (
        key        text COLLATE "C" PRIMARY KEY REFERENCES ${q}.leases (key),
        epoch      bigint NOT NULL CHECK (epoch >= 0),
        position   bigint NOT NULL CHECK (position >= 0),
        lag_events bigint CHECK (lag_events >= 0),
        lag_ms     bigint CHECK (lag_ms >= 0),
        updated_at timestamptz NOT NULL
      ) WITH (fillfactor = 50)
    `)
    yield* sql.unsafe(`
      CREATE TABLE ${q}.parked (
        key       text COLLATE "C" NOT NULL REFERENCES ${q}.leases (key),
        park_key  text COLLATE "C" NOT NULL,
        position  bigint NOT NULL CHECK (position > 0),
        reason    text NOT NULL,
        attempts  integer NOT NULL CHECK (attempts >= 0),
        parked_at timestamptz NOT NULL,
        request   text CHECK (request IN ('retry', 'drop')),
        PRIMARY KEY (key, park_key, position)
      )
    `)
    // As a rule it is empty: the holder of each lease looks into it whenever it renews.
    yield* sql.unsafe(
      `CREATE INDEX parked_requested ON ${q}.parked (key, park_key) WHERE request IS NOT NULL`
    )
  })
