/** Models on a SQLite file: the form of their tables, and what several processes see. */
import { assert, it } from "@effect/vitest"
import { Epoch } from "@millrace/core/Lease"
import { LeaseLost } from "@millrace/core/LeaseLost"
import { ModelStore } from "@millrace/core/ModelStore"
import { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import * as SqlModelStore from "@millrace/sql/SqlModelStore"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { sqliteFile } from "@millrace/testkit/Databases"
import { counting, feed, listed, plainFold, stepOver, totals } from "@millrace/testkit/suites/ModelScene"
import { refused } from "@millrace/testkit/suites/Scene"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { storeUnavailable } from "../../src/SqliteFault.js"
import { sqlModels } from "../../../sql/test/SqlModels.js"

const sqlite = Layer.unwrapScoped(Effect.map(sqliteFile, (filename) => Sqlite.layer({ filename })))

sqlModels("sqlite", sqlite, (table) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const rows = yield* sql<{ readonly name: string }>`SELECT name FROM pragma_table_info(${table})`
    return rows.map(({ name }) => name)
  })
)

it.scopedLive("two processes on one file: of one step one writes rows, and readers see whole models", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    const [one, two] = yield* Effect.forEach([1, 2], () =>
      Effect.map(Layer.build(Sqlite.layer({ filename })), Context.get(ModelStore))
    )
    const projection = totals("contended")
    const log = counting(60)
    const models = yield* Effect.forEach([one!, two!], (store) => store.open(projection))
    for (let from = 0; from < log.length; from += 4) {
      const page = log.slice(from, from + 4)
      const results = yield* Effect.forEach(
        models,
        (model) => Effect.either(model.apply(page, stepOver(page, from, 1))),
        { concurrency: "unbounded" }
      )
      const lost = results.flatMap((result) => (result._tag === "Left" ? [result.left._tag] : []))
      assert.deepStrictEqual(lost, ["ProjectionMoved"])
    }
    const rows = listed(plainFold(projection, log))
    assert.deepStrictEqual(yield* two!.list(projection, { limit: 10 }), rows)
    for (const generation of [1, 2, 3]) {
      yield* feed(yield* one!.open(projection, generation), log)
      const reader = yield* Effect.fork(Effect.forever(two!.list(projection, { limit: 10 })))
      yield* one!.swap(projection, generation, { epoch: Epoch.make(1), keepFormer: true })
      assert.deepStrictEqual(yield* two!.list(projection, { limit: 10 }), rows)
      assert.isTrue(Option.isNone(yield* Fiber.poll(reader)), "no reader failed")
      yield* Fiber.interrupt(reader)
    }
  })
)

it.scopedLive("where the log is elsewhere, what a step does also comes after its commit", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    const context = yield* Layer.build(Sqlite.layer({ filename }))
    const sql = Context.get(context, SqlClient)
    const apart = yield* SqlModelStore.make({
      prefix: "millrace_",
      checkpoints: Context.get(context, ProjectionCheckpointStore),
      storeUnavailable,
      sharesLog: false
    }).pipe(Effect.provideService(SqlClient, sql))
    const projection = totals("apart")
    const page = counting(3)
    const model = yield* apart.open(projection)
    const lost = new LeaseLost({ key: "projection", holder: "v" })
    yield* refused(model.apply(page, stepOver(page, 0, 1, Effect.fail(lost))), "LeaseLost")
    assert.strictEqual(yield* model.count, 3, "it was committed before")
  })
)
