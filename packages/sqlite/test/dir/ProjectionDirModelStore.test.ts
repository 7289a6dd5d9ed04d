/**
 * The rules of every model store, on a folder of SQLite files. What a step does `also` belongs to the log's database,
 * and comes after the commit where that is another one (see `ModelStep`): three tests ask for more than that, and
 * `ProjectionDir.test.ts` asks for what is promised.
 */
import { layer as testsWith } from "@effect/vitest"
import { modelFolds } from "@millrace/testkit/suites/ModelFolds"
import { modelGenerations } from "@millrace/testkit/suites/ModelGenerations"
import { modelHandlers } from "@millrace/testkit/suites/ModelHandlers"
import { modelHistories } from "@millrace/testkit/suites/ModelHistories"
import { modelListing } from "@millrace/testkit/suites/ModelListing"
import type { ModelIt } from "@millrace/testkit/suites/ModelScene"
import { modelSqlHandlers } from "@millrace/testkit/suites/ModelSqlHandlers"
import { modelSteps } from "@millrace/testkit/suites/ModelSteps"
import type { ProjectionDir } from "@millrace/sqlite/ProjectionDir"
import { dirTotals, projectionDir } from "./ProjectionDirStores.js"

/** They want a step undone when what it does also fails. */
const ofOneDatabase = new Set([
  "what is done also is done once with the step, and undoes it when it fails",
  "handlers: a step that is refused leaves nothing of what the handlers wrote",
  "batch: a step that is refused leaves nothing of what the handlers wrote"
])

testsWith(projectionDir, { timeout: "60 seconds", excludeTestServices: true })(
  "ModelStore / a folder of SQLite files",
  (it) => {
    const scoped = ((
      name: string,
      ...test: Parameters<typeof it.scoped> extends [unknown, ...infer T] ? T : never
    ) =>
      ofOneDatabase.has(name) ? it.scoped.skip(name, ...test) : it.scoped(name, ...test)) as typeof it.scoped
    const apart = { ...it, scoped } as ModelIt<ProjectionDir>
    modelFolds(apart)
    modelSteps(apart)
    modelListing(apart)
    modelGenerations(apart)
    modelHandlers(apart, false)
    modelSqlHandlers(apart, dirTotals)
    modelHistories(apart, 25)
  }
)
