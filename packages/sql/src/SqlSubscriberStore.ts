/**
 * Leases, cursors and parked events in three tables, in one SQL text for both dialects. Each database's package
 * makes the tables in its migrations and says what its driver's errors mean. Inside `sql.withTransaction` every
 * operation belongs to that transaction, which should be READ COMMITTED on Postgres (the default): a stricter one
 * goes by the state of its first statement, and fails where a lease has changed hands since.
 *
 * Lease and cursor are two rows, with the epoch on both:
 *
 *     takes over            lease row: epoch n + 1 ──▶ cursor row: epoch n + 1 (waits for F)
 *     renews                lease row (while its epoch is n and it has not expired)
 *     fenced by epoch n     F: locks the cursor row while its epoch is n and the lease holds, until F ends
 *
 *  1. What is fenced by epoch n commits before epoch n + 1 is given out, or not at all: both write the cursor's
 *     row. Who waits for it looks again at its epoch when it is free.
 *  2. A fenced transaction locks no lease, so that it does not keep its own from being renewed.
 *  3. Whoever takes over waits for an open fenced transaction for ttl / 2 and at most 5 seconds, then fails as
 *     transient. On Postgres a fenced transaction that stands idle for longer than the ttl, because its
 *     process was frozen, is ended by the server. SQLite has no such limit: there a process that is frozen inside
 *     a write transaction stops every writer of the file, and the store is safe but stands still.
 *
 * On SQLite everybody who writes has the file's only write lock. Time is therefore read after the lock was got, and a
 * renewal waits for transactions of its own process and of others to end.
 */
import type { Lease } from "@millrace/core/Lease"
import type { LeaseLost } from "@millrace/core/LeaseLost"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as SubscriberStoreBackend from "@millrace/core/SubscriberStoreBackend"
import type {
  ConsumerRow,
  GrantRow,
  HeldLease,
  ListedRow,
  ParkedRow
} from "@millrace/core/SubscriberStoreBackend"
import type { ParkingRow } from "@millrace/core/SubscriberArguments"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { makeStatements } from "./SubscriberStatements.js"
import type { StoredConsumer, StoredGrant, StoredListing, StoredParked } from "./SubscriberStatements.js"

/** Where the tables are, and what the driver's errors mean. */
export interface SqlSubscriberOptions {
  /** Schema that the tables are in. Default: the one that the connection looks in first; SQLite has no other. */
  readonly schema?: string | undefined
  /** What the names of the tables `leases`, `cursors` and `parked` begin with. Default: nothing. */
  readonly tablePrefix?: string | undefined
  /**
   * Whether a transaction's connection is one of this database. All clients of @effect/sql share one tag for the
   * transaction under way; one of another database is none of ours. Default: it always is.
   */
  readonly owns?: ((connection: unknown) => boolean) | undefined
  /** Turns what the driver failed with while it did `operation` into the typed error of the store. */
  readonly storeUnavailable: (operation: string) => (cause: unknown) => StoreUnavailable
}

/** The store, and what begins a transaction that is fenced. */
export interface SqlSubscribers {
  readonly store: SubscriberStore["Type"]
  /**
   * The first statement of a transaction that writes in the name of a lease: from here to its end nobody takes the
   * lease over, and on Postgres the server ends the transaction when it stands idle for longer than the lease's
   * `ttl` (or what a lower `idle_in_transaction_session_timeout` says). The lease can be renewed meanwhile.
   *
   * Fails with `LeaseLost` when the lease does not hold: stop. Several transactions of one lease come one after
   * another. Dies outside of a transaction, where it would fence nothing.
   */
  readonly fenceTransaction: (lease: Lease) => Effect.Effect<void, LeaseLost | StoreUnavailable>
}

/** Longest wait of a takeover for a lock. Unit: milliseconds. */
const lockTimeoutMsMax = 5_000

/**
 * Builds the store over the `SqlClient` of the context.
 *
 * @example
 * ```ts
 * const { store } = yield* SqlSubscriberStore.make({ schema: "millrace", storeUnavailable: PgFault.storeUnavailable })
 * ```
 */
