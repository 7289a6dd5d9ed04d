/**
 * Operators that work together, as one actor. It takes the parcels that have come, one after another, and sends on what
 * comes of them; none of them counts as done with before that is sent, so that a slow receiver slows down everything
 * before it. One message of its mailbox says that there are parcels, however many: between fast tasks a message is dearer
 * than a parcel.
 *
 *     parcel ──▶ its channel is blocked? ──yes──▶ held back, in order
 *                   │ no
 *                   ▼
 *               records · watermark ──▶ operators ──▶ outlets, sent
 *                   │
 *               barrier: the channel is blocked; when all are: snapshot ──▶ barrier to all outlets ──▶ what was held
 *
 * Invariants
 *
 *  1. At a snapshot every record before the barrier has been processed, and none behind it.
 *  2. Parcels of a channel are processed in order.
 */
import type { ActorRef } from "@millrace/core/ActorRef"
import * as EventLoop from "@millrace/core/EventLoop"
import * as Effect from "effect/Effect"
import { Records } from "../Records.js"
import type { Barrier, Channel, Entry, Parcel } from "./Channel.js"
import { EffectOperator } from "./EffectOperator.js"
import type { Operator } from "./Operator.js"
import type { Outlet } from "./Outlet.js"
import type { Snapshot } from "./Snapshot.js"

/** What a task tells at a barrier, or where a source stands. */
export interface TaskReport {
  readonly checkpointId: number
  /** By id of the operator. */
  readonly snapshots: ReadonlyMap<string, Snapshot>
}

/** What an actor of a task takes. */
export type TaskMessage = { readonly _tag: "Work" } | { readonly _tag: "Tick" }

/** Parcels that may wait to be sent before the next one is taken. */
const unsentMax = 16

const workMessage: TaskMessage = { _tag: "Work" }
const tickMessage: TaskMessage = { _tag: "Tick" }

/** The operators of one subtask, at work. */
export class Task {
  readonly operators: Array<Operator> = []
  readonly outlets: Array<Outlet> = []
  readonly channels: Array<Channel> = []
  private readonly unfinished: Array<Operator> = []
  private readonly held: Array<Parcel> = []
  /** What has come. As much as the channels hold, at most. */
  private inbox: Array<Parcel> = []
  private at = 0
  private isSignalled = false
  /** Channels of parcels that are done with, but for what is still to be sent. */
  private done: Array<Channel> = []
  private blocked = 0
  private wakeAtMs = Infinity
  private isTicking = false
  self: ActorRef<TaskMessage, unknown> | undefined = undefined

  constructor(
    readonly name: string,
    private readonly report: (report: TaskReport) => void,
    private readonly nowMs: () => number
  ) {}

  /** For operators: it wants to go on with its watermark. */
  readonly addUnfinished = (operator: Operator): void => {
    this.unfinished.push(operator)
  }

  /** For operators: it wants a tick at that time. The earliest one is asked for. */
  readonly wakeAt = (timeMs: number): void => {
    if (timeMs < this.wakeAtMs) this.wakeAtMs = timeMs
  }

  /** Tells it what time it is, if it wants to know. Once, also when it cannot listen for a while. */
  tellTime(nowMs: number): void {
    if (this.wakeAtMs > nowMs || this.isTicking) return
    this.isTicking = true
    this.self!.unsafeTell(tickMessage)
  }

  /** For channels: a parcel has come. */
  readonly deliver = (parcel: Parcel): void => {
    this.inbox.push(parcel)
    if (this.isSignalled) return
    this.isSignalled = true
    this.self!.unsafeTell(workMessage)
  }

  receive(message: TaskMessage): Effect.Effect<void, unknown, unknown> {
    return message._tag === "Tick" ? this.tick() : this.work()
  }

  /** Hot: takes what has come; no effect but one where everything can be sent at once. */
  private work(): Effect.Effect<void, unknown, unknown> {
    while (this.at < this.inbox.length) {
      const parcel = this.inbox[this.at++]!
      if (parcel.channel.isBlocked) {
        this.held.push(parcel)
        continue
      }
      const rest = this.handle(parcel)
      if (rest !== undefined) return Effect.flatMap(rest, () => this.work())
    }
    this.inbox = []
    this.at = 0
    this.isSignalled = false
    return this.isSettled() ? Effect.void : this.settled
  }

