/** One flow as several, by what its records are. */
import type { Flow } from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import { filter } from "./Filter.js"

/**
 * A flow for each case: of the records for which `by` names it. Records of a case that is not there are dropped.
 *
 * @example
 * ```ts
 * const numbers = Pipeline.from(IterableSource.fromIterable("numbers", [1, 2, 3]))
 * const { even, odd } = Pipeline.split(numbers, ["even", "odd"], (n) => (n % 2 === 0 ? "even" : "odd"))
 * return [yield* Pipeline.collect(even), yield* Pipeline.collect(odd)]
 * // [[2], [1, 3]]
 * ```
 */
export const split = <A, E, R, const Case extends string>(
  flow: Flow<A, E, R>,
  cases: ReadonlyArray<Case>,
  by: (value: A) => NoInfer<Case>,
  options?: OperatorOptions
): { readonly [Name in Case]: Flow<A, E, R> } =>
  Object.fromEntries(
    cases.map((name) => [
      name,
      filter(
        (value: A) => by(value) === name,
        options?.id === undefined ? undefined : { id: `${options.id}/${name}` }
      )(flow)
    ])
  ) as { readonly [Name in Case]: Flow<A, E, R> }
