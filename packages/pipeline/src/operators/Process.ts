/** Whatever no other operator does: a function with state of each key, and timers. */
import { invalid } from "@millrace/core/InvalidArgument"
import * as Duration from "effect/Duration"
import type { Flow, KeyedFlow } from "../Flow.js"
import * as Flows from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import type { Key } from "../Records.js"
import { ProcessOperator } from "../runtime/ProcessOperator.js"
import type { ProcessContext, States, Timer } from "../ProcessContext.js"

/** What `process` does. */
export interface ProcessOptions<K extends Key, A, B, S extends States> extends OperatorOptions {
  /** The states of each key, by name. */
  readonly state?: S | undefined
  /** Gives any number of records; `undefined` is none. They have the time of the record. */
  readonly onRecord: (value: A, context: ProcessContext<K, S>) => Iterable<B> | undefined
  /** The same when a timer is due; they have the time of the timer. */
  readonly onTimer?: ((timer: Timer, context: ProcessContext<K, S>) => Iterable<B> | undefined) | undefined
  /** How long a key that has no more records is remembered, in event time: states and timers go. From 1 ms. Default: for ever. */
  readonly ttl?: Duration.DurationInput | undefined
  /** Whether timers by the clock are set: then the pipeline is not deterministic, and says so. Default: false. */
  readonly usesClock?: boolean | undefined
}

/**
 * Calls a function with each record of a key, its states, and its timers. Records of one key come one after another,
 * in the order in which they came; a timer of event time is due between the record before its time has come, and the
 * first one after it.
 *
 * @example
 * ```ts
 * const numbered = Pipeline.from(IterableSource.fromIterable("words", ["a", "b", "a"])).pipe(
 *   Pipeline.keyBy((word) => word),
 *   Pipeline.process({
 *     id: "numbered",
 *     state: { seen: State.value(Schema.Number, { initial: () => 0 }) },
 *     onRecord: (word, { state }) => {
 *       state.seen.set(state.seen.get() + 1)
 *       return [`${word}${state.seen.get()}`]
 *     }
 *   })
 * )
 * return yield* Pipeline.collect(numbered)
 * // ["a1", "b1", "a2"]
 * ```
 */
export const process =
  <A, B, K extends Key, S extends States = {}>(options: ProcessOptions<K, A, B, S>) =>
  <E, R>(flow: KeyedFlow<K, A, E, R>): Flow<B, E, R> => {
    const ttlMs = options.ttl === undefined ? undefined : Duration.toMillis(options.ttl)
    if (ttlMs !== undefined && !(ttlMs >= 1)) throw invalid("ttl", "from 1 ms", `${ttlMs} ms`)
    return Flows.operator("process", [flow], options, {
      role: "keyed",
      needsMarks: true,
      chance: options.usesClock === true ? "timers by the machine's clock" : undefined,
      make: (context) =>
        new ProcessOperator(context, {
          states: options.state ?? {},
          ttlMs,
          usesClock: options.usesClock ?? false,
          onRecord: options.onRecord as never,
          onTimer: options.onTimer as never
        })
    })
  }
