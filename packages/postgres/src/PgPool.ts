/**
 * The pool of connections that the store and the application's `SqlClient` share, and the one way in which
 * the store sends statements: named, so that the server parses each text once a connection, with all values
 * given back as the server's text. Where a pooler in transaction mode stands between (a named statement is
 * then unknown to the connection that gets the call), names are given up for good and everything goes on.
 */
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import pg from "pg"
import { isLostStatement, storeUnavailable } from "./PgFault.js"

/** How to connect. */
export interface PgPoolOptions {
  readonly url: Redacted.Redacted<string>
  readonly maxConnections: number
  readonly applicationName: string
  readonly connectTimeoutMs: number
}

/** A statement: its name is given to the server, and so must be one for one text. */
export interface Statement {
  readonly name: string | undefined
  readonly text: string
}

/** A row as the server prints it: every column as text or null. */
export type TextRow = ReadonlyArray<string | null>

/** The pool, and how the store sends statements through it. */
export interface PgPool {
  readonly pool: pg.Pool
  /** Whether a connection is one of this pool: how a caller's transaction is recognised as ours. */
  readonly owns: (client: unknown) => client is pg.PoolClient
  /**
   * Runs a statement on a connection of the pool, or on the given one. `name` undefined: not named.
   * Rejects with the driver's own error; on a connection of the pool also when no answer came for `timeoutMs`
   * (default: {@link statementTimeoutMs}), and that connection is then given up.
   */
  readonly query: (
    statement: Statement,
    values: ReadonlyArray<unknown>,
    client?: pg.PoolClient,
    timeoutMs?: number
  ) => Promise<ReadonlyArray<TextRow>>
  /**
   * As `query`, but hands over each row as it comes in, while the server still sends, and keeps none. `onRow`
   * must not throw. A call that rejects may have handed over some rows.
   */
  readonly each: (
    statement: Statement,
    values: ReadonlyArray<unknown>,
    onRow: (row: TextRow) => void,
    client?: pg.PoolClient,
    timeoutMs?: number
  ) => Promise<void>
}

/** Longest wait for the answer to one statement, so that a server that froze ends no caller's wait. */
export const statementTimeoutMs = 30_000

/** Longest wait for connections to close with the scope. Unit: milliseconds. */
const closeTimeoutMs = 5_000

/** What the driver gives of a row before it makes anything of it. */
interface DataRow {
  readonly fields: TextRow
}

/** Where the rows of a call go, and its end. */
interface Receiver {
  readonly onRow: (row: TextRow) => void
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * A query whose rows are handed over as the server's texts, one by one, as cursors of this driver do: it makes no
 * array of them, and no second array of each.
 *
 * At its end it lets go of its values and of its receiver. The driver and its pool set a timer a call, dead timers
 * hang together, and what one of them holds survives every minor collection: a reader of 200 000 events took a
 * third longer, and kept 100 MB of garbage.
 */
class TextQuery extends pg.Query {
  /** Read by the driver. */
  declare values: Array<unknown> | undefined
  /** Read by the driver. */
  readonly query_timeout: number | undefined
  private receiver: Receiver | undefined

  constructor(config: pg.QueryConfig, timeoutMs: number | undefined, receiver: Receiver) {
    super(config)
    this.query_timeout = timeoutMs
    this.receiver = receiver
  }
  handleDataRow(message: DataRow): void {
    this.receiver?.onRow(message.fields)
  }
  readonly settle = (error: unknown): void => {
    const receiver = this.receiver
    this.receiver = undefined
    this.values = undefined
    if (error == null) receiver?.resolve()
    else receiver?.reject(error)
  }
}

/** Opens the pool, and one connection at once, so that a wrong address fails here. Ends it with the scope. */
export const make = (options: PgPoolOptions): Effect.Effect<PgPool, StoreUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const owned = new WeakSet<object>()
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const pool = new pg.Pool({
          connectionString: Redacted.value(options.url),
          max: options.maxConnections,
          application_name: options.applicationName,
          connectionTimeoutMillis: options.connectTimeoutMs,
          keepAlive: true
        })
        // Without a listener the error of a connection that dies while idle would end the process. The
        // pool drops such a connection by itself.
        pool.on("error", () => undefined)
        pool.on("connect", (client) => {
          owned.add(client)
          client.on("error", () => undefined)
        })
        return pool
      }),
      (pool) =>
        Effect.promise(() =>
          Promise.race([
            pool.end().catch(() => undefined),
            new Promise((resolve) => AbortSignal.timeout(closeTimeoutMs).addEventListener("abort", resolve))
          ])
        )
    )
    let named = true

    const send = (
      target: pg.Pool | pg.PoolClient,
      config: pg.QueryConfig,
      onRow: (row: TextRow) => void,
      timeoutMs: number | undefined
    ): Promise<void> =>
      new Promise((resolve, reject) => {
        const query = new TextQuery(config, timeoutMs, { onRow, resolve, reject })
        // The pool hands its second argument on, and `undefined` leaves the query its own values.
        ;(target as pg.PoolClient).query(query as never, undefined as never, query.settle)
      })

    const each: PgPool["each"] = (statement, values, onRow, client, timeoutMs = statementTimeoutMs) => {
      const target = client ?? pool
      // The caller's own transaction waits as long as its owner lets it.
      const limit = client === undefined ? timeoutMs : undefined
      const unnamed: pg.QueryConfig = { text: statement.text, values: values as Array<unknown> }
      if (!named || statement.name === undefined) return send(target, unnamed, onRow, limit)
      return send(target, { ...unnamed, name: statement.name }, onRow, limit).catch((error: unknown) => {
        if (!isLostStatement(error)) throw error
        named = false
        // Inside a transaction the failed statement has ended it: the caller must start over.
        if (client !== undefined) throw error
        return send(target, unnamed, onRow, limit)
      })
    }

    const query: PgPool["query"] = (statement, values, client, timeoutMs) => {
      const rows: Array<TextRow> = []
      return each(statement, values, (row) => rows.push(row), client, timeoutMs).then(() => rows)
    }

    const self: PgPool = {
      pool,
      owns: (client): client is pg.PoolClient =>
        typeof client === "object" && client !== null && owned.has(client),
      query,
      each
    }
    yield* Effect.tryPromise({
      try: () => pool.query("SELECT 1"),
      catch: storeUnavailable("connect")
    })
    return self
  })
