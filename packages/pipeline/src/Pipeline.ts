/**
 * Stateful streams in event time. A pipeline is a value: sources, operators and sinks, put together by `pipe`; `run`
 * runs it, with its place and its state in checkpoints.
 *
 *     Pipeline.from(source) ─▶ map · filter · keyBy ─▶ window ─▶ aggregate ─▶ to(sink) ─▶ make(name, …) ─▶ run
 *
 * Guarantees
 *
 *  1. Killed at any instant and run again, a deterministic pipeline gives the output of one that was not killed. Others
 *     say in their status why they are not.
 *  2. Results of an exactly-once sink become visible once, with the checkpoint that they belong to.
 *  3. No record vanishes: what came too late for every window goes to the late output, or is counted.
 *  4. Memory is bounded by the state and by what is under way between two tasks: a slow sink slows down the source.
 */
import type { ActorRegistry } from "@millrace/core/ActorRegistry"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { LeaseHeld } from "@millrace/core/LeaseHeld"
import * as ProjectionSession from "@millrace/core/ProjectionSession"
import { newWorkerId } from "@millrace/core/RunSettings"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import { invalid } from "@millrace/core/InvalidArgument"
import type { Sink } from "@millrace/core/Sink"
import type { Source } from "@millrace/core/Source"
import * as Scoped from "@millrace/core/Scoped"
import * as Sha256 from "@millrace/core/Sha256"
import { textFault } from "@millrace/core/Text"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Ended, Flow } from "./Flow.js"
import * as Flows from "./Flow.js"
import type { Node } from "./Graph.js"
import * as Mermaid from "./Mermaid.js"
import type { PipelineError } from "./PipelineErrors.js"
import { planOf } from "./runtime/Plan.js"
import type { Plan } from "./runtime/Plan.js"
import type { RunOptions } from "./runtime/RunSettings.js"
import { settingsOf } from "./runtime/RunSettings.js"
import type { RunningPipeline } from "./runtime/Running.js"
import * as Running from "./runtime/Running.js"
import type { SideOutput } from "./SideOutput.js"
import { collect as collectSink } from "./sinks/CollectSink.js"
import type { WatermarkStrategy } from "./Watermarks.js"
import * as Watermarks from "./Watermarks.js"

export { async } from "./operators/Async.js"
export { dedupe } from "./operators/Dedupe.js"
export { filter } from "./operators/Filter.js"
export { flatMap } from "./operators/FlatMap.js"
export { joinInterval } from "./operators/JoinInterval.js"
export { joinTable } from "./operators/JoinTable.js"
export { joinWindow } from "./operators/JoinWindow.js"
export { keyBy } from "./operators/KeyBy.js"
export { map } from "./operators/Map.js"
export { process } from "./operators/Process.js"
export { split } from "./operators/Split.js"
export { union } from "./operators/Union.js"
export { aggregate, apply, reduce, window } from "./operators/Window.js"
export type { RunOptions } from "./runtime/RunSettings.js"
export type { RunningPipeline } from "./runtime/Running.js"

/** A pipeline. `E` is what its sources, sinks and effects fail with, `R` what they need. */
export interface Pipeline<out E = never, out R = never> extends Ended<E, R> {
  /** Its checkpoints are kept under it. */
  readonly name: string
}

/** How a pipeline is run under a lease. */
export interface LeasedOptions extends Omit<RunOptions, "fence"> {
  /** How long the lease holds without being renewed, so how long others wait for a process that died. Default: 30 seconds. */
  readonly ttl?: Duration.DurationInput | undefined
  /** How long to wait for a lease that is another's. Default: not at all. */
  readonly leaseWait?: Duration.DurationInput | undefined
  /** Default: a new one. */
  readonly workerId?: string | undefined
}

/** How records of a source get their time. */
export interface FromOptions<in A> {
  /** When a record happened. Unit: milliseconds since 1970. Default: as the source says; 0 where it does not. */
  readonly timestamp?: ((value: A) => number) | undefined
  /** How late a record may come. Default: never later than a newer one (`Watermarks.monotonic`). */
  readonly watermarks?: WatermarkStrategy | undefined
}

