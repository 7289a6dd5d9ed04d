/**
 * Every SQL text of {@link SqlSubscriberStore}, one function a statement, one text for both dialects. What they
 * do not share stands in fragments at the top: the clock, row locks, the limits of a transaction, and rows that
 * are given as JSON. Postgres takes time from its own clock, as it is when a row is looked at; SQLite has none
 * that tests could turn, and gets `nowMs`.
 */
import type { HeldLease, LagRow, LeaseRequest } from "@millrace/core/SubscriberStoreBackend"
import type { ParkingRow } from "@millrace/core/SubscriberArguments"
import { afterPrefix } from "@millrace/core/Text"
import type * as SqlClient from "@effect/sql/SqlClient"
import { quoted } from "./TablePlace.js"

/** Where the three tables are. */
export interface SubscriberTables {
  readonly schema: string | undefined
  readonly leases: string
  readonly cursors: string
  readonly parked: string
}

/** A number as the driver gives it: Postgres gives 64-bit integers as text. */
export type Integer = number | string

/** A key as it is stored. */
export interface StoredConsumer {
  readonly epoch: Integer
  readonly worker_id: string | null
  readonly remaining_ms: Integer
  readonly position: Integer
}

/** A key in a listing. */
export interface StoredListing extends StoredConsumer {
  readonly key: string
  readonly paused: boolean | number
  readonly lag_events: Integer | null
  readonly lag_ms: Integer | null
  readonly updated_at_ms: Integer
  readonly parked: Integer
}

/** A lease as it is after it was given or renewed. */
export interface StoredGrant {
  readonly epoch: Integer
  readonly expires_at_ms: Integer
  readonly paused: boolean | number
}

/** A parked event. */
export interface StoredParked {
  readonly park_key: string
  readonly position: Integer
  readonly reason: string
  readonly attempts: Integer
  readonly parked_at_ms: Integer
  readonly request: "retry" | "drop" | null
}

/** What a transaction was allowed before {@link makeStatements}' `limitWaits`. */
export interface FormerLimits {
  readonly lock_timeout: string
  readonly idle_timeout: string
}

