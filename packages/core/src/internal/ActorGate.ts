/**
 * What everybody outside of an actor touches: its mailbox and its control. All of it happens at once, so that
 * senders, those who control the actor and its fiber always see the same.
 */
import * as Deferred from "effect/Deferred"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import { ActorStopped, MailboxFull } from "../ActorError.js"
import type { ActorFailure, ActorStatus, StopMode } from "../ActorStatus.js"
import { ActorAlarms } from "./ActorAlarms.js"
import * as ActorControl from "./ActorControl.js"
import { ActorMailbox } from "./ActorMailbox.js"
import type { Letter, Postbox } from "./ActorMailbox.js"
import type { CellSettings, Ending } from "./ActorSettings.js"

/** The actor on whose behalf a fiber runs: its own, and those that it forks while it handles a message. */
export const currentActor: FiberRef.FiberRef<object | undefined> = FiberRef.unsafeMake<object | undefined>(
  undefined
)

/** What the fiber is doing. */
type Doing = "nothing" | "loading" | "handling"

export abstract class ActorGate<State, Message, E, F, R> implements Postbox<Message> {
  protected control = ActorControl.beginning
  protected readonly mailbox: ActorMailbox<Message>
  private readonly ended: Deferred.Deferred<void, E | F> = Deferred.unsafeMake(FiberId.none)

  /** Made with the first ask. */
  private ringing: ActorAlarms | undefined

  private fiber: Fiber.RuntimeFiber<void> | undefined
  protected doing: Doing = "nothing"
  protected interrupted = false
  protected wake: ((exit: Exit.Exit<void>) => void) | undefined
  protected cutDelay: ((exit: Exit.Exit<void>) => void) | undefined
  protected loaded = false

  /** Those who wait for the message in hand, since they paused the actor. */
  private quiet: Deferred.Deferred<void> | undefined
  /** Asks that were received and have no answer. */
  protected readonly unanswered = new Set<Letter<Message>>()

  private received = 0
  protected handled = 0
  protected failed = 0
  private dropped = 0
  private refused = 0
  protected loads = 0
  protected startedAt: DateTime.Utc | undefined
  protected lastFailure: ActorFailure | undefined

  constructor(protected readonly settings: CellSettings<State, Message, E, F, R>) {
    this.mailbox = new ActorMailbox(settings.capacity, (letter) => {
      this.received++
      letter.admit?.(Exit.void)
    })
  }

  /** What its fiber does from the first message to the end. */
  protected abstract run(): Effect.Effect<void, never, R>

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

  get alarms(): ActorAlarms {
    return (this.ringing ??= new ActorAlarms(this.settings.fork))
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

  get await(): Effect.Effect<void, E | F> {
    return Deferred.await(this.ended)
  }

  get pause(): Effect.Effect<void> {
    return Effect.withFiberRuntime((fiber) => {
      this.control = ActorControl.onPause(this.control)
      if (this.isInside(fiber)) return Effect.void
      if (!ActorControl.isOpen(this.control)) return this.awaitEnd
      if (!this.isBusy) return Effect.void
      this.quiet ??= Deferred.unsafeMake(FiberId.none)
      return Deferred.await(this.quiet)
    })
  }

  get resume(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.control = ActorControl.onResume(this.control, this.mailbox.size)
      this.quieten()
      if (this.control.phase !== "running") return
      if (this.control.started) this.rouse()
      else this.start()
    })
  }

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

  private get awaitEnd(): Effect.Effect<void> {
    return Effect.asVoid(Effect.exit(this.await))
  }

  private get isBusy(): boolean {
    return this.doing === "loading" || this.doing === "handling"
  }

  /** Takes no more messages; unless it drains, drops those that are there. */
  protected close(mode: StopMode): void {
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

  protected quieten(): void {
    const quiet = this.quiet
    this.quiet = undefined
    if (quiet !== undefined) Deferred.unsafeDone(quiet, Exit.void)
  }

  protected drop(letter: Letter<Message>, error: ActorStopped | MailboxFull): void {
    this.dropped++
    this.unanswered.delete(letter)
    letter.refuse?.(error)
  }

  protected stopped(): ActorStopped {
    return new ActorStopped({ actor: this.settings.name })
  }

  private full(): MailboxFull {
    return new MailboxFull({ actor: this.settings.name, capacity: this.settings.capacity })
  }

  private start(): void {
    this.control = ActorControl.onStarted(this.control)
    this.fiber = this.settings.fork(this.run())
  }

  /** The end, all at once: nobody sees it half ended. */
  protected end(end: Ending<E | F>): void {
    this.close("finish")
    for (const letter of this.unanswered) letter.refuse?.(this.stopped())
    this.unanswered.clear()
    this.ringing?.end()
    this.doing = "nothing"
    this.control = ActorControl.onEnded(this.control)
    this.settings.onEnded({ ...end, status: this.status() })
    this.quieten()
    Deferred.unsafeDone(this.ended, end.exit)
  }

  protected get turn(): ActorControl.Turn {
    return ActorControl.turnOf(this.control, this.mailbox.size, this.loaded)
  }
}
