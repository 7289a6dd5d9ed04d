/** The summary as people read it (two tables) and as programs read it (one line of JSON). */
import Table from "cli-table3"
import type { StoreName } from "./Stores.js"
import type { AirportSummary, RouteSummary, Summary } from "./Summary.js"

/** Airports in the table. The others are counted in its last line; `--json` has all of them. */
const tableAirports = 20

/** Routes in the table; `--json` has 20. */
const tableRoutes = 10

/**
 * One JSON object in one line:
 *
 *     { "store", "events", "streams", "head",
 *       "airports": [{ "airport", "flights", "averageDelayMinutes", "over60" }],
 *       "projections": [{ "name", "position", "rows" }],
 *       "routes": [{ "route", "flights", "averageDelayMinutes" }],
 *       "alerts",
 *       "hourly": { "windows", "busiest": [{ "airport", "windowStart", "flights" }] },
 *       "sessions" }
 *
 * `events` and `streams` are those of flights; `head` is the log's, in which the alerts have positions as well.
 */
export const jsonLine = (store: StoreName, summary: Summary): string => {
  const { airports, alerts, events, head, hourly, projections, routes, sessions, streams } = summary
  return JSON.stringify({
    store,
    events,
    streams,
    head,
    airports,
    projections,
    routes,
    alerts,
    hourly,
    sessions
  })
}

/** The busiest airports, the sum of the others, the busiest routes, and where the log stands. */
export const table = (store: StoreName, summary: Summary): string => {
  const { airports, alerts, events, head, hourly, routes, sessions, streams } = summary
  const shown = airports.slice(0, tableAirports)
  const rest = airports.slice(tableAirports)
  const rows = tableOf("Airport", "Flights", "Average delay (min)", "Over 60 min late")
  for (const airport of shown) rows.push(rowOf(airport))
  if (rest.length > 0) rows.push(rowOf(together(`${rest.length} others`, rest)))
  rows.push(rowOf(together("All", airports)))
  const busiest = tableOf("Route", "Flights", "Average delay (min)")
  for (const route of routes.slice(0, tableRoutes)) busiest.push(routeRowOf(route))
  const hours = tableOf("Airport and hour (UTC)", "Flights")
  for (const { airport, flights, windowStart } of hourly.busiest)
    hours.push([`${airport} ${windowStart.slice(0, 16).replace("T", " ")}`, grouped(flights)])
  return [
    rows.toString(),
    busiest.toString(),
    hours.toString(),
    `${grouped(hourly.windows)} hours of airports, ${grouped(sessions)} sessions of routes`,
    `${grouped(events)} flights in ${grouped(streams)} streams, ${grouped(alerts)} alerts, head ${grouped(head)}, store ${store}`
  ].join("\n")
}

// ---- internal ----

/** Names on the left, numbers on the right. */
const tableOf = (...head: ReadonlyArray<string>) =>
  new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column === 0 ? "left" : "right")),
    style: { head: [], border: [], compact: true }
  })

const rowOf = ({ airport, averageDelayMinutes, flights, over60 }: AirportSummary): Array<string> => [
  airport,
  grouped(flights),
  averageDelayMinutes.toFixed(2),
  grouped(over60)
]

const routeRowOf = ({ averageDelayMinutes, flights, route }: RouteSummary): Array<string> => [
  route,
  grouped(flights),
  averageDelayMinutes.toFixed(2)
]

const together = (name: string, airports: ReadonlyArray<AirportSummary>): AirportSummary => {
  let flights = 0
  let delayMinutes = 0
  let over60 = 0
  for (const airport of airports) {
    flights += airport.flights
    delayMinutes += airport.averageDelayMinutes * airport.flights
    over60 += airport.over60
  }
  return { airport: name, flights, averageDelayMinutes: flights === 0 ? 0 : delayMinutes / flights, over60 }
}

/** 20000 as `20,000`, whatever the machine's language. */
const grouped = (count: number): string => count.toLocaleString("en-US")
