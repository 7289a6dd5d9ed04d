/**
 * The two fast forms of `append`, for writes of one append without named ids and without a condition, whose
 * streams are distinct. `append_simple` takes any number of them, `append_one` one with one event.
 *
 * One upsert a batch locks, checks and moves the rows of all streams: the caller gives them in byte order,
 * and `slot` carries an append's number into `DO UPDATE`, where no other value of it can be seen. A generic
 * plan is forced: estimated anew for each call, planning costs more than the insert of a small batch.
 *
 * Result: the new version of each append's stream, then the positions of all events written, in order. A
 * version of 0 is an append that was not written; the caller asks `append` for the reason. Empty: a
 * condition holds one of the buckets. 55P03: a row was held for longer than `lock_ms`.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { PgNames } from "../PgNames.js"

/** Whether append `at` may go to the stream `s` as it stands. */
const mayAppend = (expected: string, key: string): string => `
  NOT s.tombstoned
  AND (${key} IS NULL OR s.version = 0 OR ${key} = s.routing_key)
  AND CASE ${expected}
    WHEN -1 THEN true
    WHEN -2 THEN s.version > s.base_version
    WHEN -3 THEN s.version = s.base_version
    ELSE s.version = ${expected}
  END`

/** The two fast forms of a write. */
export const createAppendSimple = ({ bucketSpace, q }: PgNames) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.append_simple(
        ss text[], vs smallint[], es bigint[], ns integer[], ks text[],
        ea integer[], ek integer[], et text[], ei text[], ed json[], em json[], eg text[],
        buckets integer[], lock_ms integer
      ) RETURNS bigint[]
      LANGUAGE plpgsql VOLATILE
      SET plan_cache_mode = force_generic_plan
      AS $$
      DECLARE
        bucket    integer;
        slots     integer[];
        versions  bigint[];
        keys      text[];
        positions bigint[];
      BEGIN
        FOREACH bucket IN ARRAY buckets LOOP
          IF NOT pg_try_advisory_xact_lock_shared(${bucketSpace}, bucket) THEN
            RETURN '{}';
          END IF;
        END LOOP;
        PERFORM set_config('lock_timeout', lock_ms::text, true);
        WITH moved AS (
          INSERT INTO ${q}.streams AS s (stream_id, version, routing_key, slot)
          SELECT x.s, CASE WHEN x.e IN (-1, -3, 0) THEN x.n ELSE 0 END, x.k, x.o
          FROM unnest(ss, es, ns, ks) WITH ORDINALITY AS x(s, e, n, k, o)
          ON CONFLICT (stream_id) DO UPDATE
            SET version = s.version + ns[excluded.slot], slot = excluded.slot
            WHERE ${mayAppend("es[excluded.slot]", "ks[excluded.slot]")}
          RETURNING s.slot, s.version, s.routing_key)
        SELECT array_agg(moved.slot), array_agg(moved.version), array_agg(moved.routing_key)
          INTO slots, versions, keys
          FROM moved;
        IF coalesce(cardinality(slots), 0) < cardinality(ss) OR 0 = ANY (versions) THEN
          DELETE FROM ${q}.streams t
            USING unnest(slots, versions) AS x(o, v)
            WHERE x.v = 0 AND t.stream_id = ss[x.o];
          SELECT array_agg(coalesce(x.v, 0) ORDER BY n.o), array_agg(x.k ORDER BY n.o)
            INTO versions, keys
            FROM generate_series(1, cardinality(ss)) AS n(o)
            LEFT JOIN unnest(slots, versions, keys) AS x(o, v, k) ON x.o = n.o;
        END IF;
        WITH ins AS (
          INSERT INTO ${q}.events (stream_id, version, type, id, data, metadata, tags, routing_key, vnode)
          SELECT ss[x.a], versions[x.a] - ns[x.a] + x.k, x.t, x.i, x.d, x.m, x.g::text[], keys[x.a], vs[x.a]
          FROM unnest(ea, ek, et, ei, ed, em, eg) AS x(a, k, t, i, d, m, g)
          WHERE versions[x.a] > 0
          RETURNING position)
        SELECT array_agg(ins.position) INTO positions FROM ins;
        RETURN versions || positions;
      END $$
    `)
    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.append_one(
        stream text, v smallint, expected bigint, key text,
        t text, i text, d json, m json, g text[],
        buckets integer[], lock_ms integer
      ) RETURNS bigint[]
      LANGUAGE plpgsql VOLATILE
      SET plan_cache_mode = force_generic_plan
      AS $$
      DECLARE
        bucket  integer;
        at      bigint;
        kept    text;
        placed  bigint;
      BEGIN
        FOREACH bucket IN ARRAY buckets LOOP
          IF NOT pg_try_advisory_xact_lock_shared(${bucketSpace}, bucket) THEN
            RETURN '{}';
          END IF;
        END LOOP;
        PERFORM set_config('lock_timeout', lock_ms::text, true);
        INSERT INTO ${q}.streams AS s (stream_id, version, routing_key)
          VALUES (stream, CASE WHEN expected IN (-1, -3, 0) THEN 1 ELSE 0 END, key)
          ON CONFLICT (stream_id) DO UPDATE
            SET version = s.version + 1
            WHERE ${mayAppend("expected", "key")}
          RETURNING s.version, s.routing_key INTO at, kept;
        IF at IS NULL THEN
          RETURN '{0}';
        END IF;
        IF at = 0 THEN
          DELETE FROM ${q}.streams s WHERE s.stream_id = stream;
          RETURN '{0}';
        END IF;
        INSERT INTO ${q}.events (stream_id, version, type, id, data, metadata, tags, routing_key, vnode)
          VALUES (stream, at, t, i, d, m, g, kept, v)
          RETURNING position INTO placed;
        RETURN ARRAY[at, placed];
      END $$
    `)
  })
