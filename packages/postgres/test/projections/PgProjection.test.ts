/** The promises of projections, on Postgres. */
import * as Databases from "@millrace/testkit/Databases"
import { projectionSuite } from "@millrace/testkit/ProjectionSuite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { verifications } from "../../../sql/test/Verifications.js"
import * as Postgres from "../../src/Postgres.js"

const postgres = Layer.unwrapScoped(Effect.map(Databases.postgres, ({ url }) => Postgres.layer({ url })))

projectionSuite("postgres", postgres)
verifications("postgres", postgres)
