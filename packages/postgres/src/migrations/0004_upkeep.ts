/**
 * The few things that change events after they were written: deletion, archiving, erasure. Each is a function
 * and so a transaction of its own, or part of the caller's; each lets itself through the append-only trigger
 * and closes the door again.
 *
 * Deletion must not let the head fall. It therefore waits until every log reader may read what it deletes,
 * and then writes the head down as the floor of all later ones. The caller repeats the call while the result
 * is −1. It is −2 when the transaction itself keeps readers back, because it has appended before: then no
 * waiting helps.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { PgNames } from "../PgNames.js"

/** Deletion, archiving, erasure. */
export const createUpkeep = ({ markSetting, q, repairSetting }: PgNames) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const repair = (statement: string): string => `
        PERFORM set_config('${repairSetting}', 'on', true);
        ${statement}
        PERFORM set_config('${repairSetting}', '', true);`

    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.delete_stream(
        stream text, expected bigint, tombstone boolean, OUT deleted bigint, OUT refused_at bigint
      )
      LANGUAGE plpgsql VOLATILE AS $$
      DECLARE
        s    ${q}.streams%ROWTYPE;
        last bigint;
        seen bigint;
        mark text := coalesce(current_setting('${markSetting}', true), '');
      BEGIN
        deleted := 0;
        IF tombstone THEN
          INSERT INTO ${q}.streams (stream_id, version) VALUES (stream, 0) ON CONFLICT DO NOTHING;
        END IF;
        SELECT * INTO s FROM ${q}.streams t WHERE t.stream_id = stream FOR UPDATE;
        IF NOT (CASE expected
          WHEN -1 THEN true
          WHEN -2 THEN coalesce(s.version > s.base_version, false)
          WHEN -3 THEN coalesce(s.version = s.base_version, true)
          ELSE coalesce(s.version, 0) = expected
        END) THEN
          refused_at := coalesce(s.version, 0);
          DELETE FROM ${q}.streams t WHERE t.stream_id = stream AND t.version = 0 AND NOT t.tombstoned;
          RETURN;
        END IF;
        IF s.version > s.base_version THEN
          SELECT e.position INTO last FROM ${q}.events e WHERE e.stream_id = stream ORDER BY e.version DESC LIMIT 1;
          IF mark <> '' AND mark::bigint < last THEN
            deleted := -2;
            RETURN;
          END IF;
          seen := ${q}.head();
          IF seen < last THEN
            deleted := -1;
            RETURN;
          END IF;
          UPDATE ${q}.head_floor f SET floor = greatest(f.floor, seen);
          ${repair(`DELETE FROM ${q}.events e WHERE e.stream_id = stream;
          GET DIAGNOSTICS deleted = ROW_COUNT;`)}
          UPDATE ${q}.streams t SET base_version = t.version WHERE t.stream_id = stream;
        END IF;
        IF tombstone THEN
          UPDATE ${q}.streams t SET tombstoned = true WHERE t.stream_id = stream;
        END IF;
        DELETE FROM ${q}.snapshots n WHERE n.stream_id = stream;
      END $$
    `)
    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.archive_stream(stream text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
      DECLARE
        archived_count bigint;
      BEGIN
        -- The row is locked, so that no append is half in and half out.
        PERFORM 1 FROM ${q}.streams t WHERE t.stream_id = stream FOR UPDATE;
        ${repair(`UPDATE ${q}.events e SET archived = true WHERE e.stream_id = stream AND NOT e.archived;
        GET DIAGNOSTICS archived_count = ROW_COUNT;`)}
        RETURN archived_count;
      END $$
    `)
    // The predicate is built by the client from a checked filter, with every value as an escaped literal.
    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.erase_events(predicate text, replacement json) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
      DECLARE
        erased_count bigint;
      BEGIN
        ${repair(`EXECUTE 'WITH gone AS (UPDATE ${q}.events e SET data = $1, erased = true WHERE ' || predicate || ' RETURNING e.stream_id),
          kept AS (DELETE FROM ${q}.snapshots n WHERE n.stream_id IN (SELECT g.stream_id FROM gone g))
          SELECT count(*) FROM gone' INTO erased_count USING replacement;`)}
        RETURN erased_count;
      END $$
    `)
  })
