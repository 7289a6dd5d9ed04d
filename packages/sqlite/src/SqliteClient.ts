/**
 * The `SqlClient` that an application uses beside the log, over the log's own connection. It differs from the
 * one of `@effect/sql-sqlite-node` in its transactions, as `SqliteDatabase` says; statements behave the same.
 * `sql.stream` fails: SQLite's driver has no cursors that outlive a turn of the event loop.
 */
import { giveWay } from "@millrace/core/EventLoop"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import type * as Reactivity from "@effect/experimental/Reactivity"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { isBusy } from "./SqliteFault.js"
import { asSqlError } from "./SqliteSession.js"
import type { Row, RunResult, SqliteSession } from "./SqliteSession.js"
import { SqliteTransaction } from "./SqliteTransaction.js"

/** What the client is made of. */
export interface SqliteClientParts {
  readonly session: SqliteSession
  /** To be held while a transaction is under way. */
  readonly permit: Effect.Semaphore
  /** When to try again what met another connection's lock. */
  readonly busy: Schedule.Schedule<unknown>
  /** The fiber's transaction. */
  readonly current: Effect.Effect<SqliteTransaction | undefined>
  /** Runs a statement outside of transactions. */
  readonly alone: <A>(body: () => A) => Effect.Effect<A, SqlError>
  /** The tag under which a transaction's fibers find it. */
  readonly Own: Context.Tag<SqliteTransaction, SqliteTransaction>
}

/** Builds the client. */
export const makeClient = (
  parts: SqliteClientParts
): Effect.Effect<SqlClient.SqlClient, never, Reactivity.Reactivity> =>
  Effect.gen(function* () {
    const { alone, current, permit, session } = parts
    const plain = connection(session, alone)
    // Of the transaction's own statements none waits: it has the connection.
    const inside = connection(session, (body) =>
      Effect.suspend(() => {
        try {
          return Effect.succeed(body())
        } catch (cause) {
          return Effect.fail(asSqlError(session, cause))
        }
      })
    )
    const acquirer = Effect.map(current, (transaction): Connection => transaction ?? plain)
    const compiler = Statement.makeCompilerSqlite()
    const base = yield* SqlClient.make({
      acquirer,
      compiler,
      spanAttributes,
      transactionAcquirer: Effect.uninterruptibleMask((restore) =>
        Effect.as(
          Effect.zipRight(
            restore(permit.take(1)),
            Effect.addFinalizer(() => permit.release(1))
          ),
          inside
        )
      )
    })
    // Not `base` itself: it sends statements to whatever connection @effect/sql's one tag for all clients has.
    const beside: Omit<SqlClient.SqlClient, keyof Statement.Constructor> = {
      [SqlClient.TypeId]: SqlClient.TypeId,
      get safe() {
        return client
      },
      withoutTransforms: () => client,
      reserve: base.reserve,
      withTransaction: makeWithTransaction(parts, inside),
      reactive: base.reactive,
      reactiveMailbox: base.reactiveMailbox
    }
    const client = Object.defineProperties(
      Statement.make(acquirer, compiler, spanAttributes, undefined),
      Object.getOwnPropertyDescriptors(beside)
    ) as SqlClient.SqlClient
    return client
  })

// ---- internal ----

const spanAttributes = [["db.system.name", "sqlite"]] as const

const noStream = Stream.fail(
  new SqlError({
    cause: new Error("SQLite's driver has no cursors: read pages by key"),
    message: "Failed to execute statement"
  })
)

/** Statements of the application; `run` says when. */
const connection = (
  session: SqliteSession,
  run: <A>(body: () => A) => Effect.Effect<A, SqlError>
): Connection => {
  const send = (sql: string, params: ReadonlyArray<unknown>, arrays: boolean) =>
    Effect.flatMap(Effect.context<never>(), (context) => {
      const bigints = context.unsafeMap.get(SqlClient.SafeIntegers.key) === true
      return run(() => session.application(sql, params, { arrays, bigints }))
    })
  const rows = (sql: string, params: ReadonlyArray<unknown>) =>
    Effect.map(send(sql, params, false), (result) =>
      isRows(result) ? (result as ReadonlyArray<object>) : []
    )
  const execute: Connection["execute"] = (sql, params, transform) =>
    transform === undefined ? rows(sql, params) : Effect.map(rows(sql, params), transform)
  return {
    execute,
    executeRaw: (sql, params) => send(sql, params, false),
    executeValues: (sql, params) =>
      Effect.map(send(sql, params, true), (result) => (isRows(result) ? (result as ReadonlyArray<Row>) : [])),
    executeUnprepared: execute,
    executeStream: () => noStream
  }
}

