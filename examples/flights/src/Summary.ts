/**
 * The log, folded: how many flights left each airport, how late they were on average, how many were more than
 * an hour late. Computed from the events in the log alone, never from the file that they came from.
 */
import type { ReadError } from "@millrace/core/EngineError"
import { EventStore } from "@millrace/core/EventStore"
import * as Page from "@millrace/core/Page"
import type { Position } from "@millrace/core/Position"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Airport } from "./Flight.js"

export interface AirportSummary {
  readonly airport: string
  readonly flights: number
  /** Unit: minutes, rounded to two decimals, halves upward. Negative = early. */
  readonly averageDelayMinutes: number
  /** Flights with a delay of more than 60 minutes. */
  readonly over60: number
}

export interface Summary {
  /** Flights in the log. */
  readonly events: number
  /** Streams that they are in. */
  readonly streams: number
  readonly head: Position
  /** The most flights first; among equals by code. */
  readonly airports: ReadonlyArray<AirportSummary>
}

/** Reads all flights of the log in its order and folds them per airport. */
export const summarize: Effect.Effect<Summary, ReadError, EventStore> = Effect.gen(function* () {
  const store = yield* EventStore
  const totals = new Map<string, Totals>()
  const log = store.stream({
    filters: Airport.filters(["FlightDeparted"]),
    page: Page.forward({ first: 1_000 })
  })
  const count = yield* log.pipe(
    Stream.chunks,
    Stream.runFoldEffect(0, (count, chunk) =>
      Effect.map(Airport.decodeAll(Chunk.toReadonlyArray(chunk)), (events) => {
        addFlights(totals, events)
        return count + events.length
      })
    )
  )
  return {
    events: count,
    streams: totals.size,
    head: yield* store.head,
    airports: Array.from(totals, ([airport, sums]) => summaryOf(airport, sums)).sort(byFlights)
  }
})

// ---- internal ----

interface Totals {
  flights: number
  delayMinutes: number
  over60: number
}

/** Adds a page of flights. Hot: a plain loop over every event of the log. */
function addFlights(totals: Map<string, Totals>, events: ReadonlyArray<typeof Airport.Event>): void {
  for (const { data } of events) {
    let sums = totals.get(data.origin)
    if (sums === undefined) {
      sums = { flights: 0, delayMinutes: 0, over60: 0 }
      totals.set(data.origin, sums)
    }
    sums.flights++
    sums.delayMinutes += data.delay
    if (data.delay > 60) sums.over60++
  }
}

const summaryOf = (airport: string, { delayMinutes, flights, over60 }: Totals): AirportSummary => ({
  airport,
  flights,
  averageDelayMinutes: Math.round((delayMinutes / flights) * 100) / 100,
  over60
})

const byFlights = (a: AirportSummary, b: AirportSummary): number =>
  b.flights - a.flights || (a.airport < b.airport ? -1 : 1)
