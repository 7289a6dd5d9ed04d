/** State and timers of keys, against a run that looks at one record after another. */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as MemoryCheckpointStore from "@millrace/core/MemoryCheckpointStore"
import * as CollectSink from "@millrace/pipeline/sinks/CollectSink"
import type { Flow, KeyedFlow } from "@millrace/pipeline/Flow"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import type { Key } from "@millrace/pipeline/Records"
import * as State from "@millrace/pipeline/State"
import * as Windows from "@millrace/pipeline/Windows"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import * as Effect from "effect/Effect"
import * as FC from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import type { Input } from "./Cases.js"
import { holds, input, keyedOf, keys, severalHold } from "./Cases.js"
import type { Act, Rec } from "./Oracles.js"
import { processOf, watermarksOf } from "./Oracles.js"

/** Counts the records of a key, and does with its timers what the records say; what it gives is told as texts. */
const acting = (flow: KeyedFlow<Key, Rec>, acts: ReadonlyArray<Act>, ttl?: number): Flow<[Key, string]> =>
  flow.pipe(
    Pipeline.process({
      ttl,
      state: { count: State.value(Schema.Number, { initial: () => 0 }) },
      onRecord: ({ at, n }: Rec, { key, state, timers }): Array<[Key, string]> => {
        const count = state.count.get() + 1
        state.count.set(count)
        const act = acts[n % acts.length]!
        if (act.kind === "set") timers.at(act.name, at + act.inMs)
        if (act.kind === "again") timers.at(`again ${act.times} ${act.inMs}`, at + act.inMs)
        if (act.kind === "cancel") timers.cancel(act.name)
        if (act.kind === "clear") state.count.clear()
        return [[key, `record ${n} ${count}`]]
      },
      onTimer: ({ name, timeMs }, { key, state, timers }): Array<[Key, string]> => {
        const [, left, inMs] = /^again (\d+) (\d+)$/.exec(name) ?? []
        if (left !== undefined && Number(left) > 0)
          timers.at(`again ${Number(left) - 1} ${inMs}`, timeMs + Number(inMs))
        if (name === "x") timers.cancel("y")
        return [[key, `timer ${name} ${timeMs} ${state.count.get()}`]]
      }
    })
  )

const acts = (min: number): FC.Arbitrary<ReadonlyArray<Act>> =>
  FC.array(
    FC.oneof(
      FC.record({
        kind: FC.constant("set" as const),
        name: FC.constantFrom("x", "y"),
        inMs: FC.integer({ min, max: 30 })
      }),
      FC.record({
        kind: FC.constant("again" as const),
        times: FC.nat({ max: 3 }),
        inMs: FC.integer({ min: Math.max(0, min), max: 9 })
      }),
      FC.record({ kind: FC.constant("cancel" as const), name: FC.constantFrom("x", "y") }),
      FC.record({ kind: FC.constantFrom("none" as const, "clear" as const) })
    ),
    { minLength: 1, maxLength: 5 }
  )

/** What is given of each key, in its order. */
const byKey = (values: ReadonlyArray<unknown>): ReadonlyArray<unknown> =>
  keys.map((key) => (values as ReadonlyArray<readonly [Key, string]>).filter(([of]) => of === key))

const watermarks = ({ bound, partitions, records }: Input) => watermarksOf(records, bound, partitions)

