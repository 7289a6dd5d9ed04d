/** Effects for records: a call to another system, a look into a database. */
import { invalid } from "@millrace/core/InvalidArgument"
import * as Effect from "effect/Effect"
import type { Flow } from "../Flow.js"
import * as Flows from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import type { Records } from "../Records.js"
import { EffectOperator } from "../runtime/EffectOperator.js"
import { faultOf } from "../runtime/Operator.js"
import type { OperatorContext } from "../runtime/Operator.js"

/** How effects are done. */
export interface AsyncOptions extends OperatorOptions {
  /** Effects at a time. Range: 1 to 10 000. Default: 16. */
  readonly concurrency?: number | undefined
  /**
   * Whether results come in the order of their records. Default: true. Otherwise as they are ready, among the records
   * of a batch, and the pipeline is not deterministic.
   */
  readonly ordered?: boolean | undefined
}

/**
 * Does an effect with each record, several at a time. Results have the time of their record; watermarks and barriers
 * wait for the effects before them. A failure fails the pipeline, which goes back to its last checkpoint: give the
 * effect its own retries. After a crash an effect may be done again.
 *
 * @example
 * ```ts
 * const doubled = Pipeline.from(IterableSource.fromIterable("numbers", [1, 2, 3])).pipe(
 *   Pipeline.async((n) => Effect.succeed(n * 2), { concurrency: 2 })
 * )
 * return yield* Pipeline.collect(doubled)
 * // [2, 4, 6]
 * ```
 */
export const async =
  <A, B, E2, R2>(f: (value: A) => Effect.Effect<B, E2, R2>, options: AsyncOptions = {}) =>
  <E, R>(flow: Flow<A, E, R>): Flow<B, E | E2, R | R2> => {
    const { concurrency = 16, ordered = true } = options
    if (!Number.isSafeInteger(concurrency) || concurrency < 1 || concurrency > 10_000)
      throw invalid("concurrency", "a whole number of 1 to 10 000", concurrency)
    return Flows.operator("async", [flow], options, {
      role: "effect",
      chance: ordered ? undefined : "results come as they are ready",
      make: (context) =>
        new AsyncOperator(
          context,
          f as (value: unknown) => Effect.Effect<unknown, unknown, unknown>,
          concurrency,
          ordered
        )
    })
  }

// ---- internal ----

class AsyncOperator extends EffectOperator {
  constructor(
    context: OperatorContext,
    private readonly f: (value: unknown) => Effect.Effect<unknown, unknown, unknown>,
    private readonly concurrency: number,
    private readonly isOrdered: boolean
  ) {
    super(context)
  }

  perform({ count, marks, times, values }: Records): Effect.Effect<void, unknown, unknown> {
    const { concurrency } = this
    const f = (value: unknown) =>
      Effect.catchAllDefect(
        Effect.suspend(() => this.f(value)),
        (cause) => Effect.die(faultOf(this.id, cause))
      )
    const give = (value: unknown, i: number): void => {
      if (marks !== undefined) this.mark = marks[i]!
      this.push(value, times[i]!)
    }
    const records = values.length === count ? values : values.slice(0, count)
    if (this.isOrdered) {
      return Effect.map(Effect.forEach(records, f, { concurrency }), (results) => {
        for (const [i, result] of results.entries()) give(result, i)
        this.flush()
      })
    }
    return Effect.map(
      Effect.forEach(records, (value, i) => Effect.map(f(value), (result) => give(result, i)), {
        concurrency,
        discard: true
      }),
      () => this.flush()
    )
  }

  prepare(): Effect.Effect<undefined> {
    return Effect.succeed(undefined)
  }
}
