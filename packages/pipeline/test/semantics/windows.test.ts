/** Windows and what is computed of them, against all records put together by hand. */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import type { Flow, KeyedFlow } from "@millrace/pipeline/Flow"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import type { Key } from "@millrace/pipeline/Records"
import * as Windows from "@millrace/pipeline/Windows"
import * as IterableSource from "@millrace/pipeline/sources/IterableSource"
import type { TimeWindow } from "@millrace/pipeline/Windows"
import * as FC from "effect/FastCheck"
import * as Schema from "effect/Schema"
import * as Effect from "effect/Effect"
import { describe, expect, it } from "vitest"
import { input, keyedOf, severalHold } from "./Cases.js"
import type { Group, Rec, Spec } from "./Oracles.js"
import { groupsOf, windowOf } from "./Oracles.js"

const RecSchema = Schema.Struct({
  key: Schema.Union(Schema.String, Schema.Number),
  at: Schema.Number,
  n: Schema.Number,
  v: Schema.Number,
  partition: Schema.Number
})

const offset = FC.constantFrom(0, 0, 3, 100)

/** Any window. */
const anySpec: FC.Arbitrary<Spec> = FC.oneof(
  FC.record({ kind: FC.constant("tumbling" as const), size: FC.integer({ min: 1, max: 25 }), offset }),
  FC.tuple(FC.integer({ min: 1, max: 30 }), FC.integer({ min: 1, max: 30 }), offset).map(
    ([a, b, offset]): Spec => ({ kind: "hopping", size: Math.max(a, b), hop: Math.min(a, b), offset })
  ),
  FC.record({ kind: FC.constant("session" as const), gap: FC.integer({ min: 1, max: 15 }) }),
  FC.constant({ kind: "global" } as const),
  FC.record({ kind: FC.constant("count" as const), size: FC.integer({ min: 1, max: 5 }) })
)

const whats = ["struct", "reduce", "apply", "maxBy"] as const
type What = (typeof whats)[number]

/** One way or another to put a window together. Lists of sessions are by time when records are out of order. */
const computed = (
  spec: Spec,
  what: What,
  flow: KeyedFlow<Key, Rec>
): Flow<{ readonly key: Key; readonly window: TimeWindow; readonly value: unknown }> => {
  const windowed = Pipeline.window<Rec>(windowOf(spec))
  switch (what) {
    case "struct":
      return flow.pipe(
        windowed,
        Pipeline.aggregate(
          Aggregates.struct({
            sum: Aggregates.sum((rec: Rec) => rec.v),
            count: Aggregates.count(),
            average: Aggregates.average((rec: Rec) => rec.v),
            min: Aggregates.min((rec: Rec) => rec.v),
            max: Aggregates.max((rec: Rec) => rec.v),
            list: Aggregates.list(RecSchema)
          })
        ),
        Pipeline.map(({ value: { list, ...rest }, ...result }) => ({
          ...result,
          value: { ...rest, ns: nsOf(spec, list) }
        }))
      )
    case "reduce":
      return flow.pipe(
        windowed,
        Pipeline.reduce((a, b) => ({ ...a, v: a.v + b.v }), { state: RecSchema }),
        Pipeline.map(({ value, ...result }) => ({ ...result, value: value.v }))
      )
    case "apply":
      return flow.pipe(
        windowed,
        Pipeline.apply(
          (records, { key, window }) => [key, window.start, window.end, ...nsOf(spec, records)],
          {
            state: RecSchema
          }
        )
      )
    case "maxBy":
      return flow.pipe(
        windowed,
        Pipeline.aggregate(Aggregates.maxBy((rec: Rec) => rec.v, RecSchema)),
        Pipeline.map(({ value, ...result }) => ({ ...result, value: value.v }))
      )
  }
}

