import * as EventCodec from "@millrace/core/EventCodec"
import { EventStore } from "@millrace/core/EventStore"
import * as Page from "@millrace/core/Page"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { Console, Effect, Schema } from "effect"

// The events of `account/…` streams, each with the Schema of its data.
const Account = EventCodec.category("account", {
  Opened: Schema.Struct({ owner: Schema.String }),
  Deposited: Schema.Struct({ amountCents: Schema.Int.pipe(Schema.positive()) })
})

const program = Effect.gen(function* () {
  const store = yield* EventStore
  const opened = yield* Account.encode("Opened", { owner: "Ada" })
  const deposited = yield* Account.encode("Deposited", { amountCents: 12_50 })

  // Both events or none, and only if nobody wrote to the stream before.
  const streamId = Account.streamId("42")
  yield* store.write({ streamId, events: [opened, deposited], expected: "empty" })

  const page = yield* store.read({ filters: [{ streamId }], page: Page.forward({ first: 100 }) })
  for (const { data, event, type } of yield* Account.decodeAll(Page.nodes(page)))
    yield* Console.log(`${event.streamId} v${event.version}: ${type}`, data)
})

await Effect.runPromise(Effect.provide(program, Sqlite.layer({ filename: ":memory:" })))
