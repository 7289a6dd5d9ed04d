/**
 * Builds the model of a projection anew from the log.
 *
 * Beside the live one (`shadow`), while that one serves and goes on:
 *
 *     lease on building ─▶ resume, or a new generation ─▶ drain to the head ─▶ verify ─▶ swap ──▶ done
 *                                                             ▲                           │
 *                                                             └──── the live one is ahead ┘
 *
 * Invariants
 *
 *  1. Readers see the live model of before or that of after. The swap is refused while the live one is ahead, so
 *     that they never see an older one.
 *  2. Nothing but the swap touches the live model: a crash before it leaves it as it was, and what was built is
 *     gone on with by the next rebuild of the same version.
 *  3. One builds at a time, by a lease; one that was overtaken cannot commit, and cannot swap.
 *  4. It ends: after a few tries the live one is held back by a greater epoch, for as long as its runner needs to
 *     take a new lease.
 *
 * Or in its place (`inPlace`): model and checkpoint are emptied in one transaction and filled again while readers
 * look on. For models that are not the store's, and where there is no room for two.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { FoldSample } from "./FoldSample.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import type { Epoch, Lease } from "./Lease.js"
import { LeaseLost } from "./LeaseLost.js"
import type { Generation, Model } from "./ModelStore.js"
import { ShadowUnsupported } from "./ModelStore.js"
import * as ParkedKeys from "./ParkedKeys.js"
import { start } from "./Position.js"
import type { Position } from "./Position.js"
import type { Projection } from "./Projection.js"
import { drain } from "./ProjectionCatchUp.js"
import { cutOver, holdBack } from "./ProjectionCutOver.js"
import { positionOf } from "./ProjectionCheckpoint.js"
import type { RebuildError } from "./ProjectionErrors.js"
import { NoFormerModel, VerificationFailed } from "./ProjectionErrors.js"
import type { RunSettings, Services, Session } from "./ProjectionSession.js"
import * as ProjectionSession from "./ProjectionSession.js"
import type { KnownCursors } from "./ProjectionSlices.js"
import { knownFrom } from "./ProjectionSlices.js"
import * as ProjectionSwapMark from "./ProjectionSwapMark.js"
import { readPages } from "./ProjectionWorker.js"
import type { Counting, OnProgress } from "./RebuildProgress.js"
import * as RebuildProgress from "./RebuildProgress.js"
import { rangeFault } from "./RunSettings.js"
import * as Scoped from "./Scoped.js"

/** How a model is rebuilt; everything has a default. */
export interface RebuildOptions extends ProjectionSession.ProjectionRunOptions {
  /** Default: `shadow`. */
  readonly mode?: "shadow" | "inPlace" | undefined
  /** Whether what an interrupted rebuild has built is thrown away. Default: false, it is gone on with. */
  readonly fresh?: boolean | undefined
  /** Whether the model that was live is kept, for `rollBack`. Default: true. Only the last one is. */
  readonly keepFormer?: boolean | undefined
  /** Told of progress ten times a second, and at the end. */
  readonly onProgress?: OnProgress | undefined
  /**
   * A look at what was built, before it takes the live one's place: the message of what is wrong with it, or
   * nothing. `table` gives the names of the built tables, `count` the number of rows. A look by SQL is made with
   * `SqlProjection.verify`, which finds the client of the database that was built into. Folds are verified without.
   */
  readonly verify?:
    | ((built: {
        readonly table: (name: string) => string
        readonly count: number
      }) => Effect.Effect<string | undefined, unknown>)
    | undefined
}

/** What a rebuild did. */
export interface Rebuilt {
  readonly projectionName: string
  /** Events handled by this call. */
  readonly processed: number
  /** Where the model stands. */
  readonly position: Position
  /** How it was verified: a second fold of a sample, the check that was given, or that there are rows at all. */
  readonly verified: "fold" | "check" | "count" | "none"
}

