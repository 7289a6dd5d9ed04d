/**
 * One run at a time handles events for a subscriber or a projection, by a lease. What to do when it is another's:
 * wait. Either that run works, and leaves nothing to do; or it was killed, and its lease ends by itself.
 */
import type { LeaseHeld } from "@millrace/core/LeaseHeld"
import type { LeaseLost } from "@millrace/core/LeaseLost"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"

/** How long a killed run keeps others waiting. Shorter, and a run that a busy disk holds up loses it. */
export const ttl = Duration.seconds(5)

/**
 * Tries again for up to a minute while another run has the lease, or when it was lost on the way, and says so on
 * stderr. What was handled until then is kept, so that it goes on there. `what`: in the plural.
 */
export const awaited = <A, E, R>(what: string, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const told = new Set<string>()
    const tell = (tag: Retried["_tag"]) =>
      Effect.suspend(() => {
        if (told.has(tag)) return Effect.void
        told.add(tag)
        return Console.error(
          tag === "LeaseLost"
            ? `The lease on the ${what} ended in the midst of it: going on where it was`
            : `Another run is at the ${what}: waiting until it ends, or at most ${Duration.format(ttl)} if it was killed`
        )
      })
    return work.pipe(
      Effect.tapError((error) => (isRetried(error) ? tell(error._tag) : Effect.void)),
      Effect.retry({
        schedule: Schedule.intersect(
          Schedule.spaced("100 millis"),
          Schedule.upTo(Schedule.forever, "1 minute")
        ),
        while: isRetried
      })
    )
  })

// ---- internal ----

/** What is tried again. */
type Retried = LeaseHeld | LeaseLost

const isRetried = (error: unknown): error is Retried =>
  Predicate.isTagged(error, "LeaseHeld") || Predicate.isTagged(error, "LeaseLost")