  /** Undefined: there is nothing to wait for. */
  private handle(parcel: Parcel): Effect.Effect<void, unknown, unknown> | undefined {
    const { barrier, channel } = parcel
    const { entry } = channel
    // It is let go of when everything is sent, so not before what follows.
    this.done.push(channel)
    if (parcel.records !== undefined) {
      const records = seen(parcel.records, entry, channel)
      if (entry.operator instanceof EffectOperator) {
        entry.operator.recordsIn += records.count
        return Effect.flatMap(entry.operator.perform(records), () => {
          this.advance(parcel)
          return this.after(parcel)
        })
      }
      entry.operator.receive(records, entry.port)
    }
    this.advance(parcel)
    if (barrier !== undefined || this.unfinished.length > 0 || this.unsent > unsentMax)
      return this.after(parcel)
    return undefined
  }

  private after({ barrier, channel }: Parcel): Effect.Effect<void, unknown, unknown> {
    return barrier === undefined
      ? this.settled
      : Effect.flatMap(this.settled, () => this.align(channel, barrier))
  }

  private advance({ channel, watermark }: Parcel): void {
    if (watermark <= channel.watermark) return
    channel.watermark = watermark
    const { entry } = channel
    entry.operator.receiveWatermark(entry.watermark, entry.port)
  }

  private get unsent(): number {
    let unsent = 0
    for (let i = 0; i < this.outlets.length; i++) unsent += this.outlets[i]!.unsent
    return unsent
  }

  private send(): Channel | undefined {
    let full: Channel | undefined
    for (let i = 0; i < this.outlets.length; i++) full = this.outlets[i]!.send() ?? full
    return full
  }

  /** Sends what can be sent; true when nothing is left to do. */
  private isSettled(): boolean {
    if (this.send() !== undefined || this.unfinished.length > 0) return false
    this.release()
    return true
  }

  private release(): void {
    const { done } = this
    if (done.length === 0) return
    this.done = []
    for (let i = 0; i < done.length; i++) done[i]!.release()
  }

  /** Everything that is due is done, and everything that came of it is sent. */
  readonly settled: Effect.Effect<void> = Effect.suspend(() => {
    const full = this.send()
    if (full !== undefined) return Effect.flatMap(full.room, () => this.settled)
    const next = this.unfinished.shift()
    if (next === undefined) {
      this.release()
      return Effect.void
    }
    return Effect.flatMap(EventLoop.giveWay, () => {
      next.proceed()
      return this.settled
    })
  })

  private align(channel: Channel, barrier: Barrier): Effect.Effect<void, unknown, unknown> {
    channel.isBlocked = true
    this.blocked++
    if (this.blocked < this.channels.length) return Effect.void
    return Effect.gen(this, function* () {
      yield* this.mark(barrier)
      this.blocked = 0
      for (const each of this.channels) each.isBlocked = false
      // Before what has come since, of which they are the front.
      this.inbox = [...this.held.splice(0), ...this.inbox.slice(this.at)]
      this.at = 0
    })
  }

  /** Remembers what there is, and sends the barrier on. */
  mark(barrier: Barrier): Effect.Effect<void, unknown, unknown> {
    return Effect.gen(this, function* () {
      const { checkpointId } = barrier
      const snapshots = new Map<string, Snapshot>()
      for (const operator of this.operators) {
        const snapshot =
          operator instanceof EffectOperator ? yield* operator.prepare(checkpointId) : operator.snapshot()
        if (snapshot !== undefined) snapshots.set(operator.id, snapshot)
      }
      for (const outlet of this.outlets) outlet.barrier(barrier)
      this.report({ checkpointId, snapshots })
      yield* this.settled
    })
  }

  private tick(): Effect.Effect<void, unknown, unknown> {
    return Effect.suspend(() => {
      this.isTicking = false
      this.wakeAtMs = Infinity
      const nowMs = this.nowMs()
      for (const operator of this.operators) operator.tick(nowMs)
      return this.settled
    })
  }
}

// ---- internal ----

/** Records as the receiver of several channels sees them: no mark is past what has come by the others. */
const seen = (records: Records, entry: Entry, channel: Channel): Records => {
  if (entry.channels.length === 1 || records.marks === undefined) return records
  const others = entry.watermarkBut(channel)
  const marks = records.marks.map((mark) => Math.min(mark, others))
  return new Records(records.values, records.times, records.keys, marks, records.count, records.isLasting)
}
