/** What a pipeline makes of the checkpoint that it finds: other forms of state, other operators, damaged ones, none. */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { CheckpointPlaces } from "@millrace/core/CheckpointStoreBackend"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import * as CheckpointStoreBackend from "@millrace/core/CheckpointStoreBackend"
import * as MemoryCheckpointStore from "@millrace/core/MemoryCheckpointStore"
import type { Sink } from "@millrace/core/Sink"
import type { Source } from "@millrace/core/Source"
import type { Key } from "@millrace/pipeline/Records"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as State from "@millrace/pipeline/State"
import * as Windows from "@millrace/pipeline/Windows"
import { collect } from "@millrace/pipeline/sinks/CollectSink"
import { forEachBatch } from "@millrace/pipeline/sinks/EffectSink"
import { fromIterable } from "@millrace/pipeline/sources/IterableSource"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

const layer = Layer.merge(
  Layer.provideMerge(CheckpointStoreBackend.storage, MemoryCheckpointStore.places),
  ActorRegistry.layer
)

const numbers = (name = "numbers") =>
  fromIterable(
    name,
    Array.from({ length: 100 }, (_, n) => n)
  )

/** Counts by the last digit, in a state of this form. */
const counting = <A, I>(state: {
  readonly schema: Schema.Schema<A, I>
  readonly version?: number
  readonly migrate?: Readonly<Record<number, (encoded: never) => unknown>>
  readonly initial: () => A
  readonly next: (state: A) => A
  readonly show: (state: A) => number
  readonly id?: string
}) =>
  Pipeline.from(numbers()).pipe(
    Pipeline.keyBy((n: number): Key => n % 10),
    Pipeline.process({
      id: state.id ?? "count",
      state: {
        count: State.value(state.schema, {
          version: state.version,
          migrate: state.migrate,
          initial: state.initial
        })
      },
      onRecord: (_n: number, context) => {
        context.state.count.set(state.next(context.state.count.get()))
        return [state.show(context.state.count.get())]
      }
    })
  )

const first = counting({ schema: Schema.Number, initial: () => 0, next: (n) => n + 1, show: (n) => n })
const second = (migrate: Readonly<Record<number, (encoded: never) => unknown>> | undefined, version = 2) =>
  counting({
    schema: Schema.Struct({ n: Schema.Number }),
    version,
    ...(migrate === undefined ? {} : { migrate }),
    initial: () => ({ n: 0 }),
    next: ({ n }) => ({ n: n + 1 }),
    show: ({ n }) => n
  })

/** Runs it over the same hundred numbers, once more each time: the source begins anew under another name. */
const ran = (flow: ReturnType<typeof counting>, options: Pipeline.RunOptions = {}) =>
  Effect.gen(function* () {
    const { sink, values } = yield* collect<number>("out")
    yield* Pipeline.run(Pipeline.make("counted", Pipeline.to(sink as Sink<number, never>)(flow)), {
      supervision: Schedule.stop,
      atEnd: "keep",
      ...options
    })
    return yield* values
  })

const failure = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.flip(effect)

