/**
 * How one holds an actor: by its {@link ActorRef} who knows its messages, by its {@link ActorHandle} who only
 * watches over it. Both can be passed on and kept; those of a stopped actor answer with `ActorStopped`.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { ActorStopped, AskError, MailboxFull } from "./ActorError.js"
import type { ActorStatus, StopMode } from "./ActorStatus.js"

/**
 * What every actor has, whatever its messages. All of it may be called by anybody at any time, as often as one
 * likes, also by the actor itself while it handles a message: it then does not wait for itself.
 */
export interface ActorHandle<out E = unknown> {
  /** Unique among the living actors of its registry. */
  readonly name: string

  /** How it is at this moment. */
  readonly status: Effect.Effect<ActorStatus>

  /**
   * Keeps it from beginning with another message; they queue up within the bounds of the mailbox. Returns when
   * the message in hand is finished, or when `resume` was called before that. Of an actor that is stopping it
   * returns when that has stopped.
   */
  readonly pause: Effect.Effect<void>

  /** Lets it go on. Nothing happens to one that is not paused. */
  readonly resume: Effect.Effect<void>

  /**
   * Ends it, and returns when it has ended. From now on it takes no messages, senders that wait for room are
   * refused, and asks without an answer fail with `ActorStopped`. Interrupting the wait does not take the stop
   * back. A failure on the way is to be had from `await`.
   *
   * `mode` default: "drain".
   */
  readonly stop: (options?: { readonly mode?: StopMode | undefined }) => Effect.Effect<void>

  /**
   * Returns when it has ended: with success when it was stopped, else with what it failed with, defects
   * included. Within the actor's own `receive` this never returns.
   */
  readonly await: Effect.Effect<void, E>
}

/** An actor to send to. `E` is what it can end with. */
export interface ActorRef<in Message, out E = unknown> extends ActorHandle<E> {
  /**
   * Puts a message into the mailbox, and starts the actor with the first one. Messages of one sender are
   * handled in the order told.
   *
   * - With strategy "suspend" it waits while the mailbox is full. Interrupted meanwhile, the message is not
   *   handled.
   * - What an actor tells itself never waits, since it would wait for itself: one place beyond the capacity is
   *   kept for it, and when that is taken as well it fails with `MailboxFull`.
   *
   * Fails with `ActorStopped` (nobody handles it), `MailboxFull` (strategy "drop", or told to itself).
   */
  readonly tell: (message: Message) => Effect.Effect<void, ActorStopped | MailboxFull>

  /**
   * The same for callbacks that are no effects: puts the message into the mailbox if there is room, with
   * strategy "slide" always. False when it was refused or the actor has stopped.
   */
  readonly unsafeTell: (message: Message) => boolean

  /**
   * Sends the message that `toMessage` makes with a {@link Reply} in it, and waits for the answer.
   *
   * - `timeout`: how long to wait, for room in the mailbox too. Default: 5 seconds. Longer than the longest
   *   message the actor may be at; `Duration.infinity` waits as long as the actor lives.
   * - Interrupted or out of time, a message that was not begun with is taken back.
   *
   * Fails with the answer's own error, or with `AskTimeout`, `ActorStopped`, `MailboxFull`, `ActorFailed`: all
   * of them at once when they happen. An actor that asks itself within `receive`, and waits, runs out of time.
   */
  readonly ask: <A, E2 = never>(
    toMessage: (reply: Reply<A, E2>) => Message,
    options?: { readonly timeout?: Duration.DurationInput | undefined }
  ) => Effect.Effect<A, E2 | AskError>
}

/**
 * The way back to whoever asked. May be used once, at any time: by the message's own `receive`, by a fiber it
 * started, or when a later message brings the answer. All give false when nobody waits any more.
 */
export interface Reply<in A, in E = never> {
  readonly succeed: (value: A) => Effect.Effect<boolean>
  readonly fail: (error: E) => Effect.Effect<boolean>
  readonly done: (exit: Exit.Exit<A, E>) => Effect.Effect<boolean>
  /** The same for code that is no effect. */
  readonly unsafeDone: (exit: Exit.Exit<A, E>) => boolean
}
