/** Fresh databases of the run's server, as they are reached through its PgBouncer. */
import * as Databases from "@millrace/testkit/Databases"
import type { PostgresServerError } from "@millrace/testkit/PostgresServerError"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"

/** Name of the variable by which the set-up tells the workers PgBouncer's port. */
export const poolerVariable = "MILLRACE_TEST_POOLER_PORT"

export interface PooledDatabase {
  /** Through PgBouncer. */
  readonly url: Redacted.Redacted<string>
  /** Past it. */
  readonly direct: Redacted.Redacted<string>
}

/** A new database; it ends with the scope. */
export const postgres: Effect.Effect<PooledDatabase, PostgresServerError, Scope.Scope> = Effect.map(
  Databases.postgres,
  ({ url: direct }) => {
    const through = new URL(Redacted.value(direct))
    through.hostname = "127.0.0.1"
    through.port = process.env[poolerVariable]!
    return { url: Redacted.make(through.toString()), direct }
  }
)
