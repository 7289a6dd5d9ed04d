/**
 * One SQLite file, opened for the log: one connection, shared by everybody in the process, and a `SqlClient`
 * over it that the application uses for tables of its own.
 *
 * SQLite has one writer at a time, in all processes together. What follows from it is decided here:
 *
 *  1. Transactions begin with `BEGIN IMMEDIATE`. Those of `@effect/sql-sqlite-node` begin with a plain `BEGIN`
 *     and ask for the write lock with their first write; when another process wrote in between, that fails at
 *     once and no waiting helps.
 *  2. Waiting for another process must not stop this one. SQLite's own waiting blocks the event loop, so it
 *     is kept to 20 ms; then others of this process have their turn, and the statement or the BEGIN is tried
 *     again later, for `busyTimeout` in all.
 *  3. While a fiber is inside `withTransaction`, everybody else's statements wait: on one connection they
 *     would become part of that transaction, and be rolled back with it.
 *  4. A failed COMMIT is a typed `SqlError`; in @effect/sql it is a defect.
 *
 *  5. The event loop gets its turns: SQLite answers at once, and a program that only talks to it would be one long turn.
 *
 * A transaction belongs to its fiber and that fiber's children. A statement that one of them sends after its
 * end fails. Waiting, for the connection and for the lock, is interruptible.
 */
import { giveWay } from "@millrace/core/EventLoop"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { makeClient } from "./SqliteClient.js"
import { isBusy, storeUnavailable } from "./SqliteFault.js"
import { asSqlError, SqliteSession } from "./SqliteSession.js"
import { SqliteTransaction } from "./SqliteTransaction.js"

/** What {@link open} needs; checked by its caller. */
export interface SqliteDatabaseOptions {
  readonly filename: string
  readonly synchronous: "NORMAL" | "FULL" | "EXTRA"
  /** How long a statement waits for another connection's lock. */
  readonly busyTimeout: Duration.Duration
}

/** Statements that run in one go. What it throws undoes them. */
export type Body<A> = (session: SqliteSession) => A

/** An open file: the application's client, and the store's own way to the same connection. */
export interface SqliteDatabase {
  /** The application's client. */
  readonly client: SqlClient.SqlClient
  /** The transaction of the client that the present fiber is in, if it is still open. */
  readonly current: Effect.Effect<SqliteTransaction | undefined>
  /** Runs one statement: in the fiber's transaction, or by itself. */
  readonly statement: <A>(body: Body<A>) => Effect.Effect<A, SqlError>
  /** Runs several statements that only read, and that all see the same state of the database. */
  readonly snapshot: <A>(body: Body<A>) => Effect.Effect<A, SqlError>
  /** Runs statements in a transaction of their own and commits it. The fiber must not be in one. */
  readonly commit: <A>(body: Body<A>) => Effect.Effect<A, SqlError>
  /** Runs statements as a part of the transaction; when one fails, they are undone and it can go on. */
  readonly join: <A>(transaction: SqliteTransaction, body: Body<A>) => Effect.Effect<A, SqlError>
}

/** Between two tries: from 1 ms, growing to 25 ms, each a little random so that processes do not keep step. */
const busySchedule = (busyTimeout: Duration.Duration): Schedule.Schedule<unknown> =>
  Schedule.exponential("1 millis", 1.5).pipe(
    Schedule.union(Schedule.spaced("25 millis")),
    Schedule.jittered,
    Schedule.upTo(busyTimeout)
  )

/**
 * Opens the file, creates it if it is missing, and closes it with the scope.
 *
 * Sets WAL and `synchronous` on every opening: a WAL database that is opened again falls back to NORMAL
 * unless told. Fails with `StoreUnavailable`, operation `open`, when the folder is missing, the file may not
 * be written, is no database or is kept locked for the whole `busyTimeout`.
 *
 * @example
 * ```ts
 * const { client } = yield* SqliteDatabase.open({ filename: "log.db", synchronous: "FULL", busyTimeout: Duration.seconds(5) })
 * ```
 */
export const open = (
  options: SqliteDatabaseOptions
): Effect.Effect<SqliteDatabase, StoreUnavailable, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    const failed = storeUnavailable("open")
    const session = yield* Effect.acquireRelease(
      Effect.try({ try: () => SqliteSession.open(options.filename), catch: failed }),
      (session) => Effect.sync(() => session.close())
    )
    const busy = busySchedule(options.busyTimeout)
    // The first look into the file. Several processes that make it a WAL file at once get in each other's way.
    yield* attempt(session, () => configure(session, options)).pipe(
      Effect.retry({ schedule: busy, while: isBusy }),
      Effect.mapError(failed)
    )
    return yield* make(session, busy)
  })

