/**
 * A pipeline as a value: operators, each with those that it takes its records from. Nothing here runs; a node says how
 * its operator is made once it does.
 */
import type { Sink } from "@millrace/core/Sink"
import type { Source } from "@millrace/core/Source"
import type { Operator, OperatorContext } from "./runtime/Operator.js"
import type { Side } from "./SideOutput.js"
import type { WatermarkStrategy } from "./Watermarks.js"

/** Where a node's records come from. */
export interface Input {
  readonly node: Node
  /** Which way out of it; none = the main one. */
  readonly side: Side | undefined
}

/** What a node does. */
export type Spec = SourceSpec | OperatorSpec | SinkSpec

/** Reads. */
export interface SourceSpec {
  readonly _tag: "Source"
  readonly source: Source<unknown, unknown, unknown>
  readonly watermarks: WatermarkStrategy
  /** When a record happened. None: as the source says. Unit: milliseconds since 1970. */
  readonly timestamp: ((value: unknown) => number) | undefined
}

/** Computes. */
export interface OperatorSpec {
  readonly _tag: "Operator"
  readonly make: (context: OperatorContext) => Operator
  /**
   * - `plain`: anywhere, with whoever it takes records from.
   * - `keyBy`: the same; what comes out of it goes to the owner of its key.
   * - `keyed`: has state of keys, on the share that owns them.
   * - `effect`: does effects, as an actor of its own.
   */
  readonly role: "plain" | "keyBy" | "keyed" | "effect"
  /** Whether it needs the watermark before each record, not only before each batch. */
  readonly needsMarks: boolean
  /** Why the same input may give another output; none: it may not. */
  readonly chance: string | undefined
}

/** Writes. */
export interface SinkSpec {
  readonly _tag: "Sink"
  readonly sink: Sink<unknown, unknown, unknown>
}

/** An operator, a source or a sink in a pipeline. */
export interface Node {
  /** What it is, for names and drawings: `map`, `window`, … */
  readonly kind: string
  /** Its name in checkpoints, if it was given one. */
  readonly id: string | undefined
  readonly inputs: ReadonlyArray<Input>
  readonly spec: Spec
}

/** What operators may say of themselves when they are put into a flow. */
export interface OperatorOptions {
  /**
   * Its name in checkpoints and in the status: 1 to 200 code points, unique in the pipeline. Default: its kind, with a
   * number from the second one on. Give one to whatever has state, so that adding operators does not rename it.
   */
  readonly id?: string | undefined
}
