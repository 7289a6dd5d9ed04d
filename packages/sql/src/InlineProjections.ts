/**
 * Projections that run in the transaction of the append: when a write returns, their models have its events, and a
 * write that fails has changed no model. What is read is never behind what is written; what is paid for it is the
 * time of every write, and that writes to one model come one after another, in all processes together.
 *
 *     writes of this process ──▶ merged ──▶ BEGIN · hold the checkpoints · append · handle · move them · COMMIT
 *                                   │ refused                                                     │
 *                                   └──▶ each by itself, so that one fault fails one write ◀──────┘
 *
 * Invariants
 *
 *  1. Checkpoints are held, in the order of their names, before positions are drawn: models are made in the order of
 *     the log.
 *  2. A model that has missed events of a stream, because somebody wrote without this layer, refuses further
 *     events of it: `StoreUnavailable` with a `StreamGap` as its cause. Rebuild it.
 *  3. The checkpoint is the one of an ordinary projection: `waitFor`, `rebuild` and `rollBack` work as ever. A
 *     rebuild in shadow takes the model's place between two writes.
 *
 * Every process that writes such events must have the layer. It brings the models up to date when it is built. A
 * handler that fails, fails the write: `StoreUnavailable`, not transient, with a `HandlerError` as its cause.
 */
import type { AppendResult, StreamAppend, WriteOptions, WriteResult } from "@millrace/core/Append"
import { appendsMax, eventsMax } from "@millrace/core/Append"
import type { EngineError } from "@millrace/core/EngineError"
import type { RecordedEvent } from "@millrace/core/Event"
import { matchesAny } from "@millrace/core/EventFilter"
import { EventIds } from "@millrace/core/EventIds"
import type { EventIdSource } from "@millrace/core/EventIds"
import { EventStore } from "@millrace/core/EventStore"
import { invalid } from "@millrace/core/InvalidArgument"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { ApplyError, Model } from "@millrace/core/ModelStore"
import { ModelStore } from "@millrace/core/ModelStore"
import type { Position } from "@millrace/core/Position"
import type { Projection } from "@millrace/core/Projection"
import { guaranteeOf, takesWholeStreams } from "@millrace/core/Projection"
import type { CatchUpError } from "@millrace/core/ProjectionErrors"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import type { KnownCursors } from "@millrace/core/ProjectionSlices"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as StreamContinuity from "@millrace/core/StreamContinuity"
import type { StreamId } from "@millrace/core/StreamId"
import type { StreamVersion } from "@millrace/core/StreamVersion"
import type { WriteError } from "@millrace/core/WriteError"
import * as SqlClient from "@effect/sql/SqlClient"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Mailbox from "effect/Mailbox"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"

/**
 * The event store of the context, with these projections in every write. Folds, and handlers in SQL; each of them
 * must be in the log's own database, and is not run beside.
 *
 * Fails with `InvalidArgument` (a projection whose model is elsewhere), and with what bringing them up to date fails
 * with.
 *
 * @example
 * ```ts
 * const stores = Postgres.layer({ url }).pipe(Layer.provideMerge(ActorRegistry.layer))
 * const runner = ProjectionRunner.layer.pipe(Layer.provideMerge(stores))
 * const withBalances = InlineProjections.layer([balances]).pipe(Layer.provideMerge(runner))
 * ```
 */
export const layer = (
  projections: ReadonlyArray<Projection<unknown>>
): Layer.Layer<EventStore, CatchUpError | InvalidArgument, EventStore | ModelStore | ProjectionRunner> =>
  Layer.scoped(EventStore, make(projections))

// ---- internal ----

/** Most writes that are merged, and that wait. */
const mergedMax = 256
const waitingMax = 4_096

/** Another process brings the model up to date, or runs it as an ordinary projection: asked again for so long. */
const takeSchedule = Schedule.spaced("100 millis").pipe(Schedule.upTo("30 seconds"))

/** One call of `write`. */
interface Call {
  readonly appends: ReadonlyArray<StreamAppend>
  readonly options: WriteOptions | undefined
  readonly done: Deferred.Deferred<WriteResult, WriteError>
}

/** When a write is tried again whose transaction met another one or lost its connection; its ids make it one. */
const againSchedule = Schedule.exponential("10 millis").pipe(
  Schedule.jittered,
  Schedule.intersect(Schedule.recurs(5))
)

/** A projection with its live model. */
interface Inline {
  readonly projection: Projection<unknown>
  readonly model: Model<never>
  /** What the last write of this process left behind: it holds while the checkpoint stands where it was left. */
  known: KnownCursors
}

/** Most streams whose cursors are kept in memory. */
const knownStreamsMax = 100_000

const make = (
  projections: ReadonlyArray<Projection<unknown>>
): Effect.Effect<
  EventStore["Type"],
  CatchUpError | InvalidArgument,
  EventStore | ModelStore | ProjectionRunner | Scope.Scope
