/**
 * `advance_projection` in one pass over the cursors. It compared all of them first and wrote them then; now it
 * writes those that are as expected, counts them, and undoes what it wrote where one was not. Only then is the one
 * that differs looked for, as before. Signature and answers are those of 0007, so that processes of before and of
 * after this step share a database.
 *
 * The plan is kept by the connection, often made while there were few cursors, and must do for many: once it read
 * 500 cursors by comparing each with all of the projection's, at 90 ms a page. `stream_id = ANY (ids)` beside the
 * join lets the index give the wanted cursors and no others, and without nested loops they are matched by hash, so
 * that every plan that is left takes time as the streams of the page, not as those of the projection. MERGE knows the
 * new ones from those that are there in the same pass.
 *
 * Processor time of the server, ms, before and after: for 10 cursors 0.40 and 0.37, for 500 3.1 and 1.7, for 1 000
 * 5.9 and 3.2. By UPDATE, and INSERT of the new ones: 1.7 and 3.4. The block with an EXCEPTION clause is a
 * savepoint: without it 0.36, 1.7 and 3.2. It takes one more id of the transactions' a step.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { PgNames } from "../PgNames.js"

/** Replaces the function. */
export const replaceAdvance = ({ q }: PgNames) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(`
      CREATE OR REPLACE FUNCTION ${q}.advance_projection(
        projection text, expected bigint, reached bigint, fence bigint, said_revision bigint,
        ids text[], befores bigint[], afters bigint[],
        OUT advanced boolean, OUT stored_position bigint, OUT stored_epoch bigint,
        OUT other_id text, OUT other_version bigint
      )
      LANGUAGE plpgsql VOLATILE
      SET enable_seqscan = off SET enable_nestloop = off SET enable_mergejoin = off
      AS $$
      DECLARE
        p       ${q}.projections%ROWTYPE;
        written bigint;
      BEGIN
        SELECT * INTO p FROM ${q}.projections t WHERE t.name = projection FOR NO KEY UPDATE;
        -- Only where the step will be made: what is refused leaves nothing behind.
        IF NOT FOUND AND expected = 0 AND 0 = ALL (befores) AND (reached > 0 OR cardinality(ids) > 0) THEN
          INSERT INTO ${q}.projections (name, position, epoch, updated_at)
          VALUES (projection, 0, 0, clock_timestamp())
          ON CONFLICT (name) DO NOTHING;
          SELECT * INTO p FROM ${q}.projections t WHERE t.name = projection FOR NO KEY UPDATE;
        END IF;
        stored_position := coalesce(p.position, 0);
        stored_epoch := coalesce(p.epoch, 0);
        advanced := stored_position = expected AND (fence IS NULL OR stored_epoch <= fence);
        IF NOT advanced OR (reached = expected AND cardinality(ids) = 0) THEN
          RETURN;
        END IF;
        IF cardinality(ids) > 0 THEN
          BEGIN
            MERGE INTO ${q}.projection_cursors AS c
            USING unnest(ids, befores, afters) AS u (stream_id, before, after)
            ON c.projection_id = p.id AND c.stream_id = ANY (ids) AND c.stream_id = u.stream_id
            WHEN MATCHED AND c.version = u.before THEN UPDATE SET version = u.after
            WHEN NOT MATCHED AND u.before = 0 AND p.id IS NOT NULL THEN
              INSERT (projection_id, stream_id, version) VALUES (p.id, u.stream_id, u.after);
            GET DIAGNOSTICS written = ROW_COUNT;
            IF written <> cardinality(ids) THEN
              RAISE EXCEPTION 'a stream has another cursor' USING ERRCODE = 'MR002';
            END IF;
          EXCEPTION WHEN SQLSTATE 'MR002' THEN
            advanced := false;
          END;
        END IF;
        IF NOT advanced THEN
          SELECT g.stream_id, g.version INTO other_id, other_version
          FROM (
            SELECT u.stream_id, u.before, coalesce(
              (SELECT c.version FROM ${q}.projection_cursors c WHERE c.projection_id = p.id AND c.stream_id = u.stream_id),
              0
            ) AS version
            FROM unnest(ids, befores) AS u (stream_id, before)
          ) g
          WHERE g.version <> g.before
          ORDER BY g.stream_id COLLATE "C"
          LIMIT 1;
          RETURN;
        END IF;
        UPDATE ${q}.projections t
        SET position = reached, epoch = greatest(t.epoch, fence), revision = coalesce(t.revision, said_revision),
          updated_at = clock_timestamp()
        WHERE t.id = p.id;
      END $$
    `)
  })
