/**
 * Stores that answer at once, in memory or in a file, never let go of the event loop: what waits for them goes on in
 * a microtask, and a program that only talks to such a store is one long turn. Timers do not fire in it, so that
 * leases are not renewed and time limits do not hold; sockets are not read, and Ctrl-C is not heard.
 *
 * They therefore give way, before they work, when the present turn is long enough.
 */
import * as Effect from "effect/Effect"

/**
 * Lets timers, sockets and signals have their turn if they had none for 10 ms; else does nothing. A look costs a
 * tenth of a microsecond, a turn a few.
 */
export const giveWay: Effect.Effect<void> = Effect.suspend(() =>
  performance.now() - turnBeganMs < turnMaxMs ? Effect.void : nextTurn
)

// ---- internal ----

/** Longest turn. Unit: milliseconds. */
const turnMaxMs = 10

/** When the last turn began that was given way for. The machine's time, since this is about the machine. */
let turnBeganMs = performance.now()

const nextTurn = Effect.async<void>((resume) => {
  const immediate = setImmediate(() => {
    turnBeganMs = performance.now()
    resume(Effect.void)
  })
  return Effect.sync(() => clearImmediate(immediate))
})
