/**
 * `append`: any number of writes, decided one after another, in one call and one commit. It knows every rule
 * of a write; `append_simple` (0003) is the faster form for the most common kind.
 *
 * Arguments. Streams (`ss`, `vs`) are distinct and in byte order. Appends follow one another as their writes
 * do: `aw` is the number of an append's write, `ai` the index of its stream, `ae` what is expected (−1 any,
 * −2 exists, −3 empty, else the version), `an` its number of events, `ak` its routing key. Events follow one
 * another as their appends do: `ea` is the number of an event's append, `ek` its place in it.
 *
 * Locks, always in this order: buckets ascending, stream rows, rows of leases (0008_fence), the log (by the
 * trigger, with the insert).
 *
 *  1. With `waits` missing rows are inserted first, in byte order, and then all rows locked in byte order.
 *     Whoever waits to insert holds nothing but rows that it has inserted itself, all of them smaller; whoever
 *     waits for a row waits for somebody who is locking, not inserting, and whose rows are smaller. So no
 *     circle can close among single writes.
 *  2. Without `waits` nothing is waited for: rows that somebody holds are passed over (`SKIP LOCKED`), rows
 *     that somebody is just inserting for `lock_ms` at most, and then the call fails as a whole (55P03).
 *  3. A lease is waited for only where the call is `joined` to the caller's transaction and so has no other
 *     writes (`idle_ms`): whoever else waited would keep its stream rows from others.
 *
 * Leases: `fk`, `fe`, `fw` are distinct, `wf` is the number of each write's lease, 0 for none; all of them
 * NULL when no write has one. They are looked at before anything is inserted, since no insert is undone here; the
 * lock that is taken with that holds until the commit.
 *
 * Result. Per write its status: 0 written, 1 repeated (written before, with the same ids), 2 not at the
 * expected version, 3 tombstoned, 4 other routing key, 5 id conflict, 6 condition does not hold, 7 blocked by
 * somebody's transaction, 8 lease lost, 9 lease being taken over; with the append it fails at and what there is
 * to say (actual version, position, key, id, holder of the lease). Per append its first version. Per event of a
 * written or repeated write its position.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { PgNames } from "../PgNames.js"

/** The function that knows every rule of a write. */
export const createAppend = ({ bucketSpace, channel, q }: PgNames) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.append(
        ss text[], vs smallint[],
        aw integer[], ai integer[], ae bigint[], an integer[], ak text[],
        ea integer[], ek integer[], et text[], ei text[], ed json[], em json[], eg text[],
        looks_at_ids boolean, shared_buckets integer[], exclusive_buckets integer[],
        condition text, condition_after bigint,
        waits boolean, lock_ms integer, joined boolean,
        fk text[], fe bigint[], fw text[], wf integer[], idle_ms integer,
        OUT status integer[], OUT at_append integer[], OUT actual bigint[], OUT said text[],
        OUT first_versions bigint[], OUT positions bigint[]
      )
      LANGUAGE plpgsql VOLATILE
      SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
      AS $$
      DECLARE
        streams_count integer := cardinality(ss);
        appends_count integer := cardinality(ai);
        writes_count  integer := aw[cardinality(aw)];
        versions      bigint[] := array_fill(-1::bigint, ARRAY[streams_count]);
        bases         bigint[] := array_fill(0::bigint, ARRAY[streams_count]);
        keys          text[]   := array_fill(NULL::text, ARRAY[streams_count]);
        dead          boolean[] := array_fill(false, ARRAY[streams_count]);
        before        bigint[];
        keys_before   text[];
        created       text[] := '{}';
        moved         integer[] := '{}';
        hit_positions bigint[];
        hit_versions  bigint[];
        hit_here      boolean[];
        inserted      bigint[];
        r             record;
        w             integer;
        a             integer;
        i             integer;
        e             integer;
        s             integer;
        first_append  integer;
        last_append   integer;
        hits          integer;
        misses        integer;
        in_place      boolean;
        misplaced     boolean;
        condition_at  bigint;
        fences        integer[];
        holders       text[];
        fence         integer;
        code          integer;
      BEGIN
        status := array_fill(0, ARRAY[writes_count]);
        at_append := array_fill(0, ARRAY[writes_count]);
        actual := array_fill(0::bigint, ARRAY[writes_count]);
        said := array_fill(NULL::text, ARRAY[writes_count]);
        first_versions := array_fill(0::bigint, ARRAY[appends_count]);
        positions := array_fill(0::bigint, ARRAY[cardinality(ea)]);
        IF lock_ms IS NOT NULL THEN
          PERFORM set_config('lock_timeout', lock_ms::text, true);
        END IF;

        -- buckets
        FOR r IN
          SELECT x.b AS bucket, bool_or(x.x) AS exclusive
          FROM (
            SELECT unnest(shared_buckets) AS b, false AS x
            UNION ALL
            SELECT unnest(exclusive_buckets), true
          ) x
          GROUP BY x.b
          ORDER BY x.b
        LOOP
          IF NOT waits THEN
            IF NOT pg_try_advisory_xact_lock_shared(${bucketSpace}, r.bucket) THEN
              status := array_fill(7, ARRAY[writes_count]);
              RETURN;
            END IF;
          ELSIF r.exclusive THEN
            PERFORM pg_advisory_xact_lock(${bucketSpace}, r.bucket);
          ELSE
            PERFORM pg_advisory_xact_lock_shared(${bucketSpace}, r.bucket);
          END IF;
        END LOOP;

        -- stream rows; a version of -1 means that the row is not ours to lock
        IF waits THEN
          WITH fresh AS (
            INSERT INTO ${q}.streams (stream_id, version)
            SELECT x.s, 0
            FROM unnest(ss) WITH ORDINALITY AS x(s, o)
            ORDER BY x.o
            ON CONFLICT DO NOTHING
            RETURNING stream_id)
          SELECT coalesce(array_agg(fresh.stream_id), '{}') INTO created FROM fresh;
          i := 1;
          FOR r IN
            SELECT t.stream_id, t.version, t.base_version, t.routing_key, t.tombstoned
            FROM ${q}.streams t
            WHERE t.stream_id = ANY (ss)
            ORDER BY t.stream_id
            FOR NO KEY UPDATE
          LOOP
            WHILE ss[i] <> r.stream_id LOOP i := i + 1; END LOOP;
            versions[i] := r.version;
            bases[i] := r.base_version;
            keys[i] := r.routing_key;
            dead[i] := r.tombstoned;
          END LOOP;
        ELSE
          FOR r IN
            SELECT x.o::integer AS o, t.version, t.base_version, t.routing_key, t.tombstoned
            FROM unnest(ss) WITH ORDINALITY AS x(s, o)
            JOIN ${q}.streams t ON t.stream_id = x.s
            FOR NO KEY UPDATE OF t SKIP LOCKED
          LOOP
            versions[r.o] := r.version;
            bases[r.o] := r.base_version;
            keys[r.o] := r.routing_key;
            dead[r.o] := r.tombstoned;
          END LOOP;
          IF -1 = ANY (versions) THEN
            FOR r IN
              INSERT INTO ${q}.streams (stream_id, version)
              SELECT x.s, 0
              FROM unnest(ss) WITH ORDINALITY AS x(s, o)
              WHERE versions[x.o] = -1
                -- One that is there is held: the insert would wait for its holder.
                AND NOT EXISTS (SELECT FROM ${q}.streams t WHERE t.stream_id = x.s)
              ORDER BY x.o
              ON CONFLICT DO NOTHING
              RETURNING stream_id
            LOOP
              created := created || r.stream_id;
              versions[array_position(ss, r.stream_id)] := 0;
            END LOOP;
          END IF;
        END IF;

        -- ids, in a statement that begins after the rows are locked
        IF looks_at_ids THEN
          SELECT array_agg(k.position ORDER BY x.o), array_agg(k.version ORDER BY x.o), array_agg(k.stream_id = ss[ai[x.a]] ORDER BY x.o)
            INTO hit_positions, hit_versions, hit_here
            FROM unnest(ei, ea) WITH ORDINALITY AS x(i, a, o)
            LEFT JOIN LATERAL (
              SELECT g.position, g.version, g.stream_id FROM ${q}.events g WHERE g.id = x.i OFFSET 0
            ) k ON true;
        END IF;
        IF condition IS NOT NULL THEN
          -- Under a snapshot of the whole transaction the check would not see what was appended since.
          IF current_setting('transaction_isolation') <> 'read committed' THEN
            RAISE EXCEPTION 'an append condition needs a READ COMMITTED transaction' USING ERRCODE = '25001';
          END IF;
          EXECUTE condition INTO condition_at USING condition_after;
        END IF;
        IF fk IS NOT NULL THEN
          SELECT f.states, f.holders INTO fences, holders FROM ${q}.fence(fk, fe, fw, idle_ms) f;
        END IF;

        -- decisions
        e := 1;
        last_append := 0;
        FOR w IN 1 .. writes_count LOOP
          first_append := last_append + 1;
          last_append := first_append;
          WHILE last_append < appends_count AND aw[last_append + 1] = w LOOP last_append := last_append + 1; END LOOP;
          code := 0;
          fence := CASE WHEN wf[w] > 0 THEN fences[wf[w]] ELSE 0 END;

          FOR a IN first_append .. last_append LOOP
            IF versions[ai[a]] = -1 THEN
              code := 7;
              at_append[w] := a;
            END IF;
          END LOOP;

          IF looks_at_ids AND code = 0 THEN
            hits := 0;
            misses := 0;
            misplaced := false;
            s := e;
            FOR a IN first_append .. last_append LOOP
              FOR i IN 0 .. an[a] - 1 LOOP
                in_place := coalesce(hit_here[s + i] AND hit_versions[s + i] = hit_versions[s] + i, false);
                IF NOT in_place THEN
                  misses := misses + 1;
                END IF;
                -- The id that is named: the first that stands elsewhere, or else the first that is known.
                IF hit_positions[s + i] IS NOT NULL THEN
                  hits := hits + 1;
                  IF said[w] IS NULL OR (NOT in_place AND NOT misplaced) THEN
                    at_append[w] := a;
                    said[w] := ei[s + i];
                    misplaced := NOT in_place;
                  END IF;
                END IF;
              END LOOP;
              s := s + an[a];
            END LOOP;
            IF hits > 0 AND misses = 0 THEN
              code := 1;
              s := e;
              FOR a IN first_append .. last_append LOOP
                first_versions[a] := hit_versions[s];
                FOR i IN s .. s + an[a] - 1 LOOP positions[i] := hit_positions[i]; END LOOP;
                s := s + an[a];
              END LOOP;
            ELSIF hits > 0 THEN
              code := 5;
            END IF;
          END IF;

          IF code = 0 AND condition_at IS NOT NULL THEN
            code := 6;
            actual[w] := condition_at;
          END IF;

          IF code = 0 THEN
            -- Only a write of several appends, or of a lost lease, can have something to undo; a copy for each
            -- would cost more than the rest.
            IF last_append > first_append OR fence > 0 THEN
              before := versions;
              keys_before := keys;
            END IF;
            FOR a IN first_append .. last_append LOOP
              i := ai[a];
              IF dead[i] THEN
                code := 3;
              ELSIF versions[i] > 0 AND ak[a] IS NOT NULL AND ak[a] IS DISTINCT FROM keys[i] THEN
                code := 4;
                said[w] := keys[i];
              END IF;
              IF code = 0 AND NOT (CASE ae[a]
                WHEN -1 THEN true
                WHEN -2 THEN versions[i] > bases[i]
                WHEN -3 THEN versions[i] = bases[i]
                ELSE versions[i] = ae[a]
              END) THEN
                code := 2;
                actual[w] := versions[i];
              END IF;
              IF code <> 0 THEN
                at_append[w] := a;
                IF a > first_append THEN
                  versions := before;
                  keys := keys_before;
                END IF;
                EXIT;
              END IF;
              IF versions[i] = 0 THEN
                keys[i] := ak[a];
              END IF;
              first_versions[a] := versions[i] + 1;
              versions[i] := versions[i] + an[a];
            END LOOP;
            IF code = 0 AND fence > 0 THEN
              code := fence;
              said[w] := holders[wf[w]];
              versions := before;
              keys := keys_before;
            END IF;
            IF code = 0 THEN
              FOR a IN first_append .. last_append LOOP moved := moved || ai[a]; END LOOP;
            END IF;
          END IF;

          status[w] := code;
          FOR a IN first_append .. last_append LOOP
            IF code NOT IN (0, 1) THEN first_versions[a] := 0; END IF;
            e := e + an[a];
          END LOOP;
        END LOOP;

        -- rows
        IF cardinality(moved) > 0 THEN
          UPDATE ${q}.streams t
            SET version = versions[x.i], routing_key = keys[x.i]
            FROM (SELECT DISTINCT unnest(moved) AS i) x
            WHERE t.stream_id = ss[x.i];
          WITH ins AS (
            INSERT INTO ${q}.events (stream_id, version, type, id, data, metadata, tags, routing_key, vnode)
            SELECT ss[ai[x.a]], first_versions[x.a] + x.k - 1, x.t, x.i, x.d, x.m,
              x.g::text[], keys[ai[x.a]], vs[ai[x.a]]
            FROM unnest(ea, ek, et, ei, ed, em, eg) AS x(a, k, t, i, d, m, g)
            WHERE status[aw[x.a]] = 0
            RETURNING position)
          SELECT array_agg(ins.position) INTO inserted FROM ins;
          s := 1;
          FOR e IN 1 .. cardinality(ea) LOOP
            IF status[aw[ea[e]]] = 0 THEN
              positions[e] := inserted[s];
              s := s + 1;
            END IF;
          END LOOP;
          IF joined THEN
            PERFORM pg_notify('${channel}', '');
          END IF;
        END IF;
        IF cardinality(created) > 0 THEN
          DELETE FROM ${q}.streams t WHERE t.stream_id = ANY (created) AND t.version = 0;
        END IF;
      END $$
    `)
  })
