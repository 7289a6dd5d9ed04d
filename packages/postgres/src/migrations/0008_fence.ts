/**
 * The fence: a write takes effect only if the lease that it names is the newest of its key and has not expired,
 * and nobody can take that lease over before the transaction of the write has ended.
 *
 *     write       … events ─▶ FOR KEY SHARE of the cursor's row ─▶ look at the lease's row ─▶ commit
 *     takeover    epoch + 1 in the lease's row ─▶ epoch + 1 in the cursor's row ─▶ commit
 *
 * Which lock. A change of a row's key columns conflicts with KEY SHARE, every other change does not, and KEY
 * SHARE not with itself. An index makes `epoch` one of the key columns of `cursors`. So the takeover, whatever
 * its statement looks like, waits for fenced writes and they for it, while two fenced writes, and a fenced write
 * and an acknowledgement, which moves `position`, pass each other by. (FOR SHARE would keep the holder from
 * acknowledging, for as long as its own writes overlap one another.) A renewal touches the lease's row only.
 *
 *  1. When a write has the lock, the cursor has its epoch, and no takeover has got as far as the cursor's row:
 *     each one commits later. Epochs only grow, so that none can have been before either.
 *  2. The lease's row is looked at in a statement that begins when the lock is held. A renewal that was
 *     committed while it was waited for counts, and so does a release.
 *  3. If the lease expires before the commit, that does no harm: whoever takes it over waits for the commit.
 *  4. So in the log, all events under an epoch stand before all events under a greater one.
 *
 * A transaction of a caller's that is fenced may not stand idle for longer than the lease lasts: when its process
 * was frozen, the server ends it, and the lease is free.
 *
 * States, as the general function has them in its status: 0 holds, 8 lost, 9 the cursor's row is held by
 * somebody who is just taking over.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import { fenceBroken } from "../PgFault.js"
import type { PgNames } from "../PgNames.js"

/** The lock, the look at leases, and the form of it that undoes a call. */
export const createFence = ({ q }: PgNames) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(`CREATE UNIQUE INDEX cursors_fence ON ${q}.cursors (key, epoch)`)
    // fk, fe, fw: key, epoch and worker of each lease. idle_ms: in a transaction of a caller's, how long that may
    // stand idle; there the row is waited for. holders: who has the lease now, '' for nobody.
    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.fence(
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
            states[i] := 8;
          END IF;
          holders[i] := holder;
        END LOOP;
      END $$
    `)
    // Called behind a fast form, in the same statement. What it undoes is sent again in the general form.
    yield* sql.unsafe(`
      CREATE FUNCTION ${q}.hold_fences(fk text[], fe bigint[], fw text[]) RETURNS void
      LANGUAGE plpgsql VOLATILE
      AS $$
      BEGIN
        IF EXISTS (SELECT FROM ${q}.fence(fk, fe, fw, NULL) f, unnest(f.states) AS s(state) WHERE s.state <> 0) THEN
          RAISE EXCEPTION 'a lease is lost' USING ERRCODE = '${fenceBroken}';
        END IF;
      END $$
    `)
  })
