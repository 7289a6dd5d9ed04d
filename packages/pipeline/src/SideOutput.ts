/**
 * Named ways out of an operator beside its main one: records that came too late, or whatever a `process` sets aside.
 * A side output nobody listens to is dropped, and counted.
 */

/** A way out, whatever comes by it. */
export interface Side {
  readonly name: string
}

/** A way out for values of one type. Two of the same name are two. */
export class SideOutput<in out A> implements Side {
  declare protected readonly _type: (value: A) => A
  constructor(readonly name: string) {}
}

/**
 * A way out.
 *
 * @example
 * ```ts
 * const late = SideOutput.make<Click>("late")
 * ```
 */
export const make = <A>(name: string): SideOutput<A> => new SideOutput(name)
