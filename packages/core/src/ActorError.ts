/**
 * What can go wrong between an actor and those who send to it. Each error names the actor, so that it still says
 * something when it comes out three layers above.
 */
import * as Schema from "effect/Schema"

/**
 * The actor has stopped, is stopping, or stopped before it answered. A message that was told is not handled when
 * `tell` fails with this; one that was asked may have been. Stop too, or find out who takes its place.
 */
export class ActorStopped extends Schema.TaggedError<ActorStopped>()("ActorStopped", {
  actor: Schema.String
}) {
  override get message(): string {
    return `actor is stopped. actor=${this.actor}`
  }
}

/**
 * The mailbox had no room, and the message is not handled: it was refused, or (strategy "slide") newer ones
 * pushed it out while its asker waited. Send it again later, send fewer, or take a larger mailbox.
 */
export class MailboxFull extends Schema.TaggedError<MailboxFull>()("MailboxFull", {
  actor: Schema.String,
  /** Unit: messages. */
  capacity: Schema.Number
}) {
  override get message(): string {
    return `mailbox is full. actor=${this.actor} capacity=${this.capacity}`
  }
}

/**
 * No answer came in time. Where `received` is false the message was taken back and is never handled: ask again
 * without harm. Where it is true the actor had taken it: find out what became of it before asking again.
 */
export class AskTimeout extends Schema.TaggedError<AskTimeout>()("AskTimeout", {
  actor: Schema.String,
  timeoutMs: Schema.Number,
  /** Whether the actor had begun with the message. */
  received: Schema.Boolean
}) {
  override get message(): string {
    return `no answer in time. actor=${this.actor} timeoutMs=${this.timeoutMs} received=${this.received}`
  }
}

/**
 * An actor failed. From `ask`: before it answered; it goes on or ends as its supervision says, the message is
 * not handled again. From `ActorRegistry.escalated`: it ended, and left it to its surroundings to end too.
 */
export class ActorFailed extends Schema.TaggedError<ActorFailed>()("ActorFailed", {
  actor: Schema.String,
  /** The error or defect it failed with. */
  cause: Schema.Defect
}) {
  override get message(): string {
    return `actor failed. actor=${this.actor}`
  }
}

/** An actor of this name is alive. Choose another name, or stop that one: the name is free when `stop` returns. */
export class ActorNameTaken extends Schema.TaggedError<ActorNameTaken>()("ActorNameTaken", {
  actor: Schema.String
}) {
  override get message(): string {
    return `actor name is taken. actor=${this.actor}`
  }
}

/** Everything that an ask can fail with beside what the answer itself may be. */
export const AskError = Schema.Union(ActorStopped, MailboxFull, AskTimeout, ActorFailed)
export type AskError = typeof AskError.Type
