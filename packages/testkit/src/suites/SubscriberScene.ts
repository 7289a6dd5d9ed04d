/**
 * One test's own corner of a subscriber store that other tests use as well: keys that no other test has. Leases are
 * long where they must hold, and short only where they must end, so that no test depends on how fast it runs.
 */
import type { Vitest } from "@effect/vitest"
import { assert } from "@effect/vitest"
import { EventIds } from "@millrace/core/EventIds"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { Epoch, Lease } from "@millrace/core/Lease"
import type { LeaseHeld } from "@millrace/core/LeaseHeld"
import type { ParkedEvent, Parking } from "@millrace/core/ParkedEvent"
import type { Position } from "@millrace/core/Position"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { SubscriberInfo } from "@millrace/core/SubscriberStore"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { position, refused } from "./Scene.js"

/** The `it` within the suite. `R` is what the layer gives beside the store. */
export type SubscriberIt<R> = Vitest.MethodsNonLive<SubscriberStore | R, true>

export interface SubscriberScene {
  readonly store: SubscriberStore["Type"]
  /** What all keys of this test begin with. */
  readonly prefix: string
  /** A key of this test. */
  readonly key: (name?: string) => string
  /** A lease that holds for as long as the test runs. */
  readonly take: (
    key: string,
    workerId: string,
    options?: {
      readonly ttl?: Duration.DurationInput
      readonly startAt?: Position
      readonly above?: Epoch | undefined
    }
  ) => Effect.Effect<Lease, LeaseHeld | InvalidArgument | StoreUnavailable>
  /** A lease that has ended by itself. */
  readonly takeAndExpire: (
    key: string,
    workerId: string
  ) => Effect.Effect<Lease, LeaseHeld | InvalidArgument | StoreUnavailable>
  /** The cursor; -1 when the key is not known. */
  readonly cursor: (key: string) => Effect.Effect<number, InvalidArgument | StoreUnavailable>
  /** What a listing says of the key. */
  readonly info: (key: string) => Effect.Effect<SubscriberInfo, InvalidArgument | StoreUnavailable>
  /** Asserts that a lease is lost for everything that can be done with it, and that nothing changes by it. */
  readonly isLost: (lease: Lease, holder: string) => Effect.Effect<void, InvalidArgument | StoreUnavailable>
  /** All parked events of the key. */
  readonly parked: (
    key: string
  ) => Effect.Effect<ReadonlyArray<ParkedEvent>, InvalidArgument | StoreUnavailable>
}

export const subscriberScene: Effect.Effect<SubscriberScene, never, SubscriberStore> = Effect.gen(
  function* () {
    const store = yield* SubscriberStore
    const ids = yield* EventIds
    const prefix = `sub-${ids.next(yield* Clock.currentTimeMillis)}-`

    const take: SubscriberScene["take"] = (key, workerId, { above, startAt, ttl = "1 hour" } = {}) =>
      store.upsertSubscriber(key, workerId, { ttl, startAt, above })
    const cursor: SubscriberScene["cursor"] = (key) =>
      Effect.map(
        store.getSubscriberCursor(key),
        Option.getOrElse(() => -1)
      )
    const info: SubscriberScene["info"] = (key) =>
      Effect.map(store.listSubscribers({ prefix: key, limit: 1 }), ([first]) => {
        assert.strictEqual(first?.key, key)
        return first!
      })
    const parked: SubscriberScene["parked"] = (key) => store.parked(key, { limit: 10_000 })

    return {
      store,
      prefix,
      key: (name = "a") => `${prefix}${name}`,
      take,
      cursor,
      info,
      parked,
      takeAndExpire: (key, workerId) =>
        Effect.tap(take(key, workerId, { ttl: "100 millis" }), () =>
          store.isSubscriberRunning(key, workerId).pipe(
            Effect.repeat({ schedule: Schedule.spaced("10 millis"), while: (running) => running }),
            Effect.timeoutFailCause({
              duration: "20 seconds",
              onTimeout: () => Cause.die(new Error("a lease of 100 ms does not end"))
            })
          )
        ),
      isLost: (lease, holder) =>
        Effect.gen(function* () {
          const look = Effect.all({ info: info(lease.key), parked: parked(lease.key) })
          const before = yield* look
          const far = position(before.info.cursor + 1_000)
          const lag = { events: 77, time: lease.ttl }
          for (const attempt of [
            store.renew(lease),
            store.acknowledge(lease, before.info.cursor),
            store.acknowledge(lease, far, lag),
            store.acknowledge(lease, position(0)),
            store.park(lease, [], { max: 100 }),
            store.park(lease, [parking("lost", 1)], { max: 100 }),
            store.park(lease, [parking("lost", 1)], { max: 0 }),
            store.unpark(lease, "lost", position(1)),
            ...before.parked.flatMap(({ parkKey, position }) => [
              store.unpark(lease, parkKey, position),
              store.repark(lease, parking(parkKey, position))
            ])
          ]) {
            const error = yield* refused(
              Effect.catchTag(attempt, "ParkedFull", () => Effect.dieMessage("the lease comes first")),
              "LeaseLost"
            )
            assert.strictEqual(error.key, lease.key)
            assert.strictEqual(error.holder, holder)
          }
          yield* store.release(lease)
          assert.deepStrictEqual(yield* look, before, "a lost lease changes nothing")
        })
    }
  }
)

/** An event to set aside; it failed, unless a reason of "" says that it only waits. */
export const parking = (parkKey: string, at: number, reason = "it failed"): Parking => ({
  parkKey,
  position: position(at),
  reason
})

/** Park key and position of each. */
export const places = (events: ReadonlyArray<ParkedEvent>): ReadonlyArray<readonly [string, number]> =>
  events.map((event) => [event.parkKey, event.position])
