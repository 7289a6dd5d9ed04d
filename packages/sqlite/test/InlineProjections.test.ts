/** Projections in the transaction of the append, on a SQLite file. */
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { sqliteFile } from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sqlInline } from "../../sql/test/SqlInline.js"

// A layer made anew for each process: one and the same would be built once.
sqlInline(
  "sqlite",
  Effect.map(sqliteFile, (filename) => Layer.fresh(Sqlite.layer({ filename })))
)
