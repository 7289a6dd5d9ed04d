/**
 * Operators that work together, as one actor. It takes a parcel at a time; what comes of it is sent on before the next
 * one is taken, so that a slow receiver slows down everything before it.
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
import type { Barrier, Channel, Parcel } from "./Channel.js"
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
export type TaskMessage = Parcel | { readonly _tag: "Tick" }

/** The operators of one subtask, at work. */
export class Task {
  readonly operators: Array<Operator> = []
  readonly outlets: Array<Outlet> = []
  readonly channels: Array<Channel> = []
  private readonly unfinished: Array<Operator> = []
  private readonly held: Array<Parcel> = []
  private blocked = 0
  private wakeAtMs = Infinity
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

  /** When the next tick is wanted; Infinity when none is. */
  get nextTickMs(): number {
    return this.wakeAtMs
  }

  receive(message: TaskMessage): Effect.Effect<void, unknown, unknown> {
    if (message._tag === "Tick") return this.tick()
    if (message.channel.isBlocked) {
      this.held.push(message)
      return Effect.void
    }
    return this.handle(message)
  }

  /** Hot: once a parcel; no effect but this one where everything can be sent at once. */
  private handle(parcel: Parcel): Effect.Effect<void, unknown, unknown> {
    const { barrier, channel, records } = parcel
    const { entry } = channel
    if (records !== undefined) {
      if (entry.channels.length > 1 && records.marks !== undefined) {
        const others = entry.watermarkBut(channel)
        records.marks = records.marks.map((mark) => Math.min(mark, others))
      }
      if (entry.operator instanceof EffectOperator) {
        entry.operator.recordsIn += records.count
        return Effect.flatMap(entry.operator.perform(records), () => this.after(parcel))
      }
      entry.operator.receive(records, entry.port)
    }
    if (
      barrier === undefined &&
      this.advance(parcel) &&
      this.send() === undefined &&
      this.unfinished.length === 0
    ) {
      channel.release()
      return Effect.void
    }
    return this.after(parcel)
  }

  /** What follows the records of a parcel. */
  private after(parcel: Parcel): Effect.Effect<void, unknown, unknown> {
    return Effect.suspend(() => {
      this.advance(parcel)
      return Effect.flatMap(this.settled, () => {
        parcel.channel.release()
        return parcel.barrier === undefined ? Effect.void : this.align(parcel.channel, parcel.barrier)
      })
    })
  }

  private advance({ channel, watermark }: Parcel): boolean {
    if (watermark <= channel.watermark) return true
    channel.watermark = watermark
    const { entry } = channel
    entry.operator.receiveWatermark(entry.watermark, entry.port)
    return true
  }

  private send(): Channel | undefined {
    let full: Channel | undefined
    for (let i = 0; i < this.outlets.length; i++) full = this.outlets[i]!.send() ?? full
    return full
  }

  /** Everything that is due is done, and everything that came of it is sent. */
  readonly settled: Effect.Effect<void> = Effect.suspend(() => {
    const full = this.send()
    if (full !== undefined) return Effect.flatMap(full.room, () => this.settled)
    const next = this.unfinished.shift()
    if (next === undefined) return Effect.void
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
      const held = this.held.splice(0)
      for (const parcel of held) yield* this.receive(parcel)
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
      this.wakeAtMs = Infinity
      const nowMs = this.nowMs()
      for (const operator of this.operators) operator.tick(nowMs)
      return this.settled
    })
  }
}
