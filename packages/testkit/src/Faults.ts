/**
 * Stores that misbehave, for tests of whatever stands on a store: calls that fail before they did anything, that
 * fail although they did it (the answer was lost), that take their time, leases that run out, and the process that
 * is killed at one of these moments. What happens when comes from a seed ({@link Seeds}), so that a failing run can
 * be repeated.
 *
 * @example
 * ```ts
 * const faulty = Faults.eventStore(store, chance, { failBefore: 0.05, failAfter: 0.02, delay: 0.1 })
 * ```
 */
import { EventStore } from "@millrace/core/EventStore"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Chance } from "./Seeds.js"

/** How often each fault happens: a share of the calls, 0 to 1. Default of each: 0. */
export interface FaultRates {
  /** Fails with a transient `StoreUnavailable`; nothing was done. */
  readonly failBefore?: number | undefined
  /** Does it, and then fails with a transient `StoreUnavailable`: the answer was lost. */
  readonly failAfter?: number | undefined
  /** Waits for 1 to `delayMsMax` milliseconds first. */
  readonly delay?: number | undefined
  /** Default: 20. Unit: milliseconds. */
  readonly delayMsMax?: number | undefined
  /** Kills this process with SIGKILL before the call. */
  readonly dieBefore?: number | undefined
  /** Does it, and kills this process with SIGKILL. */
  readonly dieAfter?: number | undefined
}

/** The event store with faults in its calls; `stream` and `changes` are left alone. */
export const eventStore = (
  store: EventStore["Type"],
  chance: Chance,
  rates: FaultRates
): EventStore["Type"] =>
  EventStore.of({
    ...store,
    write: (appends, options) => around("write", store.write(appends, options), chance, rates),
    read: (query) => around("read", store.read(query), chance, rates),
    readAfter: (query) => around("readAfter", store.readAfter(query), chance, rates),
    streamVersion: (id) => around("streamVersion", store.streamVersion(id), chance, rates),
    head: around("head", store.head, chance, rates)
  })

/**
 * The subscriber store with faults in what a running consumer calls. With `expire`, as a share of its renewals, a
 * lease is given to somebody else just before it is renewed.
 */
export const subscriberStore = (
  store: SubscriberStore["Type"],
  chance: Chance,
  rates: FaultRates & { readonly expire?: number | undefined }
): SubscriberStore["Type"] =>
  SubscriberStore.of({
    ...store,
    getSubscriberCursor: (key) =>
      around("getSubscriberCursor", store.getSubscriberCursor(key), chance, rates),
    upsertSubscriber: (key, workerId, options) =>
      around("upsertSubscriber", store.upsertSubscriber(key, workerId, options), chance, rates),
    renew: (lease) =>
      around(
        "renew",
        Effect.suspend(() =>
          chance.is(rates.expire ?? 0) ? takeAway(store, lease.key, lease.workerId) : Effect.void
        ).pipe(Effect.zipRight(store.renew(lease))),
        chance,
        rates
      ),
    acknowledge: (lease, cursor, lag) =>
      around("acknowledge", store.acknowledge(lease, cursor, lag), chance, rates),
    park: (lease, parkings, options) => around("park", store.park(lease, parkings, options), chance, rates),
    unpark: (lease, parkKey, position) =>
      around("unpark", store.unpark(lease, parkKey, position), chance, rates)
  })

/** A layer of both stores with faults, over a layer of both without. */
export const layer = <E, R>(
  stores: Layer.Layer<EventStore | SubscriberStore, E, R>,
  chance: Chance,
  rates: FaultRates & { readonly expire?: number | undefined }
): Layer.Layer<EventStore | SubscriberStore, E, R> =>
  Layer.merge(
    Layer.effect(
      EventStore,
      Effect.map(EventStore, (store) => eventStore(store, chance, rates))
    ),
    Layer.effect(
      SubscriberStore,
      Effect.map(SubscriberStore, (store) => subscriberStore(store, chance, rates))
    )
  ).pipe(Layer.provide(stores))

// ---- internal ----

const around = <A, E, R>(
  operation: string,
  call: Effect.Effect<A, E, R>,
  chance: Chance,
  rates: FaultRates
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const fault = new StoreUnavailable({ operation, transient: true, cause: "a fault of the test" })
    // Whoever is decorated can fail like this: every call of a store has StoreUnavailable among its errors.
    const fail = Effect.fail(fault) as unknown as Effect.Effect<never, E>
    const die = Effect.sync(() => void process.kill(process.pid, "SIGKILL"))
    const wait = chance.is(rates.delay ?? 0)
      ? Effect.sleep(Duration.millis(chance.int(1, rates.delayMsMax ?? 20)))
      : Effect.void
    if (chance.is(rates.dieBefore ?? 0)) return Effect.zipRight(die, Effect.never)
    if (chance.is(rates.failBefore ?? 0)) return Effect.zipRight(wait, fail)
    if (chance.is(rates.dieAfter ?? 0)) return Effect.zipRight(Effect.zipRight(call, die), Effect.never)
    if (chance.is(rates.failAfter ?? 0)) return Effect.zipRight(Effect.zipRight(wait, call), fail)
    return Effect.zipRight(wait, call)
  })

/** Somebody takes the lease over and gives it back at once: whoever had it has lost it. */
const takeAway = (store: SubscriberStore["Type"], key: string, workerId: string): Effect.Effect<void> =>
  store
    .upsertSubscriber(key, workerId, { ttl: "1 second" })
    .pipe(Effect.flatMap(store.release), Effect.ignore)
