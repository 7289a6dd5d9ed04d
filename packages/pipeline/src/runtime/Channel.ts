/**
 * The way from one task to another: at most so many parcels are under way, and whoever sends more waits. A place is
 * free again when the receiver has done with a parcel, not when it has got it: what it holds back for a barrier counts.
 */
import type { CheckpointId } from "@millrace/core/CheckpointManifest"
import * as Effect from "effect/Effect"
import type { Records } from "../Records.js"
import type { Operator } from "./Operator.js"

/** The mark that separates the records of one checkpoint from those of the next. */
export interface Barrier {
  readonly checkpointId: CheckpointId
  /** Unit: milliseconds since 1970. */
  readonly timestampMs: number
}

/** What goes from task to task: records, then how far event time has come, then a barrier; each may be missing. */
export interface Parcel {
  readonly channel: Channel
  readonly records: Records | undefined
  /** -Infinity: no further than before. */
  watermark: number
  readonly barrier: Barrier | undefined
}

/** Where channels of one input end. */
export class Entry {
  readonly channels: Array<Channel> = []

  constructor(
    readonly operator: Operator,
    readonly port: number
  ) {}

  /** The least watermark of all channels. */
  get watermark(): number {
    let least = Infinity
    for (const { watermark } of this.channels) if (watermark < least) least = watermark
    return least
  }

  /** The least of the others: what comes by one channel may not be thought earlier than they are. */
  watermarkBut(channel: Channel): number {
    let least = Infinity
    for (const other of this.channels)
      if (other !== channel && other.watermark < least) least = other.watermark
    return least
  }
}

/** A way. */
export class Channel {
  /** The watermark that has come by it. */
  watermark = -Infinity
  /** Whether its barrier has come and that of others has not. */
  isBlocked = false
  private credits: number
  private waiting: (() => void) | undefined = undefined

  constructor(
    readonly entry: Entry,
    readonly capacity: number,
    private readonly deliver: (parcel: Parcel) => void
  ) {
    this.credits = capacity
    entry.channels.push(this)
  }

  /** Parcels under way. */
  get depth(): number {
    return this.capacity - this.credits
  }

  /** Sends it, if there is room. A receiver that has ended takes nothing: the pipeline is about to stop as well. */
  trySend(parcel: Parcel): boolean {
    if (this.credits === 0) return false
    this.credits--
    this.deliver(parcel)
    return true
  }

  /** Waits for room. */
  readonly room: Effect.Effect<void> = Effect.async((resume) => {
    if (this.credits > 0) return resume(Effect.void)
    this.waiting = () => resume(Effect.void)
    return Effect.sync(() => {
      this.waiting = undefined
    })
  })

  /** A parcel is done with. */
  release(): void {
    this.credits++
    const { waiting } = this
    this.waiting = undefined
    waiting?.()
  }
}
