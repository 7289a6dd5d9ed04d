/**
 * The property that memory is the oracle of: random histories of several workers (leases taken, lost and used all
 * the same, cursors, parked events and requests) have the same results on every store. Time does not matter: the
 * leases are long. A failing case is shrunk, and printed with the seed that brings it back.
 */
import { assert, layer as testsWith } from "@effect/vitest"
import { EventIds } from "@millrace/core/EventIds"
import type { Lease } from "@millrace/core/Lease"
import * as MemorySubscriberStore from "@millrace/core/MemorySubscriberStore"
import type { ParkedRequest, Parking } from "@millrace/core/ParkedEvent"
import { Position } from "@millrace/core/Position"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FC from "effect/FastCheck"
import type * as Layer from "effect/Layer"
import { checkHistories } from "./Histories.js"

type Store = SubscriberStore["Type"]

/** Shrinking ends here at the latest, with the smallest case found so far. */
const timeLimitMs = 120_000

/** How many histories. */
export interface SubscriberModelOptions {
  /** Random histories to try. Range: 1 and more. Default: 40. `MILLRACE_RUNS` overrides it. */
  readonly numRuns?: number
}

/**
 * Declares the property test for one store. `layer` is built once; each history has keys of its own.
 * `MILLRACE_SEED` (an integer) repeats the run of that seed.
 *
 * @example
 * ```ts
 * subscribersSameAsMemory("sqlite", Sqlite.layer({ filename: ":memory:" }))
 * ```
 */
export const subscribersSameAsMemory = <E>(
  name: string,
  layer: Layer.Layer<SubscriberStore, E>,
  { numRuns = 40 }: SubscriberModelOptions = {}
): void => {
  testsWith(layer, { timeout: "60 seconds", excludeTestServices: true })(
    `SubscriberStore / ${name} / model`,
    (it) => {
      it.effect(
        "random histories of several workers give the same results as on memory",
        () =>
          Effect.gen(function* () {
            const store = yield* SubscriberStore
            const salt = (yield* EventIds).next(yield* Clock.currentTimeMillis)
            yield* checkHistories({
              arbitrary: history,
              numRuns,
              timeLimitMs,
              check: (steps, { number }) => compare(store, `m${salt}.${number}.`, steps)
            })
          }),
        timeLimitMs + 60_000
      )
    }
  )
}

// ---- histories ----

const keyNames = ["a", "a%", "ab", "🦄"]
const parkKeys = ["p", "p_", "\uffff", "🦄"]
const reasons = ["", "it failed", "a\u0000b\ud800"]

const key = FC.nat(keyNames.length - 1)
const parkKey = FC.nat(parkKeys.length - 1)
const place = FC.record({ parkKey, position: FC.integer({ min: 1, max: 6 }) })
const parking = FC.record({
  parkKey,
  position: FC.integer({ min: 1, max: 6 }),
  reason: FC.nat(reasons.length - 1)
})
/** A lease by number, counted from the newest: most steps use one that may still hold. */
const lease = FC.oneof({ weight: 4, arbitrary: FC.nat(1) }, { weight: 1, arbitrary: FC.nat(8) })
const maybe = <A>(arbitrary: FC.Arbitrary<A>) => FC.option(arbitrary, { nil: undefined })

/** One step of a history. Everything is named by number. */
const step = FC.oneof(
  {
    weight: 4,
    arbitrary: FC.record({
      _tag: FC.constant("Take" as const),
      key,
      worker: FC.nat(2),
      startAt: maybe(FC.nat(5))
    })
  },
  {
    weight: 4,
    arbitrary: FC.record({
      _tag: FC.constant("Acknowledge" as const),
      lease,
      at: FC.nat(12),
      lag: maybe(FC.nat(9))
    })
  },
  {
    weight: 4,
    arbitrary: FC.record({
      _tag: FC.constant("Park" as const),
      lease,
      parkings: FC.array(parking, { maxLength: 4 }),
      max: FC.nat(7)
    })
  },
  { weight: 2, arbitrary: FC.record({ _tag: FC.constant("Repark" as const), lease, parking }) },
  { weight: 2, arbitrary: FC.record({ _tag: FC.constant("Unpark" as const), lease, place }) },
  {
    weight: 2,
    arbitrary: FC.record({
      _tag: FC.constant("Request" as const),
      key,
      request: FC.constantFrom<ParkedRequest>("retry", "drop"),
      parkKey: maybe(parkKey)
    })
  },
  {
    weight: 2,
    arbitrary: FC.record({ _tag: FC.constantFrom("Renew" as const, "Release" as const), lease })
  },
  { weight: 1, arbitrary: FC.record({ _tag: FC.constantFrom("Pause" as const, "Resume" as const), key }) },
  {
    weight: 2,
    arbitrary: FC.record({
      _tag: FC.constant("Look" as const),
      key,
      parkKey: maybe(parkKey),
      after: maybe(place),
      afterKey: maybe(key),
      limit: FC.integer({ min: 1, max: 5 })
    })
  }
)

