import * as SqlClient from "@effect/sql/SqlClient"
import * as EventCodec from "@millrace/core/EventCodec"
import { EventStore } from "@millrace/core/EventStore"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import { fromEvents } from "@millrace/pipeline/sources/EventStoreSource"
import * as Watermarks from "@millrace/pipeline/Watermarks"
import * as Windows from "@millrace/pipeline/Windows"
import * as SqlSink from "@millrace/sql/SqlSink"
import { Console, DateTime, Effect, Schema } from "effect"
import { services } from "./Services.js"

// What the doors of the branches count. They send when they have a connection, not always in order.
const Door = EventCodec.category("door", {
  Counted: Schema.Struct({ at: Schema.DateTimeUtc, visitors: Schema.Int })
})

// The results: a row for each branch and hour.
const table = SqlSink.upsert({
  name: "visitors",
  table: "visitors",
  key: ["branch", "hour"],
  row: ({ key, value, window }: { key: string; value: number; window: Windows.TimeWindow }) => ({
    branch: key,
    hour: new Date(window.start).toISOString().slice(11, 16),
    visitors: value
  }),
  createTable: () =>
    Effect.flatMap(
      SqlClient.SqlClient,
      (sql) =>
        sql`CREATE TABLE IF NOT EXISTS visitors (branch TEXT, hour TEXT, visitors INTEGER, PRIMARY KEY (branch, hour))`
    )
})

const visitors = Pipeline.make(
  "visitors-per-hour",
  Pipeline.from(fromEvents({ name: "doors", codec: Door, until: "head" }), {
    timestamp: ({ data }) => DateTime.toEpochMillis(data.at),
    watermarks: Watermarks.bounded("10 minutes")
  }).pipe(
    Pipeline.keyBy(({ event }) => event.streamId.slice("door/".length)),
    Pipeline.window(Windows.tumbling("1 hour")),
    Pipeline.aggregate(
      Aggregates.sum(({ data }) => data.visitors),
      { id: "per-hour" }
    ),
    Pipeline.to(table)
  )
)

const counted = (branch: string, time: string, count: number) =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const at = DateTime.unsafeMake(`2026-03-02T${time}:00Z`)
    const event = yield* Door.encode("Counted", { at, visitors: count })
    yield* store.write({ streamId: Door.streamId(branch), events: [event] })
  })

const show = Effect.gen(function* () {
  // Input comes in portions here: windows that are not complete stay open until the next run.
  yield* Pipeline.run(visitors, { atEnd: "keep" })
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{
    branch: string
    hour: string
    visitors: number
  }>`SELECT * FROM visitors ORDER BY hour, branch`
  yield* Console.log(
    rows.map(({ branch, hour, visitors }) => `${branch} ${hour} ${visitors}`).join(", ") || "nothing yet"
  )
})

const program = Effect.gen(function* () {
  yield* counted("north", "09:05", 3)
  yield* counted("south", "09:40", 4)
  yield* counted("north", "10:02", 5)
  yield* counted("north", "09:58", 2)
  yield* show
  // At 10:10 nothing of the hour before 10:00 can still come: both branches' windows give their sum.
  yield* counted("south", "10:10", 1)
  yield* show
  yield* counted("north", "11:10", 7)
  yield* show
})

await Effect.runPromise(Effect.provide(program, services))