export const make = (
  options: SqlSubscriberOptions
): Effect.Effect<SqlSubscribers, never, SqlClient.SqlClient> =>
  Effect.map(SqlClient.SqlClient, (sql) => {
    const prefix = options.tablePrefix ?? ""
    const statements = makeStatements(sql, {
      schema: options.schema,
      leases: `${prefix}leases`,
      cursors: `${prefix}cursors`,
      parked: `${prefix}parked`
    })
    const { inOwn, look, statement, transaction } = makeRunner(sql, options)
    const isPostgres = sql.onDialectOrElse({ pg: () => true, orElse: () => false })

    /**
     * First the lease, then the cursor: who is refused at the lease has waited for nobody. Neither wait may be
     * long, nor may this process be frozen for long in between: it has the lease locked, and its holder may be alive.
     */
    const take: SubscriberStoreBackend.SubscriberStoreBackend["take"] = (request) =>
      transaction("upsertSubscriber", (nowMs) =>
        Effect.gen(function* () {
          const halfMs = Math.floor(request.ttlMs / 2)
          const [former] = isPostgres
            ? yield* statements.limitWaits(Math.min(halfMs, lockTimeoutMsMax), halfMs)
            : []
          const [granted] = yield* statements.takeLease(request, nowMs)
          if (granted !== undefined) yield* statements.passCursor(request, Number(granted.epoch), nowMs)
          if (former !== undefined) yield* statements.restoreWaits(former)
          return granted && grantOf(granted)
        })
      )

    /** A transaction in the name of a lease; false when that does not hold. */
    const fenced = <E>(
      operation: string,
      lease: HeldLease,
      use: (nowMs: number) => Effect.Effect<unknown, E | SqlError>
    ): Effect.Effect<boolean, StoreUnavailable | Exclude<E, SqlError>> =>
      transaction(operation, (nowMs) =>
        Effect.flatMap(statements.fence(lease, nowMs), (rows) =>
          isSome(rows) ? Effect.as(use(nowMs), true) : Effect.succeed(false)
        )
      )

    /** Adds first and counts then, since only the database knows which of them are new. */
    const addParked = (key: string, rows: ReadonlyArray<ParkingRow>, max: number, nowMs: number) =>
      Effect.gen(function* () {
        const added = rows.length === 0 ? [] : yield* statements.addParked(key, rows, nowMs)
        if (!isSome(added)) return
        const [count] = yield* statements.countParked(key)
        if (Number(count!.parked) > max) yield* Effect.fail("Full" as const)
      })

    const lockParked = (key: string, parkKey: string | undefined): Effect.Effect<unknown, SqlError> =>
      isPostgres ? statements.lockParked(key, parkKey) : Effect.void

    const backend: SubscriberStoreBackend.SubscriberStoreBackend = {
      find: (key) =>
        Effect.map(
          look("findSubscriber", (nowMs) => statements.find(key, nowMs)),
          ([row]) => row && consumerOf(row)
        ),
      take,
      renew: (lease) =>
        Effect.map(
          statement("renew", (nowMs) => statements.renew(lease, nowMs)),
          ([row]) => row && grantOf(row)
        ),
      release: (lease) => Effect.asVoid(statement("release", () => statements.release(lease))),
      advance: (lease, position, lag) =>
        Effect.map(
          statement("acknowledge", (nowMs) => statements.advance(lease, position, lag, nowMs)),
          isSome
        ),
      setPaused: (key, paused) =>
        Effect.map(
          paused
            ? statement("pause", () => statements.pause(key))
            : statement("resume", () => statements.resume(key)),
          isSome
        ),
      list: (listing) =>
        Effect.map(
          look("listSubscribers", (nowMs) => statements.list(listing, nowMs)),
          (rows) => rows.map(listedOf)
        ),
      park: (lease, parkings, max) =>
        fenced("park", lease, (nowMs) => addParked(lease.key, parkings, max, nowMs)).pipe(
          Effect.map((held) => (held ? ("Parked" as const) : ("Lost" as const))),
          Effect.catchIf(
            (error) => error === "Full",
            () => Effect.succeed("Full" as const)
          )
        ),
      parked: (key, parkKey, after, limit) =>
        Effect.map(
          look("parked", () => statements.parked(key, parkKey, after, limit)),
          (rows) => rows.map(parkedOf)
        ),
      parkedKeys: (key, after, limit, requested) =>
        Effect.map(
          look("parkedKeys", () => statements.parkKeys(key, after, limit, requested)),
          (rows) => rows.map((row) => ({ parkKey: row.park_key, request: row.request ?? undefined }))
        ),
      request: (key, request, parkKey) =>
        transaction("requestParked", () =>
          Effect.zipRight(
            lockParked(key, parkKey),
            Effect.map(statements.request(key, request, parkKey), (rows) => rows.length)
          )
        ),
      unpark: (lease, parkKey, position) =>
        fenced("unpark", lease, () => statements.removeParked(lease.key, parkKey, position)),
      repark: (lease, parkKey, position, reason) =>
        fenced("repark", lease, () =>
          Effect.zipRight(
            lockParked(lease.key, parkKey),
            statements.failParked(lease.key, parkKey, position, reason)
          )
        )
    }
    const fenceTransaction: SqlSubscribers["fenceTransaction"] = (lease) =>
      inOwn((isInTransaction) => {
        if (!isInTransaction) return Effect.dieMessage("fenceTransaction stands outside of a transaction")
        const held = SubscriberStoreBackend.heldLease(lease)
        if (held === undefined) return Effect.fail(SubscriberStoreBackend.leaseLost(lease.key, undefined))
        return Effect.flatMap(
          look("fenceTransaction", (nowMs) => statements.fence(held, nowMs)),
          (rows) =>
            isSome(rows)
              ? Effect.void
              : Effect.flatMap(backend.find(held.key), (row) =>
                  Effect.fail(SubscriberStoreBackend.leaseLost(held.key, row))
                )
        )
      })

    return { store: SubscriberStoreBackend.make(backend), fenceTransaction }
  })

