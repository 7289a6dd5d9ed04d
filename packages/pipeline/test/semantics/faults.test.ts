/** What cannot be: wrong times, wrong keys, functions that throw, ids twice, options that make no sense. */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { Source } from "@millrace/core/Source"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import type { Flow } from "@millrace/pipeline/Flow"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import { OperatorFailed } from "@millrace/pipeline/PipelineErrors"
import type { Key } from "@millrace/pipeline/Records"
import * as State from "@millrace/pipeline/State"
import * as Windows from "@millrace/pipeline/Windows"
import * as IterableSource from "@millrace/pipeline/sources/IterableSource"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"

/** Gives three numbers, and then waits for ever: a failure must end what would not end by itself. */
const endless = (name: string): Source<number> => ({
  name,
  isReplayable: true,
  open: () =>
    Effect.sync(() => {
      let given = 0
      return {
        partitions: ["0"],
        next: Effect.suspend(() => {
          given++
          return given > 3
            ? Effect.never
            : Effect.succeed({ values: [given * 10], partition: "0", offset: String(given) })
        })
      }
    })
})

const numbers = Pipeline.from(endless("numbers"), { timestamp: (n) => n })
const others = Pipeline.from(endless("others"), { timestamp: (n) => n })
const keyed = numbers.pipe(Pipeline.keyBy(() => "a"))
const otherKeyed = others.pipe(Pipeline.keyBy(() => "a"))
const windowed = Pipeline.window<number>(Windows.tumbling(10))

const boom = (): never => {
  throw new Error("boom")
}
const id = { id: "culprit" }
const sides = { left: Schema.Number, right: Schema.Number }

/** The failure of a flow; its defects are shown as what they are. */
const failureOf = async (flow: Flow<unknown, unknown>, parallelism = 1): Promise<unknown> => {
  const exit = await Effect.runPromiseExit(
    Pipeline.collect(flow, { parallelism }).pipe(
      Effect.either,
      Effect.timeoutFail({ duration: "3 seconds", onTimeout: () => "it hangs" }),
      // What is logged of the actors that fail would bury what is said of a test.
      Logger.withMinimumLogLevel(LogLevel.None),
      Effect.provide(ActorRegistry.layer)
    )
  )
  if (Exit.isFailure(exit)) return exit.cause
  return Either.isLeft(exit.value) ? exit.value.left : exit.value.right
}

const throwing: Readonly<Record<string, Flow<unknown, unknown>>> = {
  map: numbers.pipe(Pipeline.map(boom, id)),
  filter: numbers.pipe(Pipeline.filter(boom, id)),
  flatMap: numbers.pipe(Pipeline.flatMap(boom, id)),
  "flatMap, in its iterable": numbers.pipe(
    Pipeline.flatMap(function* () {
      yield 1
      boom()
    }, id)
  ),
  "map behind another map": numbers.pipe(
    Pipeline.map((n) => n, { id: "innocent" }),
    Pipeline.map(boom, id)
  ),
  keyBy: numbers.pipe(Pipeline.keyBy(boom, id)),
  async: numbers.pipe(Pipeline.async((): Effect.Effect<never> => boom(), id)),
  "async, unordered": numbers.pipe(
    Pipeline.async((): Effect.Effect<never> => boom(), { ...id, ordered: false })
  ),
  "async, a defect of the effect": numbers.pipe(Pipeline.async(() => Effect.sync(boom), id)),
  "aggregate, add": keyed.pipe(windowed, Pipeline.aggregate({ ...Aggregates.count(), add: boom }, id)),
  "aggregate, result": keyed.pipe(windowed, Pipeline.aggregate({ ...Aggregates.count(), result: boom }, id)),
  reduce: keyed.pipe(
    Pipeline.window(Windows.count(3)),
    Pipeline.reduce(boom, { ...id, state: Schema.Number })
  ),
  apply: keyed.pipe(windowed, Pipeline.apply(boom, { ...id, state: Schema.Number })),
  "process, onRecord": keyed.pipe(Pipeline.process({ ...id, onRecord: boom })),
  "process, onTimer": keyed.pipe(
    Pipeline.process({
      ...id,
      onRecord: (_, { timers }) => {
        timers.at("x", 15)
        return []
      },
      onTimer: boom
    })
  ),
  joinWindow: Pipeline.joinWindow(keyed, otherKeyed, {
    ...id,
    ...sides,
    window: Windows.tumbling(10),
    combine: boom
  }),
  joinInterval: Pipeline.joinInterval(keyed, otherKeyed, {
    ...id,
    ...sides,
    lowerMs: 0,
    upperMs: 0,
    combine: boom
  }),
  joinTable: Pipeline.joinTable(keyed, otherKeyed, {
    ...id,
    stream: Schema.Number,
    table: Schema.Number,
    combine: boom
  }),
  "the function that tells the time": Pipeline.from(endless("culprit"), { timestamp: boom })
}

describe("functions that throw", () => {
  for (const [name, flow] of Object.entries(throwing))
    for (const parallelism of [1, 3])
      it(`${name}: fails with the operator's name, at parallelism ${parallelism}`, async () => {
        const failure = await failureOf(flow, parallelism)
        expect(failure).toBeInstanceOf(OperatorFailed)
        expect(failure).toMatchObject({ operator: "culprit" })
        expect((failure as OperatorFailed).message).toContain("boom")
      })

  it("an effect of async fails with its own error", async () => {
    expect(await failureOf(numbers.pipe(Pipeline.async(() => Effect.fail("no"))))).toBe("no")
  })
})

