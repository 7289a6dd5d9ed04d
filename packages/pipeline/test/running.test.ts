/** A pipeline while it runs: its status, its drawing, its clock, and who else may run it. */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { ActorRegistry as Registry } from "@millrace/core/ActorRegistry"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import * as Memory from "@millrace/core/Memory"
import type { Source } from "@millrace/core/Source"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import type { Key } from "@millrace/pipeline/Records"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as State from "@millrace/pipeline/State"
import * as Watermarks from "@millrace/pipeline/Watermarks"
import * as Windows from "@millrace/pipeline/Windows"
import { collect } from "@millrace/pipeline/sinks/CollectSink"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

const layer = Layer.merge(Memory.layer(), ActorRegistry.layer)

/** Batches as they are pushed, of one of two partitions; it never ends. */
const pushed = () => {
  const batches: Array<{ readonly partition: string; readonly values: ReadonlyArray<number> }> = []
  let wake: (() => void) | undefined
  const source: Source<number> = {
    name: "pushed",
    isReplayable: false,
    open: () =>
      Effect.succeed({
        partitions: ["a", "b"],
        next: Effect.async((resume) => {
          const take = (): void => {
            const batch = batches.shift()
            if (batch === undefined) wake = take
            else resume(Effect.succeed({ ...batch, offset: "0", times: batch.values }))
          }
          take()
        })
      })
  }
  const push = (partition: string, ...values: ReadonlyArray<number>) =>
    Effect.sync(() => {
      batches.push({ partition, values })
      const waiting = wake
      wake = undefined
      waiting?.()
    })
  return { source, push }
}

/** Waits until it holds. */
const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(condition, { until: (holds) => holds, schedule: Schedule.spaced("5 millis") }).pipe(
    Effect.timeoutFailCause({
      duration: "10 seconds",
      onTimeout: () => Cause.die(new Error("it never held"))
    })
  )

