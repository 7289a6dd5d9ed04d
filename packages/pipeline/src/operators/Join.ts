/**
 * Two flows of one key, put together: what falls into one window, what lies within an interval, or each record with the
 * row that a table had at its time. All of them give the same whichever of two records comes first.
 */
import { invalid } from "@millrace/core/InvalidArgument"
import * as Duration from "effect/Duration"
import type * as Schema from "effect/Schema"
import type { Flow, KeyedFlow } from "../Flow.js"
import * as Flows from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import type { Key } from "../Records.js"
import { IntervalJoinOperator, TableJoinOperator } from "../runtime/JoinOperators.js"
import { WindowOperator } from "../runtime/WindowOperator.js"
import type { SideOutput } from "../SideOutput.js"
import * as StateForm from "../StateForm.js"
import type { StateFormOptions } from "../StateForm.js"
import type { TimeWindow, Window } from "../Windows.js"

/** Which records go without one of the other side. */
export type JoinKind = "inner" | "left" | "right" | "full"

/** What a join keeps of one side. */
export interface JoinState extends StateFormOptions {}

/** How records of one window are joined. */
export interface JoinWindowOptions<K extends Key, L, R, B, Kind extends JoinKind>
  extends OperatorOptions, StateFormOptions {
  readonly window: Window
  readonly left: Schema.Schema<L, never>
  readonly right: Schema.Schema<R, never>
  /** `inner` (default): pairs. `left`, `right`, `full`: also records of that side, or both, that have no other. */
  readonly kind?: Kind | undefined
  readonly combine: (
    left: Kind extends "right" | "full" ? L | undefined : L,
    right: Kind extends "left" | "full" ? R | undefined : R,
    context: { readonly key: K; readonly window: TimeWindow }
  ) => B
  /** How long a window is kept for late records; pairs with them come in addition. Default: 0. */
  readonly late?: SideOutput<L | R> | undefined
}

/**
 * Every pair of records of a key that are in the same window, given when the window ends.
 *
 * @example
 * ```ts
 * const people = Pipeline.from(IterableSource.fromIterable("people", [{ id: 1, name: "Ada" }])).pipe(
 *   Pipeline.keyBy(({ id }) => id)
 * )
 * const orders = Pipeline.from(IterableSource.fromIterable("orders", [{ by: 1, item: "book" }])).pipe(
 *   Pipeline.keyBy(({ by }) => by)
 * )
 * const joined = Pipeline.joinWindow(people, orders, {
 *   window: Windows.tumbling("1 minute"),
 *   left: Schema.Struct({ id: Schema.Number, name: Schema.String }),
 *   right: Schema.Struct({ by: Schema.Number, item: Schema.String }),
 *   combine: ({ name }, { item }) => `${name}: ${item}`
 * })
 * return yield* Pipeline.collect(joined)
 * // ["Ada: book"]
 * ```
 */
export const joinWindow = <K extends Key, L, R, LI, RI, B, E1, R1, E2, R2, Kind extends JoinKind = "inner">(
  left: KeyedFlow<K, L, E1, R1>,
  right: KeyedFlow<K, R, E2, R2>,
  options: Omit<JoinWindowOptions<K, L, R, B, Kind>, "left" | "right"> & {
    readonly left: Schema.Schema<L, LI>
    readonly right: Schema.Schema<R, RI>
  }
): Flow<B, E1 | E2, R1 | R2> => {
  const kind: JoinKind = options.kind ?? "inner"
  const combine = options.combine as (left: unknown, right: unknown, context: unknown) => unknown
  const forms = {
    left: StateForm.make(options.left as Schema.Schema<unknown>, options),
    right: StateForm.make(options.right as Schema.Schema<unknown>, options)
  }
  return Flows.operator("joinWindow", [left, right], options, {
    role: "keyed",
    make: (context) =>
      new WindowOperator(context, {
        window: options.window,
        latenessMs: 0,
        early: 0,
        isDiscarding: false,
        late: options.late,
        initial: () => [[], []],
        add: (acc, value, port) => {
          ;(acc as ReadonlyArray<Array<unknown>>)[port]!.push(value)
          return acc
        },
        merge: (a, b) => {
          const [al, ar] = a as Sides
          const [bl, br] = b as Sides
          return [
            [...al, ...bl],
            [...ar, ...br]
          ]
        },
        result: () => undefined,
        results: (acc, key, window) => pairsOf(acc as Sides, kind, combine, { key, window }),
        forms,
        encode: (acc) => {
          const [l, r] = acc as Sides
          return [l.map((value) => forms.left.encode(value)), r.map((value) => forms.right.encode(value))]
        },
        decode: (data, read) => {
          const [l, r] = data as Sides
          return [l.map((value) => read("left", value)), r.map((value) => read("right", value))]
        }
      })
  })
}

/** How records within an interval are joined. */
export interface JoinIntervalOptions<K extends Key, L, R, B> extends OperatorOptions, StateFormOptions {
  /** The earliest that a right record may be, seen from the left one; usually negative. Unit: milliseconds of event time. */
  readonly lowerMs: number
  /** The latest. Not less than `lowerMs`. */
  readonly upperMs: number
  readonly left: Schema.Schema<L, never>
  readonly right: Schema.Schema<R, never>
  readonly combine: (left: L, right: R, context: { readonly key: K }) => B
}

