/**
 * Reacts to events: hands every event of its filter to a handler, at least once, in the order of the log for each
 * key, however many processes run it and whatever becomes of them.
 *
 *  1. A partition is a range of vnodes with a cursor and a lease of its own. Whoever holds the lease handles its
 *     events one after another; partitions are spread over the processes that run the same key.
 *  2. On every way out (success, failure, interruption, lost lease) what is finished is acknowledged where it still
 *     can be. After a crash at most `ackEvery` events of a partition are handled again, none is left out, and
 *     none comes out of order.
 *  3. A handler that fails is tried again as `retry` says. After that `onPoison` decides: `stop` ends the
 *     subscriber, `skip` goes on without the event, `park` sets the event's key aside, behind which later events
 *     of that key queue up in order until somebody retries or drops them.
 *  4. A process that was frozen and overtaken can move nothing any more, and whatever it writes with
 *     `{ fence: context.lease }` is refused.
 *
 * @example
 * ```ts
 * const mailer = Subscriber.make({
 *   key: "mailer",
 *   filters: [{ category: "account", type: "Opened" }],
 *   onEvent: (event) => sendWelcome(event.data)
 * })
 * const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const running = yield* Subscriber.run(mailer)
 *     const reason = yield* running.ended
 *   })
 * )
 * ```
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Num from "effect/Number"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { ActorRegistry } from "./ActorRegistry.js"
import type { RecordedEvent } from "./Event.js"
import type { EventFilter } from "./EventFilter.js"
import { filtersFault } from "./EventFilter.js"
import type { EventHandler, EventHandlers } from "./EventHandler.js"
import { choose } from "./EventHandler.js"
import { EventStore } from "./EventStore.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import { leaseTtlMs } from "./Lease.js"
import type { LeaseHeld } from "./LeaseHeld.js"
import { LeaseLost } from "./LeaseLost.js"
import { pageRowsMax } from "./Page.js"
import type { ParkedEvent } from "./ParkedEvent.js"
import * as Partitions from "./Partitions.js"
import { start } from "./Position.js"
import type { Position } from "./Position.js"
import type { RoutingKey } from "./RoutingKey.js"
import {
  awaitLease,
  durationFault,
  leaseWaitMs,
  newWorkerId,
  rangeFault,
  retryDefault
} from "./RunSettings.js"
import * as Scoped from "./Scoped.js"
import type { OnPoison } from "./SliceHandler.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import * as SubscriberPartition from "./SubscriberPartition.js"
import type { PartitionError } from "./SubscriberPartition.js"
import { SubscriberStore } from "./SubscriberStore.js"
import { textFault } from "./Text.js"
import { vnodeCount } from "./Vnode.js"

/** What a subscriber is; everything but the key and a handler has a default. */
export interface SubscriberOptions<E, R> {
  /** Its name, the same in every process that shares its work. 1 to 200 code points without "#" and "~". */
  readonly key: string
  /** Of these one must match; default: every event. */
  readonly filters?: ReadonlyArray<EventFilter> | undefined
  readonly routingKey?: RoutingKey | undefined
  /** What is done with each event, or `handlers` for several kinds of them. */
  readonly onEvent?: EventHandler<E, R> | undefined
  readonly handlers?: EventHandlers<E, R> | undefined
  /** Whether an event that no handler takes stops the subscriber. Default: false, it is passed over. */
  readonly strict?: boolean | undefined
  /**
   * Into how many parts the streams are divided. Range: 1 to 256. Default: 1. With another number than before it
   * goes on where the slowest of the former parts ended, once none of those runs any more.
   */
  readonly partitions?: number | undefined
  /**
   * Events that are read at once at first. Range: 1 to 10 000. Default: 300. Behind the head each page is twice as
   * large as the one before, up to eight times this and 10 000. Two pages are held.
   */
  readonly chunkSize?: number | undefined
  /** Most events that may be handled again after a crash. Range: 1 to 1 000 000. Default: `chunkSize`. */
  readonly ackEvery?: number | undefined
  /** How often and how fast a failed event is tried again. Default: 5 times, after 100 ms, doubling, a little random. */
  readonly retry?: Schedule.Schedule<unknown, unknown, R> | undefined
  /** What becomes of an event that fails for good. Default: `stop`. */
  readonly onPoison?: OnPoison | undefined
  /** What is set aside together, computed without decoding. Default: the stream. */
  readonly parkKey?: ((event: RecordedEvent) => string) | undefined
  /** Most events of a partition that may be set aside; then it stops. Range: 1 to 1 000 000. Default: 10 000. */
  readonly parkedMax?: number | undefined
  /** Where a key begins that nobody ever ran. Default: `beginning`. */
  readonly startFrom?: "beginning" | "end" | Position | undefined
  /** How long a lease holds without being renewed: others take over so long after a crash. 100 ms to 1 day. Default: 10 s. */
  readonly ttl?: Duration.DurationInput | undefined
  /** Longest time between two looks for something new when no hint came. Default: 250 ms. */
  readonly pollInterval?: Duration.DurationInput | undefined
}

