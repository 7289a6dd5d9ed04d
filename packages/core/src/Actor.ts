/**
 * An actor: one fiber that owns one state, and one bounded mailbox from which it handles messages one after
 * another. Everything in Millrace that runs is one.
 *
 *   tell, ask ──▶ [ mailbox: at most `capacity` ] ──▶ receive(state, message) ──▶ the next state
 *                                                        │ fails
 *                                                        └──▶ restart · resume · stop · escalate
 *
 * Promises:
 *
 *  1. Messages of one sender are handled in the order told, each at most once, never two at a time.
 *  2. A message that was told is handled, unless the actor ends before or newer ones push it out ("slide"); both
 *     are counted. One on which `receive` failed is not handled again, since it might fail for ever and hold up
 *     all behind it: it is shown to `onFailure`, counted and logged.
 *  3. An ask ends: with the answer, at once with what happened instead, or with `AskTimeout`.
 *  4. Whoever pauses or stops it waits for the message in hand, when it drains for the mailbox, and for nothing
 *     else; the actor itself, within its own `receive`, does not wait.
 *  5. No failure and no defect goes unseen: it is in `status` and in the log, and the one that ended the actor is
 *     what `await` fails with.
 *
 * Mailbox and state live in this process only. What must outlive it belongs in the log.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { ActorFailed, AskTimeout } from "./ActorError.js"
import type { ActorNameTaken, ActorStopped, AskError, MailboxFull } from "./ActorError.js"
import type { ActorRef, Reply } from "./ActorRef.js"
import { ActorRegistry } from "./ActorRegistry.js"
import type { Registration } from "./ActorRegistry.js"
import type { MailboxStrategy, StopMode } from "./ActorStatus.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import type { Alarm } from "./internal/ActorAlarms.js"
import { ActorCell } from "./internal/ActorCell.js"
import { currentActor } from "./internal/ActorGate.js"
import type { Letter, Postbox } from "./internal/ActorMailbox.js"
import type { ActorEnd, Directive } from "./internal/ActorSettings.js"
import { textFault } from "./Text.js"

export type { ActorHandle, ActorRef, Reply } from "./ActorRef.js"
export type { ActorRegistry } from "./ActorRegistry.js"
export type { Directive } from "./internal/ActorSettings.js"

/** How much an actor's mailbox holds, and what happens when that is not enough. */
export interface MailboxOptions {
  /**
   * Most messages that wait to be handled; the one in hand is not among them. Unit: messages. Range: 1 to
   * 1 000 000. Default: 1 024. Larger rides out longer bursts; smaller tells senders sooner, and stops sooner
   * when it drains.
   */
  readonly capacity?: number | undefined
  /** Default: "suspend". */
  readonly strategy?: MailboxStrategy | undefined
}

/** What follows a failure or defect of `initial` or `receive`. */
export interface Supervision<Message, E> {
  /**
   * What to do; a function decides by the failure and the message, which is none for one of `initial`.
   *
   * - `restart`: gives the state up, closes its scope and runs `initial` again. Asks that were received and
   *   have no answer fail, since the state that knew of them is gone. Messages in the mailbox stay.
   * - `resume`: goes on with the state as it was before the message; a state that `receive` changes in place
   *   is as `receive` left it. Where `initial` failed there is none, and it is a restart.
   * - `stop`: ends by the failure.
   * - `escalate`: ends by the failure, and `ActorRegistry.escalated` fails, by which the program should end.
   *
   * Default: "stop".
   */
  readonly onFailure?:
    Directive | ((cause: Cause.Cause<E>, message: Option.Option<Message>) => Directive) | undefined
  /**
   * How long to wait before a restart or before going on, and how often: when it is done the actor stops by the
   * failure. It begins anew with the first failure after a message was handled, so `Schedule.recurs(3)` allows
   * three failures in a row. Default: from 100 ms, doubled each time up to 30 seconds, without end.
   */
  readonly schedule?: Schedule.Schedule<unknown, Cause.Cause<E>> | undefined
}

/**
 * What an actor is made of. `initial` and `receive` have a scope that lasts until the next restart or the end: what
 * they acquire in it is released then, and what they fork in it is interrupted.
 */
export interface ActorOptions<State, Message, E1, R1, E2 = E1, R2 = R1, E3 = never, R3 = never> {
  /** Unique among the living actors of the registry, for example `subscriber/mails/3`. Range: 1 to 255 code points. */
  readonly name: string
  /**
   * Makes the first state, and another one at each restart. An effect also where the state is a plain value
   * (`Effect.succeed(0)`): an `Option` as state could not be told from an effect that gives one. A function is
   * given the actor, to tell it how to go on after a restart: `(self: ActorRef<Message>) => …`.
   */
  readonly initial: Effect.Effect<State, E1, R1> | ((self: ActorRef<Message>) => Effect.Effect<State, E1, R1>)
  /** Handles one message and gives the next state. One that throws is a defect like any other. */
  readonly receive: (state: State, message: Message, self: ActorRef<Message>) => Effect.Effect<State, E2, R2>
  /**
   * Runs once, when the actor ends and has a state, before its scope is closed; not at a restart. Cannot be
   * interrupted. Asks can still be answered in it.
   */
  readonly onStop?: ((state: State, end: Exit.Exit<void, E1 | E2>) => Effect.Effect<void, E3, R3>) | undefined
  readonly mailbox?: MailboxOptions | undefined
  readonly supervision?: Supervision<Message, E1 | E2> | undefined
  /**
   * How it stops when its scope or its registry closes. Default: "drain". For an actor whose messages may take
   * for ever, such as a long poll: "interrupt".
   */
  readonly shutdown?: StopMode | undefined
}

