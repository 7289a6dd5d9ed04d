/**
 * Writes the flights into the log, each exactly once, however often this runs and wherever it was killed.
 *
 * Event ids are derived from the data, and a write whose ids are all in the log is a repeat that changes
 * nothing. The flights are therefore cut into the same writes every time; each of them is in the log as a
 * whole or not at all, and running again writes those that are missing. Nothing else is remembered: no
 * cursor that could be ahead of the log or behind it.
 *
 *     time ─────────────────────────────────────▶
 *     │ wave 1            │ wave 2            │ …      a wave: the next 200 flights
 *     │ writer 1: DFW LAX │ writer 1: ATL DFW │        each airport of a wave goes to one writer
 *     │ writer 2: ATL ORD │ writer 2: LAX     │        a writer's part of a wave is one write
 *
 * Writers of one wave run side by side and the next wave starts when all are done. So every airport's stream
 * is in time order, and the log as a whole nearly is: by a wave at most, of 26 hours.
 */
import type { StreamAppend } from "@millrace/core/Append"
import type { SerializationError } from "@millrace/core/EngineError"
import type { NewEvent } from "@millrace/core/Event"
import { EventStore } from "@millrace/core/EventStore"
import type { Position } from "@millrace/core/Position"
import type { StreamId } from "@millrace/core/StreamId"
import type { WriteError } from "@millrace/core/WriteError"
import * as Effect from "effect/Effect"
import type { DatasetFlight } from "./Dataset.js"
import { Airport } from "./Flight.js"
import * as Progress from "./Progress.js"

/** Flights in a wave. More: fewer and larger writes; a log further from time order. */
const waveFlights = 200

/** Writes at once. The store merges them into one commit. */
const writers = 8

/** One write. */
type Part = ReadonlyArray<StreamAppend>

export interface Ingested {
  /** Flights that this run appended. */
  readonly appended: number
  /** Flights that were in the log before. */
  readonly present: number
}

/**
 * Appends what is missing. Fails with the store's errors; running again goes on where this run ended.
 */
export const ingest = (
  flights: ReadonlyArray<DatasetFlight>
): Effect.Effect<Ingested, WriteError | SerializationError, EventStore> =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const headBefore = yield* store.head
    const progress = yield* Progress.make({ label: "Appending", unit: "flights", total: flights.length })
    let appended = 0
    for (let from = 0; from < flights.length; from += waveFlights) {
      const parts = yield* partsOf(flights.slice(from, from + waveFlights))
      yield* Effect.forEach(
        parts,
        (part) =>
          Effect.flatMap(append(store, part, headBefore), (count) => {
            appended += count
            return progress.advance(countEvents(part))
          }),
        { concurrency: writers, discard: true }
      )
    }
    return { appended, present: flights.length - appended }
  }).pipe(Effect.scoped)

// ---- internal ----

/** Cuts a wave into writes: airports in the order of their first flight, dealt to the writers in turn. */
const partsOf = (
  wave: ReadonlyArray<DatasetFlight>
): Effect.Effect<ReadonlyArray<Part>, SerializationError> =>
  Effect.gen(function* () {
    const byAirport = new Map<string, Array<NewEvent>>()
    for (const { flight, id } of wave) {
      const event = yield* Airport.encodeEither("FlightDeparted", flight, { id })
      const events = byAirport.get(flight.origin)
      if (events === undefined) byAirport.set(flight.origin, [event])
      else events.push(event)
    }
    const parts: Array<Array<{ readonly streamId: StreamId; readonly events: ReadonlyArray<NewEvent> }>> = []
    let next = 0
    for (const [airport, events] of byAirport) {
      const part = (parts[next % writers] ??= [])
      part.push({ streamId: Airport.streamId(airport), events })
      next++
    }
    return parts
  })

/**
 * Writes one part and gives the number of events that were not in the log before.
 *
 * A conflict of ids means that a part of it is there already: some other edition of this program cut the
 * flights in another way. Then the halves are written, down to single events.
 */
const append = (
  store: EventStore["Type"],
  part: Part,
  headBefore: Position
): Effect.Effect<number, WriteError> =>
  store.write(part).pipe(
    Effect.map(({ appends }) => {
      let count = 0
      for (const { firstPosition, ids } of appends) if (firstPosition > headBefore) count += ids.length
      return count
    }),
    Effect.catchTag("EventIdConflict", (conflict) => {
      const halves = halvesOf(part)
      return halves === undefined
        ? Effect.fail(conflict)
        : Effect.zipWith(
            append(store, halves[0], headBefore),
            Effect.suspend(() => append(store, halves[1], headBefore)),
            (first, second) => first + second
          )
    })
  )

/** Two parts that together, one after the other, write the same; undefined when there is but one event. */
const halvesOf = (part: Part): readonly [Part, Part] | undefined => {
  if (part.length > 1) {
    const middle = part.length >>> 1
    return [part.slice(0, middle), part.slice(middle)]
  }
  const { events, streamId } = part[0]!
  if (events.length < 2) return undefined
  const middle = events.length >>> 1
  return [[{ streamId, events: events.slice(0, middle) }], [{ streamId, events: events.slice(middle) }]]
}

const countEvents = (part: Part): number => part.reduce((count, { events }) => count + events.length, 0)
