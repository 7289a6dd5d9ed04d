/** What becomes of records that come behind the watermark, and of results before and after the end of a window. */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import type { KeyedFlow } from "@millrace/pipeline/Flow"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import type { Key } from "@millrace/pipeline/Records"
import * as SideOutput from "@millrace/pipeline/SideOutput"
import * as Windows from "@millrace/pipeline/Windows"
import * as Effect from "effect/Effect"
import * as FC from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import type { Input } from "./Cases.js"
import { byTime, input, keyedOf, severalHold } from "./Cases.js"
import type { Handling, Rec, Spec } from "./Oracles.js"
import { firingsOf, watermarksOf, windowOf } from "./Oracles.js"

const spec: FC.Arbitrary<Spec> = FC.oneof(
  ...byTime,
  FC.record({ kind: FC.constant("count" as const), size: FC.integer({ min: 1, max: 5 }) })
)

interface Variant {
  readonly spec: Spec
  readonly handling: Handling
}

/** Results as the numbers of their records, and late records by themselves. */
const firings = (keyed: KeyedFlow<Key, Rec>, { handling, spec }: Variant) => {
  const late = SideOutput.make<Rec>("late")
  const results = keyed.pipe(
    Pipeline.window(windowOf(spec), {
      late,
      allowedLateness: handling.lateness,
      early: handling.every === 0 ? undefined : { every: handling.every },
      panes: handling.isDiscarding ? "discarding" : "accumulating"
    }),
    Pipeline.aggregate({
      ...Aggregates.list(Schema.Unknown as unknown as Schema.Schema<Rec>),
      result: (records: ReadonlyArray<Rec>) => records.map(({ n }) => n).sort((a, b) => a - b)
    })
  )
  return Pipeline.union(
    results.pipe(
      Pipeline.map(({ firing, key, value, window }): unknown => [
        key,
        window.start,
        window.end,
        firing,
        value
      ])
    ),
    results.pipe(
      Pipeline.sideOutput(late),
      Pipeline.map(({ n }): unknown => ["late", n])
    )
  )
}

const expectedOf = (given: Input, { handling, spec }: Variant): ReadonlyArray<unknown> => {
  const { firings, late } = firingsOf(
    spec,
    given.records,
    watermarksOf(given.records, given.bound, given.partitions),
    handling
  )
  return [
    ...firings.map(({ end, firing, key, ns, start }) => [key, start, end, firing, ns]),
    ...late.map((n) => ["late", n])
  ]
}

/** Every record is in a window or late, never both; the sum of discarded panes is the whole of each window. */
const noneVanishes = (
  given: Input,
  { handling, spec }: Variant,
  values: ReadonlyArray<ReadonlyArray<unknown>>
) => {
  const late = values.filter((value) => value.length === 2).map(([, n]) => n as number)
  const results = values.filter((value) => value.length === 5)
  const counted = new Set(results.flatMap((value) => value[4] as ReadonlyArray<number>))
  if (late.some((n) => counted.has(n))) return "a record is late and counted"
  if (counted.size + late.length !== given.records.length) return "a record vanished"
  if (!handling.isDiscarding || spec.kind === "hopping") return undefined
  const all = results.flatMap((value) => value[4] as ReadonlyArray<number>)
  return all.length === counted.size ? undefined : "a record is in two panes"
}

const check = (title: string, handling: FC.Arbitrary<Handling>, partitions: number) =>
  severalHold(title, {
    parallelism: 3,
    given: input({ disorder: "beyond", partitions, keys: 2 }),
    variant: FC.record({ spec, handling }),
    flows: (given, name) => {
      const keyed = keyedOf(name, given)
      return (variant) => firings(keyed, variant)
    },
    expected: expectedOf,
    also: noneVanishes
  })

describe("late records", () => {
  check(
    "which records are late is decided by the watermark just before each, whatever the batches",
    FC.constant({ lateness: 0, every: 0, isDiscarding: false }),
    1
  )
  check(
    "allowed lateness, early results and panes: each result is of exactly the records it should be",
    FC.record({
      lateness: FC.constantFrom(0, 1, 5, 30, Infinity),
      every: FC.constantFrom(0, 0, 1, 2, 3),
      isDiscarding: FC.boolean()
    }),
    2
  )

  /** Records of one key, given one by one. */
  const oneByOne = (times: ReadonlyArray<number>, keyOf = (_n: number): string => "a"): Input => ({
    records: times.map((at, n) => ({ key: keyOf(n), at, n, v: 1, partition: 0 })),
    partitions: 1,
    sizes: [1],
    pauses: [0],
    bound: 0
  })
  const run = <A>(flow: Parameters<typeof Pipeline.collect<A, unknown, never>>[0]) =>
    Effect.runPromise(Effect.provide(Pipeline.collect(flow), ActorRegistry.layer))

  it("a session is kept for the allowed lateness from the moment it is due", async () => {
    const given = oneByOne([0, 15, 0], (n) => (n === 1 ? "other" : "a"))
    const handling = { lateness: 5, every: 0, isDiscarding: false }
    const values = await run(firings(keyedOf("s", given), { spec: { kind: "session", gap: 10 }, handling }))
    // Due at 11, so kept until 16: at 15 the third record still joins the first.
    expect(values).toContainEqual(["a", 0, 10, "late", [0, 2]])
  })

  it("reduce takes up a session again whose records were given in a pane", async () => {
    // 0 and 20 are sessions of their own, each given early; 10 joins them.
    const given = { ...oneByOne([0, 20, 10]), bound: 100 }
    const values = await run(
      keyedOf("s", given).pipe(
        Pipeline.map(({ v }) => v),
        Pipeline.keyBy(() => "a"),
        Pipeline.window(Windows.session(10), { early: { every: 1 }, panes: "discarding" }),
        Pipeline.reduce((a, b) => a + b, { state: Schema.Number }),
        Pipeline.map(({ value }) => value)
      )
    )
    expect(values).toEqual([1, 1, 1])
  })

  it("a window by number is full after that many records, also when early panes are discarded", async () => {
    const given = oneByOne([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    const values = await run(
      keyedOf("s", given).pipe(
        Pipeline.window(Windows.count(5), { early: { every: 2 }, panes: "discarding" }),
        Pipeline.aggregate(Aggregates.count()),
        Pipeline.map(({ firing, value }) => `${firing} ${value}`)
      )
    )
    expect(values).toEqual(["early 2", "early 2", "onTime 1", "early 2", "early 2", "onTime 1"])
  })
})
