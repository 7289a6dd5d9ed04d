/** One record in, any number out. */
import type { Flow } from "../Flow.js"
import * as Flows from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import type { Records } from "../Records.js"
import type { OperatorContext } from "../runtime/Operator.js"
import { Operator } from "../runtime/Operator.js"

/**
 * Makes any number of records of each; they have its time.
 *
 * @example
 * ```ts
 * const words = Pipeline.from(IterableSource.fromIterable("lines", ["a b", "c"])).pipe(
 *   Pipeline.flatMap((line) => line.split(" "))
 * )
 * return yield* Pipeline.collect(words)
 * // ["a", "b", "c"]
 * ```
 */
export const flatMap =
  <A, B>(f: (value: A) => Iterable<B>, options?: OperatorOptions) =>
  <E, R>(flow: Flow<A, E, R>): Flow<B, E, R> =>
    Flows.operator("flatMap", [flow], options, {
      make: (context) => new FlatMapOperator(context, f as (value: unknown) => Iterable<unknown>)
    })

// ---- internal ----

class FlatMapOperator extends Operator {
  constructor(
    context: OperatorContext,
    private readonly f: (value: unknown) => Iterable<unknown>
  ) {
    super(context)
  }

  protected onRecords({ count, marks, times, values }: Records): void {
    for (let i = 0; i < count; i++) {
      if (marks !== undefined) this.mark = marks[i]!
      const timeMs = times[i]!
      for (const made of this.f(values[i])) this.push(made, timeMs)
    }
  }
}
