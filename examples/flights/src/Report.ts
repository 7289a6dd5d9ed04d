/** The summary as people read it (a table) and as programs read it (one line of JSON). */
import Table from "cli-table3"
import type { StoreName } from "./Stores.js"
import type { AirportSummary, Summary } from "./Summary.js"

/** Airports in the table. The others are counted in its last line; `--json` has all of them. */
const tableAirports = 20

/**
 * One JSON object in one line: `{ "store", "events", "streams", "head", "airports": [{ "airport", "flights",
 * "averageDelayMinutes", "over60" }] }`.
 */
export const jsonLine = (store: StoreName, { airports, events, head, streams }: Summary): string =>
  JSON.stringify({ store, events, streams, head, airports })

/** The busiest airports, the sum of the others, and where the log stands. */
export const table = (store: StoreName, { airports, events, head, streams }: Summary): string => {
  const shown = airports.slice(0, tableAirports)
  const rest = airports.slice(tableAirports)
  const rows = new Table({
    head: ["Airport", "Flights", "Average delay (min)", "Over 60 min late"],
    colAligns: ["left", "right", "right", "right"],
    style: { head: [], border: [], compact: true }
  })
  for (const airport of shown) rows.push(rowOf(airport))
  if (rest.length > 0) rows.push(rowOf(together(`${rest.length} others`, rest)))
  rows.push(rowOf(together("All", airports)))
  return [
    rows.toString(),
    `${grouped(events)} flights in ${grouped(streams)} streams, head ${grouped(head)}, store ${store}`
  ].join("\n")
}

// ---- internal ----

const rowOf = ({ airport, averageDelayMinutes, flights, over60 }: AirportSummary): Array<string> => [
  airport,
  grouped(flights),
  averageDelayMinutes.toFixed(2),
  grouped(over60)
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