/**
 * Every pair of records of a key of which the right one lies within an interval around the left one, both ends
 * included; given as soon as both are there, with the time of the later one. Records that come behind the watermark
 * and whose partners are forgotten by then give no pair.
 *
 * @example
 * ```ts
 * const at = (times: ReadonlyArray<number>, name: string) =>
 *   Pipeline.from(IterableSource.fromIterable(name, times), { timestamp: (time) => time }).pipe(Pipeline.keyBy(() => "all"))
 * const close = Pipeline.joinInterval(at([10, 50], "left"), at([12, 30, 49], "right"), {
 *   lowerMs: -2,
 *   upperMs: 2,
 *   left: Schema.Number,
 *   right: Schema.Number,
 *   combine: (l, r) => `${l} ${r}`
 * })
 * return (yield* Pipeline.collect(close)).sort()
 * // ["10 12", "50 49"]
 * ```
 */
export const joinInterval = <K extends Key, L, R, LI, RI, B, E1, R1, E2, R2>(
  left: KeyedFlow<K, L, E1, R1>,
  right: KeyedFlow<K, R, E2, R2>,
  options: Omit<JoinIntervalOptions<K, L, R, B>, "left" | "right"> & {
    readonly left: Schema.Schema<L, LI>
    readonly right: Schema.Schema<R, RI>
  }
): Flow<B, E1 | E2, R1 | R2> => {
  const { lowerMs, upperMs } = options
  if (!Number.isFinite(lowerMs) || !Number.isFinite(upperMs) || lowerMs > upperMs)
    throw invalid(
      "lowerMs",
      "numbers, of which lowerMs is not greater than upperMs",
      `${lowerMs} to ${upperMs}`
    )
  return Flows.operator("joinInterval", [left, right], options, {
    role: "keyed",
    make: (context) =>
      new IntervalJoinOperator(context, {
        lowerMs,
        upperMs,
        left: StateForm.make(options.left as Schema.Schema<unknown>, options),
        right: StateForm.make(options.right as Schema.Schema<unknown>, options),
        combine: options.combine as never
      })
  })
}

/** How records are joined with a table. */
export interface JoinTableOptions<K extends Key, A, T, B, Kind extends "inner" | "left">
  extends OperatorOptions, StateFormOptions {
  readonly stream: Schema.Schema<A, never>
  readonly table: Schema.Schema<T, never>
  /** `inner` (default): records without a row are left out. `left`: they come with none. */
  readonly kind?: Kind | undefined
  readonly combine: (
    value: A,
    row: Kind extends "left" ? T | undefined : T,
    context: { readonly key: K }
  ) => B
  /** How long a row is kept behind the watermark after it was the newest, in event time. Default: for ever. */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * Each record of a stream with the row that its key had in a table at the record's time: the newest record of the table
 * that is not later. A record waits until the watermark of both has come to its time, so that the row is the right one
 * whatever came first; records of a key come out in the order of their time.
 *
 * @example
 * ```ts
 * const rates = Pipeline.from(IterableSource.fromIterable("rates", [{ t: 0, rate: 2 }, { t: 10, rate: 3 }]), {
 *   timestamp: ({ t }) => t
 * }).pipe(Pipeline.keyBy(() => "EUR"))
 * const sales = Pipeline.from(IterableSource.fromIterable("sales", [{ t: 9, euros: 5 }, { t: 11, euros: 5 }]), {
 *   timestamp: ({ t }) => t
 * }).pipe(Pipeline.keyBy(() => "EUR"))
 * const inDollars = Pipeline.joinTable(sales, rates, {
 *   stream: Schema.Struct({ t: Schema.Number, euros: Schema.Number }),
 *   table: Schema.Struct({ t: Schema.Number, rate: Schema.Number }),
 *   combine: ({ euros }, { rate }) => euros * rate
 * })
 * return yield* Pipeline.collect(inDollars)
 * // [10, 15]
 * ```
 */
export const joinTable = <
  K extends Key,
  A,
  T,
  AI,
  TI,
  B,
  E1,
  R1,
  E2,
  R2,
  Kind extends "inner" | "left" = "inner"
>(
  stream: KeyedFlow<K, A, E1, R1>,
  table: KeyedFlow<K, T, E2, R2>,
  options: Omit<JoinTableOptions<K, A, T, B, Kind>, "stream" | "table"> & {
    readonly stream: Schema.Schema<A, AI>
    readonly table: Schema.Schema<T, TI>
  }
): Flow<B, E1 | E2, R1 | R2> =>
  Flows.operator("joinTable", [stream, table], options, {
    role: "keyed",
    make: (context) =>
      new TableJoinOperator(context, {
        stream: StateForm.make(options.stream as Schema.Schema<unknown>, options),
        table: StateForm.make(options.table as Schema.Schema<unknown>, options),
        isLeft: options.kind === "left",
        ttlMs: options.ttl === undefined ? undefined : Duration.toMillis(options.ttl),
        combine: options.combine as never
      })
  })

// ---- internal ----

type Sides = readonly [ReadonlyArray<unknown>, ReadonlyArray<unknown>]

function* pairsOf(
  [left, right]: Sides,
  kind: JoinKind,
  combine: (left: unknown, right: unknown, context: unknown) => unknown,
  context: { readonly key: Key; readonly window: TimeWindow }
): Iterable<unknown> {
  if (right.length === 0 && (kind === "left" || kind === "full"))
    for (const l of left) yield combine(l, undefined, context)
  if (left.length === 0 && (kind === "right" || kind === "full"))
    for (const r of right) yield combine(undefined, r, context)
  for (const l of left) for (const r of right) yield combine(l, r, context)
}
