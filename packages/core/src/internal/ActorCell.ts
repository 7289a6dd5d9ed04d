/**
 * One actor: its mailbox, its control, and the one fiber that owns its state. Everything here that is not an effect
 * happens at once, so that senders, those who control it and its fiber always see the same.
 *
 *   tell, ask ──▶ mailbox ──▶ ┌ a life: load ─▶ handle ⇄ wait ┐ ──failure──▶ supervision: on with the state,
 *   pause, stop ─▶ control ─▶ └───────────────────────────────┘              a new life, or the end
 *
 * A life is from one run of `initial` to the next; it has a scope of its own, which is closed before the next
 * begins. The fiber runs uninterruptible but for the user's parts, and is interrupted by `stop` alone.
 */
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { ActorFailed, ActorStopped, MailboxFull } from "../ActorError.js"
import type { ActorFailure, ActorStatus, StopMode } from "../ActorStatus.js"
import * as ActorControl from "./ActorControl.js"
import { ActorAlarms } from "./ActorAlarms.js"
import { ActorMailbox } from "./ActorMailbox.js"
import type { Letter, Postbox } from "./ActorMailbox.js"
import type { CellSettings, Directive, Ending } from "./ActorSettings.js"

/** The actor on whose behalf a fiber runs: its own, and those that it forks while it handles a message. */
export const currentActor: FiberRef.FiberRef<object | undefined> = FiberRef.unsafeMake<object | undefined>(
  undefined
)

/** What the fiber is doing. */
type Doing = "nothing" | "loading" | "handling"

/** How a life goes on. */
type Outcome<E, F> =
  { readonly _tag: "Restart"; readonly cause: Cause.Cause<E> } | ({ readonly _tag: "End" } & Ending<E | F>)

export class ActorCell<State, Message, E, F, R> implements Postbox<Message> {
  private control = ActorControl.beginning
  private readonly mailbox: ActorMailbox<Message>
  private readonly ended: Deferred.Deferred<void, E | F> = Deferred.unsafeMake(FiberId.none)

  readonly alarms: ActorAlarms

  private fiber: Fiber.RuntimeFiber<void> | undefined
  private doing: Doing = "nothing"
  private interrupted = false
  private wake: ((exit: Exit.Exit<void>) => void) | undefined
  private cutDelay: ((exit: Exit.Exit<void>) => void) | undefined
  private inHand: Letter<Message> | undefined
  private state: State | undefined
  private loaded = false

  /** Those who wait for the message in hand, since they paused the actor. */
  private quiet: Deferred.Deferred<void> | undefined
  /** Asks that were received and have no answer. */
  private readonly unanswered = new Set<Letter<Message>>()
  /** Where the schedule stands in this row of failures; undefined when the last message was handled. */
  private row: Schedule.ScheduleDriver<unknown, Cause.Cause<E>> | undefined

  private received = 0
  private handled = 0
  private failed = 0
  private dropped = 0
  private refused = 0
  private loads = 0
  private startedAt: DateTime.Utc | undefined
  private lastFailure: ActorFailure | undefined

  constructor(private readonly settings: CellSettings<State, Message, E, F, R>) {
    this.alarms = new ActorAlarms(settings.fork)
    this.mailbox = new ActorMailbox(settings.capacity, (letter) => {
      this.received++
      letter.admit?.(Exit.void)
    })
  }

  // ---- sending ----

  post(
    letter: Letter<Message>,
    sender: Fiber.RuntimeFiber<unknown, unknown> | undefined
  ): "received" | "waiting" | ActorStopped | MailboxFull {
    if (!ActorControl.isOpen(this.control)) return this.stopped()
    if (!this.mailbox.hasRoom(false)) {
      const { strategy } = this.settings
      const own = sender !== undefined && this.isInside(sender)
      if (strategy === "slide") this.drop(this.mailbox.take("gone")!, this.full())
      else if (strategy === "suspend" && sender !== undefined && !own) {
        this.mailbox.wait(letter)
        return "waiting"
      } else if (!own || !this.mailbox.hasRoom(true)) {
        this.refused++
        return this.full()
      }
    }
    this.received++
    this.mailbox.add(letter)
    if (this.control.phase === "idle") {
      this.control = ActorControl.onMessage(this.control)
      this.start()
    } else if (this.wake !== undefined) this.rouse()
    return "received"
  }