/** Which subscriber: what every process must say alike. */
export type SubscriberName = Pick<SubscriberOptions<never, never>, "key" | "partitions">

/** A subscriber, ready to be run. */
export interface Subscriber<E = never, R = never> extends SubscriberName {
  readonly options: SubscriberOptions<E, R>
}

export type { RunningSubscriber } from "./Partitions.js"

/** What a subscriber can be stopped by. */
export type SubscriberError = PartitionError

/** A subscriber as a value; nothing runs. What is wrong with its options is told by `run` and `drain`. */
export const make = <E = never, R = never>(options: SubscriberOptions<E, R>): Subscriber<E, R> => ({
  key: options.key,
  partitions: options.partitions,
  options
})

/** The keys of a subscriber's partitions in {@link SubscriberStore}. */
export const partitionKeys = (subscriber: SubscriberName): ReadonlyArray<string> =>
  Partitions.keysOf(subscriber.key, subscriber.partitions ?? 1)

/**
 * Runs it until it is stopped, its scope closes, or an event stops it. Partitions that are lost are competed for
 * again; paused ones wait for `resume`.
 *
 * `workerId` must be unique among those that run the same key; default: a new one. Fails with `InvalidArgument`.
 */
export const run = <E, R>(
  subscriber: Subscriber<E, R>,
  options: { readonly workerId?: string | undefined } = {}
): Effect.Effect<
  Partitions.RunningSubscriber,
  InvalidArgument | StoreUnavailable,
  EventStore | SubscriberStore | ActorRegistry | Scope.Scope | R
> =>
  Effect.gen(function* () {
    const settings = yield* checked(subscriber)
    const workerId = options.workerId ?? (yield* newWorkerId)
    const startAt = yield* startOf(settings)
    return yield* Partitions.run({
      key: settings.key,
      workerId,
      partitions: settings.partitions,
      ttl: settings.ttl,
      startAt,
      open: (lease, vnodes) => SubscriberPartition.open(settings, lease, vnodes, undefined)
    })
  })

/**
 * Handles everything that is in the log by now, then returns the number of events handled. For tests, scripts
 * and cron jobs.
 *
 * `leaseWait`: how long to wait for a partition that another process has; after a crash it is free within its `ttl`.
 * Default: not at all. Fails with `LeaseHeld` when another process runs a partition, with what stopped it, and with `LeaseLost` when
 * it was overtaken; what was finished until then is acknowledged. A paused partition is left as it is.
 */
