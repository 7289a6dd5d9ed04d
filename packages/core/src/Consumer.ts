/**
 * The actor around {@link ConsumerMachine}: does what the machine says, each thing in a fiber of its own, and tells
 * it what came of it. Everything that consumes the log (subscribers, projections, rebuilds) is one of these with
 * policies of its own.
 *
 *     message ──▶ step ──▶ commands ──▶ read · handle · acknowledge · chore ──▶ message
 *                              hints, poll, renewal of the lease ──▶ message
 *
 * Storage that is away for a while is waited for; a fault that would come again ends the consumer. Whatever ends
 * it, `ended` says why, and closing the scope waits until what is in hand was finished or interrupted.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberMap from "effect/FiberMap"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Actor from "./Actor.js"
import type { ActorRegistry } from "./ActorRegistry.js"
import type {
  ConsumerBounds,
  ConsumerCommand,
  ConsumerInput,
  ConsumerState,
  StopReason
} from "./ConsumerMachine.js"
import * as ConsumerMachine from "./ConsumerMachine.js"
import type { RecordedEvent } from "./Event.js"
import type { LogPage } from "./EventQuery.js"
import { LeaseLost } from "./LeaseLost.js"
import { patient } from "./Patience.js"
import type { Position } from "./Position.js"
import type { SliceProgress } from "./SliceHandler.js"

/** Tells the machine what happened. */
export type Tell<E> = (input: ConsumerInput<E>) => Effect.Effect<void>

/** What a consumer does; the order in which it does it is the machine's. */
export interface ConsumerPolicy<E, R> {
  /** The name of its actor, unique among those that run. */
  readonly name: string
  readonly bounds: ConsumerBounds
  /** Longest time without a look for something new. */
  readonly pollInterval: Duration.Duration
  /** Says that there may be something new, with the head as it is then. */
  readonly hints: Stream.Stream<Position>
  /** Where it stands. */
  readonly acquire: Effect.Effect<{ readonly cursor: Position; readonly paused: boolean }, E, R>
  readonly read: (after: Position, head: Position | undefined) => Effect.Effect<LogPage, E, R>
  /** Handles a slice and counts what is finished, also when it is interrupted. */
  readonly handle: (
    events: ReadonlyArray<RecordedEvent>,
    progress: SliceProgress
  ) => Effect.Effect<void, E, R>
  readonly acknowledge: (cursor: Position, head: Position) => Effect.Effect<void, E, R>
  /** What it was asked to do between two slices. */
  readonly chore: Effect.Effect<void, E, R>
  /** Runs beside it until it ends: keeps the lease. Its failure ends the consumer. */
  readonly control: (tell: Tell<E>) => Effect.Effect<never, E, R>
}

/** Where a consumer stands. */
export interface ConsumerStatus<E> {
  readonly name: string
  readonly phase: ConsumerState<E>["phase"]
  /** Everything up to here is finished. */
  readonly cursor: Position
  /** The cursor that the store has. */
  readonly acknowledged: Position
  /** The newest head that it has seen; none before its first read. */
  readonly head: Option.Option<Position>
  /** Events finished since it was opened. */
  readonly handled: number
  /** Why it ended. */
  readonly reason: Option.Option<StopReason<E>>
}

/** A consumer that runs. */
export interface Consumer<E> {
  readonly status: Effect.Effect<ConsumerStatus<E>>
  readonly ended: Effect.Effect<StopReason<E>>
  /** Interrupts what is in hand, acknowledges what is finished, and ends. */
  readonly stop: Effect.Effect<StopReason<E>>
}

