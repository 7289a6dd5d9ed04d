import { EventStore } from "@millrace/core/EventStore"
import * as Page from "@millrace/core/Page"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { Console, Effect } from "effect"
import { Book } from "./Library.js"

const program = Effect.gen(function* () {
  const store = yield* EventStore
  const streamId = Book.streamId("dune")
  const acquired = yield* Book.encode("Acquired", { title: "Dune", branch: "north" })
  const lent = yield* Book.encode("Lent", { reader: "Ada", days: 14 })
  const { appends } = yield* store.write({ streamId, events: [acquired, lent], expected: "empty" })
  const { version } = appends[0]!

  // Two desks lend the same copy, and both have seen the same version of its stream. One of them is refused.
  const again = yield* Book.encode("Lent", { reader: "Grace", days: 7 })
  const desks = ["first", "second"].map((desk) =>
    Effect.as(store.write({ streamId, events: [again], expected: version }), `${desk} desk: lent`).pipe(
      Effect.catchTag("InvalidOriginalVersion", ({ actual }) =>
        Effect.succeed(`${desk} desk: refused, the stream is at version ${actual}`)
      )
    )
  )
  for (const said of yield* Effect.all(desks)) yield* Console.log(said)

  const page = yield* store.read({ filters: [{ streamId }], page: Page.forward({ first: 100 }) })
  for (const { data, event, type } of yield* Book.decodeAll(Page.nodes(page)))
    yield* Console.log(`v${event.version} ${type}`, data)
})

await Effect.runPromise(Effect.provide(program, Sqlite.layer({ filename: ":memory:" })))
