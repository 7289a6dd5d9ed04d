/**
 * What the log holds: flights of 2001, one event each, in the stream of the airport that they left from; and an
 * alert for each flight that was very late, which {@link ./Alerts.ts} writes.
 *
 *     airport/DFW   FlightDeparted { date, delay, distance, origin, destination }
 *     alert/DFW     DelayAlerted { flight, date, delay, origin, destination }
 */
import * as EventCodec from "@millrace/core/EventCodec"
import type { RecordedEvent } from "@millrace/core/Event"
import { EventId } from "@millrace/core/EventId"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"

/** Code of an airport, for example `DFW`. Three capital letters. */
export const AirportCode = Schema.String.pipe(
  Schema.pattern(/^[A-Z]{3}$/, { message: () => "an airport code is three capital letters" })
)

export const Flight = Schema.Struct({
  /** When it was to depart. The data set gives no time zone; its times are read as UTC. */
  date: Schema.DateTimeUtc,
  /** How late it arrived. Unit: minutes; negative = early. */
  delay: Schema.Int,
  /** Unit: miles. */
  distance: Schema.NonNegativeInt,
  origin: AirportCode,
  destination: AirportCode
})
export type Flight = typeof Flight.Type

/** The events of `airport/…` streams. */
export const Airport = EventCodec.category("airport", { FlightDeparted: Flight })

/** The events of `alert/…` streams, which are named after the airport that the flight left from. */
export const Alert = EventCodec.category("alert", {
  DelayAlerted: Schema.Struct({
    /** The event of the flight. */
    flight: EventId,
    ...Flight.omit("distance").fields
  })
})

/**
 * The flight that an event of an `airport/…` stream tells of. Throws the `SerializationError` of an event that is none,
 * which stops whoever asked and names the event.
 */
export const flightOf = (event: RecordedEvent): Flight =>
  Either.getOrThrowWith(Airport.decodeEither(event), (error) => error).data
