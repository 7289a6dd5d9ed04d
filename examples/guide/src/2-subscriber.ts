import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { deriveEventId } from "@millrace/core/EventId"
import { EventStore } from "@millrace/core/EventStore"
import * as Subscriber from "@millrace/core/Subscriber"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { Console, Effect, Layer, Logger, LogLevel, Schedule } from "effect"
import { Book } from "./Library.js"

const program = Effect.gen(function* () {
  const store = yield* EventStore
  for (const title of ["Dune", "Emma", "Ulysses"]) {
    const lent = yield* Book.encode("Lent", { reader: "Ada", days: 14 })
    yield* store.write({ streamId: Book.streamId(title), events: [lent] })
  }
  let down = true
  const reminders = Subscriber.make({
    key: "reminders",
    filters: [{ category: "book", type: "Lent" }],
    onPoison: "park",
    retry: Schedule.recurs(2),
    onEvent: (event, { lease }) =>
      Effect.gen(function* () {
        if (down && event.streamId === "book/Emma") return yield* Effect.fail("the calendar is down")
        // The same event gives the same id, so that a reminder is written once, however often this is run.
        const reminder = { type: "ReminderSet", data: {}, id: deriveEventId("reminder", event.id) }
        return yield* store.write({ streamId: `reminder/${event.id}`, events: [reminder] }, { fence: lease })
      })
  })
  yield* Console.log(`handled ${yield* Subscriber.drain(reminders)}`)
  for (const { parkKey, reason } of yield* Subscriber.parked(reminders))
    yield* Console.log(`${parkKey} is set aside: ${reason}`)

  // What was set aside is handled again, in order, when somebody asks for it.
  down = false
  yield* Subscriber.retryParked(reminders)
  yield* Effect.scoped(
    Effect.gen(function* () {
      yield* Subscriber.run(reminders)
      yield* Effect.repeat(Subscriber.parked(reminders), {
        until: (parked) => parked.length === 0,
        schedule: Schedule.spaced("20 millis")
      })
    })
  )
  yield* Console.log(
    `${(yield* store.listStreams({ prefix: "reminder/", limit: 10 })).length} reminders are set`
  )
})

const layers = Layer.merge(Sqlite.layer({ filename: ":memory:" }), ActorRegistry.layer)
await Effect.runPromise(Effect.provide(Logger.withMinimumLogLevel(program, LogLevel.Error), layers))
