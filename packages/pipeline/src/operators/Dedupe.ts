/** Each thing once. */
import * as Schema from "effect/Schema"
import type { Flow } from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import type { Key } from "../Records.js"
import * as State from "../State.js"
import { keyBy } from "./KeyBy.js"
import { process } from "./Process.js"
import type * as Duration from "effect/Duration"

/** What counts as the same. */
export interface DedupeOptions<in A> extends OperatorOptions {
  /** What a record is known by. */
  readonly by: (value: A) => Key
  /** How long something is remembered after it came last, in event time. Without it for ever: the state only grows. */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * Lets the first record through of all that are the same, and drops the others.
 *
 * @example
 * ```ts
 * const once = Pipeline.from(IterableSource.fromIterable("words", ["a", "b", "a"])).pipe(
 *   Pipeline.dedupe({ by: (word) => word })
 * )
 * return yield* Pipeline.collect(once)
 * // ["a", "b"]
 * ```
 */
export const dedupe =
  <A>(options: DedupeOptions<A>) =>
  <E, R>(flow: Flow<A, E, R>): Flow<A, E, R> =>
    flow.pipe(
      keyBy(options.by, options.id === undefined ? undefined : { id: `${options.id}/keyBy` }),
      process({
        id: options.id,
        ttl: options.ttl,
        state: { isSeen: State.value(Schema.Boolean, { initial: () => false }) },
        onRecord: (value: A, { state }) => {
          if (state.isSeen.get()) return undefined
          state.isSeen.set(true)
          return [value]
        }
      })
    )