/** Builds the statements for the tables of one store. */
export const makeStatements = (sql: SqlClient.SqlClient, tables: SubscriberTables) => {
  const inSchema = (name: string) =>
    tables.schema === undefined ? sql(name) : sql.literal(`${quoted(tables.schema)}.${quoted(name)}`)
  const leases = inSchema(tables.leases)
  const cursors = inSchema(tables.cursors)
  const parked = inSchema(tables.parked)
  const dialect = dialectOf(sql)
  const { after, jsonRows, locked, millis, now, remaining, touched } = dialect

  /**
   * Whether the lease holds. It reads the row of the lease and locks nothing: an open transaction that has asked
   * this does not keep the lease from being renewed.
   */
  const holds = ({ epoch, key, workerId }: HeldLease, nowMs: number) => sql`
    EXISTS (
      SELECT 1
      FROM ${leases} AS lease
      WHERE lease.key = ${key}
        AND lease.epoch = ${epoch}
        AND lease.worker_id = ${workerId}
        AND lease.expires_at > ${now(nowMs)}
    )`

  return {
    // ---- leases and cursors ----

    /** A key's two rows. */
    find: (key: string, nowMs: number) =>
      sql<StoredConsumer>`
        SELECT lease.epoch, lease.worker_id, ${remaining("lease.expires_at", nowMs)} AS remaining_ms, place.position
        FROM ${leases} AS lease
        JOIN ${cursors} AS place ON place.key = lease.key
        WHERE lease.key = ${key}
      `.withoutTransform,

    /** Makes the lease, or gives one that is free, has ended or is the worker's own. No row: another one has it. */
    takeLease: ({ above, key, ttlMs, workerId }: LeaseRequest, nowMs: number) =>
      sql<StoredGrant>`
        INSERT INTO ${leases} AS kept (key, epoch, worker_id, expires_at)
        VALUES (${key}, ${above + 1}, ${workerId}, ${after(nowMs, ttlMs)})
        ON CONFLICT (key) DO UPDATE
          SET epoch = CASE WHEN kept.epoch < excluded.epoch THEN excluded.epoch ELSE kept.epoch + 1 END,
            worker_id = excluded.worker_id,
            expires_at = ${after(nowMs, ttlMs)}
          WHERE kept.worker_id IS NULL
             OR kept.worker_id = excluded.worker_id
             OR kept.expires_at <= ${now(nowMs)}
        RETURNING epoch, ${millis("expires_at")} AS expires_at_ms, paused
      `.withoutTransform,

    /**
     * Puts a new epoch on the cursor, after it stands on the lease: waits for whoever has the cursor locked
     * under the former one, and makes those fail who come later.
     */
    passCursor: ({ key, startAt }: LeaseRequest, epoch: number, nowMs: number) =>
      sql`
        INSERT INTO ${cursors} AS kept (key, epoch, position, updated_at)
        VALUES (${key}, ${epoch}, ${startAt}, ${now(nowMs)})
        ON CONFLICT (key) DO UPDATE
          SET epoch = excluded.epoch
      `,

    /** No row: the lease does not hold. */
    renew: ({ epoch, key, ttlMs, workerId }: HeldLease, nowMs: number) =>
      sql<StoredGrant>`
        UPDATE ${leases}
        SET expires_at = ${after(nowMs, ttlMs)}
        WHERE key = ${key}
          AND epoch = ${epoch}
          AND worker_id = ${workerId}
          AND expires_at > ${now(nowMs)}
        RETURNING epoch, ${millis("expires_at")} AS expires_at_ms, paused
      `.withoutTransform,

    /** Leaves the epoch: the next one must be greater. */
    release: ({ epoch, key, workerId }: HeldLease) =>
      sql`
        UPDATE ${leases}
        SET worker_id = NULL
        WHERE key = ${key} AND epoch = ${epoch} AND worker_id = ${workerId}
      `,

    /**
     * Moves the cursor forward. No row: the lease does not hold, or the cursor stands behind `position`.
     *
     * The epoch is compared on both rows. The lease is looked at before this waits for the cursor, and may be taken
     * over meanwhile; then the cursor has the new epoch, and is looked at again after the wait. If the lease has only
     * ended meanwhile, nobody has been able to begin after it, and the cursor moves.
     */
    advance: (lease: HeldLease, position: number, lag: LagRow | undefined, nowMs: number) => {
      const { epoch, key, ttlMs, workerId } = lease
      const events = lag?.events ?? null
      const ms = lag?.ms ?? null
      return sql.onDialectOrElse({
        // A function of the schema, by which it need not be planned each time.
        pg: () =>
          sql`
            SELECT moved AS touched
            FROM ${inSchema("acknowledge")}(
              ${key}, ${epoch}, ${workerId}, ${position}, ${events}, ${ms}, ${ttlMs}
            ) AS moved
            WHERE moved
          `.withoutTransform,
        orElse: () =>
          sql`
            UPDATE ${cursors} AS place
            SET position = ${position},
                lag_events = COALESCE(${events}, place.lag_events),
                lag_ms = COALESCE(${ms}, place.lag_ms),
                updated_at = CASE WHEN place.position < ${position} THEN ${now(nowMs)} ELSE place.updated_at END
            WHERE place.key = ${key}
              AND place.epoch = ${epoch}
              AND place.position <= ${position}
              AND ${holds(lease, nowMs)}
            RETURNING 1 AS touched
          `.withoutTransform
      })
    },

    /**
     * Locks the cursor until the end of the transaction, and limits how long that may stand idle. No row: the
     * lease does not hold.
     *
     * The lock is the one that an UPDATE takes, so that `advance` in the same transaction need not strengthen it:
     * two transactions of one lease with a weaker one would each wait for the other.
     */
    fence: (lease: HeldLease, nowMs: number) =>
      sql`
        SELECT ${touched(lease.ttlMs)} AS touched
        FROM ${cursors} AS place
        WHERE place.key = ${lease.key} AND place.epoch = ${lease.epoch} AND ${holds(lease, nowMs)}
        ${locked("place")}
      `.withoutTransform,

    pause: (key: string) => sql`UPDATE ${leases} SET paused = TRUE WHERE key = ${key} RETURNING key`,

    resume: (key: string) => sql`UPDATE ${leases} SET paused = FALSE WHERE key = ${key} RETURNING key`,

    /** Keys in byte order. A prefix is a range of keys, in which no character has a special meaning. */
    list: (
      {
        after,
        limit,
        prefix
      }: {
        readonly prefix: string | undefined
        readonly after: string | undefined
        readonly limit: number
      },
      nowMs: number
    ) => {
      const behind = prefix === undefined ? undefined : afterPrefix(prefix)
      return sql<StoredListing>`
        SELECT lease.key, lease.epoch, lease.worker_id, lease.paused, place.position, place.lag_events, place.lag_ms,
               ${remaining("lease.expires_at", nowMs)} AS remaining_ms,
               ${millis("place.updated_at")} AS updated_at_ms,
               (SELECT count(*) FROM ${parked} AS waiting WHERE waiting.key = lease.key) AS parked
        FROM ${leases} AS lease
        JOIN ${cursors} AS place ON place.key = lease.key
        WHERE ${sql.and([
          ...(after === undefined ? [] : [sql`lease.key > ${after}`]),
          ...(prefix === undefined ? [] : [sql`lease.key >= ${prefix}`]),
          ...(behind === undefined ? [] : [sql`lease.key < ${behind}`])
        ])}
        ORDER BY lease.key
        LIMIT ${limit}
      `.withoutTransform
    },

    // ---- parked events ----

    /** Adds events; those that are there stay. A row for each that was added. */
    addParked: (key: string, rows: ReadonlyArray<ParkingRow>, nowMs: number) =>
      sql`
        INSERT INTO ${parked} (key, park_key, position, reason, attempts, parked_at)
        SELECT ${key}, given.park_key, given.position, given.reason, given.attempts, ${now(nowMs)}
        FROM ${jsonRows(JSON.stringify(rows.map(asGiven)))} AS given
        WHERE TRUE
        ON CONFLICT (key, park_key, position) DO NOTHING
        RETURNING position
      `,

    /** How many there are. */
    countParked: (key: string) =>
      sql<{ readonly parked: Integer }>`SELECT count(*) AS parked FROM ${parked} WHERE key = ${key}`
        .withoutTransform,

    /** Parked events by park key and position. */
    parked: (
      key: string,
      parkKey: string | undefined,
      after: { readonly parkKey: string; readonly position: number } | undefined,
      limit: number
    ) =>
      sql<StoredParked>`
        SELECT park_key, position, reason, attempts, ${millis("parked_at")} AS parked_at_ms, request
        FROM ${parked}
        WHERE ${sql.and([
          sql`key = ${key}`,
          ...(parkKey === undefined ? [] : [sql`park_key = ${parkKey}`]),
          ...(after === undefined ? [] : [sql`(park_key, position) > (${after.parkKey}, ${after.position})`])
        ])}
        ORDER BY park_key, position
        LIMIT ${limit}
      `.withoutTransform,

    /** Park keys in byte order. Of two requests "retry" is the greater one. */
    parkKeys: (key: string, after: string | undefined, limit: number, requested: boolean) =>
      sql<{ readonly park_key: string; readonly request: "retry" | "drop" | null }>`
        SELECT park_key, max(request) AS request
        FROM ${parked}
        WHERE ${sql.and([
          sql`key = ${key}`,
          ...(after === undefined ? [] : [sql`park_key > ${after}`]),
          ...(requested ? [sql`request IS NOT NULL`] : [])
        ])}
        GROUP BY park_key
        ORDER BY park_key
        LIMIT ${limit}
      `.withoutTransform,

    /** Locks parked events in their order, so that two who change several of them cannot wait for each other. */
    lockParked: (key: string, parkKey: string | undefined) =>
      sql`
        SELECT count(*)
        FROM (
          SELECT 1
          FROM ${parked} AS waiting
          WHERE ${sql.and([
            sql`waiting.key = ${key}`,
            ...(parkKey === undefined ? [] : [sql`waiting.park_key = ${parkKey}`])
          ])}
          ORDER BY waiting.park_key, waiting.position
          ${locked("waiting")}
        ) AS locked
      `,

    /** Marks events. A row for each. */
    request: (key: string, request: string, parkKey: string | undefined) =>
      sql`
        UPDATE ${parked}
        SET request = ${request}
        WHERE ${sql.and([sql`key = ${key}`, ...(parkKey === undefined ? [] : [sql`park_key = ${parkKey}`])])}
        RETURNING position
      `,

    /** Takes one event out. */
    removeParked: (key: string, parkKey: string, position: number) =>
      sql`
        DELETE FROM ${parked}
        WHERE key = ${key} AND park_key = ${parkKey} AND position = ${position}
      `,

    /** Counts a failed attempt of one event, and unmarks its whole park key. */
    failParked: (key: string, parkKey: string, position: number, reason: string) =>
      sql`
        UPDATE ${parked}
        SET attempts = attempts + CASE WHEN position = ${position} THEN 1 ELSE 0 END,
            reason = CASE WHEN position = ${position} THEN ${reason} ELSE reason END,
            request = NULL
        WHERE key = ${key}
          AND park_key = ${parkKey}
          AND (position = ${position} OR request IS NOT NULL)
      `,

    // ---- limits of a transaction: Postgres alone ----

    /** For the rest of the transaction: how long a statement waits for a lock, and how long it may stand idle. */
    limitWaits: (lockMs: number, idleMs: number) =>
      sql<FormerLimits>`
        WITH former AS MATERIALIZED (
          SELECT current_setting('lock_timeout') AS lock_timeout,
                 current_setting('idle_in_transaction_session_timeout') AS idle_timeout
        )
        SELECT former.lock_timeout, former.idle_timeout,
               ${dialect.limited("lock_timeout", lockMs)} AS lock_limit,
               ${dialect.limited("idle_in_transaction_session_timeout", idleMs)} AS idle_limit
        FROM former
      `.withoutTransform,

    /** Takes the limits back, in a transaction that is its caller's. */
    restoreWaits: ({ idle_timeout, lock_timeout }: FormerLimits) =>
      sql`
        SELECT set_config('lock_timeout', ${lock_timeout}, true),
               set_config('idle_in_transaction_session_timeout', ${idle_timeout}, true)
      `
  }
}

