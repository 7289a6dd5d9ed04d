/**
 * Results in the database of the checkpoints: rows and manifest are one transaction. When the rows cannot be written,
 * there is no checkpoint either, and what is there belongs together.
 */
import { assert, describe, it } from "@effect/vitest"
import * as SqlClient from "@effect/sql/SqlClient"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import type { Source } from "@millrace/core/Source"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as Postgres from "@millrace/postgres/Postgres"
import * as SqlSink from "@millrace/sql/SqlSink"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type { StoreAddress } from "../consumers/Stores.js"
import { newStore } from "../consumers/Stores.js"

/** Numbers one after another, as they are asked for by hand. */
const byHand = () => {
  const gate = Effect.unsafeMakeSemaphore(0)
  const source: Source<number> = {
    name: "numbers",
    isReplayable: true,
    open: ({ "0": at }) =>
      Effect.sync(() => {
        let n = Number(at ?? 0)
        return {
          partitions: ["0"],
          next: Effect.map(gate.take(1), () => ({ values: [n], partition: "0", offset: String(++n) }))
        }
      })
  }
  return { source, give: (count: number) => gate.release(count) }
}

/** Takes numbers up to 49. */
const table = SqlSink.upsert({
  name: "small",
  table: "small_numbers",
  key: ["n"],
  row: (n: number) => ({ n }),
  createTable: (name) =>
    Effect.flatMap(
      SqlClient.SqlClient,
      (sql) => sql`CREATE TABLE IF NOT EXISTS ${sql(name)} (n INTEGER PRIMARY KEY CHECK (n < 50))`
    )
})

const layerOf = (address: StoreAddress) =>
  Layer.merge(
    address.kind === "postgres"
      ? Postgres.layer({ url: Redacted.make(address.url), maxConnections: 4 })
      : Sqlite.layer({ filename: address.filename, synchronous: "NORMAL" }),
    ActorRegistry.layer
  )

const scene = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const store = yield* (yield* CheckpointStorage).forPipeline("together")
  const rows = Effect.map(sql<{ readonly n: number }>`SELECT n FROM small_numbers ORDER BY n`, (found) =>
    found.map(({ n }) => n)
  )
  const { give, source } = byHand()
  const running = yield* Pipeline.start(
    Pipeline.make("together", Pipeline.to(table)(Pipeline.from(source))),
    {
      supervision: Schedule.stop,
      checkpointEvery: "1 hour"
    }
  )
  const arrived = (count: number) =>
    Effect.repeat(running.status, {
      schedule: Schedule.spaced("5 millis"),
      until: ({ operators }) => operators.some(({ id, recordsIn }) => id === "small" && recordsIn === count)
    })
  yield* give(40)
  yield* arrived(40)
  assert.deepStrictEqual(yield* rows, [], "nothing is there before its checkpoint")
  const { checkpointId } = yield* running.checkpoint
  assert.strictEqual((yield* rows).length, 40)
  const first = Option.getOrThrow(yield* store.loadById(checkpointId))
  assert.deepStrictEqual(first.sinkCommitStatuses, { small: { _tag: "Committed" } })
  assert.isFalse(yield* store.commitDecision(checkpointId), "there was nothing to decide")

  // The next ones do not fit the table: neither they nor the fitting ones beside them, nor a checkpoint.
  yield* give(20)
  yield* arrived(60)
  assert.isTrue(Exit.isFailure(yield* Effect.exit(running.checkpoint)))
  assert.isTrue(Exit.isFailure(yield* Effect.exit(running.await)))
  assert.deepStrictEqual(
    yield* rows,
    Array.from({ length: 40 }, (_, n) => n)
  )
  assert.deepStrictEqual((yield* store.listIds).map(Number), [checkpointId])
  const report = yield* store.recoverLatestValidated
  assert.deepStrictEqual(Option.getOrThrow(report.chosen).sourceOffsets, { numbers: { "0": "40" } })
})

describe("results and checkpoint in one transaction", () => {
  for (const kind of ["sqlite", "postgres"] as const)
    it.scopedLive(
      `${kind}: both or neither`,
      () =>
        Effect.gen(function* () {
          const address = yield* newStore(kind)
          yield* Effect.provide(Effect.scoped(scene), layerOf(address))
        }),
      60_000
    )
})
