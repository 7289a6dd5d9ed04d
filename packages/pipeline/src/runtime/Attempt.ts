/**
 * A pipeline from a checkpoint on, until its input ends or something fails. The coordinator is the fiber that runs
 * this; sources, tasks and sinks are actors.
 *
 *     every so often:  reserve an id ──▶ barrier to all sources ──▶ … every task has told its snapshot
 *       ──▶ sidecar, durable ──▶ manifest (sinks Pending) ──▶ decision ──▶ sinks commit ──▶ manifest (Committed)
 *
 * Records flow on from the moment a task has taken its snapshot; one checkpoint is under way at a time. What fails in
 * between is not mended here: the attempt fails, and the next one begins from the last checkpoint that is valid. An id
 * that was reserved is never used again.
 *
 * Sinks in the database of the checkpoints commit in the transaction that creates the manifest, and are never Pending.
 */
import * as Actor from "@millrace/core/Actor"
import type { ActorRegistry } from "@millrace/core/ActorRegistry"
import type { CheckpointId, CheckpointManifest } from "@millrace/core/CheckpointManifest"
import type { CheckpointStore } from "@millrace/core/CheckpointStore"
import * as EventLoop from "@millrace/core/EventLoop"
import type { Sink, SinkWriter } from "@millrace/core/Sink"
import { vnodeCount } from "@millrace/core/Vnode"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SinkSpec } from "../Graph.js"
import { BarrierLost } from "../PipelineErrors.js"
import type { CheckpointStatus } from "../PipelineStatus.js"
import type { Board } from "./Board.js"
import { CheckpointWriter } from "./CheckpointWriter.js"
import type { StateIndex } from "./CheckpointWriter.js"
import type { Barrier } from "./Channel.js"
import type { StoredForms } from "./KeyedOperator.js"
import { KeyedOperator } from "./KeyedOperator.js"
import type { Plan } from "./Plan.js"
import * as Recovery from "./Recovery.js"
import { restore } from "./Restoring.js"
import type { Restored } from "./Restoring.js"
import type { RunSettings } from "./RunSettings.js"
import type { Snapshot } from "./Snapshot.js"
import { beginning } from "./SourceOperator.js"
import * as SourceTask from "./SourceTask.js"
import type { SourceMessage } from "./SourceTask.js"
import type { TaskMessage, TaskReport } from "./Task.js"
import * as Topology from "./Topology.js"

/** Somebody wants a checkpoint. */
export interface CheckpointRequest {
  readonly savepoint: string | undefined
  readonly reply: Deferred.Deferred<CheckpointStatus, unknown>
}

/** A run, as each of its attempts sees it. */
export interface Run {
  readonly pipeline: string
  readonly pipelineHash: string
  readonly plan: Plan
  readonly settings: RunSettings
  /** None: nothing is kept, and sinks commit when the input has ended. */
  readonly store: CheckpointStore | undefined
  readonly board: Board
  /** What is asked for; each stays until it is begun with. */
  readonly requests: Array<CheckpointRequest>
  /** Open when something is asked for. */
  readonly asked: Effect.Latch
}

/** Barriers take a number also where nothing is kept. */
let localId = 0

