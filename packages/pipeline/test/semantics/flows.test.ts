/** Operators one behind the other, beside one another and joined again: the same records come out, however they are laid out. */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import type { Flow } from "@millrace/pipeline/Flow"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import type { Key } from "@millrace/pipeline/Records"
import * as SideOutput from "@millrace/pipeline/SideOutput"
import * as State from "@millrace/pipeline/State"
import * as Windows from "@millrace/pipeline/Windows"
import * as Effect from "effect/Effect"
import * as FC from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import type { Input } from "./Cases.js"
import { holds, input, keyedOf, keys, recordsOf, severalHold } from "./Cases.js"
import type { Rec, Spec } from "./Oracles.js"
import { groupsOf, windowOf } from "./Oracles.js"

/** What may be done with a flow, and what that makes of its records. */
interface Step {
  readonly flow: (flow: Flow<Rec>) => Flow<Rec>
  readonly records: (records: ReadonlyArray<Rec>) => ReadonlyArray<Rec>
}

const plus = (by: number) => (rec: Rec) => ({ ...rec, v: rec.v + by })
const isEven = ({ v }: Rec) => v % 2 === 0
const twice = (rec: Rec) => (rec.v > 3 ? [rec, plus(100)(rec)] : rec.v < 0 ? [] : [rec])

/** Lets records through that it has seen n − 1 of their key before; the others go aside. */
const setAside = (flow: Flow<Rec>) => {
  const side = SideOutput.make<Rec>("side")
  const main = flow.pipe(
    Pipeline.keyBy(({ key }) => key),
    Pipeline.process({
      state: { seen: State.value(Schema.Number, { initial: () => 0 }) },
      onRecord: (rec: Rec, context) => {
        context.state.seen.set(context.state.seen.get() + 1)
        if (!isEven(rec)) return [rec]
        context.side(side, rec)
        return undefined
      }
    })
  )
  return { main, side: main.pipe(Pipeline.sideOutput(side)) }
}

const steps: Readonly<Record<string, Step>> = {
  map: { flow: Pipeline.map(plus(1)), records: (records) => records.map(plus(1)) },
  filter: { flow: Pipeline.filter(isEven), records: (records) => records.filter(isEven) },
  flatMap: { flow: Pipeline.flatMap(twice), records: (records) => records.flatMap(twice) },
  unionWithItself: {
    flow: (flow) => Pipeline.union(flow, flow.pipe(Pipeline.map(plus(10)))),
    records: (records) => [...records, ...records.map(plus(10))]
  },
  splitAndUnion: {
    flow: (flow) => {
      const { even, odd } = Pipeline.split(flow, ["even", "odd"], (rec) => (isEven(rec) ? "even" : "odd"))
      return Pipeline.union(even, odd.pipe(Pipeline.map(plus(20))))
    },
    records: (records) => records.map((rec) => (isEven(rec) ? rec : plus(20)(rec)))
  },
  async: {
    flow: (flow) =>
      Pipeline.async(
        (rec: Rec) => Effect.as(Effect.repeatN(Effect.yieldNow(), (rec.n * 7) % 5), plus(1)(rec)),
        { concurrency: 3 }
      )(flow),
    records: (records) => records.map(plus(1))
  },
  unionWithLongerWay: {
    flow: (flow) =>
      Pipeline.union(flow, flow.pipe(Pipeline.async((rec: Rec) => Effect.succeed(plus(30)(rec))))),
    records: (records) => [...records, ...records.map(plus(30))]
  },
  sideOutput: {
    flow: (flow) => {
      const { main, side } = setAside(flow)
      return Pipeline.union(main.pipe(Pipeline.map(plus(40))), side)
    },
    records: (records) => records.map((rec) => (isEven(rec) ? rec : plus(40)(rec)))
  },
  keyedDiamond: {
    flow: (flow) => {
      const { main, side } = setAside(flow)
      return Pipeline.union(main, side, setAside(main).main)
    },
    records: (records) => [...records, ...records.filter((rec) => !isEven(rec))]
  },
  dedupe: {
    flow: Pipeline.dedupe({ by: ({ n, v }: Rec) => `${n} ${v}` }),
    records: (records) =>
      records.filter((rec, i) => records.findIndex(({ n, v }) => n === rec.n && v === rec.v) === i)
  }
}
const names = Object.keys(steps)

