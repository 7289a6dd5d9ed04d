import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { deriveEventId } from "@millrace/core/EventId"
import { EventStore } from "@millrace/core/EventStore"
import * as Subscriber from "@millrace/core/Subscriber"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { Console, Effect, Layer } from "effect"

const program = Effect.gen(function* () {
  const store = yield* EventStore
  // For every account that is opened, one letter is ordered: also when this is killed and run again.
  const welcome = Subscriber.make({
    key: "welcome",
    filters: [{ category: "account", type: "Opened" }],
    onPoison: "park",
    onEvent: (event, { lease }) => {
      const id = deriveEventId(`letter for ${event.id}`)
      const letter = { type: "LetterOrdered", data: event.data, id }
      return store.write({ streamId: `letter/${event.id}`, events: [letter] }, { fence: lease })
    }
  })
  for (const owner of ["Ada", "Grace"])
    yield* store.write({ streamId: `account/${owner}`, events: [{ type: "Opened", data: { owner } }] })
  // `drain` handles what is there by now; `Subscriber.run` goes on until its scope closes.
  yield* Console.log(`handled ${yield* Subscriber.drain(welcome)}, then ${yield* Subscriber.drain(welcome)}`)
})

const layers = Layer.merge(Sqlite.layer({ filename: ":memory:" }), ActorRegistry.layer)
await Effect.runPromise(Effect.provide(program, layers))
