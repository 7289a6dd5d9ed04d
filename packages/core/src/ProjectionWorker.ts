/**
 * One model of a projection while this process has the lease on it: the consumer's machine with the policies of a
 * projection. The live model and one that is being built run the same way, and differ in their lease and in where
 * they end.
 *
 * The checkpoint moves with the rows, so that what the machine calls an acknowledgement is done by then; all that
 * is left for it is to move the checkpoint past events that the projection does not take.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { ActorRegistry } from "./ActorRegistry.js"
import * as Consumer from "./Consumer.js"
import type { Consumer as RunningConsumer } from "./Consumer.js"
import type { CursorAheadOfLog, ReadError } from "./EngineError.js"
import type { RecordedEvent } from "./Event.js"
import type { LogPage, LogQuery } from "./EventQuery.js"
import type { EventStore } from "./EventStore.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { LeaseKeeper } from "./LeaseKeeper.js"
import { LeaseLost } from "./LeaseLost.js"
import type { Model } from "./ModelStore.js"
import { pageRowsMax } from "./Page.js"
import type { Position } from "./Position.js"
import type { Projection } from "./Projection.js"
import type { ProjectionError } from "./ProjectionErrors.js"
import * as ProjectionSlices from "./ProjectionSlices.js"
import type { KnownCursors, PoisonPolicy, ProjectionSlicesParts } from "./ProjectionSlices.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { SubscriberStore } from "./SubscriberStore.js"

/** How a projection is run. */
export interface WorkerSettings extends PoisonPolicy {
  /** Events of a page, and of a transaction. */
  readonly batchSize: number
  readonly pollInterval: Duration.Duration
}

/** What is run. */
export interface WorkerParts<E, R> {
  /** Of its actor, unique among those that run. */
  readonly actorName: string
  readonly projection: Projection<E, R>
  readonly model: Model<R>
  /** Kept by the worker, but given back by whoever made it. */
  readonly keeper: LeaseKeeper
  readonly known: KnownCursors
  readonly settings: WorkerSettings
  /** Whether a pause ends it. */
  readonly heedsPause: boolean
  /** Where it ends; undefined = it goes on for good. */
  readonly drainTo: Position | undefined
  readonly log: EventStore["Type"]
  readonly subscribers: SubscriberStore["Type"]
  readonly isApart: boolean
  readonly committed: ProjectionSlicesParts<E, R>["committed"]
}

/** A projection that runs in this process. */
export type Worker = RunningConsumer<ProjectionError>

/** Runs it under the lease that is kept, from where `known` says it stands. */
export const open = <E, R>(
  parts: WorkerParts<E, R>
): Effect.Effect<Worker, LeaseLost | InvalidArgument | StoreUnavailable, ActorRegistry | Scope.Scope | R> =>
  Effect.gen(function* () {
    const { keeper, known, log, model, projection, settings, subscribers } = parts
    const lease = keeper.lease()
    const slices = yield* ProjectionSlices.make({ ...parts, lease, policy: settings })
    return yield* Consumer.open<ProjectionError, R>({
      name: parts.actorName,
      bounds: { ackEvery: unacknowledgedMax, drainTo: parts.drainTo },
      pollInterval: settings.pollInterval,
      hints: log.changes,
      acquire: Effect.sync(() => ({ cursor: known.at, paused: parts.heedsPause && lease.paused })),
      read: (after, head) =>
        readPages(log, {
          after,
          limit: settings.batchSize,
          filters: projection.filters,
          routingKey: projection.routingKey,
          head
        }),
      handle: slices.handle,
      acknowledge: slices.moveTo,
      chore: slices.serveRequests,
      control: (tell) =>
        keeper.keep((renewed) =>
          Effect.gen(function* () {
            // One that has nothing to commit would not learn that its model was swapped, or emptied.
            const claimed = Option.flatMap(yield* model.info, ({ epoch }) => epoch)
            if (Option.exists(claimed, (epoch) => epoch > lease.epoch))
              return yield* new LeaseLost({ key: lease.key, holder: "" })
            if (parts.heedsPause && renewed.paused) yield* tell({ _tag: "Paused" })
            if (!slices.hasParked()) return
            const asked = yield* subscribers.parkedKeys(lease.key, { limit: 1, requested: true })
            if (asked.length > 0) yield* tell({ _tag: "ChoreAsked" })
          })
        )
    })
  })

/** Reads on until there are as many events as wanted, where those are more than one page of the log may have. */
export const readPages = (
  log: Pick<EventStore["Type"], "readAfter">,
  query: LogQuery
): Effect.Effect<LogPage, ReadError | CursorAheadOfLog> => {
  if (query.limit <= pageRowsMax) return log.readAfter(query)
  const more = (
    collected: ReadonlyArray<RecordedEvent>,
    after: Position,
    head: Position | undefined
  ): Effect.Effect<LogPage, ReadError | CursorAheadOfLog> => {
    const limit = Math.min(query.limit - collected.length, pageRowsMax)
    return Effect.flatMap(log.readAfter({ ...query, after, head, limit }), (page) => {
      const events = collected.length === 0 ? page.events : [...collected, ...page.events]
      // Fewer than asked for: the head, or the end of how far one read looks.
      return page.events.length < limit || events.length >= query.limit
        ? Effect.succeed({ ...page, events })
        : more(events, page.through, page.head)
    })
  }
  return more([], query.after, query.head)
}

// ---- internal ----

/** What a slice has committed needs no acknowledgement; this only bounds how far the machine counts. */
const unacknowledgedMax = 1_000_000_000