// ---- internal ----

/** How statements are run: whether in a transaction, and with which errors. */
const makeRunner = (sql: SqlClient.SqlClient, { owns, storeUnavailable }: SqlSubscriberOptions) => {
  /** Leaves aside a transaction of another database, and says whether there is one of this. */
  const inOwn = <A, E>(use: (isInTransaction: boolean) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.contextWithEffect((context: Context.Context<never>) => {
      const open: unknown = context.unsafeMap.get(SqlClient.TransactionConnection.key)
      if (!Array.isArray(open)) return use(false)
      if (owns === undefined || owns(open[0])) return use(true)
      return Effect.mapInputContext(use(false), Context.omit(SqlClient.TransactionConnection))
    })

  /** A failed COMMIT or ROLLBACK is a defect to @effect/sql: the connection is gone. */
  const typed =
    (operation: string) =>
    <A, E>(
      effect: Effect.Effect<A, E | SqlError>
    ): Effect.Effect<A, StoreUnavailable | Exclude<E, SqlError>> =>
      inOwn(() => effect).pipe(
        Effect.catchSomeDefect((defect) =>
          defect instanceof SqlError ? Option.some(Effect.fail(defect)) : Option.none()
        ),
        Effect.mapError((error) =>
          error instanceof SqlError ? storeUnavailable(operation)(error) : (error as Exclude<E, SqlError>)
        )
      )

  type Use<A, E> = (nowMs: number) => Effect.Effect<A, E | SqlError>
  const atNow = <A, E>(use: Use<A, E>) => Effect.flatMap(Clock.currentTimeMillis, use)

  /** A statement that only reads. */
  const look = <A, E = never>(operation: string, use: Use<A, E>) => typed(operation)(atNow(use))
  /** All or nothing. */
  const transaction = <A, E = never>(operation: string, use: Use<A, E>) =>
    typed(operation)(sql.withTransaction(atNow(use)))
  /** One statement that writes. On SQLite the time must be read after the write lock was got. */
  const statement = sql.onDialectOrElse({ pg: () => look, orElse: () => transaction })
  return { inOwn, look, transaction, statement }
}

const isSome = (rows: ReadonlyArray<unknown>): boolean => rows.length > 0

const grantOf = ({ epoch, expires_at_ms, paused }: StoredGrant): GrantRow => ({
  epoch: Number(epoch),
  expiresAtMs: Number(expires_at_ms),
  paused: Boolean(paused)
})

const consumerOf = ({ epoch, position, remaining_ms, worker_id }: StoredConsumer): ConsumerRow => ({
  epoch: Number(epoch),
  workerId: worker_id ?? undefined,
  remainingMs: Number(remaining_ms),
  position: Number(position)
})

const listedOf = (row: StoredListing): ListedRow => ({
  ...consumerOf(row),
  key: row.key,
  paused: Boolean(row.paused),
  lag:
    row.lag_events === null || row.lag_ms === null
      ? undefined
      : { events: Number(row.lag_events), ms: Number(row.lag_ms) },
  parked: Number(row.parked),
  updatedAtMs: Number(row.updated_at_ms)
})

const parkedOf = (row: StoredParked): ParkedRow => ({
  parkKey: row.park_key,
  position: Number(row.position),
  reason: row.reason,
  attempts: Number(row.attempts),
  parkedAtMs: Number(row.parked_at_ms),
  request: row.request ?? undefined
})
