/** A rebuilt model that a look by SQL finds wrong, or right, wherever it was built. */
import { assert, layer as testsWith } from "@effect/vitest"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { EventStore } from "@millrace/core/EventStore"
import type { ModelStore } from "@millrace/core/ModelStore"
import type { Projection } from "@millrace/core/Projection"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as SqlProjection from "@millrace/sql/SqlProjection"
import { refused } from "@millrace/testkit/suites/Scene"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sqlTotals } from "./SqlTotals.js"

/** Declares the tests for one log with one model store. */
export const verifications = <E>(
  name: string,
  stores: Layer.Layer<EventStore | SubscriberStore | ModelStore, E>
): void => {
  const layer = Layer.provideMerge(ProjectionRunner.layer, Layer.merge(stores, ActorRegistry.layer))
  testsWith(layer, { timeout: "60 seconds", excludeTestServices: true })(`verification / ${name}`, (it) => {
    it.effect("a look by SQL is made in the database that was built into, before the model is live", () =>
      Effect.gen(function* () {
        const log = yield* EventStore
        const runner = yield* ProjectionRunner
        const totals = sqlTotals("verified", { strength: "handlers", sign: 1, version: 1 })
        const projection = totals.projection as Projection<unknown>
        yield* log.write([
          { streamId: "a/1", events: [{ type: "E", data: { add: 3 } }] },
          { streamId: "a/2", events: [{ type: "E", data: { add: 4 } }] }
        ])
        yield* runner.catchUp(projection)
        const looking = (wanted: number) =>
          SqlProjection.verify(({ count, table }) =>
            Effect.gen(function* () {
              const sql = yield* SqlClient
              const [row] = yield* sql<{ readonly total: number | string }>`
                SELECT sum(total) AS total FROM ${sql(table("verified_t"))}
              `
              assert.notStrictEqual(table("verified_t"), "verified_t")
              const total = Number(row!.total)
              return total === wanted ? undefined : `${count} rows have ${total} instead of ${wanted}`
            })
          )
        const failed = yield* refused(
          runner.rebuild(projection, { verify: looking(8) }),
          "VerificationFailed"
        )
        assert.strictEqual(failed.reason, "2 rows have 7 instead of 8")
        assert.strictEqual((yield* runner.rebuild(projection, { verify: looking(7) })).verified, "check")
      })
    )
  })
}