describe("values that cannot be", () => {
  for (const time of [NaN, Infinity, -Infinity, 8.64e15, -8.65e15, undefined])
    it(`a time of ${String(time)} fails with the name of the source`, async () => {
      const failure = await failureOf(
        Pipeline.from(endless("culprit"), { timestamp: (n) => (n < 20 ? n : (time as number)) })
      )
      expect(failure).toBeInstanceOf(OperatorFailed)
      expect(failure).toMatchObject({ operator: "culprit", cause: { _tag: "InvalidArgument" } })
    })

  for (const key of [undefined, null, true, 1n, {}, ["a"], Symbol("a")])
    it(`a key of ${String(key)} (${typeof key}) fails with the name of the keyBy`, async () => {
      const failure = await failureOf(
        numbers.pipe(
          Pipeline.keyBy(() => key as Key, id),
          windowed,
          Pipeline.aggregate(Aggregates.count())
        )
      )
      expect(failure).toBeInstanceOf(OperatorFailed)
      expect(failure).toMatchObject({ operator: "culprit" })
    })

  const inProcess = (
    f: (context: { readonly timers: { readonly at: Function; readonly atClock: Function } }) => void
  ) =>
    keyed.pipe(
      Pipeline.process({
        ...id,
        onRecord: (_, context) => {
          f(context)
          return []
        }
      })
    )

  it("a timer for a time that is none, or of the clock without saying so, fails the process", async () => {
    for (const time of [NaN, Infinity])
      expect(await failureOf(inProcess(({ timers }) => void timers.at("x", time)))).toMatchObject({
        operator: "culprit"
      })
    expect(await failureOf(inProcess(({ timers }) => void timers.atClock("x", 1)))).toMatchObject({
      operator: "culprit"
    })
  })

  it("a context that is used after its function has returned fails the process", async () => {
    let kept: (() => number) | undefined
    const flow = keyed.pipe(
      Pipeline.process({
        ...id,
        state: { seen: State.value(Schema.Number, { initial: () => 0 }) },
        *onRecord(n, { state }) {
          yield n
          kept?.()
          kept = state.seen.get
        }
      }),
      Pipeline.map(() => kept?.(), { id: "innocent" })
    )
    expect(await failureOf(flow)).toMatchObject({ _tag: "OperatorFailed" })
  })
})

describe("pipelines that cannot be", () => {
  const finite = (name: string) => Pipeline.from(IterableSource.fromIterable(name, [1, 2]))
  const cases: Readonly<Record<string, Flow<unknown, unknown>>> = {
    "two operators of one id": finite("a").pipe(
      Pipeline.map((n) => n, { id: "x" }),
      Pipeline.filter(() => true, { id: "x" })
    ),
    "two sources of one name": Pipeline.union(finite("a"), finite("a")),
    "an operator with the name of a source": finite("a").pipe(Pipeline.map((n) => n, { id: "a" })),
    "an empty id": finite("a").pipe(Pipeline.map((n) => n, { id: "" })),
    "an id that is too long": finite("a").pipe(Pipeline.map((n) => n, { id: "x".repeat(201) })),
    "a source that cannot be opened": Pipeline.from(IterableSource.fromIterable("a", [1], { batchSize: 0 }))
  }
  for (const [name, flow] of Object.entries(cases))
    it(`${name}: InvalidArgument`, async () => {
      expect(await failureOf(flow)).toBeInstanceOf(InvalidArgument)
    })

  for (const parallelism of [0, -1, 1.5, 257, NaN])
    it(`parallelism ${parallelism}: InvalidArgument`, async () => {
      expect(await failureOf(finite("a"), parallelism)).toBeInstanceOf(InvalidArgument)
    })

  it("options that make no sense: InvalidArgument where they are given", () => {
    const wrong: Readonly<Record<string, () => unknown>> = {
      "tumbling of nothing": () => Windows.tumbling(0),
      "tumbling of half a millisecond": () => Windows.tumbling(0.5),
      "tumbling for ever": () => Windows.tumbling(Infinity),
      "tumbling, offset without end": () => Windows.tumbling(10, { offset: Infinity }),
      "tumbling, offset of half a millisecond": () => Windows.tumbling(10, { offset: 0.5 }),
      "hop above the size": () => Windows.hopping(10, 11),
      "hop of nothing": () => Windows.hopping(10, 0),
      "hop far below the size": () => Windows.hopping(20_000, 1),
      "session without a gap": () => Windows.session(0),
      "count of 0": () => Windows.count(0),
      "count of 1.5": () => Windows.count(1.5),
      "early every 0": () =>
        keyed.pipe(
          Pipeline.window(Windows.global, { early: { every: 0 } }),
          Pipeline.aggregate(Aggregates.count())
        ),
      "async, concurrency 0": () => numbers.pipe(Pipeline.async(() => Effect.void, { concurrency: 0 })),
      "process, ttl 0": () => keyed.pipe(Pipeline.process({ ttl: 0, onRecord: () => [] })),
      "dedupe, ttl 0": () => numbers.pipe(Pipeline.dedupe({ by: (n) => n, ttl: 0 })),
      "joinInterval, bounds turned round": () =>
        Pipeline.joinInterval(keyed, otherKeyed, { ...sides, lowerMs: 1, upperMs: 0, combine: () => 0 }),
      "joinInterval, no number": () =>
        Pipeline.joinInterval(keyed, otherKeyed, { ...sides, lowerMs: NaN, upperMs: 0, combine: () => 0 })
    }
    const accepted = Object.entries(wrong).flatMap(([name, make]) => {
      try {
        make()
        return [name]
      } catch (error) {
        return error instanceof InvalidArgument ? [] : [`${name}: ${String(error)}`]
      }
    })
    expect(accepted).toEqual([])
  })
})
