/** The rules of every model store, on a SQLite file. */
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { sqliteFile } from "@millrace/testkit/Databases"
import { modelStoreSuite } from "@millrace/testkit/ModelStoreSuite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sqlTotals } from "../../../sql/test/SqlTotals.js"

const sqlite = Layer.unwrapScoped(Effect.map(sqliteFile, (filename) => Sqlite.layer({ filename })))

modelStoreSuite("sqlite", sqlite, { sqlTotals })