// ---- internal ----

/** An event as {@link makeStatements}' `addParked` hands it to the database. */
const asGiven = ({ attempts, parkKey, position, reason }: ParkingRow) => ({
  park_key: parkKey,
  position,
  reason,
  attempts
})

/** What the dialects do not share. */
const dialectOf = (sql: SqlClient.SqlClient) => {
  /** Sets a limit for the rest of the transaction, unless there is a lower one already. */
  const limited = (setting: string, ms: number) => sql`
    set_config(
      ${setting},
      CASE
        WHEN current_setting(${setting})::interval > interval '0'
         AND current_setting(${setting})::interval < ${ms} * interval '1 millisecond'
        THEN current_setting(${setting})
        ELSE ${String(ms)}
      END,
      true
    )`
  const none = sql.literal("")
  return sql.onDialectOrElse({
    pg: () => ({
      now: (_nowMs: number) => sql.literal("clock_timestamp()"),
      after: (_nowMs: number, ms: number) => sql`clock_timestamp() + ${ms} * interval '1 millisecond'`,
      millis: (column: string) => sql.literal(`floor(extract(epoch FROM ${column}) * 1000)::bigint`),
      remaining: (column: string, _nowMs: number) =>
        sql.literal(`ceil(extract(epoch FROM ${column} - clock_timestamp()) * 1000)::bigint`),
      locked: (table: string) => sql.literal(`FOR NO KEY UPDATE OF ${table}`),
      touched: (ttlMs: number) => limited("idle_in_transaction_session_timeout", ttlMs),
      limited,
      jsonRows: (json: string) => sql`
        ROWS FROM (json_to_recordset(${json}::json) AS (park_key text, position bigint, reason text, attempts integer))`
    }),
    orElse: () => ({
      now: (nowMs: number) => sql`${nowMs}`,
      after: (nowMs: number, ms: number) => sql`${nowMs + ms}`,
      millis: (column: string) => sql.literal(column),
      remaining: (column: string, nowMs: number) => sql`${sql.literal(column)} - ${nowMs}`,
      locked: (_table: string) => none,
      touched: (_ttlMs: number) => sql.literal("1"),
      limited,
      jsonRows: (json: string) => sql`
        (
          SELECT value ->> 'park_key' AS park_key, value ->> 'position' AS position,
                 value ->> 'reason' AS reason, value ->> 'attempts' AS attempts
          FROM json_each(${json})
        )`
    })
  })
}
