/** A pipeline with something of everything that has state, over records that anybody can make again. */
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { Sink } from "@millrace/core/Sink"
import type { Source } from "@millrace/core/Source"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as State from "@millrace/pipeline/State"
import * as Watermarks from "@millrace/pipeline/Watermarks"
import * as Windows from "@millrace/pipeline/Windows"
import { chanceOf } from "@millrace/testkit/Seeds"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** A measured thing. */
export interface Reading {
  readonly n: number
  readonly sensor: string
  readonly timeMs: number
  readonly value: number
}

const Reading = Schema.Struct({
  n: Schema.Number,
  sensor: Schema.String,
  timeMs: Schema.Number,
  value: Schema.Number
})

/** The same readings for the same seed: 1 000 a minute, up to 5 seconds out of order. */
export const readings = (seed: number, count: number): ReadonlyArray<Reading> => {
  const chance = chanceOf(seed)
  return Array.from({ length: count }, (_, n) => ({
    n,
    sensor: `sensor-${chance.int(0, 199)}`,
    timeMs: 1_700_000_000_000 + n * 60 - chance.int(0, 5_000),
    value: chance.int(-50, 100)
  }))
}

/** How a source and its operators are disturbed. */
export interface Disturbance {
  /** Called before each batch. */
  readonly beforeBatch: Effect.Effect<void>
  /** Called for each record. May throw. */
  readonly onRecord: (reading: Reading) => void
}

/** None. */
export const calm: Disturbance = { beforeBatch: Effect.void, onRecord: () => {} }

/** Readings as a source, 50 at a time, in two partitions. */
export const source = (all: ReadonlyArray<Reading>, { beforeBatch }: Disturbance): Source<Reading> => ({
  name: "readings",
  isReplayable: true,
  open: (offsets) =>
    Effect.sync(() => {
      const at = { even: Number(offsets["even"] ?? 0), odd: Number(offsets["odd"] ?? 0) }
      const parts = {
        even: all.filter(({ n }) => n % 2 === 0),
        odd: all.filter(({ n }) => n % 2 === 1)
      }
      return {
        partitions: ["even", "odd"],
        next: Effect.map(beforeBatch, () => {
          // The one that is behind.
          const partition = at.even <= at.odd ? "even" : "odd"
          const values = parts[partition].slice(at[partition], at[partition] + 50)
          if (values.length === 0 && at.even >= parts.even.length && at.odd >= parts.odd.length)
            return undefined
          at[partition] += 50
          return { values, partition, offset: String(at[partition]) }
        })
      }
    })
})

/** Windows of all kinds, a join, and a process with timers; each result as a line of text. */
export const pipeline = (
  all: ReadonlyArray<Reading>,
  sink: Sink<string, InvalidArgument>,
  disturbance: Disturbance = calm,
  name = "readings"
): Pipeline.Pipeline<InvalidArgument> => {
  const flow = Pipeline.from(source(all, disturbance), {
    timestamp: ({ timeMs }) => timeMs,
    watermarks: Watermarks.bounded("6 seconds")
  }).pipe(
    Pipeline.map((reading) => {
      disturbance.onRecord(reading)
      return reading
    })
  )
  const bySensor = flow.pipe(Pipeline.keyBy(({ sensor }) => sensor))
  const tumbling = bySensor.pipe(
    Pipeline.window(Windows.tumbling("1 minute")),
    Pipeline.aggregate(
      Aggregates.struct({
        count: Aggregates.count(),
        sum: Aggregates.sum((reading: Reading) => reading.value),
        mean: Aggregates.average((reading: Reading) => reading.value)
      }),
      { id: "perMinute" }
    ),
    Pipeline.map(
      ({ key, value, window }) => `minute ${key} ${window.start} ${value.count} ${value.sum} ${value.mean}`
    )
  )
  const hopping = bySensor.pipe(
    Pipeline.window(Windows.hopping("30 seconds", "10 seconds")),
    Pipeline.aggregate(
      Aggregates.max(({ value }: Reading) => value),
      { id: "hops" }
    ),
    Pipeline.map(({ key, value, window }) => `hop ${key} ${window.start} ${value}`)
  )
  const sessions = bySensor.pipe(
    Pipeline.window(Windows.session("10 seconds")),
    Pipeline.aggregate(Aggregates.count(), { id: "sessions" }),
    Pipeline.map(({ key, value, window }) => `session ${key} ${window.start} ${window.end} ${value}`)
  )
  const highs = flow.pipe(
    Pipeline.filter(({ value }) => value > 95),
    Pipeline.keyBy(({ sensor }) => sensor)
  )
  const lows = flow.pipe(
    Pipeline.filter(({ value }) => value < -45),
    Pipeline.keyBy(({ sensor }) => sensor)
  )
  const swings = Pipeline.joinInterval(highs, lows, {
    id: "swings",
    lowerMs: -60_000,
    upperMs: 60_000,
    left: Reading,
    right: Reading,
    combine: (high, low) => `swing ${high.n} ${low.n}`
  })
  // A sensor that was high and then silent for 20 seconds of event time.
  const silent = highs.pipe(
    Pipeline.process({
      id: "silent",
      state: { highs: State.value(Schema.Number, { initial: () => 0 }) },
      onRecord: (_reading: Reading, { state, timeMs, timers }) => {
        state.highs.set(state.highs.get() + 1)
        timers.at("silent", timeMs + 20_000)
        return undefined
      },
      onTimer: ({ timeMs }, { key, state }) => {
        const count = state.highs.get()
        state.highs.clear()
        return [`silent ${key} ${timeMs} ${count}`]
      }
    })
  )
  return Pipeline.make(name, Pipeline.to(sink)(Pipeline.union(tumbling, hopping, sessions, swings, silent)))
}