export const drain = <E, R>(
  subscriber: Subscriber<E, R>,
  options: {
    readonly workerId?: string | undefined
    readonly leaseWait?: Duration.DurationInput | undefined
  } = {}
): Effect.Effect<number, SubscriberError | LeaseHeld, EventStore | SubscriberStore | ActorRegistry | R> =>
  Effect.gen(function* () {
    const settings = yield* checked(subscriber)
    const fault = durationFault("leaseWait", options.leaseWait, leaseWaitMs)
    if (fault !== undefined) return yield* fault
    const workerId = options.workerId ?? (yield* newWorkerId)
    const events = yield* EventStore
    const subscribers = yield* SubscriberStore
    const head = yield* events.head
    const keys = Partitions.keysOf(settings.key, settings.partitions)
    const beginning = yield* Partitions.beginningOf(
      settings.key,
      settings.partitions,
      yield* startOf(settings)
    )
    if (beginning._tag === "NotYet")
      return yield* invalid("partitions", `the former number while ${beginning.why}`, settings.partitions)
    const startAt = beginning.position
    const counts = yield* Effect.forEach(keys, (key, index) =>
      Scoped.scoped(
        Effect.gen(function* () {
          const lease = yield* awaitLease(
            subscribers.upsertSubscriber(key, workerId, { ttl: settings.ttl, startAt }),
            Duration.decode(options.leaseWait ?? Duration.zero),
            settings.ttl
          )
          const vnodes = Partitions.vnodesOf(index, settings.partitions)
          const partition = yield* SubscriberPartition.open(settings, lease, vnodes, head)
          const reason = yield* partition.ended
          if (reason._tag === "Failed") return yield* Effect.fail(reason.error)
          if (reason._tag === "LostOwnership") return yield* new LeaseLost({ key, holder: "" })
          return (yield* partition.status).handled
        })
      )
    )
    return Num.sumAll(counts)
  })

// ---- commands: from any process, whoever runs it ----

/** Keeps all of its partitions from handling events, in every process, until `resume`. Gives false when none was ever run. */
export const pause = (
  subscriber: SubscriberName
): Effect.Effect<boolean, InvalidArgument | StoreUnavailable, SubscriberStore> =>
  Effect.map(
    onAll(subscriber, (store, key) => store.pause(key)),
    (known) => known.includes(true)
  )

/** Lets it go on. Gives false when none of its partitions was ever run. */
export const resume = (
  subscriber: SubscriberName
): Effect.Effect<boolean, InvalidArgument | StoreUnavailable, SubscriberStore> =>
  Effect.map(
    onAll(subscriber, (store, key) => store.resume(key)),
    (known) => known.includes(true)
  )

/** The events that are set aside, in order: at most `limit` (1 to 10 000, default 1 000) of each partition. */
export const parked = (
  subscriber: SubscriberName,
  options: { readonly parkKey?: string | undefined; readonly limit?: number | undefined } = {}
): Effect.Effect<ReadonlyArray<ParkedEvent>, InvalidArgument | StoreUnavailable, SubscriberStore> =>
  Effect.map(
    onAll(subscriber, (store, key) =>
      store.parked(key, { parkKey: options.parkKey, limit: options.limit ?? 1_000 })
    ),
    (pages) => pages.flat()
  )

/**
 * Has parked events handled again, in order, by whoever holds the lease: those of one park key, or all. A key
 * whose first event fails again stays parked. Gives the number of events concerned.
 */
export const retryParked = (
  subscriber: SubscriberName,
  parkKey?: string
): Effect.Effect<number, InvalidArgument | StoreUnavailable, SubscriberStore> =>
  request(subscriber, "retry", parkKey)

/** Has parked events forgotten, of one park key or all. Gives the number of events concerned. */
export const dropParked = (
  subscriber: SubscriberName,
  parkKey?: string
): Effect.Effect<number, InvalidArgument | StoreUnavailable, SubscriberStore> =>
  request(subscriber, "drop", parkKey)

// ---- internal ----

/** How much larger than the first a page may become. */
const readGrowthMax = 8

/** Does something with the key of each partition, in order. */
const onAll = <A>(
  subscriber: SubscriberName,
  act: (store: SubscriberStore["Type"], key: string) => Effect.Effect<A, InvalidArgument | StoreUnavailable>
): Effect.Effect<ReadonlyArray<A>, InvalidArgument | StoreUnavailable, SubscriberStore> =>
  Effect.flatMap(SubscriberStore, (store) =>
    Effect.forEach(partitionKeys(subscriber), (key) => act(store, key))
  )

