/**
 * Hands slices of the log to a model: each event that it has not seen, in order, together with the step of the
 * checkpoint. Where an event fails, the slice is cut there, so that what stands before it is committed and the
 * event is tried by itself; what becomes of it then is the policy's, as for subscribers.
 *
 *     slice ─▶ seen before? ─▶ key set aside? ─▶ apply ──ok──▶ committed
 *                                                  │ fails
 *                                                  ▼
 *                      several events: cut, and each part by itself;  one event: retry ─▶ stop · park · skip
 *
 * Invariants
 *
 *  1. What was committed is what `at` and the cursors in memory say. A commit whose outcome is unknown is looked up
 *     before anything else is done.
 *  2. An event is parked before the checkpoint passes it, and taken out in the transaction that handles it, or when
 *     it turns out that the checkpoint may not pass it. Where the model is in another database it is taken out after
 *     that transaction, in which a cursor of its own says that it was handled.
 *  3. Nobody else moves the checkpoint: when it is not where it was left, the lease counts as lost.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { HandlerError } from "./EngineError.js"
import type { RecordedEvent } from "./Event.js"
import type { EventStore } from "./EventStore.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Lease } from "./Lease.js"
import { LeaseLost } from "./LeaseLost.js"
import type { ApplyError, Model } from "./ModelStore.js"
import type { Parking } from "./ParkedEvent.js"
import * as ParkedKeys from "./ParkedKeys.js"
import { reasonText } from "./ParkedKeys.js"
import type { Position } from "./Position.js"
import type { Projection } from "./Projection.js"
import { takesWholeStreams } from "./Projection.js"
import { positionOf } from "./ProjectionCheckpoint.js"
import type { ProjectionError } from "./ProjectionErrors.js"
import type { OnPoison, SliceProgress } from "./SliceHandler.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { StreamId } from "./StreamId.js"
import type { StreamVersion } from "./StreamVersion.js"
import * as StreamContinuity from "./StreamContinuity.js"
import type { SubscriberStore } from "./SubscriberStore.js"

/** What becomes of events that fail. */
export interface PoisonPolicy {
  readonly retry: Schedule.Schedule<unknown>
  readonly onPoison: OnPoison
  /** Most events that may be set aside. */
  readonly parkedMax: number
}

/** What is known of the streams, kept by one holder from page to page. */
export interface KnownCursors {
  /** The stored checkpoint's position. */
  at: Position
  readonly cursors: Map<StreamId, StreamVersion>
}

/** What is known of a model that stands at a position: no stream yet. */
export const knownFrom = (at: Position): KnownCursors => ({ at, cursors: new Map() })

/** What it works with. */
export interface ProjectionSlicesParts<E, R> {
  readonly projection: Projection<E, R>
  readonly model: Model<R>
  readonly lease: Lease
  readonly known: KnownCursors
  readonly policy: PoisonPolicy
  readonly log: EventStore["Type"]
  readonly subscribers: SubscriberStore["Type"]
  /** Whether the models are in another database than the log and its leases. */
  readonly isApart: boolean
  /** Told of the events of each commit, and of the streams that moved. */
  readonly committed: (
    events: ReadonlyArray<RecordedEvent>,
    cursors: ReadonlyMap<StreamId, StreamVersion>
  ) => void
}

/** Handles slices of the log for one model under one lease. */
export interface ProjectionSlices<R> {
  readonly handle: (
    events: ReadonlyArray<RecordedEvent>,
    progress: SliceProgress
  ) => Effect.Effect<void, ProjectionError, R>
  /** Moves the checkpoint past events that the projection does not take. */
  readonly moveTo: (position: Position) => Effect.Effect<void, ProjectionError, R>
  readonly hasParked: () => boolean
  readonly serveRequests: Effect.Effect<void, ProjectionError, R>
}