/**
 * Makes an actor and enters it in the {@link ActorRegistry}. Nothing runs before the first message. Closing the
 * scope stops it; one that ended before leaves nothing behind in the scope.
 *
 * Its effects run with the services, and with the log annotations and the like, of whoever makes it, not of whoever
 * sends the first message.
 *
 * Fails with `ActorNameTaken` (choose another name, or stop the other), `InvalidArgument` (correct the field).
 *
 * @example
 * ```ts
 * const counter = yield* Actor.make({
 *   name: "counter",
 *   initial: Effect.succeed(0),
 *   receive: (count, message: Add | Get) =>
 *     message._tag === "Add"
 *       ? Effect.succeed(count + message.amount)
 *       : Effect.as(message.reply.succeed(count), count)
 * })
 * yield* counter.tell({ _tag: "Add", amount: 2 })
 * const count = yield* counter.ask((reply: Actor.Reply<number>): Get => ({ _tag: "Get", reply }))
 * ```
 */
export const make = <State, Message, E1, R1, E2 = E1, R2 = R1, E3 = never, R3 = never>(
  options: ActorOptions<State, Message, E1, R1, E2, R2, E3, R3>
): Effect.Effect<
  ActorRef<Message, E1 | E2 | E3>,
  ActorNameTaken | InvalidArgument,
  ActorRegistry | Scope.Scope | R1 | R2 | R3
> =>
  Effect.gen(function* () {
    const fault = optionsFault(options)
    if (fault !== undefined) return yield* fault
    const registry = yield* ActorRegistry
    const runtime = yield* Effect.runtime<Scope.Scope | R1 | R2 | R3>()
    const { initial, name, onStop, receive, supervision } = options
    const onFailure = supervision?.onFailure ?? "stop"
    const shutdown = options.shutdown ?? "drain"
    let release: Registration | undefined
    let own: Scope.CloseableScope | undefined

    const cell: ActorCell<State, Message, E1 | E2, E3, Scope.Scope | R1 | R2 | R3> = new ActorCell<
      State,
      Message,
      E1 | E2,
      E3,
      Scope.Scope | R1 | R2 | R3
    >({
      name,
      capacity: options.mailbox?.capacity ?? capacityDefault,
      strategy: options.mailbox?.strategy ?? "suspend",
      initial: isEffect(initial) ? initial : Effect.suspend(() => initial(self)),
      receive: (state, message) => receive(state, message, self),
      onStop: onStop ?? (() => Effect.void),
      directiveOf: typeof onFailure === "function" ? onFailure : () => onFailure,
      schedule: supervision?.schedule ?? scheduleDefault,
      fork: (fiber) => Runtime.runFork(runtime, fiber, { immediate: false }),
      onEnded: (end) => release?.(endOf(end)),
      disown: Effect.suspend(() => (own === undefined ? Effect.void : Scope.close(own, Exit.void)))
    })
    const self = refOf(name, cell)
    yield* Effect.uninterruptible(
      Effect.gen(function* () {
        release = yield* registry.register({ ...self, shutdown })
        own = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
        yield* Scope.addFinalizer(own, cell.stop(shutdown))
      })
    )
    return self
  })

/**
 * Runs an effect as somebody else than the actor in whose `receive` it was started. Fibers that `receive` forks
 * count as the actor itself: they do not wait for room in its mailbox or for it to pause or stop, as `receive` might
 * wait for them. A fiber in the background, for which it does not wait, is free of that when wrapped in this.
 */
export const outside = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.locally(effect, currentActor, undefined)

// ---- internal ----

const capacityDefault = 1_024
const capacityMax = 1_000_000
const nameCodePointsMax = 255
const askTimeoutDefault = Duration.seconds(5)

const scheduleDefault = Schedule.union(Schedule.exponential("100 millis"), Schedule.spaced("30 seconds"))

const strategies: ReadonlyArray<unknown> = [
  "suspend",
  "drop",
  "slide"
] satisfies ReadonlyArray<MailboxStrategy>

/** By its declared type, which a check by `Effect.isEffect` alone would widen. */
const isEffect = <A, E, R, F>(initial: Effect.Effect<A, E, R> | F): initial is Effect.Effect<A, E, R> =>
  Effect.isEffect(initial)

