/**
 * The measured loops: `callers` callers, each making its next call when its last one returned, until the time is up.
 *
 * Calls begun before the deadline are awaited and counted, and the clock stops when the last of them is back: a rate
 * is never flattered by work in flight. A call's result is awaited before it is added (`n += await f()` reads `n`
 * first and loses what other callers added meanwhile).
 */
import { Effect } from "effect"
import type { ManagedRuntime } from "effect"
import type { Outcome, Turn } from "./contestant.js"

/** Makes one call; gives the number of events it moved. A synchronous call starves other callers: give it one. */
export type Call = (caller: number) => Promise<number> | number

interface DriveOptions {
  /** Instead of the case's callers, for loops that are one connection by nature. */
  readonly callers?: number
}

/** Drives a contestant whose calls are promises or synchronous. */
export const driveCalls =
  (call: Call, options?: DriveOptions) =>
  async (turn: Turn): Promise<Outcome> => {
    const tally = makeTally(turn.seconds)
    const caller = async (index: number): Promise<void> => {
      do {
        const startMs = performance.now()
        const pending = call(index)
        const events = typeof pending === "number" ? pending : await pending
        tally.add(events, startMs)
      } while (tally.goesOn())
    }
    const callers = Array.from({ length: options?.callers ?? turn.callers }, (_, index) =>
      caller(index).catch((cause: unknown) => tally.fail(cause))
    )
    await Promise.all(callers)
    return tally.outcome()
  }

/**
 * Drives a contestant whose calls are Effects, one fiber a caller, as an Effect program would: no promise is
 * made per call.
 */
export const driveEffects =
  <R, ER>(
    runtime: ManagedRuntime.ManagedRuntime<R, ER>,
    call: (caller: number) => Effect.Effect<number, unknown, R>,
    options?: DriveOptions
  ) =>
  async (turn: Turn): Promise<Outcome> => {
    const tally = makeTally(turn.seconds)
    const caller = (index: number) => {
      let startMs = 0
      let started = false
      return Effect.whileLoop({
        while: () => !started || tally.goesOn(),
        body: () => {
          started = true
          startMs = performance.now()
          return call(index)
        },
        step: (events) => tally.add(events, startMs)
      })
    }
    const callers = Array.from({ length: options?.callers ?? turn.callers }, (_, index) => caller(index))
    await runtime.runPromise(Effect.all(callers, { concurrency: "unbounded", discard: true }))
    return tally.outcome()
  }

// ---- internal ----

const makeTally = (seconds: number) => {
  const latenciesMs: Array<number> = []
  const beginMs = performance.now()
  const deadlineMs = beginMs + seconds * 1000
  let events = 0
  let failure: { readonly cause: unknown } | undefined
  return {
    add: (moved: number, startMs: number): void => {
      events += moved
      latenciesMs.push(performance.now() - startMs)
    },
    goesOn: (): boolean => failure === undefined && performance.now() < deadlineMs,
    fail: (cause: unknown): void => {
      failure ??= { cause }
    },
    outcome: (): Outcome => {
      if (failure !== undefined) throw failure.cause
      return { value: events / ((performance.now() - beginMs) / 1000), events, latenciesMs }
    }
  }
}