/** Begins with what is parked already. */
export const make = <E, R>(
  parts: ProjectionSlicesParts<E, R>
): Effect.Effect<ProjectionSlices<R>, LeaseLost | InvalidArgument | StoreUnavailable> =>
  Effect.gen(function* () {
    const { known, lease, log, model, policy, projection, subscribers } = parts
    const isWhole = takesWholeStreams(projection)
    const isElsewhere = projection.strength._tag === "Handlers" && projection.strength.place !== "sql"
    const freshOf = (part: ReadonlyArray<RecordedEvent>) =>
      StreamContinuity.follow(part, (id) => known.cursors.get(id) ?? 0, isWhole)
    const parkKeyOf = makeParkKey(projection)
    yield* forgetBeyond(subscribers, lease, known.at)
    const parked = yield* ParkedKeys.make(log, subscribers, lease)
    // A step at a time: each begins where the one before it ended.
    const turn = yield* Effect.makeSemaphore(1)

    /** Commits, and knows afterwards what is committed. */
    const commit = (
      events: ReadonlyArray<RecordedEvent>,
      fresh: Omit<StreamContinuity.Fresh, "events" | "holes">,
      position: Position
    ): Effect.Effect<void, ProjectionError, R> => {
      const previous = { position: known.at, cursors: fresh.before }
      const current = { position, cursors: fresh.after }
      const done = Effect.sync(() => {
        known.at = position
        remember(known.cursors, fresh.after)
        parts.committed(events, fresh.after)
      })
      const once = stepping(lease, model.apply(events, { previous, current, lease }))
      /** Whether a commit that was cut off took place after all. */
      const settle = (error: StoreUnavailable): Effect.Effect<void, ProjectionError, R> =>
        Effect.flatMap(model.info, (info) => {
          const stored = positionOf(info)
          return stored === position && position !== previous.position ? Effect.void : Effect.fail(error)
        })
      const attempt = Effect.catchTag(once, "StoreUnavailable", (error) =>
        error.transient ? settle(error) : Effect.fail(error)
      )
      return Effect.uninterruptibleMask((restore) =>
        Effect.zipRight(restore(Effect.retry(attempt, awayRetry)), done)
      )
    }

    /**
     * Takes back what was parked for a step that was refused: the model that took this one's place has handled it,
     * or will read it. When the lease is lost as well, the next holder does so.
     */
    const unlessOvertaken = <A>(
      parkings: ReadonlyArray<Parking>,
      pass: Effect.Effect<A, ProjectionError, R>
    ): Effect.Effect<A, ProjectionError, R> =>
      parkings.length === 0
        ? pass
        : Effect.tapErrorTag(pass, "LeaseLost", () =>
            Effect.ignore(ParkedKeys.unparkAll(subscribers, lease, parkings))
          )

    /** One part of a slice: everything of it that is new, less what is set aside. */
    const runPart = (part: ReadonlyArray<RecordedEvent>): Effect.Effect<void, ProjectionError, R> =>
      Effect.gen(function* () {
        yield* loadCursors(model, known, part)
        const fresh = freshOf(part)
        for (const hole of fresh.holes) yield* StreamContinuity.explain(log, hole)
        let live = fresh.events
        const waiting: Array<Parking> = []
        if (parked.keys.size > 0) {
          live = fresh.events.filter((event) => {
            const parkKey = parkKeyOf(event)
            if (!parked.keys.has(parkKey)) return true
            waiting.push({ parkKey, position: event.position, reason: "" })
            return false
          })
          if (waiting.length > 0) yield* parked.park(waiting, policy.parkedMax)
        }
        const position = part[part.length - 1]!.position
        const passing = unlessOvertaken(waiting, commit(live, fresh, position))
        yield* Effect.catchTag(passing, "HandlerError", (error) => {
          if (part.length === 1) return poisoned(part[0]!, error)
          if (projection.strength._tag === "Batch") return runParts(part, Math.ceil(part.length / 2))
          return aroundPoison(
            part,
            part.findIndex((event) => event.position === error.position),
            error
          )
        })
      })

    const runParts = (
      part: ReadonlyArray<RecordedEvent>,
      at: number
    ): Effect.Effect<void, ProjectionError, R> =>
      Effect.zipRight(
        Effect.suspend(() => runPart(part.slice(0, at))),
        Effect.suspend(() => runPart(part.slice(at)))
      )

    /** What stands before an event that failed, the event, and what stands behind it. */
    const aroundPoison = (
      part: ReadonlyArray<RecordedEvent>,
      at: number,
      error: HandlerError
    ): Effect.Effect<void, ProjectionError, R> => {
      const before = part.slice(0, at)
      const event = part[at]!
      return Effect.gen(function* () {
        if (before.length > 0) {
          // Handlers elsewhere have done it already; in the model's own database it was rolled back.
          if (isElsewhere) yield* commit([], freshOf(before), before[at - 1]!.position)
          else yield* runPart(before)
        }
        if (parked.keys.has(parkKeyOf(event))) yield* runPart([event])
        else yield* poisoned(event, error)
        if (at + 1 < part.length) yield* runPart(part.slice(at + 1))
      })
    }

    /** An event that failed. The cursors of its stream are loaded, and it is new. */
    const poisoned = (event: RecordedEvent, first: HandlerError): Effect.Effect<void, ProjectionError, R> => {
      const fresh = freshOf([event])
      let failed = true
      const again = Effect.suspend(() => {
        // The attempt that has just failed counts as the first.
        if (!failed) return commit([event], fresh, event.position)
        failed = false
        return Effect.fail(first)
      })
      return Effect.retry(again, {
        schedule: policy.retry,
        while: (error) => error._tag === "HandlerError"
      }).pipe(
        Effect.catchTag("HandlerError", (error) => {
          if (policy.onPoison === "stop") return Effect.fail(error)
          const pass = commit([], fresh, event.position)
          if (policy.onPoison === "skip")
            return Effect.zipRight(
              Effect.logWarning("event could not be projected, it is left out", error),
              pass
            )
          const parkKey = parkKeyOf(event)
          const parking = { parkKey, position: event.position, reason: reasonText(error.cause) }
          return parked
            .park([parking], policy.parkedMax)
            .pipe(
              Effect.zipRight(Effect.sync(() => parked.keys.add(parkKey))),
              Effect.zipRight(Effect.logWarning("event could not be projected, its key is set aside", error)),
              Effect.zipRight(unlessOvertaken([parking], pass))
            )
        })
      )
    }

    /** Handles a parked event: the checkpoint stays, the event is taken out with it. */
    const again = (
      event: RecordedEvent | undefined,
      { parkKey, position }: ParkedKeys.ParkedPlace
    ): Effect.Effect<boolean, ProjectionError, R> => {
      const unpark = subscribers.unpark(lease, parkKey, position)
      if (event === undefined) return Effect.as(unpark, true)
      const mark = handledMark(position)
      const previous = { position: known.at, cursors: noCursors }
      const marked = parts.isApart ? new Map([[mark, 1 as StreamVersion]]) : noCursors
      const current = { position: known.at, cursors: marked }
      const handled = Effect.zipRight(
        stepping(lease, model.apply([event], { previous, current, lease, also: unpark })),
        Effect.sync(() => parts.committed([event], noCursors))
      )
      // Where it cannot be taken out in the transaction that handles it, the model remembers that it was.
      const once = parts.isApart
        ? Effect.flatMap(model.cursors([mark]), (stored) => (stored.has(mark) ? unpark : handled))
        : handled
      return once.pipe(
        Effect.as(true),
        Effect.catchTag("HandlerError", (error) =>
          Effect.as(subscribers.repark(lease, { parkKey, position, reason: reasonText(error.cause) }), false)
        )
      )
    }

    return {
      handle: (events, progress) =>
        Effect.ensuring(
          turn.withPermits(1)(runPart(events)),
          Effect.sync(() => {
            while (progress.finished < events.length && events[progress.finished]!.position <= known.at)
              progress.finished++
          })
        ),
      moveTo: (position) =>
        turn.withPermits(1)(
          Effect.suspend(() =>
            position <= known.at ? Effect.void : commit([], { before: new Map(), after: new Map() }, position)
          )
        ),
      hasParked: () => parked.keys.size > 0,
      serveRequests: turn.withPermits(1)(parked.serve(again))
    }
  })