type Step = typeof step extends FC.Arbitrary<infer A> ? A : never

// "max": by itself the library keeps lists to about ten.
const history = FC.array(step, { maxLength: 40, size: "max" })

// ---- twins ----

/** A store, and the leases that it gave, the newest first: the same number in both twins is the same lease. */
interface Twin {
  readonly store: Store
  readonly leases: Array<Lease>
}

/** Does the same to both, and compares what they say. Dies at the first difference. */
const compare = (store: Store, prefix: string, steps: ReadonlyArray<Step>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const oracle: Twin = { store: (yield* MemorySubscriberStore.make).store, leases: [] }
    const twin: Twin = { store, leases: [] }
    const same = (use: (twin: Twin) => Effect.Effect<unknown, unknown>, at: string) =>
      Effect.gen(function* () {
        const expected = yield* Effect.either(use(oracle))
        const actual = yield* Effect.either(use(twin))
        assert.deepStrictEqual(timeless(actual), timeless(expected), at)
      })
    for (const [index, step] of steps.entries()) {
      yield* same((twin) => apply(twin, prefix, step), `step ${index} (${step._tag})`)
    }
    yield* same(({ store }) => store.listSubscribers({ prefix, limit: 100 }), "the list")
    for (const name of keyNames) {
      yield* same(({ store }) => store.parked(`${prefix}${name}`, { limit: 100 }), `parked events of ${name}`)
    }
  })

const apply = (twin: Twin, prefix: string, step: Step): Effect.Effect<unknown, unknown> => {
  const { store } = twin
  const keyOf = (index: number) => `${prefix}${keyNames[index]!}`
  const held = "lease" in step ? twin.leases[step.lease] : undefined
  if ("lease" in step && held === undefined) return Effect.void
  switch (step._tag) {
    case "Take":
      return Effect.tap(
        store.upsertSubscriber(keyOf(step.key), `w${step.worker}`, {
          ttl: "1 hour",
          startAt: step.startAt === undefined ? undefined : Position.make(step.startAt)
        }),
        (lease) => Effect.sync(() => twin.leases.unshift(lease))
      )
    case "Acknowledge": {
      const { at, lag } = step
      const said = lag === undefined ? undefined : { events: lag, time: Duration.millis(lag) }
      return store.acknowledge(held!, Position.make(at), said)
    }
    case "Renew":
      return store.renew(held!)
    case "Release":
      return store.release(held!)
    case "Pause":
      return store.pause(keyOf(step.key))
    case "Resume":
      return store.resume(keyOf(step.key))
    case "Park":
      return store.park(held!, step.parkings.map(parkingOf), { max: step.max })
    case "Repark":
      return store.repark(held!, parkingOf(step.parking))
    case "Unpark":
      return store.unpark(held!, parkKeys[step.place.parkKey]!, Position.make(step.place.position))
    case "Request":
      return store.requestParked(
        keyOf(step.key),
        step.request,
        step.parkKey === undefined ? undefined : parkKeys[step.parkKey]
      )
    case "Look": {
      const { after, afterKey, limit } = step
      const parkKey = step.parkKey === undefined ? undefined : parkKeys[step.parkKey]
      return Effect.all([
        store.getSubscriberCursor(keyOf(step.key)),
        store.isSubscriberRunning(keyOf(step.key), "w0"),
        store.listSubscribers({
          prefix: step.parkKey === undefined ? prefix : keyOf(step.key),
          after: afterKey === undefined ? undefined : keyOf(afterKey),
          limit
        }),
        store.parked(keyOf(step.key), {
          parkKey,
          after: after && { parkKey: parkKeys[after.parkKey]!, position: Position.make(after.position) },
          limit
        }),
        store.parkedKeys(keyOf(step.key), { after: parkKey, limit, requested: after !== undefined })
      ])
    }
  }
}

const parkingOf = (choice: {
  readonly parkKey: number
  readonly position: number
  readonly reason: number
}): Parking => ({
  parkKey: parkKeys[choice.parkKey]!,
  position: Position.make(choice.position),
  reason: reasons[choice.reason]!
})

/** Times are the store's own, and classes of no matter. */
const timeless = (result: Either.Either<unknown, unknown>): unknown =>
  JSON.parse(
    JSON.stringify([result._tag, Either.merge(result)], (field, value: unknown) =>
      ["expiresAt", "updatedAt", "parkedAt", "remainingMs"].includes(field)
        ? undefined
        : value instanceof Error
          ? { ...value }
          : value
    )
  )