/** Starts a consumer; it ends with the scope. */
export const open = <E, R>(
  policy: ConsumerPolicy<E, R>
): Effect.Effect<Consumer<E>, never, ActorRegistry | Scope.Scope | R> =>
  Effect.gen(function* () {
    const ended = yield* Deferred.make<StopReason<E>>()
    const fibers = yield* FiberMap.make<Work>()
    const fork = yield* FiberMap.runtime(fibers)<R>()
    let state: ConsumerState<E> = ConsumerMachine.initial
    let handled = 0
    let progress: SliceProgress = { finished: 0 }
    let reason: StopReason<E> | undefined

    const advance = (input: Message<E>): ReadonlyArray<ConsumerCommand<E>> => {
      const { commands, state: next } =
        input === begin ? ConsumerMachine.begin<E>() : ConsumerMachine.step(state, input, policy.bounds)
      state = next
      return commands
    }
    const actor = yield* Actor.make({
      name: policy.name,
      initial: Effect.void,
      mailbox: { capacity: mailboxCapacity },
      receive: (_, message: Message<E>) =>
        Effect.sync(() => {
          for (const command of advance(message)) perform(command)
        }),
      onStop: () => Effect.suspend(() => (reason === undefined ? leaveAtOnce : Effect.void))
    }).pipe(Effect.orDie)
    const tell: Tell<E> = (input) => Effect.ignore(actor.tell(input))

    /**
     * Tells what came of it, also when it was interrupted: a lost lease first, then what the machine waits for. What
     * goes wrong while something that was interrupted is undone, on a connection that the server has closed
     * meanwhile, is no fault of it. A defect, and an interruption that did not come from here, is nobody's input: it
     * ends the consumer as it is.
     */
    const telling = <A>(
      effect: Effect.Effect<A, E, R>,
      done: (value: A) => ConsumerInput<E>,
      failed: (error: E) => ReadonlyArray<ConsumerInput<E>>,
      interrupted: () => ReadonlyArray<ConsumerInput<E>> = () => []
    ): Effect.Effect<void, never, R> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.exit(restore(effect)), (exit) => {
          if (Exit.isSuccess(exit)) return tell(done(exit.value))
          const { cause } = exit
          const failure = Option.getOrUndefined(Cause.failureOption(cause))
          if (failure instanceof LeaseLost) return tellAll([{ _tag: "LeaseLost" }, ...interrupted()])
          if (failure !== undefined) return tellAll(failed(failure))
          return Effect.flatMap(FiberRef.get(FiberRef.interruptedCause), (fromHere) =>
            Cause.isEmpty(fromHere)
              ? Effect.asVoid(Deferred.failCause(ended, cause as Cause.Cause<never>))
              : tellAll(interrupted())
          )
        })
      )
    const tellAll = (inputs: ReadonlyArray<ConsumerInput<E>>) =>
      Effect.forEach(inputs, tell, { discard: true })
    const failedWith = (error: E): ReadonlyArray<ConsumerInput<E>> => [{ _tag: "Failed", error }]

    const perform = (command: ConsumerCommand<E>): void => {
      switch (command._tag) {
        case "Acquire":
          fork(
            "acquire",
            telling(patient(policy.acquire), (at) => ({ _tag: "Acquired", ...at }), failedWith)
          )
          fork(
            "hints",
            Stream.runForEach(policy.hints, (head) => tell({ _tag: "Hinted", head }))
          )
          fork("poll", Effect.repeat(tell({ _tag: "Hinted" }), Schedule.spaced(policy.pollInterval)))
          fork(
            "control",
            telling(policy.control(tell), (never) => never, failedWith)
          )
          return
        case "Read":
          fork(
            "read",
            telling(
              patient(policy.read(command.after, command.head)),
              (page) => ({ _tag: "PageRead", page }),
              failedWith
            )
          )
          return
        case "Handle": {
          progress = { finished: 0 }
          const count = (): number => {
            const { finished } = progress
            handled += finished
            return finished
          }
          fork(
            "handle",
            telling(
              policy.handle(command.events, progress),
              () => (count(), { _tag: "Handled" }),
              (error) => [{ _tag: "Broken", finished: count(), error }],
              () => [{ _tag: "Interrupted", finished: count() }]
            )
          )
          return
        }
        case "Acknowledge":
          fork(
            "acknowledge",
            telling(
              patient(policy.acknowledge(command.cursor, command.head)),
              () => ({ _tag: "Acknowledged" }),
              (error) => [{ _tag: "AcknowledgeFailed", error }]
            )
          )
          return
        case "DoChore":
          fork(
            "chore",
            telling(
              policy.chore,
              () => ({ _tag: "ChoreDone" }),
              (error) => [{ _tag: "Failed", error }, { _tag: "ChoreDone" }],
              () => [{ _tag: "ChoreDone" }]
            )
          )
          return
        case "Interrupt":
          fork(
            "interrupt",
            Effect.zipRight(FiberMap.remove(fibers, "handle"), FiberMap.remove(fibers, "chore"))
          )
          return
        case "End":
          reason = command.reason
          fork(
            "end",
            Effect.forEach(
              ["hints", "poll", "control", "read"] as const,
              (work) => FiberMap.remove(fibers, work),
              {
                discard: true
              }
            ).pipe(Effect.zipRight(Deferred.succeed(ended, command.reason)))
          )
          return
      }
    }

    /** The actor was stopped from elsewhere, and takes no more messages: what the machine still wants is done here. */
    const leaveAtOnce = Effect.gen(function* () {
      const left = [...advance({ _tag: "Stopped" })]
      const acknowledge = (cursor: Position, head: Position) =>
        Effect.map(Effect.either(policy.acknowledge(cursor, head)), (stored) => {
          left.push(
            ...advance(
              stored._tag === "Right"
                ? { _tag: "Acknowledged" }
                : { _tag: "AcknowledgeFailed", error: stored.left }
            )
          )
        })
      yield* FiberMap.clear(fibers)
      if (state.acknowledging !== undefined)
        yield* acknowledge(state.acknowledging, state.head ?? state.cursor)
      if (state.handling > 0) left.push(...advance({ _tag: "Interrupted", finished: progress.finished }))
      if (state.chore === "doing") left.push(...advance({ _tag: "ChoreDone" }))
      for (let command = left.shift(); command !== undefined; command = left.shift()) {
        if (command._tag === "Acknowledge") yield* acknowledge(command.cursor, command.head)
        else if (command._tag === "End") reason = command.reason
      }
      const why: StopReason<E> = reason ?? { _tag: "Shutdown" }
      yield* Deferred.succeed(ended, why)
    })

    const stop = Effect.zipRight(tell({ _tag: "Stopped" }), Deferred.await(ended))
    yield* Effect.addFinalizer(() => Effect.ignore(Effect.sandbox(stop)))
    yield* Effect.ignore(actor.tell(begin))
    return {
      status: Effect.sync(() => ({
        name: policy.name,
        phase: state.phase,
        cursor: state.cursor,
        acknowledged: state.acknowledged,
        head: Option.fromNullable(state.head),
        handled,
        reason: Option.fromNullable(reason)
      })),
      ended: Deferred.await(ended),
      stop
    }
  })

// ---- internal ----

type Work =
  "acquire" | "hints" | "poll" | "control" | "read" | "handle" | "acknowledge" | "chore" | "interrupt" | "end"

const begin = "begin"

type Message<E> = typeof begin | ConsumerInput<E>

/** One message of each kind of work may be under way, and a hint. */
const mailboxCapacity = 64
