/**
 * Runs projections: folds the log into read models, keeps them up to date, and builds them anew while they are
 * read. What a model is, is the {@link Projection}'s; where it is kept, the {@link ModelStore}'s.
 *
 * Promises
 *
 *  1. An event takes effect on a model exactly once where the projection's guarantee says so, and in the order of
 *     the log; else at least once, in that order.
 *  2. One process at a time moves a model, by a lease. One that was frozen and overtaken changes nothing any more.
 *  3. A projection that stops does not stop the others.
 *
 * @example
 * ```ts
 * const program = Scoped.scoped(
 *   Effect.gen(function* () {
 *     const runner = yield* ProjectionRunner
 *     yield* runner.run([balances, statements])
 *     const { position } = yield* store.write({ streamId: "account/42", events })
 *     yield* runner.waitFor(balances, position, "2 seconds")
 *   })
 * )
 * ```
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { ActorRegistry } from "./ActorRegistry.js"
import { EventStore } from "./EventStore.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import type { ModelRefused } from "./ModelStore.js"
import { ModelStore } from "./ModelStore.js"
import type { Position } from "./Position.js"
import type { Projection } from "./Projection.js"
import { catchUp } from "./ProjectionCatchUp.js"
import type { GlobalProjectionCheckpoint } from "./ProjectionCheckpoint.js"
import { positionOf } from "./ProjectionCheckpoint.js"
import type { CatchUpError, RebuildError } from "./ProjectionErrors.js"
import type { NoFormerModel } from "./ProjectionErrors.js"
import { ProjectionBehind } from "./ProjectionErrors.js"
import * as ProjectionRun from "./ProjectionRun.js"
import type { OnNewVersion, ProjectionStatus } from "./ProjectionRun.js"
import type { ProjectionRunOptions, Services } from "./ProjectionSession.js"
import * as ProjectionSession from "./ProjectionSession.js"
import type { KnownCursors } from "./ProjectionSlices.js"
import * as Rebuild from "./Rebuild.js"
import type { RebuildOptions, Rebuilt } from "./Rebuild.js"
import { durationFault } from "./RunSettings.js"
import * as Scoped from "./Scoped.js"
import * as SharedScan from "./SharedScan.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import { SubscriberStore } from "./SubscriberStore.js"

/** How {@link ProjectionRunner.run} runs them. */
export interface RunOptions extends ProjectionRunOptions {
  /**
   * What to do with a model of an older version: build it anew in the background, while the old one serves as it
   * is, or stop with `ProjectionOutdated`. Default: `rebuild`.
   */
  readonly onNewVersion?: OnNewVersion | undefined
  /** How it is then rebuilt. */
  readonly rebuild?: Omit<RebuildOptions, "mode" | "onProgress"> | undefined
}

/** Projections that run in this process. */
export interface RunningProjections {
  /** Where each of them stands, in the order in which they were given. */
  readonly status: Effect.Effect<ReadonlyArray<ProjectionStatus>>
  /** Ends when all of them have failed. */
  readonly ended: Effect.Effect<void>
}

/** A live model. */
export interface ModelInfo {
  /** Up to here it is made; 0 when the projection was never run. */
  readonly position: Position
  /** The version of the projection that made it; none when it was never run. */
  readonly version: Option.Option<number>
  /** Rows of a fold, or of all declared tables together. Counted, which takes a large table a while. */
  readonly rows: number
}

/** What became of one of several rebuilds. */
export type RebuildResult =
  | { readonly _tag: "Rebuilt"; readonly projectionName: string; readonly rebuilt: Rebuilt }
  | { readonly _tag: "Failed"; readonly projectionName: string; readonly cause: Cause.Cause<RebuildError> }

/** How several are rebuilt. */
export interface ConcurrentRebuildOptions extends RebuildOptions {
  /** How many at once. Range: 1 to 32. Default: 4. */
  readonly concurrency?: number | undefined
}

/**
 * The service. Every method fails with `InvalidArgument` (correct the named field) and `StoreUnavailable` (try
 * again if `transient`).
 */