// ---- internal ----

const noCursors: ReadonlyMap<StreamId, StreamVersion> = new Map()

/** The cursor that stands for a parked event that was handled. */
const handledMark = (position: Position): StreamId => `~parked/${position}` as StreamId

/** Most streams whose cursors are kept in memory; beyond it all are forgotten and loaded again as they come. */
const knownStreamsMax = 100_000

/** A commit that was cut off: from 20 ms, doubling to 2 s, for a minute in all. The lease ends it earlier. */
const awayRetry = {
  schedule: Schedule.exponential("20 millis").pipe(
    Schedule.union(Schedule.spaced("2 seconds")),
    Schedule.jittered,
    Schedule.upTo("1 minute")
  ),
  while: (error: ProjectionError) => error._tag === "StoreUnavailable" && error.transient
}

/**
 * Forgets what is parked beyond the checkpoint: it will be read again, and handled or parked again. So stands what
 * was parked just before a crash, and everything when the model was emptied.
 */
const forgetBeyond = (
  subscribers: SubscriberStore["Type"],
  lease: Lease,
  position: Position
): Effect.Effect<void, LeaseLost | InvalidArgument | StoreUnavailable> =>
  Effect.flatMap(ParkedKeys.allParked(subscribers, lease.key), (rows) =>
    ParkedKeys.unparkAll(
      subscribers,
      lease,
      rows.filter((row) => row.position > position)
    )
  )