/** Rebuilds a model as the options say. */
export const rebuild = <E, R>(
  services: Services,
  projection: Projection<E, R>,
  settings: RunSettings,
  options: RebuildOptions
): Effect.Effect<Rebuilt, RebuildError, R> =>
  options.mode === "inPlace"
    ? inPlace(services, projection, settings, options)
    : building(services, projection, settings, options, undefined)

/**
 * Builds beside the live model and takes its place: `from` is the former model, for going back, else the one that
 * an interrupted rebuild has left, or a new one.
 */
export const building = <E, R>(
  services: Services,
  projection: Projection<E, R>,
  settings: RunSettings,
  options: RebuildOptions,
  from: Generation | undefined
): Effect.Effect<Rebuilt, RebuildError, R> =>
  Scoped.scoped(
    Effect.gen(function* () {
      const { models } = services
      if (isElsewhere(projection))
        return yield* new ShadowUnsupported({
          projectionName: projection.name,
          reason: "the model is not in the model store; rebuild it in place"
        })
      const key = ProjectionSession.buildKey(projection.name)
      const seen = yield* models.generations(projection)
      const highest = Math.max(
        0,
        ...[seen.building, seen.former].map((one) => (Option.isSome(one) ? one.value.generation : 0))
      )
      // The lease comes first: nobody else is at the generation that is opened, or thrown away, under it. So what
      // there is is looked at again; what was seen before may have been swapped in by whoever had the lease.
      const right = yield* ProjectionSession.lease(services, key, settings, highest as Epoch)
      yield* ProjectionSession.settleAny(services, projection, settings)
      const { building: left, former } = yield* models.generations(projection)
      if (from !== undefined && !Option.exists(former, (one) => one.generation === from.generation))
        return yield* new LeaseLost({ key, holder: "" })
      const usable = from ?? (options.fresh === true ? undefined : resumable(projection, left))
      if (Option.isSome(left) && left.value.generation !== usable?.generation)
        yield* models.discard(projection, left.value.generation)
      const generation = usable?.generation ?? right.lease().epoch
      const model = yield* models.open(projection, generation)
      // Nobody ever worked on it: what is set aside is another one's, or what it had itself when it was live.
      if (ProjectionSwapMark.epochOf(yield* model.info) === 0) yield* forgetParked(services, right.lease())
      const info = yield* model.claim(right.lease().epoch)
      const known = knownFrom(info.position)
      const counting = yield* RebuildProgress.make(
        projection.name,
        info.position,
        options.onProgress ?? (() => Effect.void)
      )
      const session: Session = { keeper: right, info }
      const work = build(services, {
        projection,
        model,
        session,
        known,
        counting,
        generation,
        settings,
        options
      })
      const kept = Effect.raceFirst(
        work,
        right.keep(() => Effect.void)
      )
      return yield* told(counting, kept)
    })
  )

/** Goes back to the former model. */
export const rollBack = <E, R>(
  services: Services,
  projection: Projection<E, R>,
  settings: RunSettings,
  options: RebuildOptions
): Effect.Effect<Rebuilt, RebuildError | NoFormerModel, R> =>
  Effect.gen(function* () {
    const { models } = services
    const { name, version } = projection
    const none = (reason: string) => new NoFormerModel({ projectionName: name, reason })
    const { former } = yield* models.generations(projection)
    if (Option.isNone(former)) return yield* none("none is kept")
    const kept = Option.getOrElse(former.value.version, () => version)
    if (kept === version) return yield* building(services, projection, settings, options, former.value)
    const live = yield* Scoped.scoped(Effect.flatMap(models.open(projection), (model) => model.info))
    // A newer one is the former only when this one took its place: the last call died before it could say so.
    if (kept > version && Option.exists(live, ({ revision }) => Option.contains(revision, version)))
      return {
        projectionName: name,
        processed: 0,
        position: Option.getOrThrow(live).position,
        verified: "none" as const
      }
    return yield* none(`it is of version ${kept}, not ${version}`)
  })

