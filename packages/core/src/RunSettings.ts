/** What subscribers and projections have in common in how they are run: defaults, and what their options may be. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { EventIds } from "./EventIds.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import type { LeaseHeld } from "./LeaseHeld.js"

/** How a failed event is tried again: 5 times, after 100 ms, doubling, a little random. */
export const retryDefault: Schedule.Schedule<unknown> = Schedule.exponential("100 millis").pipe(
  Schedule.jittered,
  Schedule.intersect(Schedule.recurs(5))
)

/** A name for this process among those that compete. */
export const newWorkerId: Effect.Effect<string> = Effect.flatMap(EventIds, (ids) =>
  Effect.map(Effect.clock, (clock) => `worker-${ids.next(clock.unsafeCurrentTimeMillis())}`)
)

/** What is wrong with a count of at least 1. */
export const rangeFault = (
  field: string,
  value: number | undefined,
  max: number
): InvalidArgument | undefined =>
  value === undefined || (Number.isInteger(value) && value >= 1 && value <= max)
    ? undefined
    : invalid(field, `an integer of 1 to ${max}`, value)

/** What is wrong with a time. Unit of the range: milliseconds. */
export const durationFault = (
  field: string,
  value: Duration.DurationInput | undefined,
  { max, min }: { readonly min: number; readonly max: number }
): InvalidArgument | undefined => {
  if (value === undefined) return undefined
  const millis = Option.match(Duration.decodeUnknown(value), { onNone: () => NaN, onSome: Duration.toMillis })
  return millis >= min && millis <= max
    ? undefined
    : invalid(field, `a duration of ${min} ms to ${max} ms`, value)
}

/** Asks for a lease again, a few times in its `ttl`, while another process has it; for `wait` at most. */
export const awaitLease = <A, E, R>(
  take: Effect.Effect<A, E | LeaseHeld, R>,
  wait: Duration.Duration,
  ttl: Duration.Duration
): Effect.Effect<A, E | LeaseHeld, R> =>
  Effect.retry(take, {
    schedule: Schedule.spaced(
      Duration.millis(Math.min(Math.max(Duration.toMillis(ttl) / 10, 10), 1_000))
    ).pipe(Schedule.upTo(wait)),
    while: (error) => Duration.greaterThan(wait, Duration.zero) && isHeld(error)
  })

/** Range of a wait for a lease. Unit: milliseconds. */
export const leaseWaitMs = { min: 0, max: 86_400_000 }

// ---- internal ----

const isHeld = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "LeaseHeld"