const chain = FC.array(FC.constantFrom(...names), { minLength: 1, maxLength: 3 })

const run = <A>(flow: Flow<A, unknown>, parallelism = 1) =>
  Effect.runPromise(Effect.provide(Pipeline.collect(flow, { parallelism }), ActorRegistry.layer))

/** Records of one key, in batches of one. */
const oneByOne = (times: ReadonlyArray<number>): Input => ({
  records: times.map((at, n) => ({ key: "a", at, n, v: 1, partition: 0 })),
  partitions: 1,
  sizes: [1],
  pauses: [0],
  bound: 0
})

describe("flows", () => {
  severalHold("any operators in any order give the same records at any parallelism, none of them late", {
    parallelism: 5,
    given: input({ disorder: "within", partitions: 2, records: 10 }),
    variant: FC.record({ chain, size: FC.integer({ min: 1, max: 20 }) }),
    flows: (given, name) => {
      const records = recordsOf(name, given)
      return ({ chain, size }) =>
        chain
          .reduce((flow, step) => steps[step]!.flow(flow), records)
          .pipe(
            Pipeline.keyBy(({ key }) => key),
            Pipeline.window(Windows.tumbling(size)),
            Pipeline.aggregate(
              Aggregates.struct({ count: Aggregates.count(), sum: Aggregates.sum((rec: Rec) => rec.v) })
            ),
            Pipeline.map(({ key, value: { count, sum }, window }) => [key, window.start, count, sum])
          )
    },
    expected: (given, { chain, size }) => {
      const made = chain.reduce((records, step) => steps[step]!.records(records), given.records)
      return groupsOf({ kind: "tumbling", size, offset: 0 }, made).map(({ key, records, start }) => [
        key,
        start,
        records.length,
        records.reduce((sum, { v }) => sum + v, 0)
      ])
    }
  })

  holds("records of one source keep their order through map, filter, flatMap and ordered async", {
    share: 0.3,
    arbitrary: FC.record({
      given: input({ disorder: "within" }),
      chain: FC.array(FC.constantFrom("map", "filter", "flatMap", "async"), { minLength: 1, maxLength: 4 })
    }),
    parallelism: () => 3,
    flow: ({ chain, given }, name) =>
      chain.reduce((flow, step) => steps[step]!.flow(flow), recordsOf(name, given)),
    expected: ({ chain, given }) =>
      chain.reduce((records, step) => steps[step]!.records(records), given.records),
    canonical: (values) => values
  })

  const grid: FC.Arbitrary<Spec> = FC.oneof(
    FC.record({
      kind: FC.constant("tumbling" as const),
      size: FC.integer({ min: 1, max: 12 }),
      offset: FC.constantFrom(0, 3)
    }),
    FC.tuple(FC.integer({ min: 1, max: 12 }), FC.integer({ min: 1, max: 12 })).map(([a, b]): Spec => ({
      kind: "hopping",
      size: Math.max(a, b),
      hop: Math.min(a, b),
      offset: 0
    }))
  )
  const session = FC.record({ kind: FC.constant("session" as const), gap: FC.integer({ min: 1, max: 15 }) })

  severalHold("a window of results of windows: counts, and the greatest of them by another key", {
    given: input({ disorder: "within", partitions: 2, keys: 4 }),
    variant: FC.record({ first: grid, second: FC.oneof(grid, session), byKey: FC.boolean() }),
    flows: (given, name) => {
      const keyed = keyedOf(name, given)
      return ({ byKey, first, second }) =>
        keyed.pipe(
          Pipeline.window(windowOf(first)),
          Pipeline.aggregate(Aggregates.count()),
          Pipeline.keyBy(({ key }): Key => (byKey ? typeof key : "all")),
          Pipeline.window(windowOf(second)),
          Pipeline.aggregate(
            Aggregates.struct({
              max: Aggregates.max(({ value }: { readonly value: number }) => value),
              count: Aggregates.count()
            })
          ),
          Pipeline.map(({ key, value: { count, max }, window }) => [
            key,
            window.start,
            window.end,
            max,
            count
          ])
        )
    },
    expected: ({ records }, { byKey, first, second }) =>
      groupsOf(
        second,
        groupsOf(first, records).map(({ end, key, records }) => ({
          key: byKey ? typeof key : "all",
          at: end - 1,
          value: records.length
        }))
      ).map(({ end, key, records, start }) => [
        key,
        start,
        end,
        Math.max(...records.map(({ value }) => value)),
        records.length
      ])
  })

  severalHold("no result of any window is late for the window behind it", {
    share: 0.5,
    given: input({ disorder: "within", partitions: 2, keys: 4 }),
    variant: FC.record({
      first: FC.oneof(
        grid,
        session,
        FC.record({ kind: FC.constant("count" as const), size: FC.constantFrom(1, 3) })
      ),
      // Of a size that the end of time is a multiple of; see below for others.
      second: FC.record({
        kind: FC.constant("tumbling" as const),
        size: FC.constantFrom(1, 2, 5, 10),
        offset: FC.constant(0)
      })
    }),
    flows: (given, name) => {
      const keyed = keyedOf(name, given)
      return ({ first, second }) =>
        keyed.pipe(
          Pipeline.window(windowOf(first)),
          Pipeline.aggregate(Aggregates.count()),
          Pipeline.keyBy(() => "all"),
          Pipeline.window(windowOf(second)),
          Pipeline.aggregate(Aggregates.count()),
          Pipeline.map(({ value }) => value)
        )
    },
    expected: ({ records }, { first }) => [groupsOf(first, records).length],
    canonical: (values) => [(values as ReadonlyArray<number>).reduce((a, b) => a + b, 0)]
  })

  it("a session whose end the watermark comes to exactly is not late for the window behind it", async () => {
    // The session of 5 ends at 10, is due at 11, and its result has the time 9.
    const given = oneByOne([5, 10, 30])
    const values = await run(
      keyedOf("s", { ...given, records: given.records.map((rec) => ({ ...rec, key: keys[rec.n]! })) }).pipe(
        Pipeline.window(Windows.session(5)),
        Pipeline.aggregate(Aggregates.count()),
        Pipeline.keyBy(() => "all"),
        Pipeline.window(Windows.tumbling(10)),
        Pipeline.aggregate(Aggregates.count()),
        Pipeline.map(({ value }) => value)
      )
    )
    expect(values.reduce((a, b) => a + b, 0)).toBe(3)
  })

  for (const [name, window] of [
    ["tumbling of 7 ms", Windows.tumbling(7)],
    ["hopping", Windows.hopping(10, 5)],
    ["session", Windows.session(5)]
  ] as const)
    it(`the result of a global window is counted by a ${name} window behind it`, async () => {
      const values = await run(
        keyedOf("s", oneByOne([1, 2, 3])).pipe(
          Pipeline.window(Windows.global),
          Pipeline.aggregate(Aggregates.count()),
          Pipeline.keyBy(() => "all"),
          Pipeline.window(window),
          Pipeline.aggregate(Aggregates.max(({ value }: { readonly value: number }) => value)),
          Pipeline.map(({ value }) => value)
        )
      )
      expect(values.length).toBeGreaterThan(0)
      expect(new Set(values)).toEqual(new Set([3]))
    })
})
