/**
 * Records on their way, as a type: what they are, what getting them can fail with, and what it needs. Operators are
 * functions from flow to flow; a flow may be taken up by several, and each gets all of its records.
 */
import type { Pipeable } from "effect/Pipeable"
import { pipeArguments } from "effect/Pipeable"
import type { Input, Node, OperatorOptions, OperatorSpec } from "./Graph.js"
import type { Key } from "./Records.js"
import type { SideOutput } from "./SideOutput.js"

/** Records of type `A`. */
export interface Flow<out A, out E = never, out R = never> extends Pipeable {
  readonly input: Input
  /** For the compiler alone. Never set. */
  readonly types?: { readonly value: () => A; readonly error: () => E; readonly context: () => R } | undefined
}

/** Records that have a key each. */
export interface KeyedFlow<out K extends Key, out A, out E = never, out R = never> extends Flow<A, E, R> {
  /** For the compiler alone. Never set. */
  readonly keyType?: (() => K) | undefined
}

/** A pipeline, or a part of one: flows that have come to their sinks. */
export interface Ended<out E = never, out R = never> {
  readonly sinks: ReadonlyArray<Node>
  /** For the compiler alone. Never set. */
  readonly endedTypes?: { readonly error: () => E; readonly context: () => R } | undefined
}

/** A flow of what an input gives. */
export const flowOf = <A, E, R>(input: Input): KeyedFlow<never, A, E, R> => ({
  input,
  pipe() {
    // eslint-disable-next-line prefer-rest-params
    return pipeArguments(this, arguments)
  }
})

/** A flow of what a node gives on its main way out. */
export const fromNode = <A, E, R>(node: Node): KeyedFlow<never, A, E, R> => flowOf({ node, side: undefined })

/** A flow of what a new operator gives. */
export const operator = <A, E, R>(
  kind: string,
  inputs: ReadonlyArray<Flow<unknown, unknown, unknown>>,
  options: OperatorOptions | undefined,
  spec: Pick<OperatorSpec, "make"> & Partial<OperatorSpec>
): KeyedFlow<never, A, E, R> =>
  fromNode({
    kind,
    id: options?.id,
    inputs: inputs.map(({ input }) => input),
    spec: { role: "plain", needsMarks: false, chance: undefined, ...spec, _tag: "Operator" }
  })

/** What an operator gives on another way out. */
export const sideOf = <B>(
  flow: Flow<unknown, unknown, unknown>,
  side: SideOutput<B>
): KeyedFlow<never, B, never, never> => flowOf({ node: flow.input.node, side })
