/**
 * The fence names who has a lost lease now. It named whom it had seen before, the loser itself, when a takeover was
 * committed between its look at the lease and its look at the cursor. Signature and states are those of 0008.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { PgNames } from "../PgNames.js"

/** Replaces the function. */
export const replaceFence = ({ q }: PgNames) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(`
      CREATE OR REPLACE FUNCTION ${q}.fence(
        fk text[], fe bigint[], fw text[], idle_ms integer,
        OUT states integer[], OUT holders text[]
      )
      LANGUAGE plpgsql VOLATILE
      AS $$
      DECLARE
        held   boolean;
        lease  record;
        holder text;
        idle   interval;
      BEGIN
        IF current_setting('transaction_isolation') <> 'read committed' THEN
          RAISE EXCEPTION 'a fenced write needs a READ COMMITTED transaction' USING ERRCODE = '25001';
        END IF;
        FOR i IN 1 .. cardinality(fk) LOOP
          IF idle_ms IS NOT NULL THEN
            PERFORM FROM ${q}.cursors c WHERE c.key = fk[i] AND c.epoch = fe[i] FOR KEY SHARE;
          ELSE
            PERFORM FROM ${q}.cursors c WHERE c.key = fk[i] AND c.epoch = fe[i] FOR KEY SHARE SKIP LOCKED;
          END IF;
          held := FOUND;
          SELECT l.epoch, l.worker_id INTO lease
            FROM ${q}.leases l
            WHERE l.key = fk[i] AND l.expires_at > clock_timestamp();
          holder := CASE WHEN FOUND THEN coalesce(lease.worker_id, '') ELSE '' END;
          IF holder IS DISTINCT FROM fw[i] OR lease.epoch IS DISTINCT FROM fe[i] THEN
            states[i] := 8;
          ELSIF held THEN
            states[i] := 0;
            IF idle_ms IS NOT NULL THEN
              idle := current_setting('idle_in_transaction_session_timeout')::interval;
              IF idle = interval '0' OR idle > idle_ms * interval '1 ms' THEN
                PERFORM set_config('idle_in_transaction_session_timeout', idle_ms::text, true);
              END IF;
            END IF;
          ELSIF EXISTS (SELECT FROM ${q}.cursors c WHERE c.key = fk[i] AND c.epoch = fe[i]) THEN
            states[i] := 9;
          ELSE
            -- The takeover has ended since the lease's row was looked at: that named the one of before.
            states[i] := 8;
            SELECT coalesce(l.worker_id, '') INTO holder
              FROM ${q}.leases l
              WHERE l.key = fk[i] AND l.expires_at > clock_timestamp();
            holder := coalesce(holder, '');
          END IF;
          holders[i] := holder;
        END LOOP;
      END $$
    `)
  })