/** Ends when the input has ended and everything is committed. */
export const attempt = (run: Run): Effect.Effect<void, unknown, ActorRegistry | Scope.Scope> =>
  Effect.gen(function* () {
    const { board, pipeline, plan, settings, store } = run
    const clock = yield* Effect.clock
    const nowMs = () => clock.unsafeCurrentTimeMillis()
    const sinks = plan.nodes.flatMap(({ node: { spec } }) => (spec._tag === "Sink" ? [spec.sink] : []))
    // Whoever was overtaken meanwhile is refused here, before anything is changed in its name.
    if (store !== undefined && settings.write.fence !== undefined) yield* store.reserveId(settings.write)
    const chosen =
      store === undefined
        ? undefined
        : yield* Recovery.choose({
            pipeline,
            store,
            sinks,
            allowRepeats: settings.allowRepeats,
            // Once the run has made a checkpoint of its own, that is where it goes back to.
            savepoint: board.checkpoints > 0 ? undefined : settings.savepoint
          })
    board.startedFrom = chosen?.checkpointId ?? 0

    const writers = new Map<string, SinkWriter<unknown, unknown, unknown>>()
    const failed = yield* Deferred.make<never, unknown>()
    const ended = yield* Deferred.make<void>()
    let sinksLeft = sinks.length
    let underway:
      | { readonly id: number; readonly reports: Array<TaskReport>; readonly all: Deferred.Deferred<void> }
      | undefined
    const report = (report: TaskReport): void => {
      if (underway === undefined || report.checkpointId !== underway.id) return
      underway.reports.push(report)
      if (underway.reports.length === topology.tasks.length + topology.sources.length)
        Deferred.unsafeDone(underway.all, Effect.void)
    }
    const topology = Topology.make({
      plan,
      channelCapacity: settings.channelCapacity,
      nowMs,
      report,
      writers,
      onSinkEnded: () => {
        if (--sinksLeft === 0) Deferred.unsafeDone(ended, Effect.void)
      }
    })
    const writer = store === undefined ? undefined : new CheckpointWriter(store, settings.write)
    const restored =
      store === undefined || chosen === undefined ? nothing : yield* restoreFrom(run, store, chosen, topology)
    if (chosen !== undefined) writer!.begin(chosen, restored.indexes)

    // After everything was found to fit, and before anything new comes: sinks take back what they have of later
    // checkpoints when they are opened.
    for (const sink of sinks)
      writers.set(sink.name, yield* sink.open({ pipeline, checkpointId: board.startedFrom }))
    if (store !== undefined && chosen !== undefined) yield* commitAgain(run, store, chosen, restored, writers)
    board.writer = writer
    board.instances = new Map(
      plan.nodes.map(({ id }) => [
        id,
        { operators: topology.operators.get(id) ?? [], channels: topology.channels.get(id) ?? [] }
      ])
    )

    // --- actors ---
    const failing = <A, R>(effect: Effect.Effect<A, unknown, R>): Effect.Effect<void, never, R> =>
      Effect.catchAllCause(Effect.asVoid(effect), (cause) => Deferred.failCause(failed, cause))
    for (const task of topology.tasks) {
      task.self = yield* actorOf(
        `pipeline/${pipeline}/${task.name}`,
        mailboxCapacity,
        (message: TaskMessage) => task.receive(message)
      )
      yield* Effect.forkScoped(failing(task.self.await))
    }
    let sourcesLeft = topology.sources.length
    const onKept =
      settings.atEnd === "flush"
        ? undefined
        : () => {
            if (--sourcesLeft === 0) Deferred.unsafeDone(ended, Effect.void)
          }
    const feeds: Array<readonly [SourceTask.Feed, SourceTask.SourceRef]> = []
    for (const { id, operator, spec, task } of topology.sources) {
      const place = restored.sources.get(id) ?? beginning
      const reader = yield* spec.source.open(place.offsets, {
        pipeline,
        vnodes: { from: 0, to: vnodeCount - 1 }
      })
      const feed = new SourceTask.Feed()
      const self = yield* actorOf(
        `pipeline/${pipeline}/${task.name}`,
        mailboxCapacity,
        (message: SourceMessage) =>
          SourceTask.receive({ pipeline, task, source: operator, feed, onKept }, message)
      )
      feeds.push([feed, self])
      operator.begin(reader.partitions, place, nowMs())
      yield* Effect.forkScoped(failing(self.await))
      // Hot: once a batch. By a schedule, as `repeat` does it, a turn costs 10 µs.
      let isOver = false
      const read = Effect.flatMap(Effect.zipRight(EventLoop.giveWay, reader.next), (batch) => {
        isOver = batch === undefined
        return feed.add(batch, self)
      })
      yield* Effect.forkScoped(
        failing(Effect.whileLoop({ while: () => !isOver, body: () => read, step: () => {} }))
      )
    }
    yield* Effect.forkScoped(failing(ticks(topology, feeds, nowMs)))

    // --- checkpoints ---
    const checkpoint = (savepoint: string | undefined): Effect.Effect<CheckpointStatus, unknown, never> =>
      Effect.gen(function* () {
        const beganMs = nowMs()
        const checkpointId =
          store === undefined ? (++localId as CheckpointId) : yield* store.reserveId(settings.write)
        const barrier: Barrier = { checkpointId, timestampMs: beganMs }
        for (const [id, vnodes] of writer?.renewals() ?? [])
          for (const operator of topology.operators.get(id) ?? [])
            if (operator instanceof KeyedOperator) operator.renew(vnodes)
        const all = yield* Deferred.make<void>()
        underway = { id: checkpointId, reports: [], all }
        for (const [, source] of feeds) yield* source.tell({ _tag: "Barrier", barrier })
        yield* Effect.timeoutFail(Deferred.await(all), {
          duration: Duration.millis(settings.alignmentTimeoutMs),
          onTimeout: () => new BarrierLost({ pipeline, checkpointId, timeoutMs: settings.alignmentTimeoutMs })
        })
        const alignedMs = nowMs()
        const snapshots = collect(underway.reports)
        const bytes = yield* persist(run, topology, writer, { barrier, savepoint, snapshots }, sinks, writers)
        return board.made(checkpointId, beganMs, alignedMs, nowMs(), bytes)
      }) as Effect.Effect<CheckpointStatus, unknown, never>

    const isEnded = Effect.as(Deferred.await(ended), "ended" as const)
    const turn: Effect.Effect<boolean, unknown> = Effect.flatMap(
      Effect.raceFirst(
        isEnded,
        Effect.raceFirst(
          Effect.as(run.asked.await, "asked" as const),
          Effect.as(
            Effect.sleep(
              store === undefined ? Duration.infinity : Duration.millis(settings.checkpointEveryMs)
            ),
            "due" as const
          )
        )
      ),
      (what) => {
        if (what === "ended") return Effect.as(checkpoint(undefined), true)
        const request = what === "asked" ? run.requests.shift() : undefined
        if (run.requests.length === 0) run.asked.unsafeClose()
        if (request === undefined)
          return what === "due" ? Effect.as(checkpoint(undefined), false) : Effect.succeed(false)
        return Effect.as(
          Effect.onExit(checkpoint(request.savepoint), (exit) => Deferred.done(request.reply, exit)),
          false
        )
      }
    )
    const coordinate = Effect.repeat(turn, { until: (isOver) => isOver })
    yield* Effect.raceFirst(coordinate, Deferred.await(failed))
  }) as Effect.Effect<void, unknown, ActorRegistry | Scope.Scope>

