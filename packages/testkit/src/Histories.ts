/**
 * Random histories, from one seed. One that fails is made as short as it can be, and the seed stands in the message:
 * `MILLRACE_SEED=… npx vitest run …` brings it back. `MILLRACE_RUNS` says how many are tried.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FC from "effect/FastCheck"
import * as Random from "effect/Random"
import * as Runtime from "effect/Runtime"

/** What is tried. */
export interface Histories<History, E, R> {
  readonly arbitrary: FC.Arbitrary<History>
  /** Fails, or dies, on a history that does not end as it should. */
  readonly check: (history: History, which: WhichHistory) => Effect.Effect<unknown, E, R>
  /** How many, unless the environment says. */
  readonly numRuns: number
  /** Longest time for all of them. */
  readonly timeLimitMs: number
}

/** Tells histories of one run, and of several runs on one database, apart. */
export interface WhichHistory {
  readonly seed: number
  /** From 1. */
  readonly number: number
}

/** Tries them; dies with the shortest one that fails. */
export const checkHistories = <History, E, R>({
  arbitrary,
  check,
  numRuns,
  timeLimitMs
}: Histories<History, E, R>): Effect.Effect<void, never, R> =>
  Effect.gen(function* () {
    const seed = yield* Config.integer("MILLRACE_SEED").pipe(
      Config.orElse(() => Config.succeed(undefined)),
      Effect.flatMap((given) =>
        given === undefined ? Random.nextIntBetween(0, 2 ** 31) : Effect.succeed(given)
      )
    )
    const runs = yield* Config.withDefault(Config.integer("MILLRACE_RUNS"), numRuns)
    const run = Runtime.runPromise(yield* Effect.runtime<R>())
    let number = 0
    const property = FC.asyncProperty(arbitrary, (history) =>
      run(Effect.asVoid(check(history, { seed, number: ++number })))
    )
    const details = yield* Effect.promise(() =>
      FC.check(property, {
        numRuns: runs,
        seed,
        interruptAfterTimeLimit: timeLimitMs,
        markInterruptAsFailure: true
      })
    )
    if (!details.failed) return
    const report = FC.defaultReportMessage(details)
    yield* Effect.die(new Error(`MILLRACE_SEED=${seed} brings this back.\n${report}`))
  }).pipe(Effect.orDie)
