/** The rules of every subscriber store, on Postgres. */
import * as Databases from "@millrace/testkit/Databases"
import { subscribersSameAsMemory } from "@millrace/testkit/SubscriberStoreModel"
import { subscriberStoreSuite } from "@millrace/testkit/SubscriberStoreSuite"
import * as Postgres from "@millrace/postgres/Postgres"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const layer = Layer.unwrapScoped(Effect.map(Databases.postgres, ({ url }) => Postgres.layer({ url })))

subscriberStoreSuite("postgres", layer, {
  withTransaction: (effect) => Effect.flatMap(SqlClient, (sql) => sql.withTransaction(effect))
})
subscribersSameAsMemory("postgres", layer)
