/**
 * The moment in which a built model takes the place of the live one, with the events that are set aside: those of
 * the former model were handled again by the new one and are forgotten, those of the new one become the live one's.
 *
 * Where log, leases and models share a database all of it is one transaction: whoever dies in it leaves everything
 * as it was. Elsewhere (memory, models in files of their own) the swap comes first, and a {@link ProjectionSwapMark}
 * lets whoever comes next do the rest before it handles anything. Either way no parked event is handled twice, and
 * none is forgotten that the live model is still missing.
 *
 * Parked events change hands under the live lease only, so that a projection that has some must not be running
 * elsewhere at this moment (`LeaseHeld`). Without any, the swap stands alone, and the running one is not disturbed.
 * An event that it sets aside at this very moment is taken out again when its step is refused; only if it dies
 * between the two is that left to do, and a retry of that event would handle it twice.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Epoch } from "./Lease.js"
import type { Swapped } from "./ModelStore.js"
import * as ParkedKeys from "./ParkedKeys.js"
import type { Projection } from "./Projection.js"
import type { RebuildError } from "./ProjectionErrors.js"
import type { RunSettings, Services, Session } from "./ProjectionSession.js"
import * as ProjectionSession from "./ProjectionSession.js"
import * as ProjectionSwapMark from "./ProjectionSwapMark.js"
import * as Scoped from "./Scoped.js"

/** What takes the live model's place. */
export interface CuttingOver<E, R> {
  readonly projection: Projection<E, R>
  /** Of the build lease, which is kept meanwhile. */
  readonly session: Session
  readonly generation: number
  readonly settings: RunSettings
  readonly keepFormer: boolean
}

/** Swaps, unless the live model is ahead. */
export const cutOver = <E, R>(
  services: Services,
  { generation, keepFormer, projection, session, settings }: CuttingOver<E, R>
): Effect.Effect<Swapped, RebuildError> =>
  Scoped.scoped(
    Effect.gen(function* () {
      const { models, subscribers } = services
      const { name } = projection
      const right = session.keeper.lease()
      const key = ProjectionSession.liveKey(name)
      const built = yield* ParkedKeys.allParked(subscribers, right.key)
      const swap = models.swap(projection, generation, { epoch: right.epoch, keepFormer })
      if ((yield* subscribers.parkedKeys(key, { limit: 1 })).length === 0 && built.length === 0)
        return yield* swap
      const forgetBuilt = ParkedKeys.unparkAll(subscribers, right, built)

      const { transaction } = models
      if (transaction !== undefined) {
        const live = (yield* ProjectionSession.lease(services, key, settings)).lease()
        const former = yield* ParkedKeys.allParked(subscribers, key)
        // The swap comes last: readers wait for what follows it.
        const all = Effect.zipRight(
          ProjectionSwapMark.hand(subscribers, live, former, built),
          forgetBuilt
        ).pipe(
          Effect.zipRight(swap),
          // Failing is what takes the rest back.
          Effect.filterOrFail(
            (swapped) => swapped._tag === "Swapped",
            (swapped) => new Undone(swapped)
          )
        )
        return yield* Effect.catchIf(
          transaction(all),
          (error) => error instanceof Undone,
          (undone) => Effect.succeed((undone as Undone).swapped)
        )
      }

      const model = yield* models.open(projection)
      // A model that nobody ever claimed stays so: it is not to be kept as the former one.
      const keeper = Option.isNone(yield* model.info)
        ? yield* ProjectionSession.lease(services, key, settings)
        : (yield* ProjectionSession.take(services, projection, model, settings)).keeper
      const mark = (yield* ProjectionSession.lease(
        services,
        ProjectionSwapMark.markKey(name),
        settings
      )).lease()
      const epoch = ProjectionSwapMark.epochOf(yield* model.info)
      yield* ProjectionSwapMark.write(subscribers, mark, epoch + 1)
      const live = yield* subscribers.renew(keeper.lease())
      return yield* Effect.uninterruptible(
        Effect.gen(function* () {
          const swapped = yield* swap
          yield* ProjectionSession.settle(services, projection, live, mark)
          if (swapped._tag === "Swapped") yield* forgetBuilt
          return swapped
        })
      )
    })
  )

/** Takes the live model's epoch away from whoever runs it: it must take a new lease, and does not commit meanwhile. */
export const holdBack = (
  { models }: Services,
  projection: Projection<unknown, unknown>
): Effect.Effect<void, RebuildError> =>
  Scoped.scoped(
    Effect.gen(function* () {
      const live = yield* models.open(projection)
      yield* live.claim((ProjectionSwapMark.epochOf(yield* live.info) + 1) as Epoch)
    })
  )

// ---- internal ----

/** The live model is ahead: the transaction is taken back. */
class Undone {
  constructor(readonly swapped: Swapped) {}
}