describe("process", () => {
  severalHold("counts, and has timers due between the same two records whatever the batches", {
    share: 2,
    given: input({ disorder: "within", partitions: 2 }),
    variant: acts(1),
    flows: (given, name) => {
      const keyed = keyedOf(name, given)
      return (acts) => acting(keyed, acts)
    },
    expected: (given, acts) => processOf(given.records, acts, watermarks(given)),
    canonical: byKey
  })

  severalHold("a timer for a time that has passed is due before the next record of its key", {
    parallelism: 1,
    given: input({ disorder: "beyond", partitions: 2 }),
    variant: acts(-20),
    flows: (given, name) => {
      const keyed = keyedOf(name, given)
      return (acts) => acting(keyed, acts)
    },
    expected: (given, acts) => processOf(given.records, acts, watermarks(given)),
    canonical: byKey
  })

  holds("maps and lists of a key are what a fold makes of its records", {
    share: 0.3,
    arbitrary: FC.record({ given: input(), parallelism: FC.integer({ min: 1, max: 4 }) }),
    parallelism: ({ parallelism }) => parallelism,
    flow: ({ given }, name) =>
      keyedOf(name, given).pipe(
        Pipeline.process({
          state: { list: State.list(Schema.Number), map: State.map(Schema.Number) },
          onRecord: ({ key, n, v }: Rec, { state: { list, map } }): Array<[Key, string]> => {
            list.add(n)
            if (v === 0) map.clear()
            else if (v < 0) map.remove(`v${-v}`)
            else map.set(`v${v % 4}`, (map.get(`v${v % 4}`) ?? 0) + n)
            if (v === 9) list.clear()
            if (v === 8) list.set(list.get().slice(-2))
            return [[key, JSON.stringify([list.get(), [...map.entries()].sort(), map.size(), map.has("v1")])]]
          }
        })
      ),
    expected: ({ given }) => {
      const lists = new Map<Key, Array<number>>()
      const maps = new Map<Key, Map<string, number>>()
      return given.records.map(({ key, n, v }) => {
        const list = [...(lists.get(key) ?? []), n]
        const map = new Map(maps.get(key))
        if (v === 0) map.clear()
        else if (v < 0) map.delete(`v${-v}`)
        else map.set(`v${v % 4}`, (map.get(`v${v % 4}`) ?? 0) + n)
        const kept = v === 9 ? [] : v === 8 ? list.slice(-2) : list
        lists.set(key, kept)
        maps.set(key, map)
        return [key, JSON.stringify([kept, [...map.entries()].sort(), map.size, map.has("v1")])]
      })
    },
    canonical: byKey
  })

  severalHold("two processes in a row see the same watermarks whatever the batches", {
    parallelism: 1,
    given: input({ disorder: "within", partitions: 2 }),
    variant: acts(1),
    flows: (given, name) => {
      const passed = keyedOf(name, given).pipe(
        Pipeline.process({
          state: { any: State.value(Schema.Number) },
          onRecord: (rec: Rec, { state }) => {
            state.any.set(1)
            return rec.v % 2 === 0 ? [rec] : undefined
          }
        }),
        Pipeline.filter((rec) => rec.v !== 4),
        Pipeline.keyBy(({ key }) => key)
      )
      return (acts) => acting(passed, acts)
    },
    expected: (given, acts) => {
      const passed = given.records.filter(({ v }) => v % 2 === 0 && v !== 4)
      return processOf(
        passed,
        acts,
        passed.map(({ n }) => watermarks(given)[n]!)
      )
    },
    canonical: byKey
  })

  /** Records of one source, in one batch or one by one. */
  const given = (
    size: number,
    records: ReadonlyArray<readonly [key: Key, at: number]>,
    bound = 0
  ): Input => ({
    records: records.map(([key, at], n) => ({ key, at, n, v: 1, partition: 0 })),
    partitions: 1,
    sizes: [size],
    pauses: [0],
    bound
  })
  const run = <A>(flow: Flow<A, unknown>, parallelism = 1) =>
    Effect.runPromise(Effect.provide(Pipeline.collect(flow, { parallelism }), ActorRegistry.layer))

  it("a process behind another one gives the same at any parallelism, or the status says that it may not", async () => {
    const records = Array.from({ length: 40 }, (_, i) => [i % 8, i * 5] as const)
    const counted = keyedOf("s", given(7, records)).pipe(
      Pipeline.process({ onRecord: (rec: Rec) => [rec] }),
      Pipeline.keyBy(({ key }) => key),
      Pipeline.process({
        state: { count: State.value(Schema.Number, { initial: () => 0 }) },
        onRecord: ({ at }: Rec, { state, timers }) => {
          state.count.set(state.count.get() + 1)
          timers.at(`${at}`, at + 10)
          return []
        },
        onTimer: ({ timeMs }, { key, state }) => [`${key} at ${timeMs}: ${state.count.get()}`]
      })
    )
    const { isDeterministic } = await Effect.runPromise(
      Effect.gen(function* () {
        const { sink } = yield* CollectSink.collect<string>()
        const running = yield* Pipeline.start(Pipeline.make("p", Pipeline.to(sink)(counted)), {
          parallelism: 3
        })
        yield* running.await
        return yield* running.status
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(ActorRegistry.layer, MemoryCheckpointStore.layer)))
    )
    const isSame =
      JSON.stringify((await run(counted, 3)).sort()) === JSON.stringify((await run(counted)).sort())
    expect(isSame || !isDeterministic).toBe(true)
  })

  for (const size of [1, 7])
    it(`a timer knows a watermark that has come to it, in batches of ${size}`, async () => {
      const seen: Array<number> = []
      await run(
        keyedOf(
          "s",
          given(size, [
            ["a", 0],
            ["b", 7],
            ["b", 9]
          ])
        ).pipe(
          Pipeline.process({
            onRecord: (_: Rec, { timeMs, timers }) => {
              if (timeMs === 0) timers.at("x", 5)
              return []
            },
            onTimer: (_, { watermarkMs }) => {
              seen.push(watermarkMs)
              return []
            }
          })
        )
      )
      expect(seen).toEqual([7])
    })

  for (const size of [1, 7])
    it(`timers behind a window are due between the same results, in batches of ${size}`, async () => {
      const values = await run(
        keyedOf(
          "s",
          given(size, [
            ["a", 0],
            ["a", 10],
            ["a", 30]
          ])
        ).pipe(
          Pipeline.window(Windows.tumbling(10)),
          Pipeline.aggregate(Aggregates.count()),
          Pipeline.keyBy(({ key }) => key),
          Pipeline.process({
            onRecord: (_, { timeMs, timers }) => {
              timers.at(`of ${timeMs}`, timeMs + 1)
              return [`result ${timeMs}`]
            },
            onTimer: ({ name }) => [`timer ${name}`]
          })
        )
      )
      expect(values).toEqual([
        "result 9",
        "timer of 9",
        "result 19",
        "timer of 19",
        "result 39",
        "timer of 39"
      ])
    })
})
