/** The rules of every event store and every snapshot store, on Postgres. Each build of the layer has a database of its own. */
import * as Databases from "@millrace/testkit/Databases"
import { sameAsMemory } from "@millrace/testkit/EventStoreModel"
import { eventStoreSuite } from "@millrace/testkit/EventStoreSuite"
import { snapshotStoreSuite } from "@millrace/testkit/SnapshotStoreSuite"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Postgres from "../src/Postgres.js"

const layer = Layer.unwrapScoped(Effect.map(Databases.postgres, ({ url }) => Postgres.layer({ url })))

eventStoreSuite("postgres", layer, {
  withTransaction: (effect) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(effect))
})
snapshotStoreSuite("postgres", layer)
sameAsMemory("postgres", layer)
