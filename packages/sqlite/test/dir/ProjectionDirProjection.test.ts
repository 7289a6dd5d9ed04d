/** The promises of projections whose log is in one SQLite file and whose models are in others. */
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { sqliteFile } from "@millrace/testkit/Databases"
import { projectionSuite } from "@millrace/testkit/ProjectionSuite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { projectionDir } from "./ProjectionDirStores.js"
import { verifications } from "../../../sql/test/Verifications.js"

const log = Layer.unwrapScoped(Effect.map(sqliteFile, (filename) => Sqlite.layer({ filename })))

projectionSuite("a log and a folder of SQLite files", Layer.merge(log, projectionDir))
verifications("a folder of SQLite files", Layer.merge(log, projectionDir))
