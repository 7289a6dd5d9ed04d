/** Records with the row that a table had at their time, whichever came first. */
import * as Duration from "effect/Duration"
import type * as Schema from "effect/Schema"
import type { Flow, KeyedFlow } from "../Flow.js"
import * as Flows from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import type { Key } from "../Records.js"
import { TableJoinOperator } from "../runtime/JoinOperators.js"
import * as StateForm from "../StateForm.js"
import type { StateFormOptions } from "../StateForm.js"

/** How records are joined with a table. */
export interface JoinTableOptions<K extends Key, A, T, B, Kind extends "inner" | "left">
  extends OperatorOptions, StateFormOptions {
  readonly stream: Schema.Schema<A, never>
  readonly table: Schema.Schema<T, never>
  /** `inner` (default): records without a row are left out. `left`: they come with none. */
  readonly kind?: Kind | undefined
  readonly combine: (
    value: A,
    row: Kind extends "left" ? T | undefined : T,
    context: { readonly key: K }
  ) => B
  /** How long a row is kept behind the watermark after it was the newest, in event time. Default: for ever. */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * Each record of a stream with the row that its key had in a table at the record's time: the newest record of the table
 * that is not later. A record waits until the watermark of both has come to its time, so that the row is the right one
 * whatever came first; records of a key come out in the order of their time.
 *
 * @example
 * ```ts
 * const rates = Pipeline.from(IterableSource.fromIterable("rates", [{ t: 0, rate: 2 }, { t: 10, rate: 3 }]), {
 *   timestamp: ({ t }) => t
 * }).pipe(Pipeline.keyBy(() => "EUR"))
 * const sales = Pipeline.from(IterableSource.fromIterable("sales", [{ t: 9, euros: 5 }, { t: 11, euros: 5 }]), {
 *   timestamp: ({ t }) => t
 * }).pipe(Pipeline.keyBy(() => "EUR"))
 * const inDollars = Pipeline.joinTable(sales, rates, {
 *   stream: Schema.Struct({ t: Schema.Number, euros: Schema.Number }),
 *   table: Schema.Struct({ t: Schema.Number, rate: Schema.Number }),
 *   combine: ({ euros }, { rate }) => euros * rate
 * })
 * return yield* Pipeline.collect(inDollars)
 * // [10, 15]
 * ```
 */
export const joinTable = <
  K extends Key,
  A,
  T,
  AI,
  TI,
  B,
  E1,
  R1,
  E2,
  R2,
  Kind extends "inner" | "left" = "inner"
>(
  stream: KeyedFlow<K, A, E1, R1>,
  table: KeyedFlow<K, T, E2, R2>,
  options: Omit<JoinTableOptions<K, A, T, B, Kind>, "stream" | "table"> & {
    readonly stream: Schema.Schema<A, AI>
    readonly table: Schema.Schema<T, TI>
  }
): Flow<B, E1 | E2, R1 | R2> =>
  Flows.operator("joinTable", [stream, table], options, {
    role: "keyed",
    make: (context) =>
      new TableJoinOperator(context, {
        stream: StateForm.make(options.stream as Schema.Schema<unknown>, options),
        table: StateForm.make(options.table as Schema.Schema<unknown>, options),
        isLeft: options.kind === "left",
        ttlMs: options.ttl === undefined ? undefined : Duration.toMillis(options.ttl),
        combine: options.combine as never
      })
  })