// ---- internal ----

/** Names are ordered by their UTF-8 bytes, which a file of another encoding does not do. */
const configure = (session: SqliteSession, { synchronous }: SqliteDatabaseOptions): void => {
  session.rows("PRAGMA journal_mode = WAL")
  session.run(`PRAGMA synchronous = ${synchronous}`)
  const encoding = session.rows("PRAGMA encoding")[0]?.[0]
  if (encoding !== "UTF-8") {
    throw new SqlError({ cause: new Error(`the file's text encoding is ${encoding}, must be UTF-8`) })
  }
}

/** Runs what is synchronous; what it throws of SQLite's becomes an error. */
const attempt = <A>(session: SqliteSession, body: () => A): Effect.Effect<A, SqlError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(body())
    } catch (cause) {
      return Effect.fail(cause instanceof SqlError ? cause : asSqlError(session, cause))
    }
  })

/** Rolls back after a fault. SQLite may have done so by itself. */
const rollBack = (session: SqliteSession): void => {
  if (session.inTransaction) session.run("ROLLBACK")
}

/** Runs `body` between `begin` and COMMIT, all in one go. */
const transact = <A>(session: SqliteSession, begin: string, body: Body<A>): A => {
  session.run(begin)
  try {
    const result = body(session)
    session.run("COMMIT")
    return result
  } catch (cause) {
    rollBack(session)
    throw cause
  }
}

/** Runs `body` as a part of the open transaction. */
const withSavepoint = <A>(session: SqliteSession, body: Body<A>): A => {
  session.run("SAVEPOINT millrace")
  try {
    const result = body(session)
    session.run("RELEASE millrace")
    return result
  } catch (cause) {
    // A fault that ended the whole transaction has left no savepoint.
    if (session.inTransaction) {
      session.run("ROLLBACK TO millrace")
      session.run("RELEASE millrace")
    }
    throw cause
  }
}

/** Each database has a tag of its own for its transactions, so that one in another is told apart. */
let databases = 0

const make = (
  session: SqliteSession,
  busy: Schedule.Schedule<unknown>
): Effect.Effect<SqliteDatabase, never, Reactivity.Reactivity> =>
  Effect.gen(function* () {
    // Held for as long as a transaction of the client is under way.
    const permit = yield* Effect.makeSemaphore(1)
    const Own = Context.GenericTag<SqliteTransaction>(`@millrace/sqlite/Transaction/${++databases}`)

    // @effect/sql's tag is looked at too, because its SqlResolver hands on nothing else. It is one tag for
    // all clients, so what it holds may be the connection of another database.
    const transactionOf = (context: Context.Context<never>): SqliteTransaction | undefined => {
      const own: unknown =
        context.unsafeMap.get(Own.key) ?? context.unsafeMap.get(SqlClient.TransactionConnection.key)?.[0]
      return own instanceof SqliteTransaction && own.isOpenOn(session) ? own : undefined
    }
    const current = Effect.map(Effect.context<never>(), transactionOf)

    /** Runs `body` in one go, outside of transactions of the client. */
    const alone = <A>(body: () => A): Effect.Effect<A, SqlError> => {
      const now = attempt(session, body)
      const turn = Effect.flatMap(giveWay, () => (session.inTransaction ? permit.withPermits(1)(now) : now))
      return Effect.catchAll(turn, (error) =>
        isBusy(error) ? Effect.retry(turn, { schedule: busy, while: isBusy }) : Effect.fail(error)
      )
    }
    const within = <A>(inside: Body<A>, outside: Body<A>): Effect.Effect<A, SqlError> =>
      Effect.flatMap(current, (transaction) =>
        transaction === undefined ? alone(() => outside(session)) : attempt(session, () => inside(session))
      )

    const client = yield* makeClient({ session, permit, busy, current, alone, Own })
    return {
      client,
      current,
      statement: (body) => within(body, body),
      snapshot: (body) => within(body, () => transact(session, "BEGIN", body)),
      commit: (body) => alone(() => transact(session, "BEGIN IMMEDIATE", body)),
      join: (transaction, body) =>
        transaction.isOpenOn(session)
          ? attempt(session, () => withSavepoint(session, body))
          : SqliteTransaction.ended
    }
  })