/** Empties the live model and fills it again. */
const inPlace = <E, R>(
  services: Services,
  projection: Projection<E, R>,
  settings: RunSettings,
  options: RebuildOptions
): Effect.Effect<Rebuilt, RebuildError, R> =>
  Scoped.scoped(
    Effect.gen(function* () {
      const { log, models } = services
      yield* ProjectionSession.settleAny(services, projection, settings)
      const model = yield* models.open(projection)
      yield* models.empty(projection)
      const counting = yield* RebuildProgress.make(
        projection.name,
        start,
        options.onProgress ?? (() => Effect.void)
      )
      const head = yield* log.head
      counting.towards(head)
      /** Whoever has the live lease fills it: this call, or the process that runs the projection anyway. */
      const fill: Effect.Effect<void, RebuildError, R> = Scoped.scoped(
        Effect.gen(function* () {
          const session = yield* ProjectionSession.take(services, projection, model, settings)
          const known = knownFrom(session.info.position)
          yield* drain(services, {
            actorName: `rebuild/${projection.name}/${session.keeper.lease().epoch}`,
            projection,
            model,
            session,
            known,
            settings,
            heedsPause: false,
            drainTo: head,
            committed: (events) => counting.count(events.length, known.at)
          })
        })
      ).pipe(Effect.catchTags({ LeaseHeld: () => awaitOther, LeaseLost: () => awaitOther }))
      const awaitOther: Effect.Effect<void, RebuildError, R> = Effect.suspend(() =>
        Effect.flatMap(Effect.zipRight(Effect.sleep(lookEvery), model.info), (info) => {
          const position = positionOf(info)
          counting.count(0, position)
          return position >= head ? Effect.void : fill
        })
      )
      return yield* told(
        counting,
        Effect.map(fill, () => rebuilt(projection, counting, head, "none"))
      )
    })
  )

// ---- internal: building ----

interface Building<E, R> {
  readonly projection: Projection<E, R>
  readonly model: Model<R>
  readonly session: Session
  readonly known: KnownCursors
  readonly counting: Counting
  readonly generation: number
  readonly settings: RunSettings
  readonly options: RebuildOptions
}

/** Drains, verifies and swaps until the live model is not ahead any more. */
const build = <E, R>(services: Services, parts: Building<E, R>): Effect.Effect<Rebuilt, RebuildError, R> =>
  Effect.gen(function* () {
    const { counting, known, projection, session } = parts
    const { log } = services
    const sample = yield* sampleUpTo(services, projection, known.at, parts.settings.batchSize)
    const epoch = session.keeper.lease().epoch
    let verified: Rebuilt["verified"] | undefined
    let target = yield* log.head
    for (let turn = 1; ; turn++) {
      counting.towards(target)
      yield* drain(services, {
        ...parts,
        actorName: `rebuild/${projection.name}/${epoch}/${turn}`,
        heedsPause: false,
        drainTo: target,
        committed: (events) => {
          sample?.add(events)
          counting.count(events.length, known.at)
        }
      })
      verified ??= yield* verify(services, parts, sample)
      const swapped = yield* cutOver(services, { ...parts, keepFormer: parts.options.keepFormer ?? true })
      if (swapped._tag === "Swapped") return rebuilt(projection, counting, known.at, verified)
      if (turn >= swapTurns) yield* holdBack(services, projection)
      const head = yield* log.head
      target = head > swapped.live ? head : swapped.live
    }
  })

/** What belongs to another model. */
const forgetParked = ({ subscribers }: Services, right: Lease): Effect.Effect<void, RebuildError> =>
  Effect.flatMap(ParkedKeys.allParked(subscribers, right.key), (rows) =>
    ParkedKeys.unparkAll(subscribers, right, rows)
  )