> =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const models = yield* ModelStore
    const runner = yield* ProjectionRunner
    const ids = yield* EventIds
    const { transaction } = models
    if (transaction === undefined)
      return yield* invalid(
        "store",
        "one with transactions and the log in it: SQLite (also :memory:) or Postgres",
        "another"
      )
    for (const projection of projections) {
      const fault = inlineFault(projection)
      if (fault !== undefined) return yield* fault
    }
    const inline: ReadonlyArray<Inline> = yield* Effect.forEach(
      projections.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      (projection) =>
        Effect.gen(function* () {
          yield* Effect.retry(runner.catchUp(projection), {
            schedule: takeSchedule,
            while: (error) => error._tag === "LeaseHeld" || error._tag === "LeaseLost"
          })
          const model = yield* models.open(projection)
          return { projection, model, known: { at: unknownPosition, cursors: new Map() } }
        })
    )

    /** One transaction: the appends, and what they do to the models. */
    const writeOnce = (
      appends: ReadonlyArray<StreamAppend>,
      options: WriteOptions | undefined,
      isOwn: boolean
    ): Effect.Effect<WriteResult, WriteError> => {
      const moved: Array<Moved> = []
      const whole = transaction(
        Effect.gen(function* () {
          const held = yield* Effect.forEach(inline, ({ model }) => model.hold)
          const result = yield* store.write(appends, options)
          const ids = result.appends.flatMap((append, at) =>
            concerns(appends[at]!, inline) ? append.ids : []
          )
          // As they stand in the log, ascending.
          const events = yield* Effect.mapError(store.readByIds(ids), (error) =>
            error._tag === "SerializationError" ? unavailable(error) : error
          )
          moved.length = 0
          for (const [at, one] of inline.entries())
            moved.push(yield* project(store, one, held[at]!, result.position, events))
          return result
        })
      )
      // A transaction of the caller's may still be rolled back; what it left is seen by where the checkpoint stands.
      if (!isOwn) return whole
      return Effect.tapBoth(whole, {
        onSuccess: () => Effect.sync(() => remember(inline, moved)),
        onFailure: () => Effect.sync(() => forget(inline))
      })
    }

    const alone = ({ appends, done, options }: Call) =>
      Effect.flatMap(
        Effect.exit(
          Effect.retry(writeOnce(appends, options, true), { schedule: againSchedule, while: isTransient })
        ),
        (exit) => Deferred.done(done, exit)
      )

    /** Several calls as one write; when it is refused, each by itself. */
    const together = (calls: ReadonlyArray<Call>): Effect.Effect<unknown> =>
      Effect.flatMap(
        Effect.exit(
          writeOnce(
            calls.flatMap(({ appends }) => appends),
            undefined,
            true
          )
        ),
        (exit) => {
          if (Exit.isFailure(exit)) return Effect.forEach(calls, alone, { discard: true })
          let from = 0
          return Effect.forEach(
            calls,
            ({ appends, done }) =>
              Deferred.succeed(done, resultOf(exit.value.appends.slice(from, (from += appends.length)))),
            { discard: true }
          )
        }
      )

    const calls = yield* Mailbox.make<Call>({ capacity: waitingMax })
    const closed = new StoreUnavailable({
      operation: "write",
      transient: false,
      cause: new Error("the store was closed")
    })
    yield* Effect.addFinalizer(() =>
      Effect.zipRight(
        Effect.flatMap(
          calls.clear,
          Effect.forEach(({ done }) => Deferred.fail(done, closed), { discard: true })
        ),
        calls.shutdown
      )
    )
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.flatMap(calls.take, (first) =>
          // What is begun is finished: its callers wait for it.
          Effect.uninterruptible(
            Effect.flatMap(calls.clear, (more) =>
              Effect.forEach(
                groupsOf([first, ...more]),
                (group) => (group.length === 1 ? alone(group[0]!) : together(group)),
                { discard: true }
              )
            )
          )
        )
      )
    )
    const write: EventStore["Type"]["write"] = (input, options) =>
      Effect.contextWithEffect((context: Context.Context<never>) =>
        Effect.flatMap(Effect.clock, (clock) => {
          const appends = withIds(input, ids, clock.unsafeCurrentTimeMillis())
          // Inside the caller's transaction it is a part of that one.
          if (context.unsafeMap.has(SqlClient.TransactionConnection.key))
            return writeOnce(appends, options, false)
          const done = Deferred.unsafeMake<WriteResult, WriteError>(FiberId.none)
          return Effect.flatMap(calls.offer({ appends, options, done }), (taken) =>
            taken ? Deferred.await(done) : Effect.fail(closed)
          )
        })
      )
    return { ...store, write }
  })

const inlineFault = (projection: Projection<unknown>): InvalidArgument | undefined => {
  if (guaranteeOf(projection) !== "exactly-once")
    return invalid("projections", "folds and handlers of SqlProjection", projection.name)
  return projection.routingKey === undefined || projection.routingKey._tag === "All"
    ? undefined
    : invalid(
        "projections",
        "no routing key: a write does not say whether its stream has one",
        projection.name
      )
}

