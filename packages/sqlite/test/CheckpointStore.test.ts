/** The rules of every store of operator checkpoints, on a SQLite file. */
import { CheckpointPlaces } from "@millrace/core/CheckpointStoreBackend"
import * as SqlCheckpointStore from "@millrace/sql/SqlCheckpointStore"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { storeUnavailable } from "@millrace/sqlite/SqliteFault"
import { checkpointStoreSuite } from "@millrace/testkit/CheckpointStoreSuite"
import { sqliteFile } from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { checkpointTransactions } from "../../sql/test/CheckpointTransactions.js"

const sqlite = Layer.unwrapScoped(Effect.map(sqliteFile, (filename) => Sqlite.layer({ filename })))
const places = Layer.effect(
  CheckpointPlaces,
  SqlCheckpointStore.make({ prefix: "millrace_", storeUnavailable })
)

checkpointStoreSuite("sqlite", Layer.provide(places, sqlite))
checkpointTransactions("sqlite", sqlite)
