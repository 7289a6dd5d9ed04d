/** Contestants that catch up: a subscriber whose handler only adds handles a whole log. */
import * as SqlClient from "@effect/sql/SqlClient"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import type { EventStore } from "@millrace/core/EventStore"
import * as Subscriber from "@millrace/core/Subscriber"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import { Effect, Layer, ManagedRuntime } from "effect"
import type { Contestant, Place, Role } from "./contestant.js"
import { driveCalls } from "./drive.js"
import type { Payload } from "./payload.js"
import { checkedPass } from "./readCheck.js"
import type { Pass } from "./readCheck.js"

/** Events of `pg-subscriber-catch-up`: 200 000, with `--quick` 20 000. */
export const catchUpEvents = (quick: boolean): number => (quick ? 20_000 : 200_000)

type Services = EventStore | SubscriberStore | SqlClient.SqlClient

interface Logs {
  readonly stores: (place: Place) => Promise<Layer.Layer<Services, unknown>>
  /** Fills a log of so many events, of which event i has data `payload(i)`. */
  readonly load: (runtime: ManagedRuntime.ManagedRuntime<Services, unknown>, events: number) => Promise<void>
}

interface CatchUp extends Logs {
  readonly name: string
  readonly role: Role
  /** Events that are read at once and acknowledged together; absent, the subscriber's own default. */
  readonly chunkSize?: number
}

/** One call is one drain of the log, by a key that was never run before. */
const catchUp = ({ chunkSize, load, name, role, stores }: CatchUp): Contestant => ({
  name,
  role,
  open: async (place) => {
    const events = catchUpEvents(place.quick)
    const runtime = ManagedRuntime.make(Layer.merge(await stores(place), ActorRegistry.layer))
    await load(runtime, events)
    // As for the other contestants: no turn pays for what autovacuum does when it likes.
    await runtime.runPromise(Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe("VACUUM ANALYZE")))
    let drains = 0
    const drain = Effect.suspend(() => {
      let amountSum = 0
      const subscriber = Subscriber.make({
        key: `catch-up-${drains++}`,
        chunkSize,
        // Nothing is given back: no Effect an event.
        onEvent: (event) => {
          amountSum += (event.data as Payload).amount
        }
      })
      return Effect.map(Subscriber.drain(subscriber), (handled): Pass => ({ events: handled, amountSum }))
    })
    return {
      drive: driveCalls(checkedPass(() => runtime.runPromise(drain), events)),
      close: () => runtime.dispose()
    }
  }
})

/** A subscriber as it is by default, and one with pages as large as the limit's. */
export const catchingUp = (logs: Logs): ReadonlyArray<Contestant> => [
  catchUp({ ...logs, name: "ours", role: "ours" }),
  catchUp({ ...logs, name: "ours2000", role: "reference", chunkSize: 2_000 })
]