const isRows = (result: ReadonlyArray<unknown> | RunResult): result is ReadonlyArray<unknown> =>
  Array.isArray(result)

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** `withTransaction`: the outermost one begins and commits, one inside of another is a savepoint. */
const makeWithTransaction = (
  { busy, current, Own, permit, session }: SqliteClientParts,
  inside: Connection
): SqlClient.SqlClient["withTransaction"] => {
  const run = (sql: string): Effect.Effect<unknown, SqlError> => inside.execute(sql, [], undefined)

  /** Takes the connection and begins. What `restore` marks may be interrupted: the waiting. */
  const begin = (restore: Restore): Effect.Effect<SqliteTransaction, SqlError> => {
    const once = Effect.zipRight(
      restore(Effect.zipRight(giveWay, permit.take(1))),
      Effect.tapErrorCause(run("BEGIN IMMEDIATE"), () => permit.release(1))
    )
    const again = (driver: Schedule.ScheduleDriver<unknown>): Effect.Effect<unknown, SqlError> =>
      Effect.catchAll(once, (error) =>
        isBusy(error)
          ? Effect.zipRight(
              Effect.mapError(restore(driver.next(error)), () => error),
              again(driver)
            )
          : Effect.fail(error)
      )
    return Effect.map(
      Effect.flatMap(Schedule.driver(busy), again),
      () => new SqliteTransaction(session, inside)
    )
  }

  const rollBack = Effect.suspend(() =>
    session.inTransaction ? Effect.ignore(run("ROLLBACK")) : Effect.void
  )
  const commit = Effect.tapError(
    Effect.retry(run("COMMIT"), { schedule: busy, while: isBusy }),
    () => rollBack
  )

  /** Ends what `begin` began, as its outcome says. */
  const finish = <A, E>(
    transaction: SqliteTransaction,
    exit: Exit.Exit<A, E>
  ): Effect.Effect<A, E | SqlError> =>
    Effect.onExit(Exit.isSuccess(exit) ? commit : rollBack, (end) =>
      Effect.zipRight(
        Effect.sync(() => transaction.end(Exit.isSuccess(exit) && Exit.isSuccess(end))),
        permit.release(1)
      )
    ).pipe(Effect.zipRight(exit))

  /** Ends a savepoint. A fault that ended the whole transaction has left none. */
  const finishSavepoint = <A, E>(name: string, exit: Exit.Exit<A, E>): Effect.Effect<A, E | SqlError> =>
    Effect.zipRight(
      Exit.isSuccess(exit)
        ? run(`RELEASE ${name}`)
        : Effect.ignore(Effect.zipRight(run(`ROLLBACK TO ${name}`), run(`RELEASE ${name}`))),
      exit
    )

  return (effect) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.useSpan(
        "sql.transaction",
        { kind: "client", captureStackTrace: false, attributes: Object.fromEntries(spanAttributes) },
        (span) =>
          Effect.flatMap(Effect.zip(Effect.context<never>(), current), ([context, outer]) => {
            const shared = context.unsafeMap.get(SqlClient.TransactionConnection.key)
            const depth = outer === undefined ? 0 : (shared?.[0] === outer ? (shared[1] as number) : 0) + 1
            const within = (transaction: SqliteTransaction) =>
              Effect.exit(
                Effect.locally(
                  restore(effect),
                  FiberRef.currentContext,
                  Context.add(context, SqlClient.TransactionConnection, [transaction, depth]).pipe(
                    Context.add(Own, transaction),
                    Context.add(Tracer.ParentSpan, span)
                  )
                )
              )
            if (outer === undefined) {
              return Effect.flatMap(begin(restore), (transaction) =>
                Effect.flatMap(within(transaction), (exit) => finish(transaction, exit))
              )
            }
            const name = `effect_sql_${depth}`
            return Effect.zipRight(
              run(`SAVEPOINT ${name}`),
              Effect.flatMap(within(outer), (exit) => finishSavepoint(name, exit))
            )
          })
      )
    )
}
