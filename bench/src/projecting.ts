/** Millrace's contestants of the projection cases: a fold whose rows are typed columns, caught up from nothing. */
import * as SqlClient from "@effect/sql/SqlClient"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import type { EventStore } from "@millrace/core/EventStore"
import { ModelStore } from "@millrace/core/ModelStore"
import * as Projection from "@millrace/core/Projection"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import { Effect, Layer, ManagedRuntime, Schema } from "effect"
import type { Contestant, Place, Role } from "./contestant.js"
import { addAmount, foldedEvents, foldingSession, noEvents, plainFold } from "./folding.js"
import type { Total, Totals } from "./folding.js"
import type { Payload } from "./payload.js"
import { readStreams } from "./readCheck.js"

type Log = EventStore | SubscriberStore | SqlClient.SqlClient
type Services = Log | ModelStore
type Runtime = ManagedRuntime.ManagedRuntime<Services | ProjectionRunner, unknown>

/** Where the log is, and where the models. */
export interface Projecting {
  readonly stores: (place: Place) => Promise<Layer.Layer<Services, unknown>>
  /** Fills a log of so many events, of which event i has data `payload(i)`. */
  readonly load: (runtime: Runtime, events: number) => Promise<void>
}

/** The projection of all these cases, under a name of its own. */
export const totals = (name: string): Projection.FoldProjection<Total> =>
  Projection.fold({
    name,
    row: Schema.Struct({ events: Schema.Int, amountSum: Schema.Int }),
    key: (event) => event.streamId,
    initial: () => noEvents,
    evolve: (total, event) => addAmount(total, (event.data as Payload).amount)
  })

/** A runtime on a log that was filled. */
export const openRuntime = async (
  { load, stores }: Projecting,
  place: Place,
  events: number
): Promise<Runtime> => {
  const layer = ProjectionRunner.layer.pipe(
    Layer.provideMerge(Layer.merge(await stores(place), ActorRegistry.layer))
  )
  const runtime = ManagedRuntime.make(layer)
  await load(runtime, events)
  // As for the other contestants: no turn pays for what autovacuum does when it likes.
  await runtime.runPromise(Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe("VACUUM ANALYZE")))
  return runtime
}

/** The rows of a live model. */
export const totalsOf = (runtime: Runtime, projection: Projection.FoldProjection<Total>): Promise<Totals> =>
  runtime.runPromise(
    Effect.flatMap(ModelStore, (models) =>
      Effect.map(
        // One row more than there should be is seen.
        models.list(projection, { limit: readStreams + 1 }),
        (rows) => new Map(rows.map(({ key, row }) => [key, row]))
      )
    )
  )

/** Forgets a projection and its models. */
export const removeModel = (runtime: Runtime, projection: Projection.Projection): Promise<void> =>
  runtime.runPromise(Effect.flatMap(ModelStore, (models) => models.remove(projection)))

/** By its default page, and by pages as large as the limit's. */
export const foldingProjections = (projecting: Projecting): ReadonlyArray<Contestant> => [
  folding({ ...projecting, name: "ours", role: "ours" }),
  folding({ ...projecting, name: "ours2000", role: "reference", batchSize: 2_000 })
]

// ---- internal ----

interface Folding extends Projecting {
  readonly name: string
  readonly role: Role
  /** Events of a page, and of a transaction; absent, the runner's own default. */
  readonly batchSize?: number
}

const folding = ({ batchSize, name, role, ...projecting }: Folding): Contestant => ({
  name,
  role,
  open: async (place) => {
    const events = foldedEvents(place.quick)
    const runtime = await openRuntime(projecting, place, events)
    const runner = await runtime.runPromise(ProjectionRunner)
    return foldingSession({
      events,
      expected: plainFold(events),
      catchUp: async (model) => {
        await runtime.runPromise(runner.catchUpPersistent(totals(model), { batchSize }))
      },
      rows: (model) => totalsOf(runtime, totals(model)),
      drop: (model) => removeModel(runtime, totals(model)),
      close: () => runtime.dispose()
    })
  }
})
