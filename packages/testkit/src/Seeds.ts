/**
 * Chance with a memory: everything random in these tests comes from one seed, which stands in the message of
 * a failure. `MILLRACE_SEED=… npx vitest run …` gives the same choices again (the machine still decides which
 * transaction wins a race).
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { randomBytes } from "node:crypto"
import * as Data from "effect/Data"

/** A test that failed, with the seed that it ran with. */
export class SeedFailed extends Data.TaggedError("SeedFailed")<{ readonly message: string }> {}

/** Whether this run is the long one. */
export const isFull = process.env.MILLRACE_FAULTS === "full"

/** What the gate has time for, and what the long run does. */
export const sized = (quick: number, full: number): number => (isFull ? full : quick)

/** Random choices that can be made again. */
export interface Chance {
  readonly seed: number
  /** An integer of `min` to `max`, both included. */
  readonly int: (min: number, max: number) => number
  /** True in `share` of all cases, 0 to 1. */
  readonly is: (share: number) => boolean
  readonly pick: <A>(items: ReadonlyArray<A>) => A
}

/** Mulberry32: small, and good enough to shuffle a schedule. */
export const chanceOf = (seed: number): Chance => {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  const int: Chance["int"] = (min, max) => min + Math.floor(next() * (max - min + 1))
  return {
    seed,
    int,
    is: (share) => next() < share,
    pick: (items) => items[int(0, items.length - 1)]!
  }
}

/** Runs a test with the seed of the environment, or a new one; a failure says which it was. */
export const withChance = <A, E, R>(
  test: (chance: Chance) => Effect.Effect<A, E, R>
): Effect.Effect<A, Error, R> =>
  Effect.suspend(() => {
    const named = process.env.MILLRACE_SEED
    const seed = named === undefined || named === "" ? randomBytes(4).readUInt32BE(0) >>> 1 : Number(named)
    return Effect.catchAllCause(test(chanceOf(seed)), (cause) =>
      Effect.fail(
        new SeedFailed({
          message: `MILLRACE_SEED=${seed} ${Cause.pretty(cause, { renderErrorCause: true })}`
        })
      )
    )
  })
