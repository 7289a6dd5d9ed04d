/**
 * The messages that an actor has received and not begun with, and behind them the senders that wait for room.
 * A plain structure: it decides nothing and runs nothing.
 *
 *   senders that wait ──admitted, in their order──▶ mailbox (at most capacity, + 1 for the actor's own) ──take──▶
 *
 * Why not Effect's `Mailbox` or `Queue`: of a message that slides out neither says which one it was, so that an
 * ask in it would hang; what is taken in a batch no longer counts against their capacity; and of a message once
 * offered neither can take it back.
 *
 * Invariants
 *   1. Nobody waits while there is room.
 *   2. size ≤ capacity + 1, and without messages of its own size ≤ capacity.
 */
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { ActorAlarms } from "./ActorAlarms.js"
import type { ActorStopped, AskError, MailboxFull } from "../ActorError.js"

/** A message on its way, and whoever waits for what becomes of it. */
export interface Letter<Message> {
  readonly message: Message
  /** Where it is. Written by the mailbox alone. */
  place: Place
  /** Tells the sender that waits for room how that ended. */
  readonly admit: ((exit: Exit.Exit<void, ActorStopped>) => void) | undefined
  /** Tells the asker that there will be no answer. */
  readonly refuse: ((error: AskError) => void) | undefined
}

/** `gone`: taken back by its sender, refused, or pushed out. */
export type Place = "new" | "waiting" | "mailbox" | "received" | "gone"

/** What senders need of an actor. */
export interface Postbox<Message> {
  /** Whether a message of somebody else would be received at once. */
  readonly hasRoom: boolean
  /**
   * Hands a letter over. "waiting": it will be admitted or refused later. `sender`: the fiber that can wait; nobody
   * can where it is undefined, and the actor itself must not.
   */
  readonly post: (
    letter: Letter<Message>,
    sender: Fiber.RuntimeFiber<unknown, unknown> | undefined
  ) => "received" | "waiting" | ActorStopped | MailboxFull
  /** Takes a letter back that was not begun with, and forgets the ask in it. */
  readonly withdraw: (letter: Letter<Message>) => void
  /** The time limits of asks. */
  readonly alarms: ActorAlarms
}

export class ActorMailbox<Message> {
  private readonly letters = new Line<Message>("mailbox")
  private readonly waiting = new Line<Message>("waiting")

  /** `onAdmitted` is called for each one that waited and now has its place in the mailbox. */
  constructor(
    readonly capacity: number,
    private readonly onAdmitted: (letter: Letter<Message>) => void
  ) {}

  get size(): number {
    return this.letters.size
  }

  get senders(): number {
    return this.waiting.size
  }

  /** `own`: whether the actor sends to itself. */
  hasRoom(own: boolean): boolean {
    return this.letters.size < (own ? this.capacity + 1 : this.capacity)
  }

  add(letter: Letter<Message>): void {
    this.letters.push(letter)
  }

  wait(letter: Letter<Message>): void {
    this.waiting.push(letter)
  }

  /** The oldest message, marked `to`; undefined when there is none. */
  take(to: "received" | "gone"): Letter<Message> | undefined {
    const letter = this.letters.shift(to)
    if (this.waiting.size > 0) this.admit()
    return letter
  }

  /** Takes one back. Gives where it was; nothing changes when that is neither mailbox nor waiting. */
  remove(letter: Letter<Message>): Place {
    const place = letter.place
    if (place === "waiting") this.waiting.remove(letter)
    if (place === "mailbox") {
      this.letters.remove(letter)
      this.admit()
    }
    return place
  }

  /** Everybody who waits, in their order. They wait no more. */
  dismissSenders(): ReadonlyArray<Letter<Message>> {
    return this.waiting.clear()
  }

  /** Every message, oldest first. There must be no senders that wait. */
  clear(): ReadonlyArray<Letter<Message>> {
    return this.letters.clear()
  }

  private admit(): void {
    while (this.waiting.size > 0 && this.hasRoom(false)) {
      const letter = this.waiting.shift("new")!
      this.letters.push(letter)
      this.onAdmitted(letter)
    }
  }
}

// ---- internal ----

/** Fewest empty places for which a line is worth tidying up. */
const slack = 64

/**
 * First in, first out, and anything out of the middle at once: what is removed stays where it is as an empty place
 * until half of the line are such. An array and not linked nodes, of which one that survived a garbage collection
 * would keep all behind it alive.
 */
class Line<Message> {
  private entries: Array<Letter<Message> | undefined> = []
  private head = 0
  size = 0

  constructor(private readonly place: Place) {}

  push(letter: Letter<Message>): void {
    letter.place = this.place
    this.entries.push(letter)
    this.size++
  }

  shift(to: Place): Letter<Message> | undefined {
    if (this.size === 0) return undefined
    let letter: Letter<Message> | undefined
    while (letter === undefined) {
      letter = this.entries[this.head]
      this.entries[this.head++] = undefined
      if (letter?.place !== this.place) letter = undefined
    }
    letter.place = to
    this.size--
    this.tidy()
    return letter
  }

  /** The letter must be in this line. */
  remove(letter: Letter<Message>): void {
    letter.place = "gone"
    this.size--
    this.tidy()
  }

  clear(): ReadonlyArray<Letter<Message>> {
    const letters: Array<Letter<Message>> = []
    while (this.size > 0) letters.push(this.shift("gone")!)
    return letters
  }

  private tidy(): void {
    if (this.entries.length <= slack || this.entries.length < this.size * 2) return
    const place = this.place
    this.entries =
      this.size === 0
        ? []
        : this.entries.slice(this.head).filter((letter) => letter !== undefined && letter.place === place)
    this.head = 0
  }
}
