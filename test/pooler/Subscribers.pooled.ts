/** The rules of every subscriber and every subscriber store, on Postgres through PgBouncer in transaction mode. */
import { SqlClient } from "@effect/sql/SqlClient"
import * as Postgres from "@millrace/postgres/Postgres"
import { subscribersSameAsMemory } from "@millrace/testkit/SubscriberStoreModel"
import { subscriberStoreSuite } from "@millrace/testkit/SubscriberStoreSuite"
import { subscriberSuite } from "@millrace/testkit/SubscriberSuite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PooledDatabases from "./PooledDatabases.js"

const layer = Layer.unwrapScoped(Effect.map(PooledDatabases.postgres, ({ url }) => Postgres.layer({ url })))

subscriberSuite("postgres through PgBouncer", layer)
subscriberStoreSuite("postgres through PgBouncer", layer, {
  withTransaction: (effect) => Effect.flatMap(SqlClient, (sql) => sql.withTransaction(effect))
})
subscribersSameAsMemory("postgres through PgBouncer", layer)
