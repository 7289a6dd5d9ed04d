/**
 * The pipeline: flights per airport and hour, and how long each route was busy, computed over the time of the flights
 * and not over the time at which they were written.
 *
 *     airport/… events ──▶ by airport ──▶ 1 hour, tumbling ──▶ count, average and greatest delay ──▶ flights_hourly
 *                     └──▶ by route ────▶ sessions, 6 hours ─▶ count ──────────────────────────────▶ flights_sessions
 *
 * The log is nearly in the order of time: writers of one wave run side by side, and the longest wave is 26 hours. Nothing
 * is late within two days.
 *
 * Rows and checkpoint are one transaction of the same database, so that each row is written once, however often this is
 * killed.
 */
import type { ActorRegistry } from "@millrace/core/ActorRegistry"
import type { CheckpointStorage } from "@millrace/core/CheckpointStore"
import type { EventStore } from "@millrace/core/EventStore"
import type { LeaseHeld } from "@millrace/core/LeaseHeld"
import type { Sink } from "@millrace/core/Sink"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import type { PipelineError } from "@millrace/pipeline/PipelineErrors"
import type { EventsError } from "@millrace/pipeline/sources/EventStoreSource"
import { fromEvents } from "@millrace/pipeline/sources/EventStoreSource"
import * as Watermarks from "@millrace/pipeline/Watermarks"
import * as Windows from "@millrace/pipeline/Windows"
import * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type { Flight } from "./Flight.js"
import { Airport } from "./Flight.js"
import * as Lease from "./Lease.js"

/** An airport in an hour in which flights left it. */
export interface HourRow {
  readonly airport: string
  /** Unit: milliseconds since 1970. */
  readonly windowStart: number
  readonly flights: number
  /** Unit: minutes. */
  readonly averageDelay: number
  /** Unit: minutes. */
  readonly maxDelay: number
}

/** A time in which a route had a flight at least every 6 hours. */
export interface SessionRow {
  /** From and to: `DFW-LAX`. */
  readonly route: string
  /** When the first flight was to depart. Unit: milliseconds since 1970. */
  readonly sessionStart: number
  /** 6 hours after the last one. Unit: milliseconds since 1970. */
  readonly sessionEnd: number
  readonly flights: number
}

/** Where the rows go. */
export interface WindowSinks<E, R> {
  readonly hourly: Sink<HourRow, E, R>
  readonly sessions: Sink<SessionRow, E, R>
}

/** What can go wrong beside what the sinks fail with. */
export type WindowError = EventsError | PipelineError | LeaseHeld

/** Computes what the log has by now, from where the last run has come to. */
export const compute = <E, R>(
  sinks: WindowSinks<E, R>
): Effect.Effect<
  void,
  WindowError | E,
  EventStore | SubscriberStore | CheckpointStorage | ActorRegistry | R
> =>
  Lease.awaited(
    "windows",
    Pipeline.runLeased(pipeline(sinks), { checkpointEvery: "200 millis", ttl: Lease.ttl })
  )

/** The pipeline itself. `pageSize`: flights that are read at once. */
export const pipeline = <E, R>(
  { hourly, sessions }: WindowSinks<E, R>,
  pageSize = 1_000
): Pipeline.Pipeline<E | EventsError, R | EventStore> => {
  const flights = Pipeline.from(fromEvents({ name: "flights", codec: Airport, until: "head", pageSize }), {
    timestamp: ({ data }) => DateTime.toEpochMillis(data.date),
    watermarks: Watermarks.bounded("2 days")
  }).pipe(Pipeline.map(({ data }) => data))
  return Pipeline.make(
    "flights",
    flights.pipe(
      Pipeline.keyBy(({ origin }) => origin),
      Pipeline.window(Windows.tumbling("1 hour")),
      Pipeline.aggregate(
        Aggregates.struct({
          flights: Aggregates.count(),
          averageDelay: Aggregates.average(({ delay }: Flight) => delay),
          maxDelay: Aggregates.max(({ delay }: Flight) => delay)
        }),
        { id: "byHour" }
      ),
      Pipeline.map(({ key, value, window }) => ({ airport: key, windowStart: window.start, ...value })),
      Pipeline.to(hourly)
    ),
    flights.pipe(
      Pipeline.keyBy(({ destination, origin }) => `${origin}-${destination}`),
      Pipeline.window(Windows.session("6 hours")),
      Pipeline.aggregate(Aggregates.count(), { id: "bySession" }),
      Pipeline.map(({ key, value, window }) => ({
        route: key,
        sessionStart: window.start,
        sessionEnd: window.end,
        flights: value
      })),
      Pipeline.to(sessions)
    )
  )
}
