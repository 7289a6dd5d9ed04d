/** The rules of every store of operator checkpoints, on Postgres. */
import { CheckpointPlaces } from "@millrace/core/CheckpointStoreBackend"
import { storeUnavailable } from "@millrace/postgres/PgFault"
import * as Postgres from "@millrace/postgres/Postgres"
import * as SqlCheckpointStore from "@millrace/sql/SqlCheckpointStore"
import { checkpointStoreSuite } from "@millrace/testkit/CheckpointStoreSuite"
import * as Databases from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { checkpointTransactions } from "../../sql/test/CheckpointTransactions.js"

const postgres = Layer.unwrapScoped(Effect.map(Databases.postgres, ({ url }) => Postgres.layer({ url })))
const places = Layer.effect(
  CheckpointPlaces,
  SqlCheckpointStore.make({ schema: "millrace", storeUnavailable })
)

checkpointStoreSuite("postgres", Layer.provide(places, postgres))
checkpointTransactions("postgres", postgres)
