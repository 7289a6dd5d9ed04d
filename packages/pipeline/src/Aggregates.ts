/**
 * What is computed of the records of a window, one after another: an accumulator that begins somewhere, takes a value
 * at a time, and gives a result. Where windows grow together (sessions) two accumulators become one by `merge`.
 *
 * Accumulators may be changed in place: `add` and `merge` give back the one to go on with, the same or another.
 */
import * as Schema from "effect/Schema"
import type { StateFormOptions } from "./StateForm.js"

/** An aggregate of values of type `A`, with accumulators of type `Acc` and results of type `B`. */
export interface Aggregate<in A, in out Acc, out B> {
  /** The form of accumulators. */
  readonly state: Schema.Schema<Acc, unknown>
  /** How older accumulators become newer ones. */
  readonly form?: StateFormOptions | undefined
  /** An accumulator of no values. A new one each time if `add` changes it in place. */
  readonly initial: () => Acc
  readonly add: (accumulator: Acc, value: A) => Acc
  /** Of the first the values came earlier. */
  readonly merge: (left: Acc, right: Acc) => Acc
  readonly result: (accumulator: Acc) => B
}

/** Any aggregate. */
export interface AnyAggregate {
  readonly state: Schema.Schema.AnyNoContext
  readonly initial: () => unknown
  readonly add: (accumulator: never, value: never) => unknown
  readonly merge: (left: never, right: never) => unknown
  readonly result: (accumulator: never) => unknown
}

/** An aggregate, with its types found by the compiler. */
export const make = <A, Acc, I, B>(options: {
  readonly state: Schema.Schema<Acc, I>
  readonly version?: number | undefined
  readonly migrate?: StateFormOptions["migrate"]
  readonly initial: () => Acc
  readonly add: (accumulator: Acc, value: A) => Acc
  readonly merge: (left: Acc, right: Acc) => Acc
  readonly result: (accumulator: Acc) => B
}): Aggregate<A, Acc, B> => ({
  state: options.state as Schema.Schema<Acc, unknown>,
  form: { version: options.version, migrate: options.migrate },
  initial: options.initial,
  add: options.add,
  merge: options.merge,
  result: options.result
})

/** How many. */
export const count = (): Aggregate<unknown, number, number> =>
  make({
    state: Schema.Number,
    initial: () => 0,
    add: (count) => count + 1,
    merge: (a, b) => a + b,
    result: (count) => count
  })

/** The sum of a number of each value; 0 of none. */
export const sum = <A>(of: (value: A) => number): Aggregate<A, number, number> =>
  make({
    state: Schema.Number,
    initial: () => 0,
    add: (sum, value: A) => sum + of(value),
    merge: (a, b) => a + b,
    result: (sum) => sum
  })

/** The mean of a number of each value. */
export const average = <A>(of: (value: A) => number): Aggregate<A, SumAndCount, number> =>
  make({
    state: SumAndCount,
    initial: () => ({ sum: 0, count: 0 }),
    add: (acc, value: A) => {
      acc.sum += of(value)
      acc.count++
      return acc
    },
    merge: (a, b) => ({ sum: a.sum + b.sum, count: a.count + b.count }),
    result: ({ count, sum }) => sum / count
  })

/** The least number. */
export const min = <A>(of: (value: A) => number): Aggregate<A, number, number> =>
  extreme(of, Infinity, Math.min)

/** The greatest number. */
export const max = <A>(of: (value: A) => number): Aggregate<A, number, number> =>
  extreme(of, -Infinity, Math.max)

/** The value of which a number is greatest; of several the first. */
export const maxBy = <A, I>(
  of: (value: A) => number,
  state: Schema.Schema<A, I>,
  form?: StateFormOptions
): Aggregate<A, A | undefined, A> => {
  const better = (a: A | undefined, b: A | undefined): A | undefined =>
    a === undefined || (b !== undefined && of(b) > of(a)) ? b : a
  return {
    ...make({
      state: Schema.UndefinedOr(state),
      initial: (): A | undefined => undefined,
      add: (best, value: A) => better(best, value),
      merge: better,
      // A window has at least one value.
      result: (best) => best as A
    }),
    form
  }
}

/** All values, in the order in which they came. Keeps each of them: mind how many there can be. */
export const list = <A, I>(
  state: Schema.Schema<A, I>,
  form?: StateFormOptions
): Aggregate<A, Array<A>, ReadonlyArray<A>> => ({
  ...make({
    state: Schema.mutable(Schema.Array(state)),
    initial: (): Array<A> => [],
    add: (values, value: A) => {
      values.push(value)
      return values
    },
    merge: (left, right) => [...left, ...right],
    result: (values) => [...values]
  }),
  form
})

/**
 * Several at once, by name.
 *
 * @example
 * ```ts
 * Pipeline.aggregate(
 *   Aggregates.struct({ flights: Aggregates.count(), late: Aggregates.max((flight: Flight) => flight.delay) })
 * )
 * ```
 */
export const struct = <Parts extends Readonly<Record<string, AnyAggregate>>>(
  parts: Parts
): Aggregate<
  ValueOfParts<Parts>,
  Array<unknown>,
  { readonly [Name in keyof Parts]: ResultOf<Parts[Name]> }
> => {
  const names = Object.keys(parts)
  const list = names.map((name) => parts[name]!) as unknown as ReadonlyArray<
    Aggregate<unknown, unknown, unknown>
  >
  return {
    state: Schema.mutable(Schema.Tuple(...list.map(({ state }) => state))) as unknown as Schema.Schema<
      Array<unknown>,
      unknown
    >,
    initial: () => list.map(({ initial }) => initial()),
    add: (accs, value) => {
      for (let i = 0; i < list.length; i++) accs[i] = list[i]!.add(accs[i], value)
      return accs
    },
    merge: (left, right) => list.map(({ merge }, i) => merge(left[i], right[i])),
    result: (accs) => Object.fromEntries(names.map((name, i) => [name, list[i]!.result(accs[i])])) as never
  }
}

/** What all of several aggregates take. */
export type ValueOfParts<Parts extends Readonly<Record<string, AnyAggregate>>> = {
  readonly [Name in keyof Parts]: (value: Parameters<Parts[Name]["add"]>[1]) => void
}[keyof Parts] extends (value: infer A) => void
  ? A
  : never

/** What an aggregate gives. */
export type ResultOf<P> = P extends { readonly result: (accumulator: never) => infer B } ? B : never

// ---- internal ----

const SumAndCount = Schema.mutable(Schema.Struct({ sum: Schema.Number, count: Schema.Number }))
interface SumAndCount {
  sum: number
  count: number
}

const extreme = <A>(
  of: (value: A) => number,
  initial: number,
  choose: (a: number, b: number) => number
): Aggregate<A, number, number> =>
  make({
    state: Schema.Number,
    initial: () => initial,
    add: (acc, value: A) => choose(acc, of(value)),
    merge: choose,
    result: (acc) => acc
  })
