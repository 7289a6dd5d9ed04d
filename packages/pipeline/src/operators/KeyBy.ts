/** Says what records are grouped by. */
import { invalid } from "@millrace/core/InvalidArgument"
import type { Flow, KeyedFlow } from "../Flow.js"
import * as Flows from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import { Records } from "../Records.js"
import type { Key } from "../Records.js"
import type { OperatorContext } from "../runtime/Operator.js"
import { Operator } from "../runtime/Operator.js"

/**
 * Gives each record a key. What follows (`window`, `process`, `join`) keeps state for each key, on the share of the
 * pipeline that owns the key's vnode. A key of several parts is a text of them.
 *
 * @example
 * ```ts
 * const counted = Pipeline.from(IterableSource.fromIterable("words", ["a", "b", "a"])).pipe(
 *   Pipeline.keyBy((word) => word),
 *   Pipeline.window(Windows.global),
 *   Pipeline.aggregate(Aggregates.count()),
 *   Pipeline.map(({ key, value }) => `${key} ${value}`)
 * )
 * return yield* Pipeline.collect(counted)
 * // ["a 2", "b 1"]
 * ```
 */
export const keyBy =
  <A, K extends Key>(keyOf: (value: A) => K, options?: OperatorOptions) =>
  <E, R>(flow: Flow<A, E, R>): KeyedFlow<K, A, E, R> =>
    Flows.operator("keyBy", [flow], options, {
      role: "keyBy",
      make: (context) => new KeyByOperator(context, keyOf as (value: unknown) => Key)
    })

// ---- internal ----

class KeyByOperator extends Operator {
  private readonly out = new Records()

  constructor(
    context: OperatorContext,
    private readonly keyOf: (value: unknown) => Key
  ) {
    super(context)
    this.out.keys = []
  }

  // Hot: 5 ns a record beside the function itself.
  protected onRecords(records: Records): void {
    const { keyOf, out } = this
    const { count, values } = records
    const keys = out.keys!
    for (let i = 0; i < count; i++) {
      const key = keyOf(values[i])
      if (typeof key !== "string" && typeof key !== "number")
        throw invalid(`keyBy of ${this.id}`, "a text or a number", key)
      keys[i] = key
    }
    out.values = values
    out.times = records.times
    out.marks = records.marks
    out.count = count
    this.emit(out)
  }
}
