import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"

/**
 * The log and what finds its events. All names begin with `millrace_`, since an application keeps its own
 * tables in the same file, so that they change in the same transactions.
 */
export const createLog = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // One row. `head` is the newest position ever given out: kept here and not taken from the events, so that
  // removing the newest events never makes it fall and no position is given out twice. `maintenance` is 1
  // only inside a transaction of the store's own that changes events (see the triggers).
  yield* sql`
    CREATE TABLE millrace_log (
      only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
      head        INTEGER NOT NULL,
      maintenance INTEGER NOT NULL DEFAULT 0
    ) STRICT
  `
  yield* sql`INSERT INTO millrace_log (only_row, head) VALUES (1, 0)`

  // What readers filter by stands in front and the long columns at the end, where a scan need not go.
  yield* sql`
    CREATE TABLE millrace_events (
      position    INTEGER PRIMARY KEY,
      stream_id   TEXT    NOT NULL,
      version     INTEGER NOT NULL,
      type        TEXT    NOT NULL,
      vnode       INTEGER NOT NULL,
      routing_key TEXT,
      archived    INTEGER NOT NULL DEFAULT 0,
      erased      INTEGER NOT NULL DEFAULT 0,
      recorded_at INTEGER NOT NULL,
      id          TEXT    NOT NULL,
      tags        TEXT,
      metadata    TEXT,
      data        TEXT    NOT NULL
    ) STRICT
  `
  yield* sql`CREATE UNIQUE INDEX millrace_events_of_stream ON millrace_events (stream_id, version)`
  yield* sql`CREATE UNIQUE INDEX millrace_events_by_id ON millrace_events (id)`

  // A stream keeps its row when its events are deleted, so that its versions go on. `base_version` is where
  // it stood at the last deletion: it has events if and only if version > base_version.
  yield* sql`
    CREATE TABLE millrace_streams (
      stream_id    TEXT    PRIMARY KEY NOT NULL,
      version      INTEGER NOT NULL,
      base_version INTEGER NOT NULL DEFAULT 0,
      routing_key  TEXT,
      tombstoned   INTEGER NOT NULL DEFAULT 0,
      CHECK (version >= base_version)
    ) STRICT, WITHOUT ROWID
  `

  // The tags of an event once more, one row each, in the order in which readers want its positions.
  yield* sql`
    CREATE TABLE millrace_event_tags (
      tag      TEXT    NOT NULL,
      position INTEGER NOT NULL,
      PRIMARY KEY (tag, position)
    ) STRICT, WITHOUT ROWID
  `

  yield* sql`
    CREATE TRIGGER millrace_events_no_update BEFORE UPDATE ON millrace_events
    WHEN (SELECT maintenance FROM millrace_log) = 0
    BEGIN
      SELECT RAISE(ABORT, 'events are append-only');
    END
  `
  yield* sql`
    CREATE TRIGGER millrace_events_no_delete BEFORE DELETE ON millrace_events
    WHEN (SELECT maintenance FROM millrace_log) = 0
    BEGIN
      SELECT RAISE(ABORT, 'events are append-only');
    END
  `
})
