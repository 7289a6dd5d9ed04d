/**
 * One partition of a subscriber while this process has its lease: the consumer's machine with the policies of a
 * subscriber. The lease is renewed beside it, three times in a ttl; when that fails until the ttl has passed, the
 * lease counts as lost here, whatever the store says, because it may be another's by then.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { ActorRegistry } from "./ActorRegistry.js"
import * as Consumer from "./Consumer.js"
import type { ConsumerStatus } from "./Consumer.js"
import type { StopReason } from "./ConsumerMachine.js"
import type { CursorAheadOfLog } from "./EngineError.js"
import type { EventFilter } from "./EventFilter.js"
import type { VnodeRange } from "./EventQuery.js"
import { EventStore } from "./EventStore.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Lease } from "./Lease.js"
import { LeaseLost } from "./LeaseLost.js"
import { Position } from "./Position.js"
import type { RoutingKey } from "./RoutingKey.js"
import * as SliceHandler from "./SliceHandler.js"
import type { SliceError, SlicePolicy } from "./SliceHandler.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import { SubscriberStore } from "./SubscriberStore.js"

/** A subscriber's options with their defaults. */
export interface Settings<E, R> extends SlicePolicy<E, R> {
  readonly key: string
  readonly filters: ReadonlyArray<EventFilter>
  readonly routingKey: RoutingKey | undefined
  readonly partitions: number
  readonly chunkSize: number
  readonly ackEvery: number
  readonly startFrom: "beginning" | "end" | Position
  readonly ttl: Duration.Duration
  readonly pollInterval: Duration.Duration
}

/** What a partition can be stopped by. */
export type PartitionError = SliceError | CursorAheadOfLog

/** A partition as this process sees it. */
export interface PartitionStatus extends ConsumerStatus<PartitionError> {
  readonly lease: Lease
}

/** A partition that runs in this process. */
export interface RunningPartition {
  readonly status: Effect.Effect<PartitionStatus>
  readonly ended: Effect.Effect<StopReason<PartitionError>>
  readonly stop: Effect.Effect<StopReason<PartitionError>>
}

/** Runs it under the lease, up to `drainTo` or for good. However it ends, the lease is given back. */
export const open = <E, R>(
  settings: Settings<E, R>,
  given: Lease,
  vnodes: VnodeRange | undefined,
  drainTo: Position | undefined
): Effect.Effect<
  RunningPartition,
  InvalidArgument | StoreUnavailable,
  EventStore | SubscriberStore | ActorRegistry | Scope.Scope | R
> =>
  Effect.gen(function* () {
    const events = yield* EventStore
    const subscribers = yield* SubscriberStore
    const openedMs = yield* Clock.currentTimeMillis
    let lease = given
    let lastRecordedMs: number | undefined
    yield* Effect.addFinalizer(() =>
      Effect.catchAllCause(subscribers.release(lease), (cause) =>
        Effect.logDebug("lease was not given back, it expires by itself", cause)
      )
    )
    const slices = yield* SliceHandler.make(settings, given, { events, subscribers })

    /** Renews until the lease is lost; tells of pauses and of what was asked for parked events. */
    const control = (
      tell: Consumer.Tell<PartitionError>
    ): Effect.Effect<never, LeaseLost | StoreUnavailable | InvalidArgument> => {
      const everyMs = Math.max(10, Math.min(Duration.toMillis(settings.ttl) / 3, controlEveryMs))
      let validFromMs = openedMs
      const renew = Effect.gen(function* () {
        const nowMs = yield* Clock.currentTimeMillis
        const leftMs = validFromMs + Duration.toMillis(settings.ttl) - nowMs
        lease = yield* subscribers.renew(lease).pipe(
          Effect.retry({
            schedule: Schedule.spaced(Duration.millis(everyMs / 4)),
            while: (error) => error._tag === "StoreUnavailable" && error.transient
          }),
          Effect.timeoutFail({
            duration: Duration.millis(Math.max(0, leftMs)),
            onTimeout: () => new LeaseLost({ key: lease.key, holder: "" })
          })
        )
        validFromMs = nowMs
        if (lease.paused) yield* tell({ _tag: "Paused" })
        if (!slices.hasParked()) return
        const asked = yield* subscribers.parkedKeys(lease.key, { limit: 1, requested: true })
        if (asked.length > 0) yield* tell({ _tag: "ChoreAsked" })
      })
      return Effect.forever(Effect.zipRight(Effect.sleep(Duration.millis(everyMs)), renew))
    }

    const consumer = yield* Consumer.open<PartitionError, R>({
      name: `subscriber/${given.key}/${given.epoch}`,
      bounds: { ackEvery: settings.ackEvery, drainTo },
      pollInterval: settings.pollInterval,
      hints: events.changes,
      acquire: Effect.map(subscribers.getSubscriberCursor(given.key), (cursor) => ({
        cursor: Option.getOrElse(cursor, () => Position.make(0)),
        paused: given.paused
      })),
      read: (after, head) =>
        events.readAfter({
          after,
          limit: settings.chunkSize,
          filters: settings.filters,
          routingKey: settings.routingKey,
          vnodes,
          head
        }),
      handle: (slice, progress) => {
        lastRecordedMs = slice[slice.length - 1]?.recordedAt.epochMillis
        return slices.handle(slice, progress)
      },
      acknowledge: (cursor, head) =>
        Effect.flatMap(Clock.currentTimeMillis, (nowMs) =>
          subscribers.acknowledge(lease, cursor, {
            events: Math.max(0, head - cursor),
            time:
              cursor >= head || lastRecordedMs === undefined
                ? Duration.zero
                : Duration.millis(Math.max(0, nowMs - lastRecordedMs))
          })
        ),
      chore: slices.serveRequests,
      control
    })
    return {
      status: Effect.map(consumer.status, (status) => ({ ...status, lease })),
      ended: consumer.ended,
      stop: consumer.stop
    }
  })

// ---- internal ----

/** Longest time between two looks for a pause or for what was asked. Unit: milliseconds. */
const controlEveryMs = 1_000
