/**
 * Hands the events of a slice to their handlers, one after another: tries again as the policy says, and decides
 * what becomes of an event that cannot be handled (*poison*): stop, leave it out, or set its key aside.
 *
 * Set aside, an event's key is *parked*: later events of that key queue behind it in order, without being handled,
 * and every other key flows on. What is to be parked is written before the slice counts as finished, so that a
 * cursor never passes an event that is neither handled nor parked.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schedule from "effect/Schedule"
import type { HandlerError, ReadError } from "./EngineError.js"
import { UnhandledEvent } from "./EngineError.js"
import type { RecordedEvent } from "./Event.js"
import type { EventHandler, HandlerContext } from "./EventHandler.js"
import type { EventStore } from "./EventStore.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Lease } from "./Lease.js"
import type { LeaseLost } from "./LeaseLost.js"
import type { ParkedFull, Parking } from "./ParkedEvent.js"
import * as ParkedKeys from "./ParkedKeys.js"
import type { ParkedPlace } from "./ParkedKeys.js"
import { handlerError, lossOf, reasonText } from "./ParkedKeys.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { SubscriberStore } from "./SubscriberStore.js"

/** What becomes of an event that could not be handled, also not after the retries. */
export type OnPoison = "stop" | "park" | "skip"

/** How events are handled. */
export interface SlicePolicy<E, R> {
  readonly handlerOf: (event: RecordedEvent) => EventHandler<E, R> | undefined
  /** Whether an event that no handler takes is a failure; else it is passed over. */
  readonly strict: boolean
  readonly retry: Schedule.Schedule<unknown, unknown, R>
  readonly onPoison: OnPoison
  /** What is set aside together with an event. */
  readonly parkKeyOf: (event: RecordedEvent) => string
  /** Most events that may be set aside. */
  readonly parkedMax: number
}

/** Everything that a slice can end with. */
export type SliceError =
  HandlerError | UnhandledEvent | ParkedFull | LeaseLost | InvalidArgument | StoreUnavailable | ReadError

/** How far a slice has come: read by whoever interrupts it. */
export interface SliceProgress {
  /** Events that are handled, passed over or parked. */
  finished: number
}

/** Handles slices under one lease. */
export interface SliceHandler<R> {
  /** Handles the events in order. When it ends early, `progress` says how many are finished. */
  readonly handle: (
    events: ReadonlyArray<RecordedEvent>,
    progress: SliceProgress
  ) => Effect.Effect<void, SliceError, R>
  /** Whether any key is set aside. */
  readonly hasParked: () => boolean
  /** Does what was asked for parked keys: handles their events again, in order, or forgets them. */
  readonly serveRequests: Effect.Effect<void, SliceError, R>
}

/** What it works with. */
export interface SliceStores {
  readonly events: EventStore["Type"]
  readonly subscribers: SubscriberStore["Type"]
}

