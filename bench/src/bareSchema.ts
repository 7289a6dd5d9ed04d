/**
 * The tables of the bare limits: the same columns and indexes as Millrace's own, without its triggers.
 *
 * "Bare" is what remains of an event store when everything but the rows is taken away. The limits write into
 * these tables by the shortest loop that does it, so that a ratio says what the rest costs.
 */

/** Postgres. `append_one` is the SQL append function that `pg-append-1` calls; in plpgsql it is 6 % slower. */
export const pgSchema = `
  CREATE SEQUENCE positions CACHE 1;

  CREATE TABLE events (
    position bigint PRIMARY KEY DEFAULT nextval('positions'),
    stream_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL UNIQUE,
    data json NOT NULL,
    metadata json,
    tags text[],
    routing_key text COLLATE "C",
    vnode smallint NOT NULL,
    archived boolean NOT NULL DEFAULT false,
    erased boolean NOT NULL DEFAULT false,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (stream_id, version)
  );

  CREATE INDEX ON events USING gin (tags) WHERE tags IS NOT NULL;

  CREATE TABLE streams (
    stream_id text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    routing_key text COLLATE "C"
  );

  CREATE FUNCTION append_one(s text, t text, i text, d json, v smallint) RETURNS bigint
  LANGUAGE sql AS $$
    WITH up AS (
      INSERT INTO streams AS x (stream_id, version) VALUES (s, 1)
      ON CONFLICT (stream_id) DO UPDATE SET version = x.version + 1
      RETURNING version)
    INSERT INTO events (stream_id, version, type, id, data, vnode)
    SELECT s, up.version, t, i, d, v
    FROM up
    RETURNING position
  $$;
`

/** Empties the Postgres tables and starts positions again at 1. */
export const pgReset = "TRUNCATE events, streams; ALTER SEQUENCE positions RESTART"

/** SQLite, opened with WAL and `synchronous = FULL`. `recorded_at` in milliseconds since 1970. */
export const sqliteSchema = `
  CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    type TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    data TEXT NOT NULL,
    metadata TEXT,
    tags TEXT,
    routing_key TEXT,
    vnode INTEGER NOT NULL,
    archived INTEGER NOT NULL DEFAULT 0,
    erased INTEGER NOT NULL DEFAULT 0,
    recorded_at INTEGER NOT NULL,
    UNIQUE (stream_id, version)
  );

  CREATE TABLE streams (
    stream_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    routing_key TEXT
  ) WITHOUT ROWID;
`
