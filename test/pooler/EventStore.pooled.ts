/** The rules of every event store, on Postgres through PgBouncer in transaction mode. */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Postgres from "@millrace/postgres/Postgres"
import { eventStoreSuite } from "@millrace/testkit/EventStoreSuite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PooledDatabases from "./PooledDatabases.js"

const layer = Layer.unwrapScoped(Effect.map(PooledDatabases.postgres, ({ url }) => Postgres.layer({ url })))

eventStoreSuite("postgres through PgBouncer", layer, {
  withTransaction: (effect) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(effect))
})
