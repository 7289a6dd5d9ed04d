/**
 * What the read models and the log say: how many flights left each airport, how late they were on average, how many
 * were more than an hour late; the busiest routes; how many flights were alerted. Computed from what was made of
 * the events in the log, never from the file that they came from.
 */
import type { ReadError } from "@millrace/core/EngineError"
import { EventStore } from "@millrace/core/EventStore"
import { ModelStore } from "@millrace/core/ModelStore"
import type { ModelRefused } from "@millrace/core/ModelStore"
import * as Page from "@millrace/core/Page"
import type { Position } from "@millrace/core/Position"
import type { FoldProjection } from "@millrace/core/Projection"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Alert } from "./Flight.js"
import type { Standing } from "./Projecting.js"
import * as Projections from "./Projections.js"
import type { AirportRow, RouteRow } from "./Projections.js"
import type { HourlySummary, WindowSummary } from "./WindowTables.js"

export interface AirportSummary {
  readonly airport: string
  readonly flights: number
  /** Unit: minutes, rounded to two decimals, halves upward. Negative = early. */
  readonly averageDelayMinutes: number
  /** Flights with a delay of more than 60 minutes. */
  readonly over60: number
}

export interface RouteSummary {
  /** From and to: `DFW-LAX`. */
  readonly route: string
  readonly flights: number
  /** As for airports. */
  readonly averageDelayMinutes: number
}

export interface ProjectionSummary {
  readonly name: string
  /** Its model has every event of the log up to here. */
  readonly position: Position
  readonly rows: number
}

export interface Summary {
  /** Flights in the log. Alerts are not counted. */
  readonly events: number
  /** Streams that they are in, one for each airport. Those of the alerts are not counted. */
  readonly streams: number
  /** Of the whole log, so that alerts count: with nothing else in it, flights and alerts together. */
  readonly head: Position
  /** The most flights first; among equals by code. */
  readonly airports: ReadonlyArray<AirportSummary>
  readonly projections: ReadonlyArray<ProjectionSummary>
  /** The busiest 20, the most flights first; among equals by code. */
  readonly routes: ReadonlyArray<RouteSummary>
  /** Alerts in the log. */
  readonly alerts: number
  /** What the pipeline has computed of the flights' own time. */
  readonly hourly: HourlySummary
  /** Sessions of routes: times with a flight at least every 6 hours. */
  readonly sessions: number
}

/** Reads the models, which stand at `standings`, and counts the alerts. */
export const summarize = (
  standings: ReadonlyArray<Standing>,
  windows: WindowSummary
): Effect.Effect<Summary, ModelRefused | ReadError, EventStore | ModelStore> =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const airportRows = yield* rowsOf(Projections.airports)
    const routeRows = yield* rowsOf(Projections.routes)
    const counts = new Map([
      [Projections.airports.name, airportRows.length],
      [Projections.routes.name, routeRows.length]
    ])
    const alerts = store.stream({
      filters: Alert.filters(["DelayAlerted"]),
      page: Page.forward({ first: 1_000 })
    })
    return {
      events: airportRows.reduce((sum, { row }) => sum + row.departures, 0),
      streams: airportRows.length,
      head: yield* store.head,
      airports: airportRows.map(airportOf).sort((a, b) => byFlights(a, b) || byCode(a.airport, b.airport)),
      projections: standings.map(({ position, projection: { name } }) => ({
        name,
        position,
        rows: counts.get(name) ?? 0
      })),
      routes: routeRows
        .map(routeOf)
        .sort((a, b) => byFlights(a, b) || byCode(a.route, b.route))
        .slice(0, routesMax),
      alerts: yield* Stream.runCount(alerts),
      ...windows
    }
  })

// ---- internal ----

/** Routes in the summary. */
const routesMax = 20

/** Rows that are read at once. Range of the store: 1 to 10 000. */
const rowsAtOnce = 1_000

interface Keyed<Row> {
  readonly key: string
  readonly row: Row
}

/** All rows of a model, by key. */
const rowsOf = <Row>(
  projection: FoldProjection<Row>
): Effect.Effect<ReadonlyArray<Keyed<Row>>, ModelRefused | ReadError, ModelStore> =>
  Effect.gen(function* () {
    const models = yield* ModelStore
    const rows: Array<Keyed<Row>> = []
    for (;;) {
      const page = yield* models.list(projection, { after: rows.at(-1)?.key, limit: rowsAtOnce })
      rows.push(...page)
      if (page.length < rowsAtOnce) return rows
    }
  })

const airportOf = ({ key, row }: Keyed<AirportRow>): AirportSummary => ({
  airport: key,
  flights: row.departures,
  averageDelayMinutes: average(row.delayMinutes, row.departures),
  over60: row.over60
})

const routeOf = ({ key, row }: Keyed<RouteRow>): RouteSummary => ({
  route: key,
  flights: row.flights,
  averageDelayMinutes: average(row.delayMinutes, row.flights)
})

const average = (sum: number, count: number): number => Math.round((sum / count) * 100) / 100

const byFlights = (a: { readonly flights: number }, b: { readonly flights: number }): number =>
  b.flights - a.flights

const byCode = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
