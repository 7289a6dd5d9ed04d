/**
 * How the model store runs statements: in the caller's transaction where that is one of this database, and with
 * the driver's errors as typed ones.
 */
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** Whose transactions are ours, and what the driver's errors mean. */
export interface ModelTransactionOptions {
  /**
   * Whether a transaction's connection is one of this database. All clients of @effect/sql share one tag for the
   * transaction under way; one of another database is none of ours. Default: it always is.
   */
  readonly owns?: ((connection: unknown) => boolean) | undefined
  /** Turns what the driver failed with while it did `operation` into the typed error of the store. */
  readonly storeUnavailable: (operation: string) => (cause: unknown) => StoreUnavailable
}

/** Runs an effect under the name of an operation. */
export type Run = <A, E, R>(
  operation: string,
  effect: Effect.Effect<A, E, R>
) => Effect.Effect<A, StoreUnavailable | Exclude<E, SqlError>, R>

/** The two ways to run something. */
export interface ModelTransactions {
  /** As it is: each statement by itself, or in the caller's transaction. */
  readonly plain: Run
  /** All or nothing: a transaction, or a savepoint of the caller's. */
  readonly transaction: Run
}

/** Both ways, on one client. */
export const make = (
  sql: SqlClient.SqlClient,
  { owns, storeUnavailable }: ModelTransactionOptions
): ModelTransactions => {
  /** Leaves aside a transaction of another database. */
  const inOwn = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    owns === undefined
      ? effect
      : Effect.contextWithEffect((context: Context.Context<R>) => {
          const open: unknown = context.unsafeMap.get(SqlClient.TransactionConnection.key)
          if (!Array.isArray(open) || owns(open[0])) return effect
          const without = Context.omit(SqlClient.TransactionConnection)
          return Effect.mapInputContext(effect, (all: Context.Context<R>) => without(all) as typeof all)
        })

  const plain: Run = <A, E, R>(operation: string, effect: Effect.Effect<A, E, R>) =>
    inOwn(effect).pipe(
      // A failed COMMIT or ROLLBACK is a defect to @effect/sql: the connection is gone.
      Effect.catchSomeDefect((defect) =>
        defect instanceof SqlError ? Option.some(Effect.fail(defect)) : Option.none()
      ),
      Effect.mapError((error) =>
        error instanceof SqlError ? storeUnavailable(operation)(error) : (error as Exclude<E, SqlError>)
      )
    )
  return { plain, transaction: (operation, effect) => plain(operation, sql.withTransaction(effect)) }
}
