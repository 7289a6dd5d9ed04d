/**
 * One partition of a subscriber while this process has its lease, which is kept beside it: the consumer's machine
 * with the policies of a subscriber.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
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
import * as LeaseKeeper from "./LeaseKeeper.js"
import type { LeaseLost } from "./LeaseLost.js"
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
  /** Most events that are read at once. */
  readonly readMax: number
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
    const keeper = yield* LeaseKeeper.make(subscribers, given)
    let lastRecordedMs: number | undefined
    let limit = settings.chunkSize
    yield* Effect.addFinalizer(() => keeper.release)
    const slices = yield* SliceHandler.make(settings, given, { events, subscribers })

    /** Renews until the lease is lost; tells of pauses and of what was asked for parked events. */
    const control = (
      tell: Consumer.Tell<PartitionError>
    ): Effect.Effect<never, LeaseLost | StoreUnavailable | InvalidArgument> =>
      keeper.keep((lease) =>
        Effect.gen(function* () {
          if (lease.paused) yield* tell({ _tag: "Paused" })
          if (!slices.hasParked()) return
          const asked = yield* subscribers.parkedKeys(lease.key, { limit: 1, requested: true })
          if (asked.length > 0) yield* tell({ _tag: "ChoreAsked" })
        })
      )

    const consumer = yield* Consumer.open<PartitionError, R>({
      name: `subscriber/${given.key}/${given.epoch}`,
      bounds: { ackEvery: settings.ackEvery, drainTo },
      pollInterval: settings.pollInterval,
      hints: events.changes,
      acquire: Effect.map(subscribers.getSubscriberCursor(given.key), (cursor) => ({
        cursor: Option.getOrElse(cursor, () => Position.make(0)),
        paused: given.paused
      })),
      // A backlog is read in pages that grow: each is a round trip, and the reader has one thread.
      read: (after, head) =>
        Effect.map(
          events.readAfter({
            after,
            limit,
            filters: settings.filters,
            routingKey: settings.routingKey,
            vnodes,
            head
          }),
          (page) => {
            limit = page.events.length < limit ? settings.chunkSize : Math.min(limit * 2, settings.readMax)
            return page
          }
        ),
      handle: (slice, progress) => {
        lastRecordedMs = slice[slice.length - 1]?.recordedAt.epochMillis
        return slices.handle(slice, progress)
      },
      acknowledge: (cursor, head) =>
        Effect.flatMap(Clock.currentTimeMillis, (nowMs) =>
          subscribers.acknowledge(keeper.lease(), cursor, {
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
      status: Effect.map(consumer.status, (status) => ({ ...status, lease: keeper.lease() })),
      ended: consumer.ended,
      stop: consumer.stop
    }
  })
