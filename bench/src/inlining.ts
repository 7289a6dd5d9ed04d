/** Millrace's contestant of `pg-inline`: appends whose projection is made in their own transaction. */
import * as SqlClient from "@effect/sql/SqlClient"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { EventStore } from "@millrace/core/EventStore"
import type { ModelStore } from "@millrace/core/ModelStore"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as InlineProjections from "@millrace/sql/InlineProjections"
import { Effect, Layer, ManagedRuntime } from "effect"
import type { Contestant, Place } from "./contestant.js"
import { driveEffects } from "./drive.js"
import { checkTotals } from "./folding.js"
import type { Total, Totals } from "./folding.js"
import { eventType, payload, streamName } from "./payload.js"
import { totals } from "./projecting.js"

/** Where the log and the model are, and how both are read by hand. */
interface Inlining {
  readonly stores: (
    place: Place
  ) => Promise<Layer.Layer<EventStore | SubscriberStore | ModelStore | SqlClient.SqlClient, unknown>>
  /** Stream, number of events and sum of their amounts, by a statement over the log. */
  readonly selectLog: string
  /** The same of the model's table. */
  readonly selectModel: (table: string) => string
}

/** One event a call. The log grows from turn to turn, and the model with it. */
export const inlining = ({ selectLog, selectModel, stores }: Inlining): Contestant => ({
  name: "ours",
  role: "ours",
  open: async (place) => {
    const runner = ProjectionRunner.layer.pipe(
      Layer.provideMerge(Layer.merge(await stores(place), ActorRegistry.layer))
    )
    const runtime = ManagedRuntime.make(
      InlineProjections.layer([totals(table)]).pipe(Layer.provideMerge(runner))
    )
    const store = await runtime.runPromise(EventStore)
    const select = (statement: string): Promise<Totals> =>
      runtime.runPromise(
        Effect.flatMap(SqlClient.SqlClient, (sql) =>
          Effect.map(sql.unsafe<Row>(statement), (rows) => new Map(rows.map(toTotal)))
        )
      )
    const count = async (): Promise<number> => {
      let events = 0
      for (const total of (await select(selectLog)).values()) events += total.events
      return events
    }
    let next = 0
    let before = 0
    return {
      drive: driveEffects(runtime, (caller) =>
        Effect.as(
          store.write({
            streamId: streamName(caller),
            events: [{ type: eventType, data: payload(next++) }]
          }),
          1
        )
      ),
      reset: async () => {
        before = await count()
      },
      count: async () => (await count()) - before,
      check: async () =>
        checkTotals(`model=${table}`, await select(selectModel(table)), await select(selectLog)),
      close: () => runtime.dispose()
    }
  }
})

// ---- internal ----

const table = "inline_totals"

interface Row {
  readonly key: string
  readonly events: number | string
  readonly sum: number | string
}

const toTotal = ({ events, key, sum }: Row): [string, Total] => [
  key,
  { events: Number(events), amountSum: Number(sum) }
]