const loadCursors = <R>(
  model: Model<R>,
  known: KnownCursors,
  events: ReadonlyArray<RecordedEvent>
): Effect.Effect<void, StoreUnavailable> =>
  Effect.suspend(() => {
    const unknown = new Set<StreamId>()
    for (const { streamId } of events) if (!known.cursors.has(streamId)) unknown.add(streamId)
    if (unknown.size === 0) return Effect.void
    if (known.cursors.size + unknown.size > knownStreamsMax) {
      known.cursors.clear()
      for (const { streamId } of events) unknown.add(streamId)
    }
    const ids = [...unknown]
    return Effect.map(model.cursors(ids), (stored) => {
      for (const id of ids) known.cursors.set(id, stored.get(id) ?? (0 as StreamVersion))
    })
  })

const remember = (
  cursors: Map<StreamId, StreamVersion>,
  moved: ReadonlyMap<StreamId, StreamVersion>
): void => {
  for (const [id, version] of moved) cursors.set(id, version)
}

/**
 * A step of the model. Somebody else moved the checkpoint: it is theirs now. And what goes wrong while an interrupted
 * step is undone, on a connection that the server has closed meanwhile, is no fault of the event: nothing was done.
 */
const stepping = <R>(
  lease: Lease,
  step: Effect.Effect<void, ApplyError, R>
): Effect.Effect<void, ProjectionError, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.catchAllCause(restore(step), (cause) =>
      Cause.isInterrupted(cause) && Option.isNone(Cause.failureOption(cause))
        ? Effect.interrupt
        : Effect.failCause(cause)
    )
  ).pipe(Effect.catchTag("ProjectionMoved", () => Effect.fail(new LeaseLost({ key: lease.key, holder: "" }))))

/** What is set aside together: the row's key, where there is exactly one; else the stream. */
const makeParkKey = ({ strength }: Projection<unknown, unknown>): ((event: RecordedEvent) => string) => {
  if (strength._tag !== "Fold") return (event) => event.streamId
  return (event) => {
    try {
      const key: unknown = strength.key(event)
      return typeof key === "string" ? key : event.streamId
    } catch {
      return event.streamId
    }
  }
}
