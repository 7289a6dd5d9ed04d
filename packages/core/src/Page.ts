/**
 * Paging by cursor, forward and backward, in the form of the Relay specification. Backward pages come back
 * ascending too, so that a page reads the same whichever way it was asked for. All four fields of
 * {@link PageInfo} are true to the data as of the read.
 */
import type * as Option from "effect/Option"
import type { Position } from "./Position.js"

/** Rows of a page that does not say how many it wants. */
export const pageRowsDefault = 40

/** Most rows of one page. */
export const pageRowsMax = 10_000

/** The first rows after a cursor (exclusive); without `after`, from the beginning. */
export interface Forward {
  readonly _tag: "Forward"
  /** Unit: rows. Range: 1 to 10 000. Default: 40. */
  readonly first?: number | undefined
  readonly after?: Position | undefined
}

/** The last rows before a cursor (exclusive); without `before`, up to the end. */
export interface Backward {
  readonly _tag: "Backward"
  /** Unit: rows. Range: 1 to 10 000. Default: 40. */
  readonly last?: number | undefined
  readonly before?: Position | undefined
}

/** Which rows: the first after a cursor, or the last before one. */
export type PageRequest = Forward | Backward

/** The first `first` rows after `after`. */
export const forward = (options: Omit<Forward, "_tag"> = {}): Forward => ({ _tag: "Forward", ...options })

/** The last `last` rows before `before`. */
export const backward = (options: Omit<Backward, "_tag"> = {}): Backward => ({ _tag: "Backward", ...options })

/** A row with its cursor: hand it to `after` or `before` to go on from there. */
export interface Edge<A> {
  readonly cursor: Position
  readonly node: A
}

/** What stands around the rows of a page. */
export interface PageInfo {
  /** Whether rows follow the last edge (of an empty forward page: never; of an empty backward page: whether any stand at or after `before`). */
  readonly hasNextPage: boolean
  /** Whether rows stand before the first edge (of an empty forward page: whether any stand at or before `after`). */
  readonly hasPreviousPage: boolean
  readonly startCursor: Option.Option<Position>
  readonly endCursor: Option.Option<Position>
}

/** One page, ascending. */
export interface Page<A> {
  readonly edges: ReadonlyArray<Edge<A>>
  readonly pageInfo: PageInfo
}

/** The rows of a page without their cursors. */
export const nodes = <A>(page: Page<A>): ReadonlyArray<A> => page.edges.map((edge) => edge.node)
