import { EventStore } from "@millrace/core/EventStore"
import { ModelStore } from "@millrace/core/ModelStore"
import * as Projection from "@millrace/core/Projection"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import { Console, Effect, Option, Schema } from "effect"
import { Book } from "./Library.js"
import { loans } from "./Loans.js"
import { services } from "./Services.js"

// The second version also counts days. The same events give another model, so the version is another one.
const loansWithDays = Projection.foldOf(Book, {
  name: "loans",
  version: 2,
  row: Schema.Struct({ books: Schema.Int, ever: Schema.Int, days: Schema.Int }),
  key: (fact) => (fact.type === "Acquired" ? undefined : fact.data.reader),
  initial: () => ({ books: 0, ever: 0, days: 0 }),
  evolve: ({ books, days, ever }, fact) =>
    fact.type === "Lent"
      ? { books: books + 1, ever: ever + 1, days: days + fact.data.days }
      : { books: books - 1, ever, days }
})

const program = Effect.gen(function* () {
  const store = yield* EventStore
  const models = yield* ModelStore
  const runner = yield* ProjectionRunner
  for (let day = 1; day <= 1_000; day++) {
    const lent = yield* Book.encode("Lent", { reader: day % 2 === 0 ? "Ada" : "Grace", days: (day % 7) + 1 })
    const returned = yield* Book.encode("Returned", { reader: day % 2 === 0 ? "Ada" : "Grace" })
    yield* store.write({ streamId: Book.streamId("Dune"), events: [lent, returned] })
  }
  yield* runner.catchUp(loans)

  // Built beside the one that serves, checked against a second fold, and put in its place at once.
  const { processed, verified } = yield* runner.rebuild(loansWithDays, {
    onProgress: ({ done, processed, total }) =>
      done ? Console.log(`${processed} of ${total} events`) : Effect.void
  })
  yield* Console.log(`rebuilt from ${processed} events, verified by a second ${verified}`)
  yield* Console.log(Option.getOrThrow(yield* models.get(loansWithDays, "Ada")))

  // The former model is kept: going back brings it up to date and puts it in place again.
  yield* runner.rollBack(loans)
  yield* Console.log(Option.getOrThrow(yield* models.get(loans, "Ada")))
})

await Effect.runPromise(Effect.provide(program, services))
