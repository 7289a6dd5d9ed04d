/** What {@link ActorCell} is made from, defaults filled in, and how it tells that it has ended. */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type { ActorStatus, MailboxStrategy } from "../ActorStatus.js"

/** What is to be done about a failure. */
export type Directive = "restart" | "resume" | "stop" | "escalate"

/** How an actor ends; `escalated` when its surroundings are to know. */
export interface Ending<E> {
  readonly exit: Exit.Exit<void, E>
  readonly escalated: boolean
}

/** How it ended, and its last status. */
export interface ActorEnd<E> extends Ending<E> {
  readonly status: ActorStatus
}

/** `E` is what `initial` and `receive` fail with, `F` what `onStop` does. */
export interface CellSettings<State, Message, E, F, R> {
  readonly name: string
  readonly capacity: number
  readonly strategy: MailboxStrategy
  readonly initial: Effect.Effect<State, E, R>
  readonly receive: (state: State, message: Message) => Effect.Effect<State, E, R>
  readonly onStop: (state: State, exit: Exit.Exit<void, E>) => Effect.Effect<void, F, R>
  readonly directiveOf: (cause: Cause.Cause<E>, message: Option.Option<Message>) => Directive
  readonly schedule: Schedule.Schedule<unknown, Cause.Cause<E>>
  readonly fork: (fiber: Effect.Effect<void, never, R>) => Fiber.RuntimeFiber<void>
  /** Called once, when it has ended and before anybody is told: gives its name free. */
  readonly onEnded: (end: ActorEnd<E | F>) => void
  /** Takes it out of the scope of its owner. Run last. */
  readonly disown: Effect.Effect<void>
}