export class ProjectionRunner extends Context.Tag("@millrace/core/ProjectionRunner")<
  ProjectionRunner,
  {
    /**
     * Handles everything that is in the log by now, and gives the number of events. Goes on with the cursors that
     * this runner kept in memory from the last time, if the model stands where it was left. For tests and
     * scripts; `run` keeps up by itself.
     *
     * Fails with `LeaseHeld` (another process runs it: `waitFor` it instead), `HandlerError` and the other
     * errors of a projection (what stands before the event is committed), `ProjectionOutdated` (rebuild it),
     * `ProjectionSuperseded` (deploy the newer code), `ModelRefused` (another store, or another strength).
     */
    readonly catchUp: <E = never, R = never>(
      projection: Projection<E, R>,
      options?: ProjectionRunOptions
    ) => Effect.Effect<number, CatchUpError, R>

    /**
     * The same from the stored checkpoint, and gives the new one: its position, and the cursors of the streams
     * that were touched. It costs what was touched, however many streams there are.
     */
    readonly catchUpPersistent: <E = never, R = never>(
      projection: Projection<E, R>,
      options?: ProjectionRunOptions
    ) => Effect.Effect<GlobalProjectionCheckpoint, CatchUpError, R>

    /**
     * Keeps projections up to date until the scope closes, each by itself: what fails is in its `status`, and the
     * others run on. Of several processes that run the same one, one does and the others wait for its lease.
     */
    readonly run: <R = never>(
      projections: ReadonlyArray<Projection<unknown, R>>,
      options?: RunOptions
    ) => Effect.Effect<RunningProjections, InvalidArgument | ModelRefused, Scope.Scope | R>

    /** The live model of a projection, whichever process made it: where it stands, its version and its size. */
    readonly model: (
      projection: Projection<unknown, unknown>
    ) => Effect.Effect<ModelInfo, ModelRefused | InvalidArgument | StoreUnavailable>

    /** Where each projection stands that runs in this process. */
    readonly status: Effect.Effect<ReadonlyArray<ProjectionStatus>>

    /** Keeps a projection from handling events, here and in every other process, until `resume`. False when it was never run. */
    readonly pause: (
      projection: Pick<Projection, "name">
    ) => Effect.Effect<boolean, InvalidArgument | StoreUnavailable>

    /** Lets it go on. False when it was never run. */
    readonly resume: (
      projection: Pick<Projection, "name">
    ) => Effect.Effect<boolean, InvalidArgument | StoreUnavailable>

    /**
     * Has parked events handled again, in order, or forgotten, by whoever runs the projection: those of one park
     * key or all. Gives the number of events concerned.
     */
    readonly requestParked: (
      projection: Pick<Projection, "name">,
      request: "retry" | "drop",
      parkKey?: string
    ) => Effect.Effect<number, InvalidArgument | StoreUnavailable>

    /**
     * Returns when the model has everything up to `position`, whichever process does it: read your own writes.
     * Fails with `ProjectionBehind` after `timeout` (default 5 seconds; 0 = only a look), which says how far it is.
     */
    readonly waitFor: (
      projection: Projection<unknown, unknown>,
      position: Position,
      timeout?: Duration.DurationInput
    ) => Effect.Effect<void, ProjectionBehind | ModelRefused | InvalidArgument | StoreUnavailable>

    /**
     * Builds the model anew, beside the live one unless told otherwise, and puts it in that one's place. Gives the
     * number of events and how it was verified. May be called again after a crash, and goes on.
     *
     * Fails with `LeaseHeld` (another process is at it), `ShadowUnsupported` (rebuild in place, or name the
     * tables through the context), `VerificationFailed` (the live model stays), or as `catchUp` does.
     */
    readonly rebuild: <E = never, R = never>(
      projection: Projection<E, R>,
      options?: RebuildOptions
    ) => Effect.Effect<Rebuilt, RebuildError, R>

    /** Rebuilds several, which share what they read of the log. One result for each, in order, whatever happens to the others. */
    readonly rebuildConcurrent: <R = never>(
      projections: ReadonlyArray<Projection<unknown, R>>,
      options?: ConcurrentRebuildOptions
    ) => Effect.Effect<ReadonlyArray<RebuildResult>, InvalidArgument, R>

    /**
     * Goes back to the model that was live before the last rebuild, brought up to date first. The projection given
     * must be of the version that it was built with. May be called again after a crash, and goes on: when the live
     * model is of that version and the former one of a newer, it is done. Where both are of one version that cannot
     * be told, and the two change places again. Fails with `NoFormerModel`, or as `rebuild` does.
     */
    readonly rollBack: <E = never, R = never>(
      projection: Projection<E, R>,
      options?: RebuildOptions
    ) => Effect.Effect<Rebuilt, RebuildError | NoFormerModel, R>

    /** Drops the former model. False when there is none. */
    readonly dropFormer: (
      projection: Projection<unknown, unknown>
    ) => Effect.Effect<boolean, InvalidArgument | StoreUnavailable>
  }
