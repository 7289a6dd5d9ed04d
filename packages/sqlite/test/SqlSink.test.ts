/** Results as rows of an application's table, on a SQLite file. */
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { sqliteFile } from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sqlSinks } from "../../sql/test/SqlSinks.js"

sqlSinks("sqlite", Layer.unwrapScoped(Effect.map(sqliteFile, (filename) => Sqlite.layer({ filename }))))