/** Every event with an id: a write that is tried again is then the same one. */
const withIds = (
  input: StreamAppend | ReadonlyArray<StreamAppend>,
  ids: EventIdSource,
  nowMs: number
): ReadonlyArray<StreamAppend> => {
  const appends: ReadonlyArray<StreamAppend> = Array.isArray(input) ? input : [input as StreamAppend]
  return appends.map((append) =>
    // What is no list is the store's to refuse.
    Array.isArray(append?.events)
      ? {
          ...append,
          events: append.events.map((event) =>
            event?.id === undefined ? { ...event, id: ids.next(nowMs) } : event
          )
        }
      : append
  )
}

/** Cuts calls into groups that may be one write each, in their order. */
const groupsOf = (calls: ReadonlyArray<Call>): ReadonlyArray<ReadonlyArray<Call>> => {
  const groups: Array<Array<Call>> = []
  let group: Array<Call> = []
  let streams = new Set<string>()
  let events = 0
  let isOpen = false
  for (const call of calls) {
    const own = call.appends.map(({ streamId }) => streamId)
    const count = call.appends.reduce((sum, append) => sum + (append?.events?.length ?? 0), 0)
    const isMergeable = call.options === undefined && call.appends.length > 0
    const fits =
      isOpen &&
      isMergeable &&
      group.length < mergedMax &&
      streams.size + own.length <= appendsMax &&
      events + count <= eventsMax &&
      !own.some((id) => streams.has(id))
    if (!fits) {
      group = []
      streams = new Set()
      events = 0
      groups.push(group)
    }
    isOpen = isMergeable
    group.push(call)
    for (const id of own) streams.add(id)
    events += count
  }
  return groups
}

/** Whether an append has an event that one of the projections takes. */
const concerns = ({ events, streamId }: StreamAppend, inline: ReadonlyArray<Inline>): boolean =>
  inline.some(({ projection: { filters } }) =>
    events.some(({ tags = [], type }) => matchesAny(filters, { streamId, type, tags }))
  )

/** What a step found and left behind. */
interface Moved {
  readonly from: Position
  readonly to: Position
  readonly before: ReadonlyMap<StreamId, StreamVersion>
  readonly after: ReadonlyMap<StreamId, StreamVersion>
}

/** Keeps what was committed. */
const remember = (inline: ReadonlyArray<Inline>, moved: ReadonlyArray<Moved>): void => {
  for (const [at, { known }] of inline.entries()) {
    const { after, before, from, to } = moved[at]!
    if (known.at !== from || known.cursors.size > knownStreamsMax) known.cursors.clear()
    for (const [id, version] of before) known.cursors.set(id, version)
    for (const [id, version] of after) known.cursors.set(id, version)
    known.at = to
  }
}

/** Whatever was wrong, it was not what is stored. */
const forget = (inline: ReadonlyArray<Inline>): void => {
  for (const { known } of inline) known.at = unknownPosition
}

/** Where no checkpoint stands. */
const unknownPosition = -1 as Position

/** Hands a model the events that it takes and has not seen, with the step of its checkpoint. */
const project = (
  store: EventStore["Type"],
  inline: Inline,
  from: Position,
  to: Position,
  events: ReadonlyArray<RecordedEvent>
): Effect.Effect<Moved, StoreUnavailable | InvalidArgument> =>
  Effect.gen(function* () {
    const { model, projection } = inline
    // Everything was written before: a repeat.
    if (to <= from) return { from, to: from, before: noCursors, after: noCursors }
    const mine = events.filter((event) => matchesAny(projection.filters, event))
    const kept = inline.known.at === from ? inline.known.cursors : noCursors
    const unknown = [...new Set(mine.map(({ streamId }) => streamId))].filter((id) => !kept.has(id))
    const loaded = unknown.length === 0 ? noCursors : yield* model.cursors(unknown)
    const fresh = StreamContinuity.follow(
      mine,
      (id) => kept.get(id) ?? loaded.get(id) ?? 0,
      takesWholeStreams(projection)
    )
    for (const hole of fresh.holes) yield* StreamContinuity.explain(store, hole)
    yield* model.apply(fresh.events, {
      previous: { position: from, cursors: fresh.before },
      current: { position: to, cursors: fresh.after },
      lease: undefined
    })
    return { from, to, before: loaded, after: fresh.after }
  }).pipe(
    Effect.mapError((error) =>
      error._tag === "StoreUnavailable" || error._tag === "InvalidArgument" ? error : unavailable(error)
    )
  )

const noCursors: ReadonlyMap<StreamId, StreamVersion> = new Map()

/** What a write has no error of its own for: the model could not be made. */
const unavailable = (cause: EngineError | ApplyError): StoreUnavailable =>
  new StoreUnavailable({ operation: "inline", transient: cause._tag === "ProjectionMoved", cause })

const isTransient = (error: WriteError): boolean => error._tag === "StoreUnavailable" && error.transient

const resultOf = (appends: ReadonlyArray<AppendResult>): WriteResult => ({
  appends,
  position: appends.reduce((most, { position }) => (position > most ? position : most), appends[0]!.position)
})
