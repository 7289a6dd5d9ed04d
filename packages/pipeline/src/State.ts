/**
 * The states that a `process` keeps of each key: one value, a list, or a map. They are declared with a Schema each, so
 * that they can be kept in checkpoints, and used through the context of the function that is called.
 */
import type * as Schema from "effect/Schema"
import type { StateFormOptions } from "./StateForm.js"

/** A declared state. */
export type StateDeclaration = ValueState<never> | ListState<never> | MapState<never>

/** One value of each key. */
export interface ValueState<in out A> {
  readonly _tag: "Value"
  readonly schema: Schema.Schema<A, unknown>
  readonly form: StateFormOptions
  readonly initial: (() => A) | undefined
}

/** A list of each key. */
export interface ListState<in out A> {
  readonly _tag: "List"
  readonly schema: Schema.Schema<A, unknown>
  readonly form: StateFormOptions
}

/** A map of each key, from texts. */
export interface MapState<in out A> {
  readonly _tag: "Map"
  readonly schema: Schema.Schema<A, unknown>
  readonly form: StateFormOptions
}

/** One value of each key. Without `initial` there is none until it is set. */
export const value: {
  <A, I>(
    schema: Schema.Schema<A, I>,
    options: StateFormOptions & { readonly initial: () => A }
  ): ValueState<A> & {
    readonly hasInitial: true
  }
  <A, I>(
    schema: Schema.Schema<A, I>,
    options?: StateFormOptions
  ): ValueState<A> & { readonly hasInitial: false }
} = (<A, I>(
  schema: Schema.Schema<A, I>,
  { initial, ...form }: StateFormOptions & { readonly initial?: () => A } = {}
) => ({
  _tag: "Value",
  schema,
  form,
  initial,
  hasInitial: initial !== undefined
})) as never

/** A list of each key. */
export const list = <A, I>(schema: Schema.Schema<A, I>, form: StateFormOptions = {}): ListState<A> => ({
  _tag: "List",
  schema: schema as Schema.Schema<A, unknown>,
  form
})

/** A map of each key, from texts. */
export const map = <A, I>(schema: Schema.Schema<A, I>, form: StateFormOptions = {}): MapState<A> => ({
  _tag: "Map",
  schema: schema as Schema.Schema<A, unknown>,
  form
})

/** How a value is used. What is set is the value as it is: to change an object, set another one. */
export interface ValueHandle<A, Got = A | undefined> {
  readonly get: () => Got
  readonly set: (value: A) => void
  readonly clear: () => void
}

/** How a list is used. */
export interface ListHandle<A> {
  readonly get: () => ReadonlyArray<A>
  readonly add: (value: A) => void
  readonly set: (values: ReadonlyArray<A>) => void
  readonly clear: () => void
}

/** How a map is used. */
export interface MapHandle<A> {
  readonly get: (name: string) => A | undefined
  readonly has: (name: string) => boolean
  readonly set: (name: string, value: A) => void
  readonly remove: (name: string) => void
  readonly entries: () => IterableIterator<[string, A]>
  readonly size: () => number
  readonly clear: () => void
}

/** The handle of a declared state. */
export type HandleOf<S> =
  S extends ValueState<infer A>
    ? S extends { readonly hasInitial: true }
      ? ValueHandle<A, A>
      : ValueHandle<A>
    : S extends ListState<infer A>
      ? ListHandle<A>
      : S extends MapState<infer A>
        ? MapHandle<A>
        : never
