/** Operator checkpoints in a transaction of the caller's, as a sink has that keeps its rows beside them. */
import { assert, layer as testsWith } from "@effect/vitest"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import { fenceOf, joined, manifest, pieces } from "@millrace/testkit/suites/CheckpointScene"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** Declares the tests for one database. */
export const checkpointTransactions = <E>(
  name: string,
  layer: Layer.Layer<CheckpointStorage | SqlClient.SqlClient, E>
): void => {
  testsWith(layer, { timeout: "60 seconds", excludeTestServices: true })(
    `CheckpointStore / ${name} / transactions`,
    (it) => {
      it.effect("a checkpoint and the rows of a sink are committed together, or not at all", () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const store = yield* (yield* CheckpointStorage).forPipeline("together")
          yield* sql`CREATE TABLE sunk (checkpoint INTEGER NOT NULL)`
          const save = (id: number) =>
            sql.withTransaction(
              Effect.zipRight(
                sql`INSERT INTO sunk (checkpoint) VALUES (${id})`,
                store.saveWithState(manifest(id), Stream.fromIterable(pieces(1_500_000)), {
                  fence: fenceOf(1)
                })
              )
            )
          yield* save(1)
          const undone = sql.withTransaction(Effect.zipRight(save(2), Effect.fail("no" as const)))
          assert.strictEqual(yield* Effect.flip(undone), "no")
          assert.deepStrictEqual((yield* store.listIds).map(Number), [1])
          assert.isTrue(Option.isNone(yield* store.loadStateData(2)))
          assert.strictEqual(Number(Option.getOrThrow(yield* store.loadLatest).checkpointId), 1)
          const rows = yield* sql<{ readonly checkpoint: number }>`SELECT checkpoint FROM sunk`
          assert.deepStrictEqual(
            rows.map(({ checkpoint }) => checkpoint),
            [1]
          )
          assert.isTrue((yield* store.validateCheckpoint(1)).valid)
          yield* save(2)
          const state = yield* Stream.runCollect(Option.getOrThrow(yield* store.loadStateData(2)))
          assert.strictEqual(Buffer.compare(joined(state), joined(pieces(1_500_000))), 0)
        })
      )

      it.effect(
        "whoever is overtaken in the midst of a transaction is refused, and its rows are undone",
        () =>
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const storage = yield* CheckpointStorage
            const store = yield* storage.forPipeline("overtaken")
            yield* store.reserveId({ fence: fenceOf(3) })
            const late = yield* Effect.flip(
              sql.withTransaction(
                Effect.zipRight(
                  (yield* storage.forPipeline("other")).save(manifest(1)),
                  store.save(manifest(1), { fence: fenceOf(2) })
                )
              )
            )
            assert.strictEqual(late._tag, "LeaseLost")
            assert.deepStrictEqual(yield* (yield* storage.forPipeline("other")).listIds, [])
          })
      )

      it.effect("pieces of an attempt that broke off go with the next one", () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const store = yield* (yield* CheckpointStorage).forPipeline("pieces")
          const table =
            name === "postgres" ? sql("millrace.checkpoint_pieces") : sql("millrace_checkpoint_pieces")
          const count = Effect.map(
            sql<{ readonly pieces: number | string }>`
              SELECT count(*) AS pieces FROM ${table} WHERE pipeline = ${"pieces"}
            `,
            ([row]) => Number(row!.pieces)
          )
          // As a process leaves them that is killed: nobody takes them back.
          yield* sql`
            INSERT INTO ${table} (pipeline, id, attempt, piece, data)
            VALUES (${"pieces"}, ${5}, ${77}, ${0}, ${Buffer.from("x")})
          `
          assert.strictEqual(yield* store.cleanupOrphans(), 1)
          assert.strictEqual(yield* count, 0)
          yield* sql`
            INSERT INTO ${table} (pipeline, id, attempt, piece, data)
            VALUES (${"pieces"}, ${6}, ${77}, ${0}, ${Buffer.from("x")})
          `
          yield* store.saveWithState(manifest(6), Stream.fromIterable(pieces(2_097_153)))
          assert.strictEqual(yield* count, 3)
          yield* store.prune(0)
          assert.strictEqual(yield* count, 0)
        })
      )
    }
  )
}
