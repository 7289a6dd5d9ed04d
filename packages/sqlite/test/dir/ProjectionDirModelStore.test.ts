/**
 * The rules of every model store, on a folder of SQLite files. What a step does `also` belongs to the log's database,
 * and comes behind it.
 */
import { modelStoreSuite } from "@millrace/testkit/ModelStoreSuite"
import { dirTotals, projectionDir } from "./ProjectionDirStores.js"

modelStoreSuite("a folder of SQLite files", projectionDir, { sqlTotals: dirTotals, also: "behind" })