/** Builds the handler, which begins with what is parked already. */
export const make = <E, R>(
  policy: SlicePolicy<E, R>,
  lease: Lease,
  { events: log, subscribers }: SliceStores
): Effect.Effect<SliceHandler<R>, InvalidArgument | StoreUnavailable> =>
  Effect.map(ParkedKeys.make(log, subscribers, lease), (parked) => {
    const context: HandlerContext = { lease }
    const parkedKeys = parked.keys

    /** Tries until it is done or the retries are used up. */
    const attempt = (
      event: RecordedEvent,
      handler: EventHandler<E, R>,
      first: Effect.Effect<unknown, E, R> | undefined
    ): Effect.Effect<unknown, E, R> => {
      let begun = first
      return Effect.suspend(() => {
        const effect = begun ?? handler(event, context)
        begun = undefined
        return Effect.isEffect(effect) ? effect : Effect.void
      }).pipe(
        Effect.sandbox,
        Effect.retry({ schedule: policy.retry, while: (cause) => lossOf(cause) === undefined }),
        Effect.unsandbox
      )
    }

    const handle: SliceHandler<R>["handle"] = (events, progress) => {
      const parkings: Array<Parking> = []
      /** Where the first of the parkings stands in the slice. */
      let firstParking = 0
      const park = (event: RecordedEvent, parkKey: string, reason: string): void => {
        if (parkings.length === 0) firstParking = progress.finished
        parkings.push({ parkKey, position: event.position, reason })
        parkedKeys.add(parkKey)
        progress.finished++
      }
      const poisoned = (
        event: RecordedEvent,
        cause: Cause.Cause<unknown>
      ): Effect.Effect<void, SliceError> => {
        const loss = lossOf(cause)
        if (loss !== undefined) return loss
        const reason = Cause.squash(cause)
        if (policy.onPoison === "stop") return Effect.fail(handlerError(event, reason))
        if (policy.onPoison === "park") {
          park(event, policy.parkKeyOf(event), reasonText(reason))
          return Effect.logWarning(
            "event could not be handled, its key is set aside",
            handlerError(event, reason)
          )
        }
        progress.finished++
        return Effect.logWarning("event could not be handled, it is left out", handlerError(event, reason))
      }
      const retrying = (
        event: RecordedEvent,
        handler: EventHandler<E, R>,
        first: Effect.Effect<unknown, E, R> | undefined
      ): Effect.Effect<void, SliceError, R> =>
        Effect.matchCauseEffect(attempt(event, handler, first), {
          onFailure: (cause) => poisoned(event, cause),
          onSuccess: () => {
            progress.finished++
            return Effect.void
          }
        })

      // Hot: runs for every event of every consumer. Handlers that give no Effect make none.
      const loop: Effect.Effect<void, SliceError, R> = Effect.suspend(() => {
        while (progress.finished < events.length) {
          const event = events[progress.finished]!
          if (parkedKeys.size > 0) {
            const parkKey = policy.parkKeyOf(event)
            if (parkedKeys.has(parkKey)) {
              park(event, parkKey, "")
              continue
            }
          }
          const handler = policy.handlerOf(event)
          if (handler === undefined) {
            if (policy.strict) return Effect.fail(unhandled(event))
            progress.finished++
            continue
          }
          let result: Effect.Effect<unknown, E, R> | void
          try {
            result = handler(event, context)
          } catch (cause) {
            return Effect.zipRight(retrying(event, handler, Effect.die(cause)), loop)
          }
          if (Effect.isEffect(result)) return Effect.zipRight(retrying(event, handler, result), loop)
          progress.finished++
        }
        return Effect.void
      })

      const writeParkings = Effect.suspend(() =>
        Effect.tapError(parked.park(parkings, policy.parkedMax), () =>
          Effect.sync(() => {
            progress.finished = firstParking
          })
        )
      )
      return Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.exit(restore(loop)), (exit) =>
          Effect.zipRight(writeParkings, Exit.isSuccess(exit) ? Effect.void : Effect.failCause(exit.cause))
        )
      )
    }

    /** Handles one parked event again; false when it failed and its key stays parked. */
    const again = (
      event: RecordedEvent | undefined,
      { parkKey, position }: ParkedPlace
    ): Effect.Effect<boolean, SliceError, R> =>
      Effect.gen(function* () {
        const handler = event === undefined ? undefined : policy.handlerOf(event)
        if (event !== undefined && handler !== undefined) {
          const exit = yield* Effect.exit(attempt(event, handler, undefined))
          if (Exit.isFailure(exit)) {
            const loss = lossOf(exit.cause)
            if (loss !== undefined) return yield* loss
            yield* subscribers.repark(lease, {
              parkKey,
              position,
              reason: reasonText(Cause.squash(exit.cause))
            })
            return false
          }
        }
        yield* Effect.uninterruptible(subscribers.unpark(lease, parkKey, position))
        return true
      })

    return {
      handle,
      hasParked: () => parkedKeys.size > 0,
      serveRequests: parked.serve(again)
    }
  })

// ---- internal ----

const unhandled = ({ position, streamId, type }: RecordedEvent): UnhandledEvent =>
  new UnhandledEvent({ eventType: type, streamId, position })
