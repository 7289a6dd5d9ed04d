/**
 * Keeps a lease while a consumer works under it: renews it three times in a ttl, and at least once a second, since
 * that is also when pauses are noticed. When renewing fails until the ttl has passed, the lease counts as lost
 * here, whatever the store says, because it may be another's by then.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Lease } from "./Lease.js"
import { LeaseLost } from "./LeaseLost.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { SubscriberStore } from "./SubscriberStore.js"

/** A lease that is kept. */
export interface LeaseKeeper {
  /** As it was last renewed. */
  readonly lease: () => Lease
  /** Renews until the lease is lost; `renewed` is run after each time. */
  readonly keep: <E>(
    renewed: (lease: Lease) => Effect.Effect<void, E>
  ) => Effect.Effect<never, E | LeaseLost | StoreUnavailable>
  /** Gives it back. A store that is away is no fault: the lease then expires by itself. */
  readonly release: Effect.Effect<void>
}

/** Begins with a lease that was just given. */
export const make = (subscribers: SubscriberStore["Type"], given: Lease): Effect.Effect<LeaseKeeper> =>
  Effect.map(Clock.currentTimeMillis, (openedMs) => {
    const ttlMs = Duration.toMillis(given.ttl)
    const everyMs = Math.max(10, Math.min(ttlMs / 3, lookMs))
    let lease = given
    let validFromMs = openedMs
    const renew = Effect.gen(function* () {
      const nowMs = yield* Clock.currentTimeMillis
      lease = yield* subscribers.renew(lease).pipe(
        Effect.retry({
          schedule: Schedule.spaced(Duration.millis(everyMs / 4)),
          while: (error) => error._tag === "StoreUnavailable" && error.transient
        }),
        Effect.timeoutFail({
          duration: Duration.millis(Math.max(0, validFromMs + ttlMs - nowMs)),
          onTimeout: () => new LeaseLost({ key: lease.key, holder: "" })
        })
      )
      validFromMs = nowMs
    })
    return {
      lease: () => lease,
      keep: (renewed) =>
        Effect.forever(
          Effect.sleep(Duration.millis(everyMs)).pipe(
            Effect.zipRight(renew),
            Effect.zipRight(Effect.suspend(() => renewed(lease)))
          )
        ),
      release: Effect.suspend(() =>
        Effect.catchAllCause(subscribers.release(lease), (cause) =>
          Effect.logDebug("lease was not given back, it expires by itself", cause)
        )
      )
    }
  })

// ---- internal ----

/** Longest time between two looks. Unit: milliseconds. */
const lookMs = 1_000
