/** The projection of these tests, which says in each row of what version it is, and the stores that it runs on. */
import * as ActorRegistries from "@millrace/core/ActorRegistry"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { ModelStore } from "@millrace/core/ModelStore"
import * as Projection from "@millrace/core/Projection"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as ProjectionDir from "@millrace/sqlite/ProjectionDir"
import type { SwapPoint } from "@millrace/sqlite/ProjectionDirStore"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import type { SqliteServices } from "@millrace/sqlite/Sqlite"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

/** Where log and models are. */
export interface Place {
  readonly log: string
  readonly folder: string
}

/** Counts the events of each stream. */
export const totals = (version: number) =>
  Projection.fold({
    name: "totals",
    version,
    row: Schema.Struct({ events: Schema.Int, by: Schema.Int }),
    key: (event) => event.streamId,
    initial: () => ({ events: 0, by: version }),
    evolve: (row) => ({ events: row.events + 1, by: version })
  })

/** Short times. */
export const quick = { ttl: "400 millis", pollInterval: "20 millis", retry: Schedule.stop } as const

export type Services = SqliteServices | ProjectionDir.ProjectionDir | ProjectionRunner

/** A runner over a log in one file and models in a folder. */
export const layer = (
  { folder, log }: Place,
  at?: (point: SwapPoint) => Effect.Effect<void>
): Layer.Layer<Services, InvalidArgument | StoreUnavailable> => {
  const dir = Layer.scopedContext(
    Effect.map(ProjectionDir.makeStopping({ folder }, at), ({ dir, models }) =>
      Context.add(Context.make(ProjectionDir.ProjectionDir, dir), ModelStore, models)
    )
  )
  const stores = Layer.merge(Sqlite.layer({ filename: log, pollInterval: "10 millis" }), dir)
  return Layer.provideMerge(ProjectionRunner.layer, Layer.merge(stores, ActorRegistries.layer))
}
