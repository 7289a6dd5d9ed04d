/**
 * Leases as the subscriber store keeps them, by plain statements, so that a test can halt between any two of
 * them: `takeOver` may be called on a connection that is in a transaction.
 */
import type { Lease } from "@millrace/core/Lease"
import { Epoch } from "@millrace/core/Lease"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type pg from "pg"
import { ask, connection, query } from "./Fixtures.js"

/** A lease of that name, whether the store has ever given it or not. */
export const leaseOf = (key: string, workerId: string, epoch: number, ttlMs = 60_000): Lease => ({
  key,
  workerId,
  epoch: Epoch.make(epoch),
  ttl: Duration.millis(Math.max(100, ttlMs)),
  expiresAt: DateTime.unsafeMake(0),
  paused: false
})

/**
 * The key's next lease, whoever holds the present one. Touches the rows in the order of the store: lease, cursor.
 * `ttlMs` below 0: has expired already.
 */
export const takeOver = (
  client: pg.Client,
  key: string,
  workerId: string,
  ttlMs = 60_000
): Effect.Effect<Lease> =>
  Effect.gen(function* () {
    const [row] = yield* query<{ readonly epoch: number }>(
      client,
      `INSERT INTO millrace.leases AS l (key, epoch, worker_id, expires_at)
       VALUES ($1, 1, $2, clock_timestamp() + $3 * interval '1 ms')
       ON CONFLICT (key) DO UPDATE
         SET epoch = l.epoch + 1, worker_id = excluded.worker_id, expires_at = excluded.expires_at
       RETURNING epoch::int`,
      [key, workerId, ttlMs]
    )
    yield* query(
      client,
      `INSERT INTO millrace.cursors (key, epoch, position, updated_at) VALUES ($1, $2, 0, clock_timestamp())
       ON CONFLICT (key) DO UPDATE SET epoch = excluded.epoch`,
      [key, row!.epoch]
    )
    return leaseOf(key, workerId, row!.epoch, ttlMs)
  })

/** The same in a transaction of its own. */
export const give = (url: string, key: string, workerId: string, ttlMs?: number): Effect.Effect<Lease> =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* connection(url)
      yield* query(client, "BEGIN")
      const lease = yield* takeOver(client, key, workerId, ttlMs)
      yield* query(client, "COMMIT")
      return lease
    })
  )

export const renew = (url: string, { epoch, key }: Lease, ttlMs: number) =>
  ask(
    url,
    "UPDATE millrace.leases SET expires_at = clock_timestamp() + $3 * interval '1 ms' WHERE key = $1 AND epoch = $2",
    [key, epoch, ttlMs]
  )

export const release = (url: string, { epoch, key }: Lease) =>
  ask(url, "UPDATE millrace.leases SET worker_id = NULL WHERE key = $1 AND epoch = $2", [key, epoch])

export const acknowledge = (url: string, { epoch, key }: Lease, cursor: number) =>
  ask(url, "UPDATE millrace.cursors SET position = $3 WHERE key = $1 AND epoch = $2", [key, epoch, cursor])
