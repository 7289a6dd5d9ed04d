/**
 * The log: a row per stream, a row per event, and the sequence that gives the positions.
 *
 * The locks of the log. Whoever inserts events holds, until its transaction ends, two shared advisory locks:
 * the *door*, and one whose second key is the *mark*: the last position given out before the first one of its
 * own, read after the door was passed. They are taken by a statement trigger, which fires before positions
 * are drawn, so that an insert by hand keeps the protocol as well; positions are always drawn, so that none
 * can be put below the head. `head()` reads the marks of all who are inside: nothing that is still to appear
 * can have a position at or below the smallest of them. See docs/decisions/001-head.md.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { PgNames } from "../PgNames.js"

/** The log: streams, events, positions, the lock and the head. */
export const createLog = ({ doorSpace, lockSpace, markSetting, q, repairSetting }: PgNames) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    // base_version: the version at the last deletion, so that version > base_version = the stream has events.
    // Room is left in each page, so that the update of a version stays in its page and touches no index.
    yield* sql.unsafe(`
      CREATE TABLE ${q}.streams (
        stream_id    text COLLATE "C" PRIMARY KEY,
        version      bigint NOT NULL CHECK (version >= base_version),
        base_version bigint NOT NULL DEFAULT 0,
        routing_key  text COLLATE "C",
        tombstoned   boolean NOT NULL DEFAULT false,
        slot         integer NOT NULL DEFAULT 0
      ) WITH (fillfactor = 50)
    `)
    // ALWAYS: an insert cannot choose its position. CACHE 1: with a larger cache a connection would hand out
    // old numbers long after newer ones. json, not jsonb: it keeps U+0000 and costs 1.6 times less to read. tags is NULL when there are none,
    // so that events without tags cost nothing in their index.
    yield* sql.unsafe(`
      CREATE TABLE ${q}.events (
        position    bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME ${q}.positions MINVALUE 1 CACHE 1) PRIMARY KEY,
        stream_id   text COLLATE "C" NOT NULL,
        version     bigint NOT NULL CHECK (version > 0),
        type        text COLLATE "C" NOT NULL,
        id          text COLLATE "C" NOT NULL,
        data        json NOT NULL,
        metadata    json,
        tags        text[] COLLATE "C",
        routing_key text COLLATE "C",
        vnode       smallint NOT NULL,
        archived    boolean NOT NULL DEFAULT false,
        erased      boolean NOT NULL DEFAULT false,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        CONSTRAINT events_stream_version UNIQUE (stream_id, version),
        CONSTRAINT events_id UNIQUE (id)
      )
    `)
    yield* sql.unsafe(`CREATE INDEX events_tags ON ${q}.events USING gin (tags) WHERE tags IS NOT NULL`)
    // What head() may not fall below although the events that stood there were deleted.
    yield* sql.unsafe(`CREATE TABLE ${q}.head_floor (floor bigint NOT NULL)`)
    yield* sql.unsafe(`INSERT INTO ${q}.head_floor VALUES (0)`)

    // A savepoint that is rolled back gives back the lock and the setting together, so they stay in step.
    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.hold_log() RETURNS trigger LANGUAGE plpgsql AS $$
      DECLARE
        mark bigint;
      BEGIN
        IF coalesce(current_setting('${markSetting}', true), '') = '' THEN
          PERFORM pg_advisory_xact_lock_shared(${doorSpace}, 0);
          SELECT CASE WHEN p.is_called THEN p.last_value ELSE p.last_value - 1 END INTO mark FROM ${q}.positions p;
          PERFORM pg_advisory_xact_lock_shared(${lockSpace}, ((mark + 2147483648) % 4294967296 - 2147483648)::integer);
          PERFORM set_config('${markSetting}', mark::text, true);
        END IF;
        RETURN NULL;
      END $$
    `)
    yield* sql.unsafe(`
      CREATE TRIGGER hold_log BEFORE INSERT ON ${q}.events
      FOR EACH STATEMENT EXECUTE FUNCTION ${q}.hold_log()
    `)
    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.append_only() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF coalesce(current_setting('${repairSetting}', true), '') <> 'on' THEN
          RAISE EXCEPTION 'events are append-only; use deleteStream, archiveStream or eraseEvents'
            USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NULL;
      END $$
    `)
    yield* sql.unsafe(`
      CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ${q}.events
      FOR EACH STATEMENT EXECUTE FUNCTION ${q}.append_only()
    `)

    // Each statement of a volatile function sees what was committed before that statement began: (3) must
    // begin after (2). Without READ COMMITTED it would not, so that it refuses there.
    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.head() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
      DECLARE
        last   bigint;
        bound  bigint;
        newest bigint;
        lowest bigint;
        nameless boolean;
        tries  integer := 0;
      BEGIN
        IF pg_is_in_recovery() THEN
          RAISE EXCEPTION 'a standby cannot tell the head of the log; connect to the primary' USING ERRCODE = '25006';
        END IF;
        IF current_setting('transaction_isolation') <> 'read committed' THEN
          RAISE EXCEPTION 'the head of the log needs a READ COMMITTED transaction' USING ERRCODE = '25001';
        END IF;
        LOOP
          -- (1) every position up to last has been given out
          SELECT CASE WHEN p.is_called THEN p.last_value ELSE p.last_value - 1 END INTO last FROM ${q}.positions p;
          -- (2) who is still to commit some of them; a mark is known by its low 32 bits, and is at most 2^31 away
          SELECT min(h.mark), bool_or(h.mark IS NULL)
            INTO bound, nameless
            FROM (
              SELECT min(last + ((l.objid::bigint - last + 2147483648) % 4294967296 + 4294967296) % 4294967296 - 2147483648)
                FILTER (WHERE l.classid = ${lockSpace >>> 0}) AS mark
              FROM pg_catalog.pg_locks l
              WHERE l.locktype = 'advisory'
                AND l.classid IN (${lockSpace >>> 0}, ${doorSpace >>> 0})
                AND l.objsubid = 2
                AND l.granted
                AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
              GROUP BY l.virtualtransaction
            ) h;
          EXIT WHEN nameless IS NOT TRUE;
          -- Somebody is between the door and its mark: microseconds, unless the machine has halted it there.
          tries := tries + 1;
          IF tries > 100 THEN
            RAISE EXCEPTION 'a writer is halted while it enters the log' USING ERRCODE = '55P03';
          END IF;
          PERFORM pg_sleep(0.001);
        END LOOP;
        bound := least(last, coalesce(bound, last));
        -- (3) nothing at or below bound can appear any more
        SELECT max(e.position) INTO newest FROM ${q}.events e WHERE e.position <= bound;
        SELECT f.floor INTO lowest FROM ${q}.head_floor f;
        RETURN greatest(coalesce(newest, 0), least(lowest, bound));
      END $$
    `)
  })
