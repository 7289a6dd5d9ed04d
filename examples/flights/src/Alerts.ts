/**
 * The subscriber: writes a `DelayAlerted` to `alert/<airport>` for each flight that was more than two hours late,
 * one for each such flight, wherever it is killed and however often it runs.
 *
 *     airport/DFW  FlightDeparted 01J…  delay 151  ──▶  alert/DFW  DelayAlerted, id derived from 01J…
 *
 * An event may come twice: the cursor is stored now and then, and what was handled behind it comes again after a
 * crash. Its alert has the same id then, and a write of ids that are in the log already changes nothing. Nor can
 * a process that was frozen and overtaken write: `fence` has the log refuse it. Alerts are no flights, and the
 * filter leaves them out.
 */
import type { ActorRegistry } from "@millrace/core/ActorRegistry"
import type { SerializationError } from "@millrace/core/EngineError"
import { deriveEventId } from "@millrace/core/EventId"
import { EventStore } from "@millrace/core/EventStore"
import type { LeaseHeld } from "@millrace/core/LeaseHeld"
import * as Page from "@millrace/core/Page"
import { start } from "@millrace/core/Position"
import * as Subscriber from "@millrace/core/Subscriber"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import type { WriteError } from "@millrace/core/WriteError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Airport, Alert, flightOf } from "./Flight.js"
import * as Lease from "./Lease.js"
import * as Progress from "./Progress.js"

/** Flights that are later than this are alerted. Unit: minutes. */
export const alertedAbove = 120

/** What can go wrong: `LeaseHeld` when another run is at it and does not end. */
export type AlertError = Subscriber.SubscriberError | LeaseHeld

/** Alerts the flights that are in the log by now and were not looked at before. Gives the number of flights. */
export const alert: Effect.Effect<number, AlertError, EventStore | SubscriberStore | ActorRegistry> =
  Effect.gen(function* () {
    const store = yield* EventStore
    const [from, head] = [yield* lookedAt, yield* store.head]
    // What was alerted before needs no lease, so that runs on a finished log do not wait for one another.
    const next = yield* store.read({
      filters: Airport.filters(),
      page: Page.forward({ first: 1, after: from })
    })
    if (Page.nodes(next).length === 0) return 0
    const progress = yield* Progress.make({ label: "Alerting", unit: "events", total: head - from })
    let shown: number = from
    const advanceTo = (position: number) =>
      Effect.suspend(() => {
        const count = Math.max(0, position - shown)
        shown += count
        return progress.advance(count)
      })
    const subscriber = lateFlights(store, advanceTo)
    const looked = yield* Lease.awaited("alerts", Subscriber.drain(subscriber))
    yield* advanceTo(head)
    return looked
  }).pipe(Effect.scoped)

// ---- internal ----

const name = { key: "late-flights" }

/** `told` is told of the position after each alert. */
const lateFlights = (
  store: EventStore["Type"],
  told: (position: number) => Effect.Effect<void>
): Subscriber.Subscriber<WriteError | SerializationError> =>
  Subscriber.make({
    ...name,
    filters: Airport.filters(),
    ttl: Lease.ttl,
    // Pages of thousands, since most flights are only looked at. So many at most are looked at twice.
    chunkSize: 2_000,
    onEvent: (event, { lease }) => {
      const { date, delay, destination, origin } = flightOf(event)
      // No Effect for the many that were in time: it would cost more than all the rest.
      if (delay <= alertedAbove) return
      return Effect.gen(function* () {
        const alerted = yield* Alert.encode(
          "DelayAlerted",
          { flight: event.id, date, delay, origin, destination },
          { id: deriveEventId("DelayAlerted", event.id), metadata: { causationId: event.id } }
        )
        yield* store.write({ streamId: Alert.streamId(origin), events: [alerted] }, { fence: lease })
        yield* told(event.position)
      })
    }
  })

/** Where earlier runs have come to. */
const lookedAt = Effect.flatMap(SubscriberStore, (subscribers) =>
  Effect.map(
    subscribers.getSubscriberCursor(Subscriber.partitionKeys(name)[0]!),
    Option.getOrElse(() => start)
  )
)
