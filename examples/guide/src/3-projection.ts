import { EventStore } from "@millrace/core/EventStore"
import { ModelStore } from "@millrace/core/ModelStore"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import { Console, Effect } from "effect"
import { Book } from "./Library.js"
import { loans } from "./Loans.js"
import { services } from "./Services.js"

const program = Effect.gen(function* () {
  const store = yield* EventStore
  const models = yield* ModelStore
  const runner = yield* ProjectionRunner
  // Runs beside the program until the scope closes: in one process, and in the next one when that is gone.
  const running = yield* runner.run([loans])

  for (const [title, reader] of [
    ["Dune", "Ada"],
    ["Emma", "Ada"],
    ["Ulysses", "Grace"]
  ] as const) {
    const lent = yield* Book.encode("Lent", { reader, days: 14 })
    yield* store.write({ streamId: Book.streamId(title), events: [lent] })
  }
  const returned = yield* Book.encode("Returned", { reader: "Ada" })
  const { position } = yield* store.write({ streamId: Book.streamId("Dune"), events: [returned] })

  // What was written is in the model now, whichever process does it.
  yield* runner.waitFor(loans, position, "5 seconds")
  for (const { key, row } of yield* models.list(loans, { limit: 100 })) yield* Console.log(key, row)
  for (const { guarantee, name, phase } of yield* running.status)
    yield* Console.log(`${name}: ${phase}, ${guarantee}`)
})

await Effect.runPromise(Effect.provide(Effect.scoped(program), services))
