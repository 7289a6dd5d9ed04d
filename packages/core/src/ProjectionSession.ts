/**
 * The right to move one model of a projection: a lease of the log's database, and the claim of its epoch on the
 * model, which may be in another one. Whoever holds both is the only one whose commits are taken.
 *
 * The two can be apart: a model that was swapped in, or restored from a backup, may have seen a greater epoch than
 * the lease's. Then a lease with a greater epoch is asked for, and claimed again.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { ActorRegistry } from "./ActorRegistry.js"
import type { EventStore } from "./EventStore.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import type { Epoch, Lease } from "./Lease.js"
import { leaseTtlMs } from "./Lease.js"
import type { LeaseHeld } from "./LeaseHeld.js"
import * as LeaseKeeper from "./LeaseKeeper.js"
import type { LeaseLost } from "./LeaseLost.js"
import type { Model, ModelRefused, ModelStore } from "./ModelStore.js"
import type { ParkedFull } from "./ParkedEvent.js"
import type { Projection } from "./Projection.js"
import { projectionFault } from "./Projection.js"
import type { ProjectionInfo } from "./ProjectionCheckpoint.js"
import * as ProjectionSwapMark from "./ProjectionSwapMark.js"
import * as Scoped from "./Scoped.js"
import type { OnPoison } from "./SliceHandler.js"
import {
  awaitLease,
  durationFault,
  leaseWaitMs,
  newWorkerId,
  rangeFault,
  retryDefault
} from "./RunSettings.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { SubscriberStore } from "./SubscriberStore.js"
import type { WorkerSettings } from "./ProjectionWorker.js"

/** Everything that a projection is run with. */
export interface Services {
  readonly log: EventStore["Type"]
  readonly subscribers: SubscriberStore["Type"]
  readonly models: ModelStore["Type"]
  readonly registry: ActorRegistry["Type"]
}

/** How projections are run; everything has a default. */
export interface ProjectionRunOptions {
  /**
   * Events of a page, and of a transaction. Range: 1 to 50 000. Default: 2 000, and 500 for rebuilds.
   *
   * Much of what a page costs is the same for any number of events: a fold on Postgres caught up 14.6 thousand
   * events a second by pages of 500, and 27.0 thousand by pages of 2 000.
   */
  readonly batchSize?: number | undefined
  /** How long a lease holds without being renewed: others take over so long after a crash. 100 ms to 1 day. Default: 10 s. */
  readonly ttl?: Duration.DurationInput | undefined
  /** Longest time between two looks for something new when no hint came. Default: 250 ms. */
  readonly pollInterval?: Duration.DurationInput | undefined
  /** How often and how fast a failed event is tried again. Default: 5 times, after 100 ms, doubling, a little random. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** What becomes of an event that fails for good. Default: `stop`. */
  readonly onPoison?: OnPoison | undefined
  /** Most events that may be set aside. Range: 1 to 1 000 000. Default: 10 000. */
  readonly parkedMax?: number | undefined
  /**
   * How long `catchUp` and `rebuild` wait for a lease that another process has; after a crash it is free within its
   * `ttl`. Default: not at all, they fail with `LeaseHeld`. `run` waits for as long as it takes.
   */
  readonly leaseWait?: Duration.DurationInput | undefined
  /** Unique among those that run the same projections. Default: a new one. */
  readonly workerId?: string | undefined
}

/** The options with their defaults. */
export interface RunSettings extends WorkerSettings {
  readonly ttl: Duration.Duration
  readonly leaseWait: Duration.Duration
  readonly workerId: string
}

/** Range of a page. Unit: events. */
export const batchSizeMax = 50_000

/** Events of a page of what follows the log, where nobody says. */
export const batchSizeDefault = 2_000
/** Events of a page of a rebuild, where nobody says. */
export const rebuildBatchSizeDefault = 500

/** Checks and completes the options. `batchSize`: the default. */
export const settingsOf = (
  options: ProjectionRunOptions,
  batchSize = batchSizeDefault
): Effect.Effect<RunSettings, InvalidArgument> =>
  Effect.gen(function* () {
    const fault =
      rangeFault("batchSize", options.batchSize, batchSizeMax) ??
      rangeFault("parkedMax", options.parkedMax, 1_000_000) ??
      durationFault("ttl", options.ttl, leaseTtlMs) ??
      durationFault("leaseWait", options.leaseWait, leaseWaitMs) ??
      durationFault("pollInterval", options.pollInterval, { min: 1, max: 86_400_000 }) ??
      (options.onPoison === undefined || ["stop", "park", "skip"].includes(options.onPoison)
        ? undefined
        : invalid("onPoison", `"stop", "park" or "skip"`, options.onPoison))
    if (fault !== undefined) return yield* fault
    return {
      batchSize: options.batchSize ?? batchSize,
      ttl: Duration.decode(options.ttl ?? "10 seconds"),
      leaseWait: Duration.decode(options.leaseWait ?? Duration.zero),
      pollInterval: Duration.decode(options.pollInterval ?? "250 millis"),
      retry: options.retry ?? retryDefault,
      onPoison: options.onPoison ?? "stop",
      parkedMax: options.parkedMax ?? 10_000,
      workerId: options.workerId ?? (yield* newWorkerId)
    }
  })