/**
 * The records of a source.
 *
 * @example
 * ```ts
 * const numbers = Pipeline.from(IterableSource.fromIterable("numbers", [1, 2, 3]))
 * return yield* Pipeline.collect(numbers)
 * // [1, 2, 3]
 * ```
 */
export const from = <A, E, R>(source: Source<A, E, R>, options: FromOptions<A> = {}): Flow<A, E, R> =>
  Flows.fromNode({
    kind: "source",
    id: undefined,
    inputs: [],
    spec: {
      _tag: "Source",
      source,
      watermarks: options.watermarks ?? Watermarks.monotonic,
      timestamp: options.timestamp as ((value: unknown) => number) | undefined
    }
  })

/** Where the records of a flow go. Several of these make a pipeline. */
export const to =
  <A, E2, R2>(sink: Sink<A, E2, R2>) =>
  <E, R>(flow: Flow<A, E, R>): Ended<E | E2, R | R2> => ({
    sinks: [
      {
        kind: "sink",
        id: undefined,
        inputs: [flow.input],
        spec: { _tag: "Sink", sink: sink as Sink<unknown, unknown, unknown> }
      }
    ]
  })

/** What an operator before has put aside: records that came too late, or what a `process` gives by another way. */
export const sideOutput =
  <B>(side: SideOutput<B>) =>
  <E, R>(flow: Flow<unknown, E, R>): Flow<B, E, R> =>
    Flows.sideOf(flow, side)

/** A pipeline of everything that ends in the given sinks. Name: 1 to 200 code points. */
export const make = <Ends extends ReadonlyArray<Ended<unknown, unknown>>>(
  name: string,
  ...ends: Ends
): Pipeline<ErrorOfEnds<Ends>, ContextOfEnds<Ends>> => ({ name, sinks: ends.flatMap(({ sinks }) => sinks) })

/** What the parts of a pipeline fail with. */
export type ErrorOfEnds<Ends extends ReadonlyArray<unknown>> = {
  readonly [I in keyof Ends]: Ends[I] extends Ended<infer E, infer _R> ? E : never
}[number]

/** What the parts of a pipeline need. */
export type ContextOfEnds<Ends extends ReadonlyArray<unknown>> = {
  readonly [I in keyof Ends]: Ends[I] extends Ended<infer _E, infer R> ? R : never
}[number]

/**
 * Starts a pipeline: from its newest valid checkpoint, or from the beginning. It ends with the scope, and when its
 * input has ended and every result is committed.
 *
 * Fails with `InvalidArgument` when an option is not allowed, or the pipeline runs already in this process.
 */
export const start = <E, R>(
  pipeline: Pipeline<E, R>,
  options: RunOptions = {}
): Effect.Effect<
  RunningPipeline<E | PipelineError>,
  InvalidArgument | PipelineError,
  ActorRegistry | CheckpointStorage | Scope.Scope | R
> =>
  Effect.gen(function* () {
    const { plan, settings } = yield* prepared(pipeline, options)
    const storage = yield* CheckpointStorage
    const store = yield* storage.forPipeline(pipeline.name)
    return yield* Running.start<E, R>({
      pipeline: pipeline.name,
      pipelineHash: hashOf(plan),
      plan,
      settings,
      store
    })
  })

/**
 * Runs a pipeline until its input has ended and every result is committed; over a source without end, until it is
 * interrupted. What fails in it is tried again from the last checkpoint, as `supervision` says.
 */
export const run = <E, R>(
  pipeline: Pipeline<E, R>,
  options: RunOptions = {}
): Effect.Effect<void, E | PipelineError, ActorRegistry | CheckpointStorage | R> =>
  Scoped.scoped(Effect.flatMap(start(pipeline, options), (running) => running.await))

