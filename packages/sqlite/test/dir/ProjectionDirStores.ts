/** A folder of projections for one test file, and the handlers that the suite of model stores runs on it. */
import { SqlClient } from "@effect/sql/SqlClient"
import type { ModelStore } from "@millrace/core/ModelStore"
import * as ProjectionDir from "@millrace/sqlite/ProjectionDir"
import { folder } from "@millrace/testkit/Databases"
import type { SqlTotals } from "@millrace/testkit/suites/ModelSqlHandlers"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sqlTotals } from "../../../sql/test/SqlTotals.js"

/** A new folder for each build. It is removed after its files were closed. */
export const projectionDir: Layer.Layer<ModelStore | ProjectionDir.ProjectionDir, unknown> =
  Layer.unwrapScoped(Effect.map(folder, (path) => ProjectionDir.layer({ folder: path })))

/** Those of every SQL database, which read their tables in the file of their projection. */
export const dirTotals: SqlTotals<ProjectionDir.ProjectionDir> = (name, form) => {
  const { projection, read } = sqlTotals(name, form)
  return {
    projection: projection as never,
    read: Effect.gen(function* () {
      const dir = yield* ProjectionDir.ProjectionDir
      return yield* Effect.provideService(read, SqlClient, yield* dir.db(name))
    })
  }
}
