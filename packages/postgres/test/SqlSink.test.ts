/** Results as rows of an application's table, on Postgres. */
import * as Postgres from "@millrace/postgres/Postgres"
import * as Databases from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sqlSinks } from "../../sql/test/SqlSinks.js"

sqlSinks("postgres", Layer.unwrapScoped(Effect.map(Databases.postgres, ({ url }) => Postgres.layer({ url }))))
