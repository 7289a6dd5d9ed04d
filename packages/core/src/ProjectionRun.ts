/**
 * One projection that is kept running in this process: it competes for the lease, runs while it has it, and begins
 * again when it lost it. Others like it, here or elsewhere, are not concerned by what becomes of it.
 *
 *     waiting ──lease──▶ running ──lost──▶ waiting
 *        │ ▲                │ ▲
 *        │ └──resume── paused └── swapped in ── rebuilding     the stored model is of an older version
 *        ├─────────▶ superseded                                of a newer one: until that changes
 *        └─────────▶ failed                                    an event or storage stopped it
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { ProjectionFailed } from "./EngineError.js"
import { LeaseLost } from "./LeaseLost.js"
import { start } from "./Position.js"
import type { Position } from "./Position.js"
import type { Guarantee, Projection } from "./Projection.js"
import { guaranteeOf } from "./Projection.js"
import { versionFault, withRegistry } from "./ProjectionCatchUp.js"
import type { CatchUpError, RebuildError } from "./ProjectionErrors.js"
import type { RunSettings, Services } from "./ProjectionSession.js"
import * as ProjectionSession from "./ProjectionSession.js"
import { knownFrom } from "./ProjectionSlices.js"
import * as ProjectionWorker from "./ProjectionWorker.js"
import type { Worker } from "./ProjectionWorker.js"
import * as Rebuild from "./Rebuild.js"
import type { RebuildProgress } from "./RebuildProgress.js"
import * as Scoped from "./Scoped.js"

/** What a projection is doing in this process. */
export type ProjectionPhase =
  /** Another process has it, storage is away, or its lease was just taken from it: a rebuild was swapped in. */
  | "waiting"
  | "running"
  /** Until `resume`. */
  | "paused"
  /** The stored model is of an older version: a new one is being built, and the old one serves as it is. */
  | "rebuilding"
  /** The stored model is of a newer version than this code. */
  | "superseded"
  /** It stopped, and will not go on by itself: see `failure`. */
  | "failed"
  | "stopped"

/** Where a projection stands, as this process sees it. */
export interface ProjectionStatus {
  readonly name: string
  readonly version: number
  readonly guarantee: Guarantee
  readonly phase: ProjectionPhase
  /** Up to here the model is made. */
  readonly position: Position
  /** The newest head that was seen. */
  readonly head: Position
  /** Events handled in this process. */
  readonly handled: number
  /** Why it failed; also of the last rebuild. */
  readonly failure: Option.Option<ProjectionFailed>
  /** Of a rebuild that this process does for it. */
  readonly rebuild: Option.Option<RebuildProgress>
}

/** A projection that is kept running. */
export interface ProjectionRun {
  readonly status: Effect.Effect<ProjectionStatus>
  /** Ends when it failed or its scope closes. */
  readonly ended: Effect.Effect<void>
}

/** What happens to a model of an older version. */
export type OnNewVersion = "rebuild" | "fail"

