/**
 * Projections: one row each, and one a stream that it has seen. A projection's row is locked by every write to
 * it, so that its cursors are what they are until that write ends.
 *
 * `advance_projection` is the compare-and-set of one catch-up, in one round trip. It is a function, because its
 * statements must each see what was committed before the lock was had; one statement sees the cursors as they
 * were when it began to wait. It gives what is stored, and whether the step was made: then the stored things are
 * those before it.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { PgNames } from "../PgNames.js"

/** The tables of projections, and the function that moves one. */
export const createProjections = ({ q }: PgNames) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    // epoch 0: it was never fenced. Each cursor has the id and not the name, which may have 255 characters.
    yield* sql.unsafe(`
      CREATE TABLE ${q}.projections (
        id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name       text COLLATE "C" NOT NULL UNIQUE,
        position   bigint NOT NULL CHECK (position >= 0),
        epoch      bigint NOT NULL CHECK (epoch >= 0),
        revision   bigint CHECK (revision >= 0),
        updated_at timestamptz NOT NULL
      ) WITH (fillfactor = 50)
    `)
    yield* sql.unsafe(`
      CREATE TABLE ${q}.projection_cursors (
        projection_id integer NOT NULL REFERENCES ${q}.projections (id),
        stream_id     text COLLATE "C" NOT NULL,
        version       bigint NOT NULL CHECK (version > 0),
        PRIMARY KEY (projection_id, stream_id)
      ) WITH (fillfactor = 80)
    `)
    // A plan that was made while the table was small would read all of it once it is large.
    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.advance_projection(
        projection text, expected bigint, reached bigint, fence bigint, said_revision bigint,
        ids text[], befores bigint[], afters bigint[],
        OUT advanced boolean, OUT stored_position bigint, OUT stored_epoch bigint,
        OUT other_id text, OUT other_version bigint
      )
      LANGUAGE plpgsql VOLATILE
      SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
      AS $$
      DECLARE
        p ${q}.projections%ROWTYPE;
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
        IF FOUND THEN
          advanced := false;
          RETURN;
        END IF;
        INSERT INTO ${q}.projection_cursors AS c (projection_id, stream_id, version)
        SELECT p.id, u.stream_id, u.version FROM unnest(ids, afters) AS u (stream_id, version)
        ON CONFLICT (projection_id, stream_id) DO UPDATE SET version = excluded.version;
        UPDATE ${q}.projections t
        SET position = reached, epoch = greatest(t.epoch, fence), revision = coalesce(t.revision, said_revision),
          updated_at = clock_timestamp()
        WHERE t.id = p.id;
      END $$
    `)
  })