// ---- internal ----

/** That there is something, a barrier, what time it is: one of each kind at a time. */
const mailboxCapacity = 16

/** How often it is looked whether something is due by the clock. */
const tickEvery = Duration.millis(20)

const nothing: Restored = { indexes: new Map<string, StateIndex>(), sources: new Map(), staged: new Map() }

const actorOf = <Message>(
  name: string,
  capacity: number,
  receive: (message: Message) => Effect.Effect<void, unknown, unknown>
) =>
  Actor.make({
    name,
    initial: Effect.void,
    receive: (_: void, message: Message) => receive(message),
    mailbox: { capacity },
    shutdown: "interrupt"
  })

/** Tells tasks and sources what time it is, when one of them wants to know. */
const ticks = (
  { sources, tasks }: Topology.Topology,
  feeds: ReadonlyArray<readonly [SourceTask.Feed, SourceTask.SourceRef]>,
  nowMs: () => number
): Effect.Effect<never> => {
  const idleAt = sources.map(({ spec }) => nowMs() + (spec.watermarks.idleMs ?? Infinity))
  return Effect.forever(
    Effect.zipRight(
      Effect.sleep(tickEvery),
      Effect.sync(() => {
        const now = nowMs()
        for (const task of tasks) task.tellTime(now)
        for (const [i, { spec }] of sources.entries()) {
          if (idleAt[i]! > now) continue
          const [feed, self] = feeds[i]!
          feed.tellTime(now, self)
          idleAt[i] = now + Math.max(20, spec.watermarks.idleMs! / 4)
        }
      })
    )
  )
}

const restoreFrom = (
  run: Run,
  store: CheckpointStore,
  manifest: CheckpointManifest,
  topology: Topology.Topology
) => {
  const operators = new Map(topology.operators)
  const ofKind = (tag: "Source" | "Sink") =>
    new Set(run.plan.nodes.flatMap(({ id, node: { spec } }) => (spec._tag === tag ? [id] : [])))
  const sources = ofKind("Source")
  const sinks = ofKind("Sink")
  for (const id of [...sources, ...sinks]) operators.delete(id)
  return restore({
    pipeline: run.pipeline,
    store,
    manifest,
    operators,
    sources,
    sinks,
    dropState: run.settings.dropState
  })
}

