/** Pairs of records of two flows that fall into one window: the same whichever came first. */
import type * as Schema from "effect/Schema"
import type { Flow, KeyedFlow } from "../Flow.js"
import * as Flows from "../Flow.js"
import type { OperatorOptions } from "../Graph.js"
import type { Key } from "../Records.js"
import { WindowOperator } from "../runtime/WindowOperator.js"
import type { SideOutput } from "../SideOutput.js"
import * as StateForm from "../StateForm.js"
import type { StateFormOptions } from "../StateForm.js"
import type { TimeWindow, Window } from "../Windows.js"

/** Which records go without one of the other side. */
export type JoinKind = "inner" | "left" | "right" | "full"

/** How records of one window are joined. */
export interface JoinWindowOptions<K extends Key, L, R, B, Kind extends JoinKind>
  extends OperatorOptions, StateFormOptions {
  readonly window: Window
  readonly left: Schema.Schema<L, never>
  readonly right: Schema.Schema<R, never>
  /** `inner` (default): pairs. `left`, `right`, `full`: also records of that side, or both, that have no other. */
  readonly kind?: Kind | undefined
  readonly combine: (
    left: Kind extends "right" | "full" ? L | undefined : L,
    right: Kind extends "left" | "full" ? R | undefined : R,
    context: { readonly key: K; readonly window: TimeWindow }
  ) => B
  /** Where records go that come when all their windows are gone. Default: nowhere; they are counted in the status. */
  readonly late?: SideOutput<L | R> | undefined
}

/**
 * Every pair of records of a key that are in the same window, given when the window ends.
 *
 * @example
 * ```ts
 * const people = Pipeline.from(IterableSource.fromIterable("people", [{ id: 1, name: "Ada" }])).pipe(
 *   Pipeline.keyBy(({ id }) => id)
 * )
 * const orders = Pipeline.from(IterableSource.fromIterable("orders", [{ by: 1, item: "book" }])).pipe(
 *   Pipeline.keyBy(({ by }) => by)
 * )
 * const joined = Pipeline.joinWindow(people, orders, {
 *   window: Windows.tumbling("1 minute"),
 *   left: Schema.Struct({ id: Schema.Number, name: Schema.String }),
 *   right: Schema.Struct({ by: Schema.Number, item: Schema.String }),
 *   combine: ({ name }, { item }) => `${name}: ${item}`
 * })
 * return yield* Pipeline.collect(joined)
 * // ["Ada: book"]
 * ```
 */
export const joinWindow = <K extends Key, L, R, LI, RI, B, E1, R1, E2, R2, Kind extends JoinKind = "inner">(
  left: KeyedFlow<K, L, E1, R1>,
  right: KeyedFlow<K, R, E2, R2>,
  options: Omit<JoinWindowOptions<K, L, R, B, Kind>, "left" | "right"> & {
    readonly left: Schema.Schema<L, LI>
    readonly right: Schema.Schema<R, RI>
  }
): Flow<B, E1 | E2, R1 | R2> => {
  const kind: JoinKind = options.kind ?? "inner"
  const combine = options.combine as (left: unknown, right: unknown, context: unknown) => unknown
  const forms = {
    left: StateForm.make(options.left as Schema.Schema<unknown>, options),
    right: StateForm.make(options.right as Schema.Schema<unknown>, options)
  }
  return Flows.operator("joinWindow", [left, right], options, {
    role: "keyed",
    make: (context) =>
      new WindowOperator(context, {
        window: options.window,
        latenessMs: 0,
        early: 0,
        isDiscarding: false,
        late: options.late,
        initial: () => [[], []],
        add: (acc, value, port) => {
          ;(acc as ReadonlyArray<Array<unknown>>)[port]!.push(value)
          return acc
        },
        merge: (a, b) => {
          const [al, ar] = a as Sides
          const [bl, br] = b as Sides
          return [
            [...al, ...bl],
            [...ar, ...br]
          ]
        },
        result: () => undefined,
        results: (acc, key, window) => pairsOf(acc as Sides, kind, combine, { key, window }),
        forms,
        encode: (acc) => {
          const [l, r] = acc as Sides
          return [l.map((value) => forms.left.encode(value)), r.map((value) => forms.right.encode(value))]
        },
        decode: (data, read) => {
          const [l, r] = data as Sides
          return [l.map((value) => read("left", value)), r.map((value) => read("right", value))]
        }
      })
  })
}

// ---- internal ----

type Sides = readonly [ReadonlyArray<unknown>, ReadonlyArray<unknown>]

function* pairsOf(
  [left, right]: Sides,
  kind: JoinKind,
  combine: (left: unknown, right: unknown, context: unknown) => unknown,
  context: { readonly key: Key; readonly window: TimeWindow }
): Iterable<unknown> {
  if (right.length === 0 && (kind === "left" || kind === "full"))
    for (const l of left) yield combine(l, undefined, context)
  if (left.length === 0 && (kind === "right" || kind === "full"))
    for (const r of right) yield combine(undefined, r, context)
  for (const l of left) for (const r of right) yield combine(l, r, context)
}
