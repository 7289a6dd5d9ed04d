/** Pipelines that are killed, each as a process is told of it: what it computes, where its checkpoints are, and what it has written. */
import { NodeContext } from "@effect/platform-node"
import * as SqlClient from "@effect/sql/SqlClient"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import type { CheckpointStorage } from "@millrace/core/CheckpointStore"
import * as FileCheckpointStore from "@millrace/core/FileCheckpointStore"
import type { Source } from "@millrace/core/Source"
import type { RunOptions } from "@millrace/pipeline/Pipeline"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import { toFiles } from "@millrace/pipeline/sinks/FileSink"
import * as Postgres from "@millrace/postgres/Postgres"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { load } from "../../examples/flights/src/Dataset.js"
import { ingest } from "../../examples/flights/src/Ingest.js"
import { pipeline as flights } from "../../examples/flights/src/Windows.js"
import { hourly, sessions } from "../../examples/flights/src/WindowTables.js"
import * as Generator from "../../examples/nexmark/src/Generator.js"
import * as Queries from "../../examples/nexmark/src/Queries.js"
import type { StoreAddress } from "../consumers/Stores.js"

/** What is computed. */
export type Work =
  | {
      readonly kind: "query"
      readonly query: Queries.QueryName
      readonly events: number
      readonly seed: number
      /** Of checkpoints, and of the results in it. */
      readonly folder: string
    }
  | { readonly kind: "flights"; readonly store: StoreAddress }

/** Name of the pipeline, under which its checkpoints are. */
export const pipelineName = "flights"

/** Runs it to its end. */
export const run = (work: Work, options: RunOptions): Effect.Effect<void, unknown> => {
  switch (work.kind) {
    case "query": {
      const out = toFiles<unknown>({ name: "results", folder: join(work.folder, "results") })
      const source = paced(
        Generator.source({
          events: work.events,
          seed: work.seed,
          batchSize: 200,
          eventsPerSecond: 500,
          outOfOrdernessMs: 50
        })
      )
      const query = Queries.queries[work.query](Queries.eventsOf(source, 50))
      const pipeline = Pipeline.make(pipelineName, Pipeline.to(out)(query))
      return Pipeline.run(pipeline, options).pipe(Effect.provide(services(work)))
    }
    case "flights":
      return Pipeline.run(flights({ hourly, sessions }, 200), options).pipe(
        Effect.provide(storeOf(work.store)),
        Effect.provide(ActorRegistry.layer)
      )
  }
}

/** What it has written, in an order of its own. */
export const output = (work: Work): Effect.Effect<ReadonlyArray<string>, unknown> => {
  switch (work.kind) {
    case "query":
      return Effect.sync(() => {
        const folder = join(work.folder, "results")
        if (!existsSync(folder)) return []
        return readdirSync(folder)
          .filter((name) => name.startsWith("part-"))
          .flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n"))
          .filter((line) => line !== "")
          .sort()
      })
    case "flights":
      return Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const hours = yield* sql<Record<string, unknown>>`SELECT * FROM flights_hourly`
        const routes = yield* sql<Record<string, unknown>>`SELECT * FROM flights_sessions`
        return [...hours, ...routes]
          .map((row) => JSON.stringify(Object.entries(row).map(([k, v]) => [k, String(v)])))
          .sort()
      }).pipe(Effect.provide(storeOf(work.store)))
  }
}

/** What it reads, if it has to be there first. */
export const fill = (work: Work): Effect.Effect<void, unknown> =>
  work.kind === "query"
    ? Effect.void
    : Effect.flatMap(load, ingest).pipe(
        Effect.provide(storeOf(work.store)),
        Effect.provide(NodeContext.layer),
        Effect.asVoid
      )

/** Where its checkpoints are. */
export const services = (
  work: Work
): Layer.Layer<
  CheckpointStorage | ActorRegistry.ActorRegistry | Layer.Layer.Success<typeof NodeContext.layer>,
  unknown
> => {
  const storage =
    work.kind === "query"
      ? Layer.provide(
          FileCheckpointStore.layer({ folder: join(work.folder, "checkpoints") }),
          NodeContext.layer
        )
      : storeOf(work.store)
  return Layer.mergeAll(storage, ActorRegistry.layer, NodeContext.layer)
}

// ---- internal ----

const storeOf = (address: StoreAddress) =>
  address.kind === "postgres"
    ? Postgres.layer({ url: Redacted.make(address.url), maxConnections: 4 })
    : Sqlite.layer({ filename: address.filename, synchronous: "NORMAL" })

/** So slow that there are several checkpoints on the way. */
const paced = <A, E, R>(source: Source<A, E, R>): Source<A, E, R> => ({
  ...source,
  open: (offsets, context) =>
    Effect.map(source.open(offsets, context), (reader) => ({
      ...reader,
      next: Effect.zipRight(Effect.sleep("2 millis"), reader.next)
    }))
})
