/** The rules of every event store, on a SQLite file. */
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { sqliteFile } from "@millrace/testkit/Databases"
import { sameAsMemory } from "@millrace/testkit/EventStoreModel"
import { eventStoreSuite } from "@millrace/testkit/EventStoreSuite"
import { snapshotStoreSuite } from "@millrace/testkit/SnapshotStoreSuite"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** A new file for each build. It is removed after the store has closed it. */
const sqlite = Layer.unwrapScoped(Effect.map(sqliteFile, (filename) => Sqlite.layer({ filename })))

eventStoreSuite("sqlite", sqlite, {
  withTransaction: (effect) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(effect))
})
snapshotStoreSuite("sqlite", sqlite)
sameAsMemory("sqlite", sqlite)