function optionsFault(options: {
  readonly name: string
  readonly mailbox?: MailboxOptions | undefined
}): InvalidArgument | undefined {
  const nameFault = textFault(options.name, nameCodePointsMax)
  if (nameFault !== undefined) {
    return invalid("name", `1 to ${nameCodePointsMax} code points, no NUL, no lone surrogate`, options.name)
  }
  const { capacity = capacityDefault, strategy = "suspend" } = options.mailbox ?? {}
  if (!Number.isInteger(capacity) || capacity < 1 || capacity > capacityMax) {
    return invalid("mailbox.capacity", `an integer of 1 to ${capacityMax} messages`, capacity)
  }
  return strategies.includes(strategy)
    ? undefined
    : invalid("mailbox.strategy", `"suspend", "drop" or "slide"`, strategy)
}

/** How the registry is told of an end. */
const endOf = <E>({ escalated, exit, status }: ActorEnd<E>): Parameters<Registration>[0] => {
  if (Exit.isSuccess(exit)) return {}
  const cause = Cause.squash(exit.cause)
  return { failed: status, escalated: escalated ? new ActorFailed({ actor: status.name, cause }) : undefined }
}

const refOf = <State, Message, E, F, R>(
  name: string,
  cell: ActorCell<State, Message, E, F, R>
): ActorRef<Message, E | F> => ({
  name,
  status: Effect.sync(() => cell.status()),
  pause: cell.pause,
  resume: cell.resume,
  stop: (options) => cell.stop(options?.mode ?? "drain"),
  await: cell.await,
  // Hot: a message to an actor that has room is one effect and one small object.
  tell: (message) =>
    Effect.suspend(() => {
      if (!cell.hasRoom) return tellWhenFull(cell, message)
      cell.post(letterOf(message), undefined)
      return Effect.void
    }),
  unsafeTell: (message) => cell.post(letterOf(message), undefined) === "received",
  ask: (toMessage, options) =>
    ask(name, cell, toMessage, Duration.decode(options?.timeout ?? askTimeoutDefault))
})

const letterOf = <Message>(message: Message): Letter<Message> => ({
  message,
  place: "new",
  admit: undefined,
  refuse: undefined
})

/** Also where there is room again by now: everything is decided anew, in the one step that hands the letter over. */
const tellWhenFull = <Message>(
  actor: Postbox<Message>,
  message: Message
): Effect.Effect<void, ActorStopped | MailboxFull> =>
  Effect.withFiberRuntime((fiber) =>
    Effect.async<void, ActorStopped | MailboxFull>((resume) => {
      const letter: Letter<Message> = { message, place: "new", admit: resume, refuse: undefined }
      const posted = actor.post(letter, fiber)
      if (posted === "waiting") return Effect.sync(() => actor.withdraw(letter))
      return resume(posted === "received" ? Effect.void : Effect.fail(posted))
    })
  )

/**
 * The answer comes by a deferred and not as the value of a fiber, which would keep it alive through minor garbage
 * collections.
 *
 * Hot: 15 µs of CPU an ask, answered in `receive` (one asker after the other; Node 20, 2 cores).
 */
const ask = <Message, A, E2>(
  name: string,
  actor: Postbox<Message>,
  toMessage: (reply: Reply<A, E2>) => Message,
  timeout: Duration.Duration
): Effect.Effect<A, E2 | AskError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiberRuntime((fiber) => {
      const answer = Deferred.unsafeMake<A, E2 | AskError>(fiber.id())
      const settle = once((exit: Exit.Exit<A, E2 | AskError>) => Deferred.unsafeDone(answer, exit))
      const letter: Letter<Message> = {
        message: toMessage(replyOf(settle)),
        place: "new",
        admit: undefined,
        refuse: (error) => void settle(Exit.fail(error))
      }
      const posted = actor.post(letter, fiber)
      if (typeof posted === "object") return Effect.fail(posted)
      const timeoutMs = Duration.toMillis(timeout)
      const nowMs = Context.get(fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeMillis()
      const alarm: Alarm = {
        atMs: nowMs + timeoutMs,
        ring: () => {
          const received = letter.place === "received"
          actor.withdraw(letter)
          settle(Exit.fail(new AskTimeout({ actor: name, timeoutMs, received })))
        }
      }
      if (timeoutMs < Infinity) actor.alarms.arm(alarm)
      return Effect.onExit(restore(Deferred.await(answer)), () =>
        Effect.sync(() => {
          actor.alarms.disarm(alarm)
          actor.withdraw(letter)
        })
      )
    })
  )

/** Does it the first time and says whether it did. */
const once = <A>(perform: (value: A) => void): ((value: A) => boolean) => {
  let isDone = false
  return (value) => {
    if (isDone) return false
    isDone = true
    perform(value)
    return true
  }
}

const replyOf = <A, E>(settle: (exit: Exit.Exit<A, E>) => boolean): Reply<A, E> => ({
  succeed: (value) => Effect.sync(() => settle(Exit.succeed(value))),
  fail: (error) => Effect.sync(() => settle(Exit.fail(error))),
  done: (exit) => Effect.sync(() => settle(exit)),
  unsafeDone: settle
})