>() {
  /** The runner over the stores of the context. */
  static readonly layer: Layer.Layer<
    ProjectionRunner,
    never,
    EventStore | SubscriberStore | ModelStore | ActorRegistry
  > = Layer.effect(
    ProjectionRunner,
    Effect.suspend(() => make)
  )
}

// ---- internal ----

const make: Effect.Effect<
  ProjectionRunner["Type"],
  never,
  EventStore | SubscriberStore | ModelStore | ActorRegistry
> = Effect.gen(function* () {
  const services: Services = {
    log: yield* EventStore,
    subscribers: yield* SubscriberStore,
    models: yield* ModelStore,
    registry: yield* ActorRegistry
  }
  const { models, subscribers } = services
  /** What was known when a catch-up ended, by projection: of one version, since another may take other events. */
  const known = new Map<string, { readonly version: number; readonly cursors: KnownCursors }>()
  const knownOf = ({ name, version }: Pick<Projection, "name" | "version">): KnownCursors | undefined => {
    const last = known.get(name)
    return last?.version === version ? last.cursors : undefined
  }
  const running = new Set<ProjectionRun.ProjectionRun>()

  const caughtUp = <E, R>(
    projection: Projection<E, R>,
    options: ProjectionRunOptions,
    remembered: KnownCursors | undefined
  ) =>
    Effect.gen(function* () {
      yield* ProjectionSession.checked(projection)
      const settings = yield* ProjectionSession.settingsOf(options)
      const result = yield* catchUp(services, projection, settings, remembered)
      known.set(projection.name, { version: projection.version, cursors: result.known })
      return result
    })

  const prepared = <E, R>(projection: Projection<E, R>, options: RebuildOptions) =>
    Effect.zipRight(
      ProjectionSession.checked(projection),
      Effect.filterOrFail(
        ProjectionSession.settingsOf(options, ProjectionSession.rebuildBatchSizeDefault),
        () => options.mode === undefined || options.mode === "shadow" || options.mode === "inPlace",
        () => invalid("mode", `"shadow" or "inPlace"`, options.mode)
      )
    )

  return ProjectionRunner.of({
    catchUp: (projection, options = {}) =>
      Effect.map(caughtUp(projection, options, knownOf(projection)), ({ handled }) => handled),
    catchUpPersistent: (projection, options = {}) =>
      Effect.map(caughtUp(projection, options, undefined), ({ checkpoint }) => checkpoint),

    run: (projections, options = {}) =>
      Effect.gen(function* () {
        const settings = yield* ProjectionSession.settingsOf(options)
        const fault = Rebuild.namesFault(projections)
        if (fault !== undefined) return yield* fault
        for (const projection of projections) yield* ProjectionSession.checked(projection)
        const runs = yield* Effect.forEach(projections, (projection) =>
          Effect.tap(
            ProjectionRun.open(
              services,
              projection,
              settings,
              options.onNewVersion ?? "rebuild",
              options.rebuild ?? {}
            ),
            (run) =>
              Effect.acquireRelease(
                Effect.sync(() => running.add(run)),
                () => Effect.sync(() => running.delete(run))
              )
          )
        )
        return {
          status: Effect.forEach(runs, (run) => run.status),
          ended: Effect.forEach(runs, (run) => run.ended, { discard: true })
        }
      }),
    model: (projection) =>
      Scoped.scoped(
        Effect.gen(function* () {
          yield* ProjectionSession.checked(projection)
          const model = yield* models.open(projection)
          const info = yield* model.info
          return {
            position: positionOf(info),
            version: Option.flatMap(info, ({ revision }) => revision),
            rows: yield* model.count
          }
        })
      ),
    status: Effect.suspend(() => Effect.forEach([...running], (run) => run.status)),
    pause: ({ name }) => subscribers.pause(ProjectionSession.liveKey(name)),
    resume: ({ name }) => subscribers.resume(ProjectionSession.liveKey(name)),
    requestParked: ({ name }, request, parkKey) =>
      subscribers.requestParked(ProjectionSession.liveKey(name), request, parkKey),

    waitFor: (projection, position, timeout = "5 seconds") =>
      Scoped.scoped(
        Effect.gen(function* () {
          yield* ProjectionSession.checked(projection)
          const fault =
            durationFault("timeout", timeout, { min: 0, max: 86_400_000 }) ??
            (Number.isSafeInteger(position) && position >= 0
              ? undefined
              : invalid("position", "a position of 0 to 2^53 - 1", position))
          if (fault !== undefined) return yield* fault
          const model = yield* models.open(projection)
          const look = Effect.flatMap(model.info, (info) => {
            const reached = positionOf(info)
            return reached >= position
              ? Effect.void
              : Effect.fail(
                  new ProjectionBehind({ projectionName: projection.name, wanted: position, reached })
                )
          })
          yield* Effect.retry(look, {
            schedule: Schedule.intersect(lookSchedule, Schedule.upTo(Schedule.forever, timeout)),
            while: (error) => error._tag === "ProjectionBehind"
          })
        })
      ),

    rebuild: (projection, options = {}) =>
      Effect.flatMap(prepared(projection, options), (settings) =>
        Rebuild.rebuild(services, projection, settings, options)
      ),
    rebuildConcurrent: (projections, options = {}) =>
      Effect.gen(function* () {
        const fault = Rebuild.concurrentFault(projections, options.concurrency)
        if (fault !== undefined) return yield* fault
        yield* ProjectionSession.settingsOf(options)
        const shared: Services = { ...services, log: SharedScan.make(services.log, projections) }
        return yield* Effect.forEach(
          projections,
          (projection) =>
            Effect.flatMap(prepared(projection, options), (settings) =>
              Rebuild.rebuild(shared, projection, settings, options)
            ).pipe(
              Effect.matchCauseEffect({
                onSuccess: (rebuilt): Effect.Effect<RebuildResult> =>
                  Effect.succeed({ _tag: "Rebuilt", projectionName: projection.name, rebuilt }),
                onFailure: (cause): Effect.Effect<RebuildResult> =>
                  Effect.succeed({
                    _tag: "Failed",
                    projectionName: projection.name,
                    cause
                  })
              })
            ),
          { concurrency: options.concurrency ?? rebuildsAtOnce }
        )
      }),
    rollBack: (projection, options = {}) =>
      Effect.flatMap(prepared(projection, options), (settings) =>
        Rebuild.rollBack(services, projection, settings, options)
      ),
    dropFormer: (projection) =>
      Effect.gen(function* () {
        yield* ProjectionSession.checked(projection)
        const { former } = yield* models.generations(projection)
        if (Option.isNone(former)) return false
        yield* models.discard(projection, former.value.generation)
        return true
      })
  })
})

/** Between two looks at a model that somebody waits for: from 2 ms, growing to 50 ms. */
const lookSchedule = Schedule.exponential("2 millis", 1.5).pipe(Schedule.union(Schedule.spaced("50 millis")))

/** Rebuilds at once where nobody says. */
const rebuildsAtOnce = 4