const request = (
  subscriber: SubscriberName,
  what: "retry" | "drop",
  parkKey: string | undefined
): Effect.Effect<number, InvalidArgument | StoreUnavailable, SubscriberStore> =>
  Effect.map(
    onAll(subscriber, (store, key) => store.requestParked(key, what, parkKey)),
    Num.sumAll
  )

const startOf = (settings: {
  readonly startFrom: "beginning" | "end" | Position
}): Effect.Effect<Position, StoreUnavailable, EventStore> =>
  settings.startFrom === "beginning"
    ? Effect.succeed(start)
    : settings.startFrom === "end"
      ? Effect.flatMap(EventStore, (store) => store.head)
      : Effect.succeed(settings.startFrom)

/** The options with their defaults, or what is wrong with them. */
const checked = <E, R>({
  options
}: Subscriber<E, R>): Effect.Effect<SubscriberPartition.Settings<E, R>, InvalidArgument> =>
  Effect.suspend(() => {
    const fault = faultOf(options)
    if (fault !== undefined) return Effect.fail(fault)
    const chunkSize = options.chunkSize ?? 300
    const handlers = options.handlers ?? {}
    const onEvent = options.onEvent
    return Effect.succeed({
      key: options.key,
      filters: options.filters ?? [],
      routingKey: options.routingKey,
      handlerOf: onEvent === undefined ? choose(handlers) : () => onEvent,
      strict: options.strict ?? false,
      partitions: options.partitions ?? 1,
      chunkSize,
      readMax: Math.min(chunkSize * readGrowthMax, pageRowsMax),
      ackEvery: options.ackEvery ?? chunkSize,
      retry: options.retry ?? retryDefault,
      onPoison: options.onPoison ?? "stop",
      parkKeyOf: options.parkKey ?? ((event: RecordedEvent) => event.streamId),
      parkedMax: options.parkedMax ?? 10_000,
      startFrom: options.startFrom ?? "beginning",
      ttl: Duration.decode(options.ttl ?? "10 seconds"),
      pollInterval: Duration.decode(options.pollInterval ?? "250 millis")
    })
  })

/** Longest key: the store's longest less what the number of a partition takes. Unit: code points. */
const keyCodePointsMax = 200

function faultOf(
  options: SubscriberOptions<never, never> | SubscriberOptions<unknown, unknown>
): InvalidArgument | undefined {
  const { filters, handlers, key, onEvent, onPoison, startFrom } = options
  const keyFault = textFault(key, keyCodePointsMax) ?? (/[#~]/.test(key) ? "contains # or ~" : undefined)
  if (keyFault !== undefined)
    return invalid("key", `1 to ${keyCodePointsMax} characters without # and ~; this one ${keyFault}`, key)
  if ((onEvent === undefined) === (handlers === undefined))
    return invalid("onEvent", "either onEvent or handlers", onEvent === undefined ? "neither" : "both")
  if (onPoison !== undefined && !["stop", "park", "skip"].includes(onPoison))
    return invalid("onPoison", `"stop", "park" or "skip"`, onPoison)
  if (
    startFrom !== undefined &&
    startFrom !== "beginning" &&
    startFrom !== "end" &&
    !(Number.isSafeInteger(startFrom) && startFrom >= 0)
  )
    return invalid("startFrom", `"beginning", "end" or a position of 0 to 2^53 - 1`, startFrom)
  return (
    rangeFault("partitions", options.partitions, vnodeCount) ??
    rangeFault("chunkSize", options.chunkSize, pageRowsMax) ??
    rangeFault("ackEvery", options.ackEvery, 1_000_000) ??
    rangeFault("parkedMax", options.parkedMax, 1_000_000) ??
    durationFault("ttl", options.ttl, leaseTtlMs) ??
    durationFault("pollInterval", options.pollInterval, { min: 1, max: 86_400_000 }) ??
    (filters === undefined ? undefined : filtersFault("filters", filters))
  )
}
