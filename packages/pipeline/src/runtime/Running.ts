/**
 * A pipeline that runs: attempt after attempt, each from the last valid checkpoint, as long as supervision allows.
 */
import type { ActorRegistry } from "@millrace/core/ActorRegistry"
import type { CheckpointStore } from "@millrace/core/CheckpointStore"
import * as Scoped from "@millrace/core/Scoped"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { invalid } from "@millrace/core/InvalidArgument"
import { OperatorFailed } from "../PipelineErrors.js"
import type { PipelineError } from "../PipelineErrors.js"
import type { CheckpointStatus, PipelineStatus } from "../PipelineStatus.js"
import type { CheckpointRequest, Run } from "./Attempt.js"
import { attempt } from "./Attempt.js"
import { Board } from "./Board.js"
import { OperatorFault } from "./Operator.js"
import type { Plan } from "./Plan.js"
import type { RunSettings } from "./RunSettings.js"

/** A pipeline that was started. */
export interface RunningPipeline<out E> {
  readonly name: string
  /** Ends when it has; fails with what ended it. */
  readonly await: Effect.Effect<void, E>
  readonly status: Effect.Effect<PipelineStatus>
  /** Makes a checkpoint now. Fails when the pipeline does before it is made. */
  readonly checkpoint: Effect.Effect<CheckpointStatus, E>
  /** Makes a checkpoint that is kept until it is removed by hand, and can be begun from by its name. */
  readonly savepoint: (name: string) => Effect.Effect<CheckpointStatus, E>
  /** Stops it, as if it were killed: what came after the last checkpoint is done again by the next run. */
  readonly stop: Effect.Effect<void>
}

/** What is started. */
export interface StartOptions {
  readonly pipeline: string
  readonly pipelineHash: string
  readonly plan: Plan
  readonly settings: RunSettings
  readonly store: CheckpointStore | undefined
}

/** Starts it; it ends with the scope. */
export const start = <E, R>(
  options: StartOptions
): Effect.Effect<RunningPipeline<E | PipelineError>, never, ActorRegistry | Scope.Scope | R> =>
  Effect.gen(function* () {
    const { pipeline, plan } = options
    const clock = yield* Effect.clock
    const board = new Board(pipeline, plan, clock.unsafeCurrentTimeMillis())
    const requests: Array<CheckpointRequest> = []
    const asked = yield* Effect.makeLatch(false)
    const run: Run = { ...options, board, requests, asked }
    const fiber = yield* Effect.forkScoped(supervised(run))

    const request = (savepoint: string | undefined) =>
      Effect.gen(function* () {
        const reply = yield* Deferred.make<CheckpointStatus, unknown>()
        requests.push({ savepoint, reply })
        asked.unsafeOpen()
        const over = Effect.zipRight(Fiber.join(fiber), Effect.fail(hasEnded(pipeline)))
        return yield* Effect.raceFirst(Deferred.await(reply), over)
      }) as Effect.Effect<CheckpointStatus, E | PipelineError>

    return {
      name: pipeline,
      await: Fiber.join(fiber) as Effect.Effect<void, E | PipelineError>,
      status: Effect.sync(() => board.status(clock.unsafeCurrentTimeMillis())),
      checkpoint: request(undefined),
      savepoint: request,
      stop: Effect.asVoid(Fiber.interrupt(fiber))
    }
  })

// ---- internal ----

const hasEnded = (pipeline: string) => invalid("pipeline", "one that still runs", pipeline)

const supervised = (run: Run): Effect.Effect<void, unknown, ActorRegistry> =>
  Effect.gen(function* () {
    const { board, pipeline } = run
    const driver = yield* Schedule.driver(run.settings.supervision)
    let made = 0
    for (;;) {
      const exit = yield* Effect.exit(Scoped.scoped(attempt(run)))
      if (Exit.isSuccess(exit)) return
      const cause = causeOf(pipeline, exit.cause)
      if (isFinal(cause)) return yield* Effect.failCause(cause)
      if (board.checkpoints > made) yield* driver.reset
      made = board.checkpoints
      const next = yield* Effect.either(driver.next(Cause.squash(cause)))
      if (Either.isLeft(next)) return yield* Effect.failCause(cause)
      board.restarts++
      yield* Effect.logWarning("pipeline goes back to its last checkpoint", cause).pipe(
        Effect.annotateLogs({ pipeline, restarts: board.restarts })
      )
    }
  })

/** Errors of what was given, and of who may run it: the same again would give the same. */
const finalTags: ReadonlySet<unknown> = new Set([
  "StateIncompatible",
  "OperatorMissing",
  "SinkCannotRewind",
  "SavepointNotFound",
  "InputHadEnded",
  "InvalidArgument",
  "LeaseLost"
])

const isFinal = (cause: Cause.Cause<unknown>): boolean =>
  Cause.isInterruptedOnly(cause) ||
  Chunk.some(
    Cause.failures(cause),
    (failure) =>
      typeof failure === "object" && failure !== null && "_tag" in failure && finalTags.has(failure._tag)
  )

/** What an operator threw, as the error that names the operator. */
const causeOf = (pipeline: string, cause: Cause.Cause<unknown>): Cause.Cause<unknown> => {
  const fault = Option.map(
    Chunk.findFirst(
      Cause.defects(cause),
      (defect): defect is OperatorFault => defect instanceof OperatorFault
    ),
    ({ cause, operator }) => Cause.fail(new OperatorFailed({ pipeline, operator, cause }))
  )
  const taken = Option.map(
    Chunk.findFirst(
      Cause.failures(cause),
      (failure): failure is { readonly _tag: "ActorNameTaken" } =>
        typeof failure === "object" &&
        failure !== null &&
        "_tag" in failure &&
        failure._tag === "ActorNameTaken"
    ),
    () => Cause.fail(invalid("pipeline", "one that does not run in this process already", pipeline))
  )
  return Option.getOrElse(
    Option.orElse(fault, () => taken),
    () => cause
  )
}
