/** The rules of every model store, on Postgres. */
import * as Databases from "@millrace/testkit/Databases"
import { modelStoreSuite } from "@millrace/testkit/ModelStoreSuite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sqlTotals } from "../../../sql/test/SqlTotals.js"
import * as Postgres from "../../src/Postgres.js"

const postgres = Layer.unwrapScoped(Effect.map(Databases.postgres, ({ url }) => Postgres.layer({ url })))

modelStoreSuite("postgres", postgres, { sqlTotals })
