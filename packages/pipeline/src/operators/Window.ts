/**
 * Records of a key, put together in windows. A window gives its result when the watermark has passed its end, so that
 * all of its records that are not late are in it; then it is forgotten, or, with allowed lateness, kept that much
 * longer, and each late record gives the result anew.
 *
 *     record ──▶ its windows' accumulators            late: every window it belongs to is gone ──▶ `late` output
 *     watermark ≥ end ──▶ result ("onTime") ──▶ forgotten, or kept till end + allowedLateness
 *
 * Invariants
 *
 *  1. Every record is counted in at least one window, or goes to the late output: none vanishes.
 *  2. Each window gives one "onTime" result, if it has any record by then.
 */
import { invalid } from "@millrace/core/InvalidArgument"
import * as Duration from "effect/Duration"
import type * as Schema from "effect/Schema"
import type { Aggregate } from "../Aggregates.js"
import * as Aggregates from "../Aggregates.js"
import type { Flow, KeyedFlow } from "../Flow.js"
import * as Flows from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import type { Key } from "../Records.js"
import type { Side, SideOutput } from "../SideOutput.js"
import type { StateFormOptions } from "../StateForm.js"
import * as StateForm from "../StateForm.js"
import type { TimeWindow, Window } from "../Windows.js"
import type { WindowPlan } from "../runtime/WindowOperator.js"
import { WindowOperator } from "../runtime/WindowOperator.js"

/** How windows are handled. */
export interface WindowOptions<A> {
  /** How long a window is kept after its first result, for late records. Unit of event time. Default: 0. */
  readonly allowedLateness?: Duration.DurationInput | undefined
  /** Where records go that come when all their windows are gone. Default: nowhere; they are counted in the status. */
  readonly late?: SideOutput<A> | undefined
  /** A result also after every so many records of a window, before it is complete. Range: from 1. Default: none. */
  readonly early?: { readonly every: number } | undefined
  /** Whether a result after the first one is of all records of the window, or of those since. Default: "accumulating". */
  readonly panes?: "accumulating" | "discarding" | undefined
}

/** The result of a window. */
export interface WindowResult<K extends Key, out B> {
  readonly key: K
  readonly window: TimeWindow
  readonly value: B
  /** `early`: by a trigger, before it is complete. `late`: anew, because of a late record. */
  readonly firing: "early" | "onTime" | "late"
}

/** Records of a key in windows, before it is said what is computed of them. */
export interface WindowedFlow<out K extends Key, out A, out E = never, out R = never> {
  readonly keyed: KeyedFlow<K, A, E, R>
  readonly window: Window
  readonly options: Omit<WindowOptions<never>, "late"> & { readonly late?: Side | undefined }
}

/**
 * Puts the records of each key in windows; `aggregate`, `reduce` or `apply` says what is computed of them.
 *
 * @example
 * ```ts
 * const clicks = IterableSource.fromIterable("clicks", [{ at: 1_000 }, { at: 59_000 }, { at: 61_000 }])
 * const perMinute = Pipeline.from(clicks, { timestamp: ({ at }) => at }).pipe(
 *   Pipeline.keyBy(() => "all"),
 *   Pipeline.window(Windows.tumbling("1 minute")),
 *   Pipeline.aggregate(Aggregates.count()),
 *   Pipeline.map(({ value, window }) => [window.start, value])
 * )
 * return yield* Pipeline.collect(perMinute)
 * // [[0, 2], [60000, 1]]
 * ```
 */
export const window =
  <A>(window: Window, options: WindowOptions<A> = {}) =>
  <K extends Key, E, R>(keyed: KeyedFlow<K, A, E, R>): WindowedFlow<K, A, E, R> => ({
    keyed,
    window,
    options
  })

/**
 * What is computed of a window, by an {@link Aggregate}. The result's time is the last millisecond of the window, of a
 * session its end.
 *
 * @example
 * ```ts
 * const prices = Pipeline.from(IterableSource.fromIterable("prices", [3, 5, 1])).pipe(
 *   Pipeline.keyBy(() => "all"),
 *   Pipeline.window(Windows.count(2)),
 *   Pipeline.aggregate(Aggregates.struct({ least: Aggregates.min((n) => n), count: Aggregates.count() })),
 *   Pipeline.map(({ value }) => value)
 * )
 * return yield* Pipeline.collect(prices)
 * // [{ least: 3, count: 2 }, { least: 1, count: 1 }]
 * ```
 */