/** Looks at what was built. What is wrong is thrown away, so that the next rebuild begins anew. */
const verify = <E, R>(
  { models }: Services,
  { generation, model, options, projection }: Building<E, R>,
  sample: FoldSample<unknown> | undefined
): Effect.Effect<Rebuilt["verified"], RebuildError> =>
  Effect.gen(function* () {
    const count = yield* model.count
    const check = options.verify
    let fault: string | undefined
    if (sample !== undefined) fault = sample.fault(yield* model.rows(sample.keys))
    if (fault === undefined && check !== undefined)
      fault = yield* model
        .provided(Effect.suspend(() => check({ table: model.table, count })))
        .pipe(Effect.catchAllCause((cause) => Effect.succeed(`the check failed: ${Cause.pretty(cause)}`)))
    if (fault !== undefined) {
      yield* models.discard(projection, generation)
      return yield* new VerificationFailed({ projectionName: projection.name, reason: fault })
    }
    if (check !== undefined) return "check"
    if (sample !== undefined) return "fold"
    yield* Effect.logWarning("the rebuilt model was not checked, only its rows counted: give a verify", {
      projection: projection.name,
      rows: count
    })
    return "count"
  })

/** The second fold, up to where the model that is gone on with stands. */
const sampleUpTo = (
  { log, subscribers }: Services,
  { filters, name, routingKey, strength }: Projection<unknown, unknown>,
  position: Position,
  batchSize: number
): Effect.Effect<FoldSample<unknown> | undefined, RebuildError> =>
  Effect.gen(function* () {
    if (strength._tag !== "Fold") return undefined
    const sample = new FoldSample<unknown>(strength)
    if (position === start) return sample
    const parked = yield* ParkedKeys.allParked(subscribers, ProjectionSession.buildKey(name))
    const without = new Set(parked.map((row) => row.position))
    let after = start
    while (after < position) {
      const page = yield* readPages(log, { after, limit: batchSize, filters, routingKey })
      sample.add(page.events.filter((event) => event.position <= position && !without.has(event.position)))
      if (page.through <= after) break
      after = page.through
    }
    return sample
  })

// ---- internal: small ----

/** Most rebuilds at once. */
export const rebuildsMax = 32

/** Tries before the live one is held back. */
const swapTurns = 5

/** Between two looks at a model that another process fills. */
const lookEvery = Duration.millis(100)

const rebuilt = (
  { name }: Projection<unknown, unknown>,
  counting: Counting,
  position: Position,
  verified: Rebuilt["verified"]
): Rebuilt => ({ projectionName: name, processed: counting.processed(), position, verified })

/** What an interrupted rebuild of the same version has left. */
const resumable = (
  { version }: Projection<unknown, unknown>,
  left: Option.Option<Generation>
): Generation | undefined =>
  Option.getOrUndefined(Option.filter(left, (one) => Option.contains(one.version, version)))

const isElsewhere = ({ strength }: Projection<unknown, unknown>): boolean =>
  strength._tag !== "Fold" && strength.place === "elsewhere"

/** Tells of progress while it works, and of the end. */
const told = <A, E, R>(counting: Counting, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.raceFirst(work, counting.telling).pipe(
    Effect.onExit((exit) =>
      counting.tell(Exit.isSuccess(exit) ? { done: true } : { done: false, error: Cause.squash(exit.cause) })
    )
  )

/** What is wrong with a list of projections: a name that is there twice. */
export const namesFault = (
  projections: ReadonlyArray<Projection<unknown, unknown>>
): InvalidArgument | undefined => {
  const names = projections.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  return twice === undefined ? undefined : invalid("projections", "each name once", twice)
}

/** What is wrong with the number of rebuilds at once, or with the list of projections. */
export const concurrentFault = (
  projections: ReadonlyArray<Projection<unknown, unknown>>,
  concurrency: number | undefined
): InvalidArgument | undefined =>
  namesFault(projections) ?? rangeFault("concurrency", concurrency, rebuildsMax)