/**
 * The same, by one process at a time: under a lease (`pipeline/<name>` of the {@link SubscriberStore}), which is kept
 * while it runs and given back at the end. Every write to the checkpoints is fenced by it, so that a process that was
 * frozen past its lease changes nothing any more.
 *
 * Fails with `LeaseHeld` (another process runs it, and did not end within `leaseWait`: try again) and `LeaseLost` (it
 * was frozen for too long, and another may run it now: try again).
 */
export const runLeased = <E, R>(
  pipeline: Pipeline<E, R>,
  options: LeasedOptions = {}
): Effect.Effect<
  void,
  E | PipelineError | LeaseHeld,
  ActorRegistry | CheckpointStorage | SubscriberStore | R
> => {
  const { leaseWait = 0, ttl = "30 seconds", workerId, ...rest } = options
  return Scoped.scoped(
    Effect.gen(function* () {
      const subscribers = yield* SubscriberStore
      const keeper = yield* ProjectionSession.lease({ subscribers }, `pipeline/${pipeline.name}`, {
        ttl: Duration.decode(ttl),
        leaseWait: Duration.decode(leaseWait),
        workerId: workerId ?? (yield* newWorkerId)
      })
      const running = yield* start(pipeline, { ...rest, fence: keeper.lease() })
      yield* Effect.raceFirst(
        running.await,
        keeper.keep(() => Effect.void)
      )
    })
  )
}

/**
 * All records of a flow whose input ends, without any checkpoint: for tests and small things. In the order in which
 * they come, all in memory.
 */
export const collect = <A, E, R>(
  flow: Flow<A, E, R>,
  options: Pick<RunOptions, "parallelism"> = {}
): Effect.Effect<Array<A>, E | PipelineError, ActorRegistry | R> =>
  Effect.gen(function* () {
    const { sink, values } = yield* collectSink<A>("sink of Pipeline.collect")
    const pipeline = make("collect", to(sink)(flow))
    const { plan, settings } = yield* prepared(pipeline, { ...options, supervision: Schedule.stop })
    const name = `collect-${++collected}`
    const running = Running.start<E, R>({
      pipeline: name,
      pipelineHash: "",
      plan,
      settings,
      store: undefined
    })
    yield* Scoped.scoped(Effect.flatMap(running, (started) => started.await))
    return [...(yield* values)]
  })

/** The graph of a pipeline in Mermaid's language, as it would be laid out. */
export const toMermaid = (
  pipeline: Pipeline<unknown, unknown>,
  options: Pick<RunOptions, "parallelism"> = {}
): Effect.Effect<string, InvalidArgument> =>
  Effect.map(prepared(pipeline, options), ({ plan }) => Mermaid.draw(plan))

// ---- internal ----

/** Each `collect` runs under a name of its own, so that several can run at once. */
let collected = 0

const nameCodePointsMax = 200

const prepared = (pipeline: Pipeline<unknown, unknown>, options: RunOptions) =>
  Effect.gen(function* () {
    const fault = textFault(pipeline.name, nameCodePointsMax)
    if (fault !== undefined)
      return yield* invalid("name", `1 to ${nameCodePointsMax} code points; this one ${fault}`, pipeline.name)
    if (pipeline.sinks.length === 0)
      return yield* invalid("pipeline", "at least one flow that ends in a sink", "none")
    const settings = settingsOf(options)
    if ("_tag" in settings) return yield* settings
    const plan = planOf(pipeline.sinks as ReadonlyArray<Node>, settings.parallelism)
    if ("_tag" in plan) return yield* plan
    return { plan, settings }
  })

/** Tells pipelines of different operators apart. */
const hashOf = ({ edges, nodes }: Plan): string => {
  const sum = Sha256.make()
  sum.update(
    new TextEncoder().encode(
      JSON.stringify([
        nodes.map(({ id, node }) => [id, node.kind]),
        edges.map(({ from, port, to }) => [from.id, to.id, port])
      ])
    )
  )
  return sum.hex()
}