  get hasRoom(): boolean {
    return ActorControl.isOpen(this.control) && this.mailbox.hasRoom(false)
  }

  withdraw(letter: Letter<Message>): void {
    this.unanswered.delete(letter)
    if (this.mailbox.remove(letter) === "mailbox") this.dropped++
    if (!ActorControl.isOpen(this.control)) this.hasten()
  }

  // ---- control ----

  status(): ActorStatus {
    return {
      name: this.settings.name,
      phase: this.control.phase,
      busy: this.isBusy,
      counters: {
        received: this.received,
        handled: this.handled,
        failed: this.failed,
        dropped: this.dropped,
        refused: this.refused,
        restarts: Math.max(0, this.loads - 1)
      },
      mailbox: {
        size: this.mailbox.size,
        capacity: this.settings.capacity,
        strategy: this.settings.strategy,
        senders: this.mailbox.senders
      },
      startedAt: Option.fromNullable(this.startedAt),
      lastFailure: Option.fromNullable(this.lastFailure)
    }
  }

  readonly await: Effect.Effect<void, E | F> = Deferred.await(this.ended)

  readonly pause: Effect.Effect<void> = Effect.withFiberRuntime((fiber) => {
    this.control = ActorControl.onPause(this.control)
    if (this.isInside(fiber)) return Effect.void
    if (!ActorControl.isOpen(this.control)) return this.awaitEnd
    if (!this.isBusy) return Effect.void
    this.quiet ??= Deferred.unsafeMake(FiberId.none)
    return Deferred.await(this.quiet)
  })

  readonly resume: Effect.Effect<void> = Effect.sync(() => {
    this.control = ActorControl.onResume(this.control, this.mailbox.size)
    this.quieten()
    if (this.control.phase !== "running") return
    if (this.control.started) this.rouse()
    else this.start()
  })

  stop(mode: StopMode): Effect.Effect<void> {
    return Effect.withFiberRuntime((fiber) => {
      if (this.control.phase === "stopped") return Effect.void
      this.close(mode)
      const wait = this.isInside(fiber) ? Effect.void : this.awaitEnd
      if (this.control.started) {
        this.hasten()
        this.rouse()
        return wait
      }
      if (this.mailbox.size > 0) {
        this.start()
        return wait
      }
      this.end({ exit: Exit.void, escalated: false })
      return this.settings.disown
    })
  }

