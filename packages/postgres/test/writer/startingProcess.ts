/** One of several processes that start on the same empty database: comes up, appends, says what it got, and ends. */
import { EventStore } from "@millrace/core/EventStore"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Postgres from "../../src/Postgres.js"

const [url, name] = process.argv.slice(2)

/** Starts when the parent says so, so that all of them start at once. */
const told = Effect.async<void>((resume) => {
  process.stdin.once("data", () => resume(Effect.void))
  process.stdout.write("ready\n")
})

const main = Effect.gen(function* () {
  yield* told
  const result = yield* Effect.flatMap(EventStore, (store) =>
    Effect.zipRight(
      store.write({ streamId: `process/${name}`, events: [{ type: "Started", data: { name } }] }),
      store.write({ streamId: "process/all", events: [{ type: "Started", data: { name } }] })
    )
  ).pipe(Effect.provide(Postgres.layer({ url: Redacted.make(url!) })))
  process.stdout.write(`${JSON.stringify(result)}\n`)
  process.stdin.destroy()
})

Effect.runPromise(main).catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`)
  process.exit(1)
})