const nsOf = (spec: Spec, records: ReadonlyArray<Rec>): ReadonlyArray<number> => {
  const ns = records.map(({ n }) => n)
  return spec.kind === "session" ? ns.sort((a, b) => a - b) : ns
}

const valueOf = (spec: Spec, what: What, { end, key, records, start }: Group<Rec>): unknown => {
  const vs = records.map(({ v }) => v)
  const sum = vs.reduce((a, b) => a + b, 0)
  switch (what) {
    case "struct":
      return {
        sum,
        count: vs.length,
        average: sum / vs.length,
        min: Math.min(...vs),
        max: Math.max(...vs),
        ns: nsOf(spec, records)
      }
    case "reduce":
      return sum
    case "apply":
      return [key, start, end, ...nsOf(spec, records)]
    case "maxBy":
      return Math.max(...vs)
  }
}

const check = (title: string, given: ReturnType<typeof input>, share: number) =>
  severalHold(title, {
    share,
    given,
    variant: FC.record({ spec: anySpec, what: FC.constantFrom(...whats) }),
    flows: (given, name) => {
      const keyed = keyedOf(name, given)
      return ({ spec, what }) =>
        computed(spec, what, keyed).pipe(
          Pipeline.map(({ key, value, window }) => [key, window.start, window.end, value])
        )
    },
    expected: ({ records }, { spec, what }) =>
      groupsOf(spec, records).map((group) => [group.key, group.start, group.end, valueOf(spec, what, group)])
  })

describe("windows", () => {
  check("records in order are counted where they belong", input({ disorder: "none" }), 1)
  check(
    "out of order within the bound, of several partitions and whatever the batches, gives the same",
    input({ disorder: "within", partitions: 3, keys: 4 }),
    2
  )

  const run = <A>(flow: Flow<A, unknown>, parallelism = 1) =>
    Effect.runPromise(Effect.provide(Pipeline.collect(flow, { parallelism }), ActorRegistry.layer))

  for (const [name, window] of [
    ["tumbling", Windows.tumbling(7)],
    ["hopping", Windows.hopping(10, 3)],
    ["session", Windows.session(5)],
    ["global", Windows.global],
    ["count", Windows.count(2)]
  ] as const)
    it(`${name}: the first and the last millisecond that there are`, async () => {
      const times = [-8.64e15, 8.64e15 - 1]
      const values = await run(
        Pipeline.from(IterableSource.fromIterable("ends", times), { timestamp: (time) => time }).pipe(
          Pipeline.keyBy((time) => time),
          Pipeline.window(window),
          Pipeline.aggregate(Aggregates.count()),
          Pipeline.map(({ key }) => key)
        )
      )
      expect([...new Set(values)]).toEqual(times)
    })

  for (const parallelism of [1, 3])
    it(`more windows at once than are given in a turn, one behind the other, at parallelism ${parallelism}`, async () => {
      const keys = 25_000
      const records = [...Array.from({ length: keys }, (_, key) => ({ key, at: 0 })), { key: -1, at: 10 }]
      const seen: Array<number> = []
      const values = await run(
        Pipeline.from(IterableSource.fromIterable("keys", records, { batchSize: 10_000 }), {
          timestamp: ({ at }) => at
        }).pipe(
          Pipeline.keyBy(({ key }) => key),
          Pipeline.window(Windows.tumbling(10)),
          Pipeline.aggregate(Aggregates.count()),
          Pipeline.keyBy(({ key }) => key % 20_000),
          Pipeline.window(Windows.tumbling(10)),
          Pipeline.aggregate(Aggregates.sum(({ value }: { readonly value: number }) => value)),
          Pipeline.map((result) => {
            seen.push(result.window.start)
            return result.value
          })
        ),
        parallelism
      )
      expect(values.reduce((a, b) => a + b, 0)).toBe(keys + 1)
      expect(values).toHaveLength(20_001)
      // Between shares there is no order.
      expect(parallelism === 1 ? seen.at(-1) : 10).toBe(10)
    })
})