/** Keeps a projection running until the scope closes. */
export const open = <E, R>(
  services: Services,
  projection: Projection<E, R>,
  settings: RunSettings,
  onNewVersion: OnNewVersion,
  rebuildOptions: Rebuild.RebuildOptions
): Effect.Effect<ProjectionRun, never, Scope.Scope | R> =>
  Effect.gen(function* () {
    const { models } = services
    const key = ProjectionSession.liveKey(projection.name)
    const waitEvery = Duration.millis(
      Math.min(Math.max(Duration.toMillis(settings.ttl) / 10, lookMs.min), lookMs.max)
    )
    /** Waiting is done here, where it can be seen. */
    const atOnce: RunSettings = { ...settings, leaseWait: Duration.zero }
    let phase: ProjectionPhase = "waiting"
    let worker: Worker | undefined
    let handledBefore = 0
    let position: Position = start
    let head: Position = start
    let failure: ProjectionFailed | undefined
    let rebuild: RebuildProgress | undefined

    const fail = (cause: unknown) => {
      failure = new ProjectionFailed({ projectionName: projection.name, position, cause })
      return failure
    }

    /** Whether it is paused, without taking its lease. */
    const isPaused = Effect.map(
      services.subscribers.listSubscribers({ prefix: key, limit: 1 }),
      ([row]) => row !== undefined && row.key === key && row.paused
    )

    /** Builds the model of the new version beside the old one; another process may be at it. */
    const renew = Rebuild.building(
      services,
      projection,
      atOnce,
      {
        ...rebuildOptions,
        onProgress: (progress) =>
          Effect.sync(() => {
            rebuild = progress
          })
      },
      undefined
    ).pipe(
      Effect.zipRight(Effect.sync(() => void (failure = undefined))),
      Effect.catchTag("LeaseHeld", () => Effect.sleep(waitEvery))
    )

    /** Has the lease once, until it is lost. */
    const once = Scoped.scoped(
      Effect.gen(function* () {
        const model = yield* models.open(projection)
        const session = yield* ProjectionSession.take(services, projection, model, atOnce)
        position = session.info.position
        yield* versionFault(projection, session.info)
        // Before the worker begins: who has waited for what it does finds it running.
        phase = "running"
        const known = knownFrom(position)
        const running = yield* withRegistry(
          services,
          ProjectionWorker.open({
            actorName: `projection/${projection.name}/${session.keeper.lease().epoch}`,
            projection,
            model,
            keeper: session.keeper,
            known,
            settings,
            heedsPause: true,
            drainTo: undefined,
            log: services.log,
            isApart: ProjectionSession.isApart(services),
            subscribers: services.subscribers,
            committed: () => {
              position = known.at
            }
          })
        )
        worker = running
        yield* Effect.addFinalizer(() =>
          Effect.map(running.status, (status) => {
            handledBefore += status.handled
            head = Option.getOrElse(status.head, () => head)
            worker = undefined
          })
        )
        const reason = yield* running.ended
        if (reason._tag === "Failed") return yield* Effect.fail(reason.error)
        // Taken away: whoever did it has a moment. A rebuild counts on it to get past a live model.
        if (reason._tag === "LostOwnership") return yield* new LeaseLost({ key, holder: "" })
      })
    )

    /** One turn; fails with what ends the projection here. */
    const turn: Effect.Effect<void, CatchUpError | RebuildError, R> = Effect.gen(function* () {
      if (yield* isPaused) {
        phase = "paused"
        return yield* Effect.sleep(waitEvery)
      }
      yield* once
      phase = "waiting"
    }).pipe(
      Effect.catchTags({
        LeaseHeld: () => waiting("waiting"),
        LeaseLost: () => waiting("waiting"),
        ProjectionSuperseded: () => waiting("superseded"),
        ProjectionOutdated: (error) => {
          if (onNewVersion === "fail") return Effect.fail(error)
          phase = "rebuilding"
          return renew
        }
      })
    )
    const waiting = (as: ProjectionPhase) =>
      Effect.suspend(() => {
        phase = as
        return Effect.sleep(waitEvery)
      })

    const fiber = yield* turn.pipe(
      // Storage that is away longer than a reader waits for it: the whole turn again, for as long as it takes.
      Effect.retry({
        schedule: Schedule.spaced(awayEvery),
        while: (error) => {
          const isAway = error._tag === "StoreUnavailable" && error.transient
          if (isAway) phase = "waiting"
          return isAway
        }
      }),
      Effect.forever,
      Effect.catchAllCause((cause) =>
        Cause.isInterruptedOnly(cause)
          ? Effect.failCause(cause as Cause.Cause<never>)
          : Effect.suspend(() => {
              phase = "failed"
              return Effect.logError("projection stopped, the others run on", fail(Cause.squash(cause)))
            })
      ),
      Effect.forkScoped
    )
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (phase !== "failed") phase = "stopped"
      })
    )
    return {
      ended: Effect.asVoid(Effect.exit(fiber)),
      status: Effect.gen(function* () {
        const now = worker === undefined ? undefined : yield* worker.status
        return {
          name: projection.name,
          version: projection.version,
          guarantee: guaranteeOf(projection),
          phase,
          position: now === undefined ? position : now.cursor > position ? now.cursor : position,
          head: now === undefined ? head : Option.getOrElse(now.head, () => head),
          handled: handledBefore + (now?.handled ?? 0),
          failure: Option.fromNullable(failure),
          rebuild: Option.fromNullable(rebuild)
        }
      })
    }
  })

// ---- internal ----

/** Between two looks at a lease that another process has. Unit: milliseconds. */
const lookMs = { min: 20, max: 1_000 }

const awayEvery = Duration.seconds(1)
