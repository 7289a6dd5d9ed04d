/** How readers and consumers wait for storage that is away for a moment: doing it again does no harm. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { StoreUnavailable } from "./StoreUnavailable.js"

/**
 * Does it again while storage is away and may come back: from 50 ms, doubling to 2 s, for a minute in all. Only for what
 * may be done twice.
 */
export const patient = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.retry(effect, {
    schedule: awaySchedule,
    while: (error) => error instanceof StoreUnavailable && error.transient
  })

// ---- internal ----

const awaySchedule = Schedule.exponential("50 millis").pipe(
  Schedule.union(Schedule.spaced("2 seconds")),
  Schedule.jittered,
  Schedule.upTo("1 minute")
)