/** Checks a projection. */
export const checked = (projection: Projection<unknown, unknown>): Effect.Effect<void, InvalidArgument> =>
  Effect.suspend(() => projectionFault(projection) ?? Effect.void)

/** Whether models are in another database than the log and its leases, and outlive the process there. */
export const isApart = ({ models }: Pick<Services, "models">): boolean =>
  models.isDurable && models.transaction === undefined

/** The key of the lease on the live model. Subscribers have no key that begins so. */
export const liveKey = (projectionName: string): string => `~projection/${projectionName}`

/** The key of the lease on building a model. */
export const buildKey = (projectionName: string): string => `~rebuild/${projectionName}`

/** A model that is this process's to move. */
export interface Session {
  readonly keeper: LeaseKeeper.LeaseKeeper
  readonly info: ProjectionInfo
}

/** Takes a lease, which ends with the scope. Fails with `LeaseHeld` when another process has it. */
export const lease = (
  { subscribers }: Pick<Services, "subscribers">,
  key: string,
  { leaseWait, ttl, workerId }: Pick<RunSettings, "ttl" | "leaseWait" | "workerId">,
  above?: number
): Effect.Effect<LeaseKeeper.LeaseKeeper, LeaseHeld | InvalidArgument | StoreUnavailable, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.flatMap(
      awaitLease(
        subscribers.upsertSubscriber(key, workerId, { ttl, above: above as Epoch | undefined }),
        leaseWait,
        ttl
      ),
      (given) => LeaseKeeper.make(subscribers, given)
    ),
    (keeper) => keeper.release
  )

/**
 * Takes the lease on the live model and claims the model with it; both end with the scope. What a swap has left to
 * do is done in between. Fails with `LeaseHeld` when another process has the lease.
 */
export const take = <E, R>(
  services: Pick<Services, "subscribers" | "models">,
  projection: Projection<E, R>,
  model: Model<R>,
  settings: Pick<RunSettings, "ttl" | "leaseWait" | "workerId">
): Effect.Effect<Session, SessionError, Scope.Scope> => {
  const attempt = (
    above: number | undefined,
    turns: number
  ): Effect.Effect<Session, SessionError, Scope.Scope> =>
    Effect.gen(function* () {
      const keeper = yield* lease(services, liveKey(projection.name), settings, above)
      yield* settleMark(services, projection, keeper.lease(), settings)
      return yield* model.claim(keeper.lease().epoch).pipe(
        Effect.map((info) => ({ keeper, info })),
        Effect.catchTag("LeaseLost", (lost) =>
          turns === 0
            ? Effect.fail(lost)
            : Effect.flatMap(model.info, (info) =>
                attempt(Option.getOrUndefined(Option.flatMap(info, (one) => one.epoch)), turns - 1)
              )
        )
      )
    })
  return attempt(undefined, claimTurns)
}

/** What taking a live model can fail with. */
export type SessionError =
  LeaseHeld | LeaseLost | ModelRefused | ParkedFull | InvalidArgument | StoreUnavailable

/**
 * Does what a swap has left to do, for those who change models without running the live one. Needs the live lease
 * where there is something to do, and then fails with `LeaseHeld` when another process has it.
 */
export const settleAny = (
  services: Pick<Services, "subscribers" | "models">,
  projection: Projection<unknown, unknown>,
  settings: Pick<RunSettings, "ttl" | "leaseWait" | "workerId">
): Effect.Effect<void, SessionError> =>
  Scoped.scoped(
    Effect.gen(function* () {
      if (!(yield* isMarked(services, projection))) return
      const keeper = yield* lease(services, liveKey(projection.name), settings)
      yield* settleMark(services, projection, keeper.lease(), settings)
    })
  )

/** The same under leases that are held. */
export const settle = (
  { models, subscribers }: Pick<Services, "subscribers" | "models">,
  projection: Projection<unknown, unknown>,
  live: Lease,
  mark: Lease
): Effect.Effect<void, SessionError> =>
  ProjectionSwapMark.settle(subscribers, {
    info: Scoped.scoped(Effect.flatMap(models.open(projection), (model) => model.info)),
    live,
    mark,
    buildKey: buildKey(projection.name)
  })

// ---- internal ----

/** Where swaps are transactions with what is set aside, none is ever marked. */
const isMarked = (
  { models, subscribers }: Pick<Services, "subscribers" | "models">,
  { name }: Pick<Projection, "name">
): Effect.Effect<boolean, InvalidArgument | StoreUnavailable> =>
  models.transaction === undefined ? ProjectionSwapMark.isThere(subscribers, name) : Effect.succeed(false)

const settleMark = (
  services: Pick<Services, "subscribers" | "models">,
  projection: Projection<unknown, unknown>,
  live: Lease,
  settings: Pick<RunSettings, "ttl" | "leaseWait" | "workerId">
): Effect.Effect<void, SessionError> =>
  Scoped.scoped(
    Effect.gen(function* () {
      if (!(yield* isMarked(services, projection))) return
      const mark = yield* lease(services, ProjectionSwapMark.markKey(projection.name), settings)
      yield* settle(services, projection, live, mark.lease())
    })
  )

/** How often a greater epoch is asked for before giving up: once is enough unless models are swapped all the time. */
const claimTurns = 10
