/**
 * What the log holds: flights of 2001, one event each, in the stream of the airport that they left from.
 *
 *     airport/DFW   FlightDeparted { date, delay, distance, origin, destination }
 */
import * as EventCodec from "@millrace/core/EventCodec"
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
