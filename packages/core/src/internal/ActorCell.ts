/**
 * The one fiber of an actor, which owns its state, and what it does about failures.
 *
 *   tell, ask ──▶ mailbox ──▶ ┌ a life: load ─▶ handle ⇄ wait ┐ ──failure──▶ supervision: on with the state,
 *   pause, stop ─▶ control ─▶ └───────────────────────────────┘              a new life, or the end
 *
 * A life is from one run of `initial` to the next; it has a scope of its own, which is closed before the next
 * begins. The fiber runs uninterruptible but for the user's parts, and is interrupted by `stop` alone.
 */
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { ActorFailed } from "../ActorError.js"
import * as ActorControl from "./ActorControl.js"
import { ActorGate, currentActor } from "./ActorGate.js"
import type { Letter } from "./ActorMailbox.js"
import type { Directive, Ending } from "./ActorSettings.js"

/** How a life goes on. */
type Outcome<E, F> =
  { readonly _tag: "Restart"; readonly cause: Cause.Cause<E> } | ({ readonly _tag: "End" } & Ending<E | F>)

export class ActorCell<State, Message, E, F, R> extends ActorGate<State, Message, E, F, R> {
  private inHand: Letter<Message> | undefined
  private state: State | undefined
  /** Where the schedule stands in this row of failures; undefined when the last message was handled. */
  private row: Schedule.ScheduleDriver<unknown, Cause.Cause<E>> | undefined

  protected run(): Effect.Effect<void, never, R> {
    return Effect.gen(this, function* () {
      this.startedAt = yield* DateTime.now
      let outcome: Outcome<E, F>
      do {
        const scope = yield* Scope.make()
        outcome = (yield* Effect.provideService(this.life(), Scope.Scope, scope)) as Outcome<E, F>
        const exit = outcome._tag === "End" ? outcome.exit : Exit.failCause(outcome.cause)
        const closed = yield* Effect.exit(Scope.close(scope, exit))
        if (Exit.isFailure(closed)) outcome = yield* this.failToLeave(outcome, closed.cause)
        else if (outcome._tag === "Restart") outcome = yield* this.delay(outcome)
      } while (outcome._tag === "Restart")
      this.state = undefined
      this.end(outcome)
      yield* this.settings.disown
    }).pipe(Effect.locally(currentActor, this), Effect.uninterruptible)
  }

  /** From `initial` to the end or the next `initial`. */
  private life(): Effect.Effect<Outcome<E, F>, never, R> {
    return Effect.gen(this, function* () {
      for (;;) {
        const turn = this.turn
        if (turn === "end") return yield* this.leave({ exit: Exit.void, escalated: false })
        if (turn === "wait") {
          yield* this.sleep()
          continue
        }
        const exit = yield* Effect.exit(Effect.interruptible(turn === "load" ? this.load() : this.handle()))
        const outcome = Exit.isSuccess(exit) ? this.settle() : yield* this.supervise(exit.cause)
        if (outcome === undefined) continue
        if (outcome._tag === "End") return yield* this.leave(outcome)
        return outcome
      }
    })
  }

  private load(): Effect.Effect<void, E, R> {
    this.doing = "loading"
    this.loads++
    return Effect.map(this.settings.initial, (state) => {
      this.state = state
      this.loaded = true
    })
  }

  /**
   * Handles messages for as long as there are any and nobody says otherwise.
   *
   * Hot: 2 M messages a second from one sender, 370 k from 100 senders that wait for room in a mailbox of 64, where
   * `receive` is an `Effect.succeed` (Node 20, 2 cores). One loop in one fiber, which nothing wraps per message:
   * a failure ends the loop, and who ended it is in `inHand`.
   */
  private handle(): Effect.Effect<void, E, R> {
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
  }

  /** Looks once more where nothing can come between: the fiber may have yielded since it last looked. */
  private sleep(): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (this.turn === "wait") this.wake = resume
      else resume(Exit.void)
    })
  }

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
  private delay(outcome: Outcome<E, never> & { readonly _tag: "Restart" }): Effect.Effect<Outcome<E, never>> {
    return Effect.gen(this, function* () {
      this.row ??= yield* Schedule.driver(this.settings.schedule)
      const delayed = yield* Effect.exit(
        Effect.interruptible(Effect.raceFirst(this.stopping(), this.row.next(outcome.cause)))
      )
      this.cutDelay = undefined
      if (Exit.isSuccess(delayed)) return outcome
      const defects = Cause.keepDefects(delayed.cause)
      const cause = Option.isSome(defects) ? Cause.sequential(outcome.cause, defects.value) : outcome.cause
      return { _tag: "End", exit: Exit.failCause(cause), escalated: false }
    })
  }

  /** Returns when the actor is told to stop, while it delays. */
  private stopping(): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (ActorControl.isOpen(this.control)) this.cutDelay = resume
      else resume(Exit.void)
    })
  }

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
