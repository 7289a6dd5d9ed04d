/** Pairs of records of two flows that lie close to one another in time: the same whichever came first. */
import { invalid } from "@millrace/core/InvalidArgument"
import type * as Schema from "effect/Schema"
import type { Flow, KeyedFlow } from "../Flow.js"
import * as Flows from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import type { Key } from "../Records.js"
import { IntervalJoinOperator } from "../runtime/JoinOperators.js"
import * as StateForm from "../StateForm.js"
import type { StateFormOptions } from "../StateForm.js"

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
