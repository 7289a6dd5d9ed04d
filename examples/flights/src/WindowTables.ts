/**
 * Where the rows of the pipeline are: in two tables of the database that has the log, or in memory where that is. They
 * are written by {@link ./Windows.ts} and read for the summary.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { ActorRegistry } from "@millrace/core/ActorRegistry"
import type { CheckpointStorage } from "@millrace/core/CheckpointStore"
import type { EventStore } from "@millrace/core/EventStore"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import { collect } from "@millrace/pipeline/sinks/CollectSink"
import * as SqlSink from "@millrace/sql/SqlSink"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { HourRow, SessionRow, WindowError } from "./Windows.js"
import { compute } from "./Windows.js"

/** Airports in the hours in which most flights left them. */
export interface HourlySummary {
  /** Hours of airports. */
  readonly windows: number
  /** The most flights first; among equals by code, then by time. */
  readonly busiest: ReadonlyArray<{
    readonly airport: string
    /** ISO 8601, UTC. */
    readonly windowStart: string
    readonly flights: number
  }>
}

/** What was computed. */
export interface WindowSummary {
  readonly hourly: HourlySummary
  /** Sessions of routes. */
  readonly sessions: number
}

/** Hours of airports, in a table. */
export const hourly = SqlSink.upsert({
  name: "hourly",
  table: "flights_hourly",
  key: ["airport", "window_start"],
  row: ({ airport, averageDelay, flights, maxDelay, windowStart }: HourRow) => ({
    airport,
    window_start: windowStart,
    flights,
    average_delay: averageDelay,
    max_delay: maxDelay
  }),
  createTable: (table) =>
    Effect.flatMap(
      SqlClient.SqlClient,
      (sql) => sql`
        CREATE TABLE IF NOT EXISTS ${sql(table)} (
          airport       TEXT NOT NULL,
          window_start  BIGINT NOT NULL,
          flights       INTEGER NOT NULL,
          average_delay DOUBLE PRECISION NOT NULL,
          max_delay     INTEGER NOT NULL,
          PRIMARY KEY (airport, window_start)
        )`
    )
})

/** Sessions of routes, in a table. */
export const sessions = SqlSink.upsert({
  name: "sessions",
  table: "flights_sessions",
  key: ["route", "session_start"],
  row: ({ flights, route, sessionEnd, sessionStart }: SessionRow) => ({
    route,
    session_start: sessionStart,
    session_end: sessionEnd,
    flights
  }),
  createTable: (table) =>
    Effect.flatMap(
      SqlClient.SqlClient,
      (sql) => sql`
        CREATE TABLE IF NOT EXISTS ${sql(table)} (
          route         TEXT NOT NULL,
          session_start BIGINT NOT NULL,
          session_end   BIGINT NOT NULL,
          flights       INTEGER NOT NULL,
          PRIMARY KEY (route, session_start)
        )`
    )
})

/** Brings the rows up to the log's head, and gives what they say. */
export const upToHead: Effect.Effect<
  WindowSummary,
  WindowError | SqlSink.SqlSinkError,
  EventStore | SubscriberStore | CheckpointStorage | ActorRegistry
> = Effect.flatMap(
  Effect.serviceOption(SqlClient.SqlClient),
  Option.match({
    onNone: () => inMemory,
    onSome: (sql) =>
      Effect.zipRight(compute({ hourly, sessions }), inTables).pipe(
        Effect.provideService(SqlClient.SqlClient, sql)
      )
  })
)

// ---- internal ----

/** Hours that the summary names. */
const busiestMax = 10

const inTables = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [hours] = yield* sql<{
    readonly count: number | string
  }>`SELECT count(*) AS count FROM flights_hourly`
  const [routes] = yield* sql<{
    readonly count: number | string
  }>`SELECT count(*) AS count FROM flights_sessions`
  const rows = yield* sql<{
    readonly airport: string
    readonly window_start: number | string
    readonly flights: number
  }>`
    SELECT airport, window_start, flights
    FROM flights_hourly
    ORDER BY flights DESC, airport, window_start
    LIMIT ${busiestMax}`
  return {
    hourly: {
      windows: Number(hours!.count),
      busiest: rows.map(({ airport, flights, window_start }) => busy(airport, Number(window_start), flights))
    },
    sessions: Number(routes!.count)
  }
})

const inMemory = Effect.gen(function* () {
  const hours = yield* collect<HourRow>("hourly")
  const routes = yield* collect<SessionRow>("sessions")
  yield* compute({ hourly: hours.sink, sessions: routes.sink })
  const rows = [...(yield* hours.values)].sort(
    (a, b) => b.flights - a.flights || compare(a.airport, b.airport) || a.windowStart - b.windowStart
  )
  return {
    hourly: {
      windows: rows.length,
      busiest: rows
        .slice(0, busiestMax)
        .map(({ airport, flights, windowStart }) => busy(airport, windowStart, flights))
    },
    sessions: (yield* routes.values).length
  }
})

const busy = (airport: string, windowStartMs: number, flights: number) => ({
  airport,
  windowStart: new Date(windowStartMs).toISOString(),
  flights
})

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