describe("state of another form", () => {
  it.live("of an older version is migrated, and written anew", () =>
    Effect.gen(function* () {
      yield* ran(first)
      yield* ran(second({ 1: (n: number) => ({ n }) }))
      const store = yield* (yield* CheckpointStorage).forPipeline("counted")
      expect(yield* store.listIds).toEqual([1, 2])
      // The third version comes from the second, not from the first.
      const error = yield* failure(ran(second({ 1: (n: number) => ({ n }) }, 3)))
      expect(error).toMatchObject({
        _tag: "StateIncompatible",
        operator: "count",
        checkpointId: 2,
        reason: `state "count": there is no migration from version 2`
      })
    }).pipe(Effect.provide(layer))
  )

  it.live(
    "without a migration, of a newer version, and changed under the same version: refused, nothing is processed",
    () =>
      Effect.gen(function* () {
        yield* ran(first)
        for (const [flow, reason] of [
          [second(undefined), "there is no migration from version 1"],
          [second(undefined, 1), "version 1 is another form: it was number, and is { readonly n: number }"],
          [second({ 1: () => ({ n: "text" }) }), 'Expected number, actual "text"']
        ] as const) {
          const error = yield* failure(ran(flow))
          expect(error._tag).toBe("StateIncompatible")
          expect(String(error)).toContain(reason)
        }
        yield* ran(second({ 1: (n: number) => ({ n }) }))
        expect((yield* failure(ran(first)))._tag).toBe("StateIncompatible")
        const store = yield* (yield* CheckpointStorage).forPipeline("counted")
        expect(yield* store.listIds).toEqual([1, 2])
      }).pipe(Effect.provide(layer))
  )

  it.live("is refused before a sink has taken anything back", () =>
    Effect.gen(function* () {
      const { sink, values } = yield* collect<number>("out")
      const half = yield* Effect.makeLatch(false)
      /** Ten numbers, and ten more behind the latch. */
      const halves: Source<number> = {
        name: "halves",
        isReplayable: true,
        open: ({ "0": at }) =>
          Effect.sync(() => {
            let n = Number(at ?? 0)
            return {
              partitions: ["0"],
              next: Effect.suspend(() => (n === 10 ? half.await : Effect.void)).pipe(
                Effect.map(() => {
                  if (n === 20) return undefined
                  n += 10
                  return {
                    values: Array.from({ length: 10 }, (_, i) => n - 10 + i),
                    partition: "0",
                    offset: String(n)
                  }
                })
              )
            }
          })
      }
      const run = (version: number, options: Pipeline.RunOptions) =>
        Pipeline.start(
          Pipeline.make(
            "refused",
            Pipeline.from(halves).pipe(
              Pipeline.keyBy((n): Key => n),
              Pipeline.process({
                id: "count",
                state: { count: State.value(Schema.Number, { version, initial: () => 0 }) },
                onRecord: (n: number, { state }) => {
                  state.count.set(n)
                  return [n]
                }
              }),
              Pipeline.to(sink)
            )
          ),
          { supervision: Schedule.stop, checkpointEvery: "1 hour", ...options }
        )
      const running = yield* run(1, {})
      yield* Effect.repeat(running.status, {
        schedule: Schedule.spaced("5 millis"),
        until: ({ operators }) => operators.some(({ id, recordsIn }) => id === "out" && recordsIn === 10)
      })
      yield* running.savepoint("early")
      yield* half.open
      yield* running.await
      expect(yield* values).toHaveLength(20)
      const again = yield* run(2, { savepoint: "early" })
      expect(yield* failure(again.await)).toMatchObject({ _tag: "StateIncompatible", operator: "count" })
      expect(yield* values).toHaveLength(20)
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  it.live("of an operator that is gone: refused, and forgotten only when that is said", () =>
    Effect.gen(function* () {
      yield* ran(first)
      const renamed = counting({
        schema: Schema.Number,
        initial: () => 0,
        next: (n) => n + 1,
        show: (n) => n,
        id: "renamed"
      })
      expect(yield* failure(ran(renamed))).toMatchObject({
        _tag: "OperatorMissing",
        operator: "count",
        checkpointId: 1
      })
      yield* ran(renamed, { dropState: ["count"] })
    }).pipe(Effect.provide(layer))
  )
})

describe("checkpoints that cannot be used", () => {
  const damage = (checkpointId: number) =>
    Effect.gen(function* () {
      const place = yield* (yield* CheckpointPlaces).open("repeated")
      yield* place.replaceManifest(checkpointId, "damaged", undefined)
    })
  const endless: Source<number> = {
    name: "endless",
    isReplayable: true,
    open: ({ "0": at }) =>
      Effect.sync(() => {
        let n = Number(at ?? 0)
        return {
          partitions: ["0"],
          next: Effect.map(Effect.sleep("1 millis"), () => ({
            values: [n++],
            partition: "0",
            offset: String(n)
          }))
        }
      })
  }
  /** Runs until it has made so many checkpoints. */
  const running = <E>(sink: Sink<number, E>, checkpoints: number, options: Pipeline.RunOptions = {}) =>
    Effect.scoped(
      Effect.gen(function* () {
        const started = yield* Pipeline.start(
          Pipeline.make("repeated", Pipeline.to(sink)(Pipeline.from(endless))),
          {
            supervision: Schedule.stop,
            checkpointEvery: "1 hour",
            ...options
          }
        )
        let arrived = 0
        for (let n = 0; n < checkpoints; n++) {
          // Something new for each, unless it fails before.
          const more = Effect.repeat(started.status, {
            schedule: Schedule.spaced("2 millis"),
            until: ({ operators }) =>
              operators.some(({ kind, recordsIn }) => kind === "sink" && recordsIn > arrived)
          })
          yield* Effect.raceFirst(more, started.await)
          arrived = (yield* started.status).operators.find(({ kind }) => kind === "sink")!.recordsIn
          yield* started.checkpoint
        }
        return yield* started.status
      })
    )

  it.live(
    "a sink that can neither take back nor take again refuses to go back, unless repeats are allowed",
    () =>
      Effect.gen(function* () {
        const seen: Array<number> = []
        const sink = forEachBatch("printed", (values: ReadonlyArray<number>) =>
          Effect.sync(() => void seen.push(...values))
        )
        yield* running(sink, 2)
        yield* damage(2)
        const error = yield* failure(running(sink, 1))
        expect(error).toMatchObject({
          _tag: "SinkCannotRewind",
          sink: "printed",
          checkpointId: 1,
          committedId: 2
        })
        const before = seen.length
        yield* running(sink, 1, { allowRepeats: true })
        expect(seen.slice(before)[0]).toBeLessThanOrEqual(Math.max(...seen.slice(0, before)))
      }).pipe(Effect.provide(layer))
  )

  it.live("a sink that can take results back has each of them once", () =>
    Effect.gen(function* () {
      const { sink, values } = yield* collect<number>("kept")
      yield* running(sink, 3)
      yield* damage(3)
      const status = yield* running(sink, 1)
      expect(status.startedFrom).toBe(2)
      const all = yield* values
      expect(all).toEqual(Array.from({ length: all.length }, (_, n) => n))
    }).pipe(Effect.provide(layer))
  )

  it.live("none of them can be read: it begins anew", () =>
    Effect.gen(function* () {
      const { sink, values } = yield* collect<number>("kept")
      yield* running(sink, 2)
      yield* damage(1)
      yield* damage(2)
      const status = yield* running(sink, 1)
      expect(status.startedFrom).toBe(0)
      const all = yield* values
      expect(all).toEqual(Array.from({ length: all.length }, (_, n) => n))
    }).pipe(Effect.provide(layer))
  )

  it.live("there is no savepoint of that name", () =>
    Effect.gen(function* () {
      const { sink } = yield* collect<number>("kept")
      expect(yield* failure(running(sink, 1, { savepoint: "never made" }))).toMatchObject({
        _tag: "SavepointNotFound",
        savepoint: "never made"
      })
    }).pipe(Effect.provide(layer))
  )
})

describe("the end of the input", () => {
  const upTo = (count: number) =>
    fromIterable(
      "growing",
      Array.from({ length: count }, (_, n) => n),
      { batchSize: 10 }
    )
  const summed = (count: number) =>
    Pipeline.from(upTo(count), { timestamp: (n) => n }).pipe(
      Pipeline.keyBy((): Key => "all"),
      Pipeline.window(Windows.tumbling(100)),
      Pipeline.aggregate(Aggregates.count(), { id: "hundreds" }),
      Pipeline.map(({ value, window }) => `${window.start}: ${value}`)
    )
  const run = (count: number, sink: Sink<string, never>, options: Pipeline.RunOptions) =>
    Pipeline.run(Pipeline.make("ending", Pipeline.to(sink)(summed(count))), options)

  it.live("kept: windows stay open, and go on with what comes later", () =>
    Effect.gen(function* () {
      const { sink, values } = yield* collect<string>("out")
      const out = sink as Sink<string, never>
      yield* run(150, out, { atEnd: "keep" })
      expect(yield* values).toEqual(["0: 100"])
      yield* run(230, out, { atEnd: "keep" })
      expect(yield* values).toEqual(["0: 100", "100: 100"])
      yield* run(230, out, {})
      expect(yield* values).toEqual(["0: 100", "100: 100", "200: 30"])
    }).pipe(Effect.provide(layer))
  )

  it.live("flushed: the same again changes nothing, and more is refused", () =>
    Effect.gen(function* () {
      const { sink, values } = yield* collect<string>("out")
      const out = sink as Sink<string, never>
      yield* run(150, out, {})
      yield* run(150, out, {})
      expect(yield* values).toEqual(["0: 100", "100: 50"])
      expect(yield* failure(run(151, out, {}))).toMatchObject({ _tag: "InputHadEnded", source: "growing" })
      expect(yield* values).toEqual(["0: 100", "100: 50"])
    }).pipe(Effect.provide(layer))
  )
})
