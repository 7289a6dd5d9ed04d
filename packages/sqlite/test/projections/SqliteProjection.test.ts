/** The promises of projections, on a SQLite file. */
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { sqliteFile } from "@millrace/testkit/Databases"
import { projectionSuite } from "@millrace/testkit/ProjectionSuite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { verifications } from "../../../sql/test/Verifications.js"

/** A new file for each build. It is removed after the store has closed it. */
const sqlite = Layer.unwrapScoped(Effect.map(sqliteFile, (filename) => Sqlite.layer({ filename })))

projectionSuite("sqlite", sqlite)
verifications("sqlite", sqlite)