describe("a pipeline that runs", () => {
  it.live("says of each operator how it is, and what its checkpoints cost", () =>
    Effect.gen(function* () {
      const { push, source } = pushed()
      const { sink, values } = yield* collect<string>("out")
      const pipeline = Pipeline.make(
        "watched",
        Pipeline.from(source).pipe(
          Pipeline.keyBy((n) => n % 3),
          Pipeline.window(Windows.tumbling(100)),
          Pipeline.aggregate(Aggregates.count(), { id: "hundreds" }),
          Pipeline.map(({ key, value, window }) => `${key} ${window.start} ${value}`),
          Pipeline.to(sink)
        )
      )
      const running = yield* Pipeline.start(pipeline, { parallelism: 2, checkpointEvery: "1 hour" })
      yield* push("a", 10, 20, 30, 110)
      yield* push("b", 40, 150)
      yield* until(
        Effect.map(running.status, ({ operators }) =>
          operators.some(({ id, recordsIn }) => id === "out" && recordsIn === 3)
        )
      )
      const made = yield* running.checkpoint
      expect(yield* values).toHaveLength(3)
      expect(made.bytesWritten).toBeGreaterThan(0)
      expect(Duration.toMillis(made.duration)).toBeGreaterThanOrEqual(Duration.toMillis(made.alignment))
      // Nothing has changed since, so that nothing is written again.
      expect((yield* running.checkpoint).bytesWritten).toBe(0)
      const { chances, checkpoints, isDeterministic, lastCheckpoint, operators } = yield* running.status
      expect({ checkpoints, isDeterministic, chances }).toEqual({
        checkpoints: 2,
        isDeterministic: false,
        chances: ["pushed: it does not give the same records again"]
      })
      expect(Option.isSome(lastCheckpoint)).toBe(true)
      expect(
        operators.map(({ id, kind, parallelism, recordsIn, stateEntries, watermark }) => ({
          id,
          kind,
          parallelism,
          recordsIn,
          stateEntries,
          watermark: Option.getOrNull(watermark)
        }))
      ).toEqual([
        { id: "pushed", kind: "source", parallelism: 1, recordsIn: 6, stateEntries: 0, watermark: 110 },
        { id: "keyBy", kind: "keyBy", parallelism: 1, recordsIn: 6, stateEntries: 0, watermark: 110 },
        { id: "hundreds", kind: "window", parallelism: 2, recordsIn: 6, stateEntries: 2, watermark: 110 },
        { id: "map", kind: "map", parallelism: 2, recordsIn: 3, stateEntries: 0, watermark: 110 },
        { id: "out", kind: "sink", parallelism: 1, recordsIn: 3, stateEntries: 0, watermark: 110 }
      ])
      expect(operators.find(({ id }) => id === "hundreds")!.stateBytes).toBeGreaterThan(0)
      const registry = yield* Registry
      const actors = yield* registry.list({ prefix: "pipeline/watched/" })
      expect(actors.map(({ name }) => name)).toEqual([
        "pipeline/watched/hundreds/0",
        "pipeline/watched/hundreds/1",
        "pipeline/watched/keyBy/0",
        "pipeline/watched/out/0",
        "pipeline/watched/pushed/0"
      ])
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  it.live("runs once in a process, and under a lease once in the world", () =>
    Effect.gen(function* () {
      const { push, source } = pushed()
      const { sink } = yield* collect<number>("out")
      const pipeline = Pipeline.make("single", Pipeline.to(sink)(Pipeline.from(source)))
      const first = yield* Effect.fork(Pipeline.runLeased(pipeline, { ttl: "1 second", workerId: "first" }))
      yield* push("a", 1)
      const storage = yield* CheckpointStorage
      const subscribers = yield* SubscriberStore
      yield* until(subscribers.isSubscriberRunning("pipeline/single", "first"))
      expect(yield* Effect.flip(Pipeline.runLeased(pipeline))).toMatchObject({
        _tag: "LeaseHeld",
        holder: "first"
      })
      yield* until(
        Effect.flatMap(Registry, (registry) =>
          Effect.map(registry.list({ prefix: "pipeline/single/" }), (actors) => actors.length > 0)
        )
      )
      expect(yield* Effect.flip(Pipeline.run(pipeline))).toMatchObject({
        _tag: "InvalidArgument",
        field: "pipeline"
      })
      yield* Fiber.interrupt(first)
      // The lease was given back, so that the next one does not wait.
      const second = yield* Effect.fork(
        Pipeline.runLeased(pipeline, { workerId: "second", checkpointEvery: "10 millis" })
      )
      const store = yield* storage.forPipeline("single")
      yield* until(Effect.map(store.listIds, (ids) => ids.length > 0))
      // Whoever has an older epoch writes no checkpoint any more.
      const lease = { key: "pipeline/single", workerId: "first", epoch: 1 } as never
      expect(yield* Effect.flip(store.reserveId({ fence: lease }))).toMatchObject({ _tag: "LeaseLost" })
      yield* Fiber.interrupt(second)
    }).pipe(Effect.provide(layer))
  )

  it.live("timers by the clock are due by the clock, also after a restart", () =>
    Effect.gen(function* () {
      const { push, source } = pushed()
      const { sink, values } = yield* collect<string>("out")
      const flow = Pipeline.from(source).pipe(
        Pipeline.keyBy((): Key => "all"),
        Pipeline.process({
          id: "later",
          usesClock: true,
          state: { seen: State.list(Schema.Number) },
          onRecord: (n: number, { state, timers }) => {
            state.seen.add(n)
            timers.atClock("soon", Date.now() + 100)
            return undefined
          },
          onTimer: ({ kind, name }, { state }) => {
            const seen = state.seen.get().join()
            state.seen.clear()
            return [`${kind} ${name} ${seen}`]
          }
        })
      )
      const pipeline = Pipeline.make("clocked", Pipeline.to(sink)(flow))
      yield* Effect.scoped(
        Effect.gen(function* () {
          const running = yield* Pipeline.start(pipeline, { checkpointEvery: "1 hour" })
          yield* push("a", 1, 2)
          yield* until(
            Effect.map(running.status, ({ operators }) =>
              operators.some(({ id, recordsIn }) => id === "later" && recordsIn === 2)
            )
          )
          yield* running.checkpoint
        })
      )
      const running = yield* Pipeline.start(pipeline, { checkpointEvery: "10 millis" })
      yield* until(Effect.map(values, (all) => all.length > 0))
      expect(yield* values).toEqual(["clock soon 1,2"])
      expect((yield* running.status).chances).toContain("later: timers by the machine's clock")
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  it.live(
    "a sink that stands still for long, while the clock goes on, holds up everything and loses nothing",
    () =>
      Effect.gen(function* () {
        const { push, source } = pushed()
        const { sink, values } = yield* collect<number>("out")
        let stands = true
        const flow = Pipeline.from(source, {
          watermarks: Watermarks.idleAfter("20 millis")(Watermarks.monotonic)
        }).pipe(
          Pipeline.keyBy((): Key => "all"),
          Pipeline.process({
            usesClock: true,
            onRecord: (n: number, { timers }) => {
              timers.atClock("soon", Date.now() + 1)
              return [n]
            }
          }),
          Pipeline.async((n) =>
            Effect.as(Effect.repeat(Effect.sleep("5 millis"), { while: () => stands }), n)
          )
        )
        const pipeline = Pipeline.make("standing", Pipeline.to(sink)(flow))
        yield* Pipeline.start(pipeline, { checkpointEvery: "10 millis", channelCapacity: 1 })
        for (let n = 0; n < 20; n++) yield* push("a", n)
        // Many more ticks than a mailbox holds.
        yield* Effect.sleep("800 millis")
        stands = false
        yield* until(Effect.map(values, (all) => all.length === 20))
        yield* push("a", 20)
        yield* until(Effect.map(values, (all) => all.length === 21))
        expect(yield* values).toEqual(Array.from({ length: 21 }, (_, n) => n))
      }).pipe(Effect.scoped, Effect.provide(layer))
  )

  it.live("a barrier that does not come through is told, and what waits can be seen", () =>
    Effect.gen(function* () {
      const { push, source } = pushed()
      const { sink } = yield* collect<number>("out")
      const running = yield* Pipeline.start(
        Pipeline.make("paused", Pipeline.to(sink)(Pipeline.from(source))),
        {
          checkpointEvery: "100 millis",
          alignmentTimeout: "1 second",
          supervision: Schedule.stop
        }
      )
      const registry = yield* Registry
      yield* until(
        Effect.map(registry.list({ prefix: "pipeline/paused/out" }), (actors) => actors.length === 1)
      )
      yield* registry.pause({ prefix: "pipeline/paused/out" })
      yield* push("a", 1)
      yield* until(
        Effect.map(running.status, ({ operators }) =>
          operators.some(({ id, queueDepth }) => id === "out" && queueDepth > 0)
        )
      )
      expect(yield* Effect.flip(running.await)).toMatchObject({
        _tag: "BarrierLost",
        pipeline: "paused",
        timeoutMs: 1_000
      })
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  it.live("a partition that is silent holds the others back, unless it counts as idle", () =>
    Effect.gen(function* () {
      const run = (watermarks: Watermarks.WatermarkStrategy) =>
        Effect.gen(function* () {
          const { push, source } = pushed()
          const { sink, values } = yield* collect<number>("out")
          const counted = Pipeline.from(source, { watermarks }).pipe(
            Pipeline.keyBy((): Key => "all"),
            Pipeline.window(Windows.tumbling(100)),
            Pipeline.aggregate(Aggregates.count()),
            Pipeline.map(({ value }) => value)
          )
          yield* Pipeline.start(
            Pipeline.make(`silent ${String(watermarks.idleMs)}`, Pipeline.to(sink)(counted)),
            {
              checkpointEvery: "10 millis"
            }
          )
          yield* push("a", 10, 20, 500)
          yield* Effect.sleep("200 millis")
          return yield* values
        }).pipe(Effect.scoped)
      expect(yield* run(Watermarks.monotonic)).toEqual([])
      expect(yield* run(Watermarks.idleAfter("50 millis")(Watermarks.monotonic))).toEqual([2])
    }).pipe(Effect.provide(layer))
  )
})

describe("a pipeline as a drawing", () => {
  it.effect("has a box for each operator, and says what goes by key", () =>
    Effect.gen(function* () {
      const { source } = pushed()
      const { sink } = yield* collect<unknown>("out")
      const drawn = yield* Pipeline.toMermaid(
        Pipeline.make(
          "drawn",
          Pipeline.from(source).pipe(
            Pipeline.filter((n) => n > 0),
            Pipeline.keyBy((n) => n),
            Pipeline.window(Windows.global),
            Pipeline.aggregate(Aggregates.count(), { id: 'count "all"' }),
            Pipeline.to(sink)
          )
        ),
        { parallelism: 4 }
      )
      expect(drawn.split("\n")).toEqual([
        "flowchart LR",
        '  n0(["pushed<br/>source"])',
        '  subgraph t1[" "]',
        '    n1["filter"]',
        '    n2["keyBy"]',
        "  end",
        '  n3["count #34;all#34;<br/>window × 4"]',
        '  n4[("out<br/>sink")]',
        "  n0 ==> n1",
        "  n1 --> n2",
        '  n2 ==>|"by key"| n3',
        "  n3 ==> n4"
      ])
    })
  )
})
