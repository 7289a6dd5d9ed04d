/**
 * The read models: a row for each airport and a row for each route. They hold sums of integers and no averages, so
 * that they are exact, whatever the order in which flights are added; averages are made when they are read.
 *
 *     flights-by-airport   DFW       { departures, delayMinutes, over60 }
 *     flights-by-route     DFW-LAX   { flights, delayMinutes }
 *
 * Whoever changes what a row says raises the `version`; the program then asks to be run with `--rebuild`.
 */
import * as Projection from "@millrace/core/Projection"
import * as Schema from "effect/Schema"
import { Airport } from "./Flight.js"

/** An airport, by its code. */
export const AirportRow = Schema.Struct({
  departures: Schema.NonNegativeInt,
  /** The sum. Unit: minutes. */
  delayMinutes: Schema.Int,
  /** Flights with a delay of more than 60 minutes. */
  over60: Schema.NonNegativeInt
})
export type AirportRow = typeof AirportRow.Type

/** A route in one direction, by both codes: `DFW-LAX`. */
export const RouteRow = Schema.Struct({
  flights: Schema.NonNegativeInt,
  /** The sum. Unit: minutes. */
  delayMinutes: Schema.Int
})
export type RouteRow = typeof RouteRow.Type

export const airports = Projection.foldOf(Airport, {
  name: "flights-by-airport",
  row: AirportRow,
  key: ({ data }) => data.origin,
  initial: () => ({ departures: 0, delayMinutes: 0, over60: 0 }),
  evolve: (row, { data: { delay } }) => ({
    departures: row.departures + 1,
    delayMinutes: row.delayMinutes + delay,
    over60: row.over60 + (delay > 60 ? 1 : 0)
  })
})

export const routes = Projection.foldOf(Airport, {
  name: "flights-by-route",
  row: RouteRow,
  key: ({ data: { destination, origin } }) => `${origin}-${destination}`,
  initial: () => ({ flights: 0, delayMinutes: 0 }),
  evolve: (row, { data }) => ({
    flights: row.flights + 1,
    delayMinutes: row.delayMinutes + data.delay
  })
})

/** Both. */
export const all = [airports, routes] as const
