/**
 * A projection brought up to the head once, in the foreground: take it over, handle what is pending, give it back.
 * What is known of the streams' cursors can be kept for the next time; it counts only when the checkpoint stands
 * where it was left.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ActorRegistry } from "./ActorRegistry.js"
import { LeaseLost } from "./LeaseLost.js"
import type { Model } from "./ModelStore.js"
import type { Position } from "./Position.js"
import type { Projection } from "./Projection.js"
import type { GlobalProjectionCheckpoint, ProjectionInfo } from "./ProjectionCheckpoint.js"
import type { CatchUpError, ProjectionError } from "./ProjectionErrors.js"
import { ProjectionOutdated, ProjectionSuperseded } from "./ProjectionErrors.js"
import type { RunSettings, Services, Session } from "./ProjectionSession.js"
import * as ProjectionSession from "./ProjectionSession.js"
import type { KnownCursors, ProjectionSlicesParts } from "./ProjectionSlices.js"
import { knownFrom } from "./ProjectionSlices.js"
import * as ProjectionWorker from "./ProjectionWorker.js"
import * as Scoped from "./Scoped.js"
import type { StreamId } from "./StreamId.js"
import type { StreamVersion } from "./StreamVersion.js"

/** What a catch-up did. */
export interface CaughtUp {
  /** Where it stands now, with the cursors of the streams that it touched. */
  readonly checkpoint: GlobalProjectionCheckpoint
  /** Number of events handled. */
  readonly handled: number
}

/** Handles everything that is in the log by now. A paused projection is left as it is. */
export const catchUp = <E, R>(
  services: Services,
  projection: Projection<E, R>,
  settings: RunSettings,
  remembered: KnownCursors | undefined
): Effect.Effect<CaughtUp & { readonly known: KnownCursors }, CatchUpError, R> =>
  Scoped.scoped(
    Effect.gen(function* () {
      const model = yield* services.models.open(projection)
      const session = yield* ProjectionSession.take(services, projection, model, settings)
      yield* versionFault(projection, session.info)
      const known =
        remembered !== undefined && remembered.at === session.info.position
          ? remembered
          : knownFrom(session.info.position)
      const touched = new Map<StreamId, StreamVersion>()
      const head = yield* services.log.head
      // Nothing to drain, it seems: the log itself says whether it is the one that this position is of.
      if (known.at > head) yield* services.log.readAfter({ after: known.at, limit: 1 })
      const handled = yield* drain(services, {
        actorName: `projection/${projection.name}/${session.keeper.lease().epoch}`,
        projection,
        model,
        session,
        known,
        settings,
        heedsPause: true,
        drainTo: head,
        committed: (_, cursors) => {
          for (const [id, version] of cursors) touched.set(id, version)
        }
      })
      return { known, handled, checkpoint: { position: known.at, cursors: touched } }
    })
  )

/** What is drained. */
export interface Draining<E, R> {
  readonly actorName: string
  readonly projection: Projection<E, R>
  readonly model: Model<R>
  readonly session: Session
  readonly known: KnownCursors
  readonly settings: RunSettings
  readonly heedsPause: boolean
  readonly drainTo: Position
  readonly committed: ProjectionSlicesParts<E, R>["committed"]
}

/** Runs a model up to a position; gives the number of events handled. */
export const drain = <E, R>(
  services: Services,
  { drainTo, session, ...parts }: Draining<E, R>
): Effect.Effect<number, ProjectionError, R> =>
  Scoped.scoped(
    Effect.gen(function* () {
      const { log, subscribers } = services
      const worker = yield* withRegistry(
        services,
        ProjectionWorker.open({
          ...parts,
          drainTo,
          keeper: session.keeper,
          log,
          subscribers,
          isApart: ProjectionSession.isApart(services)
        })
      )
      const reason = yield* worker.ended
      if (reason._tag === "Failed") return yield* Effect.fail(reason.error)
      if (reason._tag === "LostOwnership")
        return yield* new LeaseLost({ key: session.keeper.lease().key, holder: "" })
      return (yield* worker.status).handled
    })
  )

/** Provides the registry that the runner was built with. */
export const withRegistry = <A, E, R>(
  { registry }: Services,
  effect: Effect.Effect<A, E, R | ActorRegistry>
): Effect.Effect<A, E, Exclude<R, ActorRegistry>> => Effect.provideService(effect, ActorRegistry, registry)

/** A model may be moved only by the version of the projection that it was built with. */
export const versionFault = (
  { name, version }: Projection<unknown, unknown>,
  { revision }: ProjectionInfo
): Effect.Effect<void, ProjectionOutdated | ProjectionSuperseded> => {
  const stored = Option.getOrElse(revision, () => version)
  if (stored === version) return Effect.void
  const fields = { projectionName: name, version, stored }
  return Effect.fail(stored < version ? new ProjectionOutdated(fields) : new ProjectionSuperseded(fields))
}
