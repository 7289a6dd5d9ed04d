import { EventStore } from "@millrace/core/EventStore"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import * as SqlProjection from "@millrace/sql/SqlProjection"
import { SqlClient } from "@effect/sql/SqlClient"
import { Console, Effect } from "effect"
import { Book } from "./Library.js"
import { services } from "./Services.js"

// Any statements, for each event: they commit together with the place in the log, or not at all.
const shelves = SqlProjection.handlers({
  name: "shelves",
  filters: [{ category: "book" }],
  tables: {
    shelves: (table) =>
      Effect.flatMap(
        SqlClient,
        (sql) => sql`CREATE TABLE ${sql(table)} (book TEXT PRIMARY KEY, branch TEXT, lent INTEGER)`
      )
  },
  onEvent: (event, { table }) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const shelves = sql(table("shelves"))
      const fact = yield* Book.decode(event)
      if (fact.type === "Acquired")
        yield* sql`INSERT INTO ${shelves} VALUES (${event.streamId}, ${fact.data.branch}, 0)`
      else
        yield* sql`UPDATE ${shelves} SET lent = ${fact.type === "Lent" ? 1 : 0} WHERE book = ${event.streamId}`
    })
})

const program = Effect.gen(function* () {
  const store = yield* EventStore
  const runner = yield* ProjectionRunner
  const sql = yield* SqlClient
  for (const [title, branch] of [
    ["Dune", "north"],
    ["Emma", "south"],
    ["Ulysses", "south"]
  ] as const) {
    const acquired = yield* Book.encode("Acquired", { title, branch })
    yield* store.write({ streamId: Book.streamId(title), events: [acquired] })
  }
  const lent = yield* Book.encode("Lent", { reader: "Ada", days: 14 })
  yield* store.write({ streamId: Book.streamId("Emma"), events: [lent] })

  // Once, up to what is in the log by now; `run` goes on.
  yield* Console.log(`${yield* runner.catchUp(shelves)} events`)
  const rows =
    yield* sql`SELECT branch, count(*) AS books, sum(lent) AS lent FROM shelves GROUP BY branch ORDER BY branch`
  for (const row of rows) yield* Console.log(JSON.stringify(row))
})

await Effect.runPromise(Effect.provide(program, services))
