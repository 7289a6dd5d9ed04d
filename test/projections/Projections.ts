/** The projections that are attacked, and the stores that they stand on: by an address that a process can be told. */
import type { EventStore } from "@millrace/core/EventStore"
import type { RecordedEvent } from "@millrace/core/Event"
import { ModelStore } from "@millrace/core/ModelStore"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Projection from "@millrace/core/Projection"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Postgres from "@millrace/postgres/Postgres"
import * as SqlProjection from "@millrace/sql/SqlProjection"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { StoreAddress } from "../consumers/Stores.js"

/** Everything that runs at an address. */
export const processLayer = (
  address: StoreAddress
): Layer.Layer<
  | EventStore
  | SubscriberStore
  | ModelStore
  | SqlClient.SqlClient
  | ProjectionRunner
  | ActorRegistry.ActorRegistry,
  unknown
> => {
  const stores =
    address.kind === "postgres"
      ? Postgres.layer({ url: Redacted.make(address.url), maxConnections: 6 })
      : Sqlite.layer({ filename: address.filename, synchronous: "NORMAL" })
  return ProjectionRunner.layer.pipe(Layer.provideMerge(Layer.merge(stores, ActorRegistry.layer)))
}

export const numberOf = (event: RecordedEvent): number => (event.data as { readonly number: number }).number

const Row = Schema.Struct({ events: Schema.Int, total: Schema.Int, trail: Schema.Int, version: Schema.Int })

/**
 * The events of each stream: counted, summed, and chained, so that another order gives another row. Each version
 * has other rows: it multiplies the sum, and says in every row which one it is.
 */
export const folded = (version = 1) =>
  Projection.fold({
    name: "folded",
    version,
    filters: [{ type: "Numbered" }],
    row: Row,
    key: (event) => event.streamId,
    initial: () => ({ events: 0, total: 0, trail: 7, version }),
    evolve: (row, event) => ({
      events: row.events + 1,
      total: row.total + numberOf(event) * version,
      trail: (row.trail * 31 + numberOf(event)) % 1_000_003,
      version: row.version
    })
  })

/** The same by SQL, a statement an event. `inside` is done at every event, within its transaction. */
export const handled = (inside: (event: RecordedEvent) => Effect.Effect<void> = () => Effect.void) =>
  SqlProjection.handlers({
    name: "handled",
    filters: [{ type: "Numbered" }],
    tables: {
      handled: (table) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`CREATE TABLE ${sql(table)} (
            stream TEXT PRIMARY KEY, events INTEGER NOT NULL, total INTEGER NOT NULL, trail INTEGER NOT NULL
          )`
        })
    },
    onEvent: (event, { table }) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const number = numberOf(event)
        yield* sql`
          INSERT INTO ${sql(table("handled"))} AS t (stream, events, total, trail)
          VALUES (${event.streamId}, 1, ${number}, ${(7 * 31 + number) % 1_000_003})
          ON CONFLICT (stream) DO UPDATE SET
            events = t.events + 1,
            total = t.total + ${number},
            trail = (t.trail * 31 + ${number}) % 1000003
        `
        yield* inside(event)
      })
  })

/** A model as it can be compared: `[events, total, trail]` by stream. */
export type Rows = Readonly<Record<string, ReadonlyArray<number>>>

/** The rows of both models, and the versions of the rows of the fold. */
export const models: Effect.Effect<
  { readonly folded: Rows; readonly handled: Rows; readonly versions: ReadonlyArray<number> },
  unknown,
  ModelStore | SqlClient.SqlClient
> = Effect.gen(function* () {
  const store = yield* ModelStore
  const sql = yield* SqlClient.SqlClient
  const rows = yield* store.list(folded(), { limit: 10_000 })
  const table = yield* sql<{ stream: string; events: number; total: number; trail: number }>`
    SELECT stream, events, total, trail FROM handled
  `
  return {
    versions: [...new Set(rows.map(({ row }) => row.version))],
    folded: Object.fromEntries(rows.map(({ key, row }) => [key, [row.events, row.total, row.trail]])),
    handled: Object.fromEntries(
      table.map((row) => [row.stream, [row.events, row.total, row.trail].map(Number)])
    )
  }
})

/** The rows that a plain fold of the log gives. */
export const plainRows = (events: ReadonlyArray<RecordedEvent>, version = 1): Rows => {
  const rows: Record<string, [number, number, number]> = {}
  for (const event of events) {
    const number = numberOf(event)
    const row = (rows[event.streamId] ??= [0, 0, 7])
    row[0] += 1
    row[1] += number * version
    row[2] = (row[2] * 31 + number) % 1_000_003
  }
  return rows
}
