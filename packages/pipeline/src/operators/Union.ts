/** Several flows as one. */
import type { Flow } from "../Flow.js"
import * as Flows from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import { Records } from "../Records.js"
import { Operator } from "../runtime/Operator.js"

/**
 * The records of all flows, in the order in which they come; its watermark is the least of theirs. Between flows of
 * different sources that order is not the same each time, which windows and joins do not mind.
 *
 * @example
 * ```ts
 * const numbers = Pipeline.from(IterableSource.fromIterable("numbers", [1, 2]))
 * const both = Pipeline.union(numbers, numbers.pipe(Pipeline.map((n) => n * 10)))
 * return (yield* Pipeline.collect(both)).sort((a, b) => a - b)
 * // [1, 2, 10, 20]
 * ```
 */
export const union = <
  Flows extends readonly [Flow<unknown, unknown, unknown>, ...ReadonlyArray<Flow<unknown, unknown, unknown>>]
>(
  ...flows: Flows
): Flow<ValueOf<Flows[number]>, ErrorOf<Flows[number]>, ContextOf<Flows[number]>> => unionOf(flows)

/** What the records of a flow are. */
export type ValueOf<F> = F extends Flow<infer A, infer _E, infer _R> ? A : never
/** What a flow fails with. */
export type ErrorOf<F> = F extends Flow<infer _A, infer E, infer _R> ? E : never
/** What a flow needs. */
export type ContextOf<F> = F extends Flow<infer _A, infer _E, infer R> ? R : never

// ---- internal ----

const unionOf = (
  flows: ReadonlyArray<Flow<unknown, unknown, unknown>>,
  options?: OperatorOptions
): Flow<never, never, never> =>
  Flows.operator("union", flows, options, { make: (context) => new UnionOperator(context) })

class UnionOperator extends Operator {
  private readonly out = new Records()

  protected onRecords(records: Records, port: number): void {
    const { marks } = records
    if (marks === undefined) return this.emit(records)
    const others = this.othersWatermark(port)
    const { out } = this
    out.values = records.values
    out.times = records.times
    out.keys = records.keys
    out.count = records.count
    out.marks = marks.slice(0, records.count).map((mark) => Math.min(mark, others))
    this.emit(out)
  }
}
