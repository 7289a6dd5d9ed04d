/**
 * The head of the log, asked for once a process however many want to know. A call gets an answer of a probe
 * that began after the call; calls that come while a probe is under way share the next one. The head never
 * falls, so that a late answer is overtaken by the newest.
 *
 *     call ──▶ probe under way? ──no──▶ probe
 *                  │yes
 *                  └──▶ wait for the next probe, with everybody else who waits
 */
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as Effect from "effect/Effect"
import { storeUnavailable } from "./PgFault.js"
import type { PgNames } from "./PgNames.js"
import type { PgPool, Statement } from "./PgPool.js"

/** A transaction that keeps log readers from what was committed after it began to append. */
export interface HeadHolder {
  /** How Postgres names it in `pg_locks`; "-1/…" is a prepared transaction. */
  readonly virtualTransaction: string
  /** Process of its connection; null for a prepared transaction. */
  readonly pid: number | null
  readonly application: string
  /** How long its transaction has been open. Unit: milliseconds. */
  readonly ageMs: number
}

/** The head of one log, shared by everybody in the process. */
export interface PgHead {
  /** The newest known head. May be old; never too new. */
  readonly known: () => number
  /** The head as of a moment after the call. */
  readonly fresh: Effect.Effect<number, StoreUnavailable>
  /** The transactions that hold the head back at this moment, oldest first. At most 100. */
  readonly holders: Effect.Effect<ReadonlyArray<HeadHolder>, StoreUnavailable>
}

interface Waiter {
  readonly resolve: (head: number) => void
  readonly reject: (cause: unknown) => void
}

/** Builds it over the pool; nothing runs until somebody asks. */
export const make = (pool: PgPool, { lockSpace, q }: PgNames): PgHead => {
  const probe: Statement = { name: `millrace_head_${q}`, text: `SELECT ${q}.head()` }
  let known = 0
  let probing = false
  let waiting: Array<Waiter> = []

  const run = (): void => {
    const served = waiting
    waiting = []
    probing = true
    pool
      .query(probe, [])
      .then(
        ([row]) => {
          known = Math.max(known, Number(row![0]))
          for (const waiter of served) waiter.resolve(known)
        },
        (cause: unknown) => {
          for (const waiter of served) waiter.reject(cause)
        }
      )
      .finally(() => {
        probing = false
        if (waiting.length > 0) run()
      })
  }

  return {
    known: () => known,
    fresh: Effect.async<number, StoreUnavailable>((resume) => {
      waiting.push({
        resolve: (head) => resume(Effect.succeed(head)),
        reject: (cause) => resume(Effect.fail(storeUnavailable("head")(cause)))
      })
      if (!probing) run()
    }),
    holders: Effect.map(
      Effect.tryPromise({
        try: () => pool.query({ name: `millrace_holders_${q}`, text: holdersText(lockSpace) }, []),
        catch: storeUnavailable("head")
      }),
      (rows) =>
        rows.map(([virtualTransaction, pid, application, ageMs]) => ({
          virtualTransaction: virtualTransaction!,
          pid: pid == null ? null : Number(pid),
          application: application ?? "",
          ageMs: Math.max(0, Math.round(Number(ageMs)))
        }))
    )
  }
}

// A prepared transaction has no row in pg_stat_activity. It is in pg_prepared_xacts by its xid, which it holds
// as a lock of its own, under the same virtual transaction as the mark.
const holdersText = (lockSpace: number): string => `
  SELECT
    h.virtualtransaction,
    h.pid,
    coalesce(a.application_name, 'prepared transaction ' || p.gid, ''),
    1000 * date_part('epoch', clock_timestamp() - coalesce(a.xact_start, p.prepared))
  FROM (
    SELECT DISTINCT l.virtualtransaction, l.pid
    FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'advisory'
      AND l.classid = ${lockSpace >>> 0}
      AND l.objsubid = 2
      AND l.granted
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
  ) h
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
  LEFT JOIN pg_catalog.pg_locks t
    ON h.pid IS NULL
    AND t.pid IS NULL
    AND t.locktype = 'transactionid'
    AND t.mode = 'ExclusiveLock'
    AND t.virtualtransaction = h.virtualtransaction
  LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = t.transactionid
  ORDER BY coalesce(a.xact_start, p.prepared)
  LIMIT 100
`
