/** The rules of every model store and of projections, on Postgres through PgBouncer in transaction mode. */
import * as Postgres from "@millrace/postgres/Postgres"
import { modelStoreSuite } from "@millrace/testkit/ModelStoreSuite"
import { projectionSuite } from "@millrace/testkit/ProjectionSuite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sqlTotals } from "../../packages/sql/test/SqlTotals.js"
import * as PooledDatabases from "./PooledDatabases.js"

const layer = Layer.unwrapScoped(Effect.map(PooledDatabases.postgres, ({ url }) => Postgres.layer({ url })))

modelStoreSuite("postgres through PgBouncer", layer, { sqlTotals })
projectionSuite("postgres through PgBouncer", layer)