export const aggregate =
  <A, Acc, B>(aggregate: Aggregate<A, Acc, B>, options?: OperatorOptions) =>
  <K extends Key, E, R>(windowed: WindowedFlow<K, A, E, R>): Flow<WindowResult<K, B>, E, R> =>
    windowFlow(windowed, aggregate as unknown as Aggregate<unknown, unknown, unknown>, options)

/**
 * Values of a window put together two by two; the result has their type, whose Schema is needed.
 *
 * @example
 * ```ts
 * const longest = Pipeline.from(IterableSource.fromIterable("words", ["a", "ccc", "bb"])).pipe(
 *   Pipeline.keyBy(() => "all"),
 *   Pipeline.window(Windows.global),
 *   Pipeline.reduce((a, b) => (a.length >= b.length ? a : b), { state: Schema.String }),
 *   Pipeline.map(({ value }) => value)
 * )
 * return yield* Pipeline.collect(longest)
 * // ["ccc"]
 * ```
 */
export const reduce =
  <A, I>(
    f: (left: A, right: A) => A,
    options: OperatorOptions & StateFormOptions & { readonly state: Schema.Schema<A, I> }
  ) =>
  <K extends Key, E, R>(windowed: WindowedFlow<K, A, E, R>): Flow<WindowResult<K, A>, E, R> =>
    windowFlow(
      windowed,
      {
        state: options.state as Schema.Schema<unknown>,
        form: options,
        initial: () => undefined,
        add: (acc, value) => (acc === undefined ? value : f(acc as A, value as A)),
        merge: (left, right) =>
          left === undefined ? right : right === undefined ? left : f(left as A, right as A),
        result: (acc) => acc
      },
      options
    )

/**
 * A function of all values of a window, which are kept until then. For what no accumulator can hold.
 *
 * @example
 * ```ts
 * const medians = Pipeline.from(IterableSource.fromIterable("numbers", [9, 1, 5])).pipe(
 *   Pipeline.keyBy(() => "all"),
 *   Pipeline.window(Windows.count(3)),
 *   Pipeline.apply((numbers) => [...numbers].sort((a, b) => a - b)[1], { state: Schema.Number }),
 *   Pipeline.map(({ value }) => value)
 * )
 * return yield* Pipeline.collect(medians)
 * // [5]
 * ```
 */
export const apply =
  <A, I, B>(
    f: (values: ReadonlyArray<A>, context: { readonly key: Key; readonly window: TimeWindow }) => B,
    options: OperatorOptions & StateFormOptions & { readonly state: Schema.Schema<A, I> }
  ) =>
  <K extends Key, E, R>(windowed: WindowedFlow<K, A, E, R>): Flow<WindowResult<K, B>, E, R> =>
    windowFlow(
      windowed,
      Aggregates.list(options.state as Schema.Schema<unknown>, options) as Aggregate<
        unknown,
        unknown,
        unknown
      >,
      options,
      (acc, key, window) => f(acc as ReadonlyArray<A>, { key, window })
    )

// ---- internal ----

const windowFlow = <K extends Key, A, B, E, R>(
  { keyed, options, window }: WindowedFlow<K, A, E, R>,
  aggregate: Aggregate<unknown, unknown, unknown>,
  operatorOptions: OperatorOptions | undefined,
  result: WindowPlan["result"] = (acc) => aggregate.result(acc)
): Flow<WindowResult<K, B>, E, R> => {
  const latenessMs = Duration.toMillis(options.allowedLateness ?? 0)
  const every = options.early?.every
  if (every !== undefined && (!Number.isSafeInteger(every) || every < 1))
    throw invalid("early.every", "a whole number from 1", every)
  const form = StateForm.make(aggregate.state, aggregate.form)
  const plan: WindowPlan = {
    window,
    latenessMs,
    early: every ?? 0,
    isDiscarding: options.panes === "discarding",
    late: options.late,
    initial: aggregate.initial,
    add: aggregate.add,
    merge: aggregate.merge,
    result,
    forms: { accumulator: form },
    encode: (acc) => form.encode(acc),
    decode: (data, read) => read("accumulator", data)
  }
  return Flows.operator("window", [keyed], operatorOptions, {
    role: "keyed",
    make: (context) => new WindowOperator(context, plan)
  })
}
