import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"

/** Consumers: their leases, their cursors, and the events that they set aside. Times are milliseconds since 1970. */
export const createSubscribers = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // epoch 0: nobody ever had the lease. Released: worker_id is NULL.
  yield* sql`
    CREATE TABLE millrace_leases (
      key        TEXT    NOT NULL PRIMARY KEY,
      epoch      INTEGER NOT NULL CHECK (epoch >= 0),
      worker_id  TEXT,
      expires_at INTEGER NOT NULL,
      paused     INTEGER NOT NULL DEFAULT 0
    ) STRICT
  `
  yield* sql`
    CREATE TABLE millrace_cursors (
      key        TEXT    NOT NULL PRIMARY KEY,
      epoch      INTEGER NOT NULL CHECK (epoch >= 0),
      position   INTEGER NOT NULL CHECK (position >= 0),
      lag_events INTEGER CHECK (lag_events >= 0),
      lag_ms     INTEGER CHECK (lag_ms >= 0),
      updated_at INTEGER NOT NULL
    ) STRICT
  `
  yield* sql`
    CREATE TABLE millrace_parked (
      key       TEXT    NOT NULL,
      park_key  TEXT    NOT NULL,
      position  INTEGER NOT NULL CHECK (position > 0),
      reason    TEXT    NOT NULL,
      attempts  INTEGER NOT NULL CHECK (attempts >= 0),
      parked_at INTEGER NOT NULL,
      request   TEXT CHECK (request IN ('retry', 'drop')),
      PRIMARY KEY (key, park_key, position)
    ) STRICT, WITHOUT ROWID
  `
  // As a rule it is empty: the holder of each lease looks into it whenever it renews.
  yield* sql`CREATE INDEX millrace_parked_requested ON millrace_parked (key, park_key) WHERE request IS NOT NULL`
})