/** Whoever was about to commit when the run ended does so now; again is as once. */
const commitAgain = (
  { settings }: Run,
  store: CheckpointStore,
  manifest: CheckpointManifest,
  { staged }: Restored,
  writers: ReadonlyMap<string, SinkWriter<unknown, unknown, unknown>>
) =>
  Effect.gen(function* () {
    const pending = Object.entries(manifest.sinkCommitStatuses).filter(([, { _tag }]) => _tag !== "Committed")
    if (pending.length === 0) return
    for (const [name] of pending)
      if (staged.has(name))
        yield* writers.get(name)?.commit(manifest.checkpointId, staged.get(name)) ?? Effect.void
    yield* store.updateManifest(committed(manifest), settings.write)
  })

const committed = (manifest: CheckpointManifest): CheckpointManifest => ({
  ...manifest,
  sinkCommitStatuses: Object.fromEntries(
    Object.keys(manifest.sinkCommitStatuses).map((name) => [name, { _tag: "Committed" } as const])
  )
})

const collect = (reports: ReadonlyArray<TaskReport>): ReadonlyMap<string, ReadonlyArray<Snapshot>> => {
  const snapshots = new Map<string, Array<Snapshot>>()
  for (const report of reports)
    for (const [id, snapshot] of report.snapshots) {
      const list = snapshots.get(id)
      if (list === undefined) snapshots.set(id, [snapshot])
      else list.push(snapshot)
    }
  return snapshots
}

const formsOf = (topology: Topology.Topology): ReadonlyMap<string, StoredForms> => {
  const forms = new Map<string, StoredForms>()
  for (const [id, [operator]] of topology.operators)
    if (operator instanceof KeyedOperator)
      forms.set(
        id,
        Object.fromEntries(
          Object.entries(operator.forms).map(([name, { fingerprint, version }]) => [
            name,
            { version, fingerprint }
          ])
        )
      )
  return forms
}

/** Makes a checkpoint of the snapshots, and has the sinks commit. Gives the bytes that were written. */
const persist = (
  { pipelineHash, settings, store }: Run,
  topology: Topology.Topology,
  writer: CheckpointWriter | undefined,
  {
    barrier,
    savepoint,
    snapshots
  }: {
    readonly barrier: Barrier
    readonly savepoint: string | undefined
    readonly snapshots: ReadonlyMap<string, ReadonlyArray<Snapshot>>
  },
  sinks: ReadonlyArray<SinkSpec["sink"]>,
  writers: ReadonlyMap<string, SinkWriter<unknown, unknown, unknown>>
) =>
  Effect.gen(function* () {
    const { checkpointId } = barrier
    const stagedOf = (sink: string): unknown => {
      const [staged] = snapshots.get(sink) ?? []
      return staged?._tag === "Plain" ? staged.data : undefined
    }
    const commit = (names: Iterable<string>) =>
      Effect.forEach(
        names,
        (name) => {
          const staged = stagedOf(name)
          return staged === undefined ? Effect.void : writers.get(name)!.commit(checkpointId, staged)
        },
        { discard: true }
      )
    if (store === undefined || writer === undefined) {
      yield* commit(writers.keys())
      return 0
    }
    const together = yield* togetherWith(store, sinks)
    const manifest = yield* writer.write({
      barrier,
      snapshots,
      savepoint,
      pipelineHash,
      together,
      forms: formsOf(topology),
      sources: topology.sources.map(({ id, operator }) => ({ name: id, watermark: operator.watermark })),
      sinks: sinks.map(({ name }) => name)
    })
    const save = store.saveWithState(manifest, undefined, settings.write)
    const saved =
      together.size === 0
        ? yield* save
        : yield* store.shared!.transaction(Effect.zipLeft(save, commit(together)))
    if (Object.values(saved.sinkCommitStatuses).some(({ _tag }) => _tag === "Pending")) {
      yield* store.recordCommitDecision(checkpointId, settings.write)
      yield* commit([...writers.keys()].filter((name) => !together.has(name)))
      yield* store.updateManifest(committed(saved), settings.write)
    }
    yield* store.prune(settings.retain, settings.write)
    return saved.stateLength ?? 0
  })

/** Sinks in the database of the checkpoints. */
const togetherWith = (store: CheckpointStore, sinks: ReadonlyArray<Sink<unknown, unknown, unknown>>) =>
  Effect.gen(function* () {
    const together = new Set<string>()
    if (store.shared === undefined) return together
    for (const { database, name } of sinks)
      if (database !== undefined && (yield* database) === store.shared.database) together.add(name)
    return together
  })
