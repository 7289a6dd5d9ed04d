/** Projections in the transaction of the append, on Postgres. */
import * as Databases from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sqlInline } from "../../sql/test/SqlInline.js"
import * as Postgres from "../src/Postgres.js"

// A layer made anew for each process: one and the same would be built once.
sqlInline(
  "postgres",
  Effect.map(Databases.postgres, ({ url }) => Layer.fresh(Postgres.layer({ url })))
)