  /** Whether the fiber runs on behalf of this actor, so that waiting for it would be waiting for itself. */
  isInside(fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean {
    return fiber.getFiberRef(currentActor) === this
  }

  private readonly awaitEnd: Effect.Effect<void> = Effect.asVoid(Effect.exit(this.await))

  private get isBusy(): boolean {
    return this.doing === "loading" || this.doing === "handling"
  }

  /** Takes no more messages; unless it drains, drops those that are there. */
  private close(mode: StopMode): void {
    this.control = ActorControl.onStop(this.control, mode)
    for (const letter of this.mailbox.dismissSenders()) {
      letter.admit?.(Exit.fail(this.stopped()))
      letter.refuse?.(this.stopped())
    }
    if (this.control.mode === "drain") return
    for (const letter of this.mailbox.clear()) this.drop(letter, this.stopped())
  }

  /** Cuts short what a stop does not wait for: a delay, an `initial` that no message needs, with "interrupt" all. */
  private hasten(): void {
    const isNeeded = this.doing === "loading" ? this.turn !== "end" : this.control.mode !== "interrupt"
    if (!isNeeded && this.isBusy && !this.interrupted) {
      this.interrupted = true
      this.fiber?.unsafeInterruptAsFork(FiberId.none)
    }
    this.cutDelay?.(Exit.void)
  }

  private rouse(): void {
    const wake = this.wake
    this.wake = undefined
    wake?.(Exit.void)
  }

  private quieten(): void {
    const quiet = this.quiet
    this.quiet = undefined
    if (quiet !== undefined) Deferred.unsafeDone(quiet, Exit.void)
  }

  private drop(letter: Letter<Message>, error: ActorStopped | MailboxFull): void {
    this.dropped++
    this.unanswered.delete(letter)
    letter.refuse?.(error)
  }

  private stopped(): ActorStopped {
    return new ActorStopped({ actor: this.settings.name })
  }

  private full(): MailboxFull {
    return new MailboxFull({ actor: this.settings.name, capacity: this.settings.capacity })
  }

  private start(): void {
    this.control = ActorControl.onStarted(this.control)
    this.fiber = this.settings.fork(this.run)
  }

  /** The end, all at once: nobody sees it half ended. */
  private end(end: Ending<E | F>): void {
    this.close("finish")
    for (const letter of this.unanswered) letter.refuse?.(this.stopped())
    this.unanswered.clear()
    this.alarms.end()
    this.state = undefined
    this.doing = "nothing"
    this.control = ActorControl.onEnded(this.control)
    this.settings.onEnded({ ...end, status: this.status() })
    this.quieten()
    Deferred.unsafeDone(this.ended, end.exit)
  }

  // ---- the fiber ----

  private get turn(): ActorControl.Turn {
    return ActorControl.turnOf(this.control, this.mailbox.size, this.loaded)
  }

  private readonly load: Effect.Effect<void, E, R> = Effect.suspend(() => {
    this.doing = "loading"
    this.loads++
    return Effect.map(this.settings.initial, (state) => {
      this.state = state
      this.loaded = true
    })
  })

  /**
   * Handles messages for as long as there are any and nobody says otherwise.
   *
   * Hot: NUMBERS.
   */
  private readonly handle: Effect.Effect<void, E, R> = Effect.suspend(() => {
    this.doing = "handling"
    return Effect.whileLoop({
      while: () => this.turn === "handle",
      body: () => {
        const letter = this.mailbox.take("received")!
        this.inHand = letter
        if (letter.refuse !== undefined) this.unanswered.add(letter)
        return this.settings.receive(this.state as State, letter.message)
      },
      step: (state) => {
        this.state = state
        this.inHand = undefined
        this.handled++
        this.row = undefined
      }
    })
  })

  /** Looks once more where nothing can come between: the fiber may have yielded since it last looked. */
  private readonly sleep: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.turn === "wait") this.wake = resume
    else resume(Exit.void)
  })

  private readonly run: Effect.Effect<void, never, R> = Effect.gen(this, function* () {
    this.startedAt = yield* DateTime.now
    let outcome: Outcome<E, F>
    do {
      const scope = yield* Scope.make()
      outcome = (yield* Effect.provideService(this.life, Scope.Scope, scope)) as Outcome<E, F>
      const exit = outcome._tag === "End" ? outcome.exit : Exit.failCause(outcome.cause)
      const closed = yield* Effect.exit(Scope.close(scope, exit))
      if (Exit.isFailure(closed)) outcome = yield* this.failToLeave(outcome, closed.cause)
      else if (outcome._tag === "Restart") outcome = yield* this.delay(outcome)
    } while (outcome._tag === "Restart")
    this.end(outcome)
    yield* this.settings.disown
  }).pipe(Effect.locally(currentActor, this), Effect.uninterruptible)

  /** From `initial` to the end or the next `initial`. */
  private readonly life: Effect.Effect<Outcome<E, F>, never, R> = Effect.gen(this, function* () {
    for (;;) {
      const turn = this.turn
      if (turn === "end") return yield* this.leave({ exit: Exit.void, escalated: false })
      if (turn === "wait") {
        yield* this.sleep
        continue
      }
      const exit = yield* Effect.exit(Effect.interruptible(turn === "load" ? this.load : this.handle))
      const outcome = Exit.isSuccess(exit) ? this.settle() : yield* this.supervise(exit.cause)
      if (outcome === undefined) continue
      if (outcome._tag === "End") return yield* this.leave(outcome)
      return outcome
    }
  })

  /** Nothing is in hand any more. */
  private settle(): undefined {
    this.inHand = undefined
    this.doing = "nothing"
    this.quieten()
  }

  /** What becomes of a failure; undefined when this life goes on. */
  private supervise(cause: Cause.Cause<E>): Effect.Effect<Outcome<E, never> | undefined> {
    return Effect.gen(this, function* () {
      const letter = this.inHand
      const isStop = this.interrupted && Cause.isInterruptedOnly(cause)
      if (letter !== undefined && isStop) this.drop(letter, this.stopped())
      if (letter !== undefined && !isStop) {
        this.failed++
        this.fail(letter, cause)
      }
      this.settle()
      if (isStop) return undefined
      yield* this.note(cause)
      let whole = cause
      let directive: Directive
      try {
        directive = this.settings.directiveOf(
          cause,
          Option.map(Option.fromNullable(letter), ({ message }) => message)
        )
      } catch (defect) {
        whole = Cause.sequential(cause, Cause.die(defect))
        directive = "stop"
      }
      yield* this.warn(whole, directive)
      // Without a state there is nothing to drain with.
      if (letter === undefined && !ActorControl.isOpen(this.control)) directive = sterner(directive)
      if (directive === "resume" && this.loaded) {
        const outcome = yield* this.delay({ _tag: "Restart", cause })
        return outcome._tag === "End" ? outcome : undefined
      }
      if (directive === "stop" || directive === "escalate") {
        return { _tag: "End", exit: Exit.failCause(whole), escalated: directive === "escalate" }
      }
      return this.restart(cause)
    })
  }

  /** The state is given up, and with it the asks that only it knew of. */
  private restart(cause: Cause.Cause<E>): Outcome<E, never> {
    this.loaded = false
    this.state = undefined
    for (const letter of this.unanswered) this.fail(letter, cause)
    return { _tag: "Restart", cause }
  }

  private fail(letter: Letter<Message>, cause: Cause.Cause<E>): void {
    this.unanswered.delete(letter)
    letter.refuse?.(new ActorFailed({ actor: this.settings.name, cause: Cause.squash(cause) }))
  }

  /**
   * Waits as the schedule says; the end when it says that this was enough. An actor that is stopping neither waits
   * nor asks: each message fails but once, so that a drain comes to an end.
   */
  private delay(
    outcome: Outcome<E, never> & { readonly _tag: "Restart" }
  ): Effect.Effect<Outcome<E, never>> {
    return Effect.gen(this, function* () {
      this.row ??= yield* Schedule.driver(this.settings.schedule)
      const delayed = yield* Effect.exit(
        Effect.interruptible(Effect.raceFirst(this.stopping, this.row.next(outcome.cause)))
      )
      this.cutDelay = undefined
      if (Exit.isSuccess(delayed)) return outcome
      const defects = Cause.keepDefects(delayed.cause)
      const cause = Option.isSome(defects) ? Cause.sequential(outcome.cause, defects.value) : outcome.cause
      return { _tag: "End", exit: Exit.failCause(cause), escalated: false }
    })
  }

  /** Returns when the actor is told to stop, while it delays. */
  private readonly stopping: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (ActorControl.isOpen(this.control)) this.cutDelay = resume
    else resume(Exit.void)
  })

  private leave(end: Ending<E>): Effect.Effect<Outcome<E, F>, never, R> {
    return Effect.suspend(() => {
      this.close("finish")
      const outcome: Outcome<E, F> = { _tag: "End", ...end }
      if (!this.loaded) return Effect.succeed(outcome)
      return Effect.suspend(() => this.settings.onStop(this.state as State, end.exit)).pipe(
        Effect.as(outcome),
        Effect.catchAllCause((cause) => this.failToLeave(outcome, cause))
      )
    })
  }

  /** A finalizer failed: whatever the actor was about to do, it ends by that. */
  private failToLeave(outcome: Outcome<E, F>, cause: Cause.Cause<F>): Effect.Effect<Outcome<E, F>> {
    return Effect.gen(this, function* () {
      this.close("finish")
      yield* this.note(cause)
      yield* this.warn(cause, "stop")
      const before: Cause.Cause<E | F> | undefined =
        outcome._tag === "Restart"
          ? outcome.cause
          : Exit.isFailure(outcome.exit)
            ? outcome.exit.cause
            : undefined
      const whole = before === undefined ? cause : Cause.sequential(before, cause)
      const escalated = outcome._tag === "End" && outcome.escalated
      return { _tag: "End", exit: Exit.failCause(whole), escalated }
    })
  }

  private warn(cause: Cause.Cause<E | F>, directive: Directive): Effect.Effect<void> {
    const { name } = this.settings
    return Effect.annotateLogs(Effect.logWarning("actor failed", cause), { actor: name, directive })
  }

  private note(cause: Cause.Cause<E | F>): Effect.Effect<void> {
    return Effect.map(DateTime.now, (at) => {
      this.lastFailure = { at, cause }
    })
  }
}

// ---- internal ----

const sterner = (directive: Directive): Directive => (directive === "escalate" ? "escalate" : "stop")
