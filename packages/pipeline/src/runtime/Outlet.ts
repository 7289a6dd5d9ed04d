/**
 * The end of a task: gathers what its operators give into parcels, one channel or one for each owner of keys, and
 * sends them as there is room. What could not be sent waits here; the task takes nothing new meanwhile.
 */
import { vnodeCount } from "@millrace/core/Vnode"
import type { Key } from "../Records.js"
import { Records, recordsMax, vnodeOfKey } from "../Records.js"
import type { Barrier, Channel, Parcel } from "./Channel.js"
import { keysOf, Operator } from "./Operator.js"
import type { OperatorContext } from "./Operator.js"
import type { PlanEdge } from "./Plan.js"

/** The share that owns a vnode, of so many. */
export const ownerOf = (vnode: number, parallelism: number): number =>
  Math.floor((vnode * parallelism) / vnodeCount)

/** What is to be sent by one channel. */
class Lane {
  private filling: Records | undefined = undefined
  readonly parcels: Array<Parcel> = []

  constructor(
    readonly channel: Channel,
    private readonly hasMarks: boolean
  ) {}

  /** All of them at once, behind what was there before. */
  addAll(records: Records): void {
    this.seal()
    this.parcels.push(parcelOf(this.channel, { records: records.lasting() }))
  }

  add(records: Records, i: number, key: Key): void {
    const filling = (this.filling ??= new Records([], [], [], this.hasMarks ? [] : undefined, 0, true))
    filling.values.push(records.values[i])
    filling.times.push(records.times[i]!)
    filling.keys!.push(key)
    if (this.hasMarks) filling.marks!.push(records.marks![i]!)
    filling.count++
    if (filling.count === recordsMax) this.seal()
  }

  seal(): void {
    if (this.filling === undefined) return
    this.parcels.push(parcelOf(this.channel, { records: this.filling }))
    this.filling = undefined
  }

  watermark(watermark: number): void {
    this.seal()
    const last = this.parcels.at(-1)
    // Where it matters what comes before which watermark, none is left out.
    const fits = last !== undefined && (last.watermark === -Infinity || !this.hasMarks)
    if (fits && last.barrier === undefined) last.watermark = watermark
    else this.parcels.push(parcelOf(this.channel, { watermark }))
  }
}

/** An end of a task. */
export class Outlet extends Operator {
  private readonly lanes: Array<Lane> = []
  /** Owners of keys, for which a look at the hash is dearer than one into a map. Bounded. */
  private readonly owners = new Map<Key, number>()

  constructor(
    context: OperatorContext,
    private readonly kind: PlanEdge["kind"]
  ) {
    super(context)
  }

  addChannel(channel: Channel): void {
    this.lanes.push(new Lane(channel, this.context.hasMarks))
  }

  protected onRecords(records: Records): void {
    if (this.kind !== "exchange") return this.lanes[0]!.addAll(records)
    const keys = keysOf(records)
    for (let i = 0; i < records.count; i++) {
      const key = keys[i]!
      this.lanes[this.laneOf(key)]!.add(records, i, key)
    }
  }

  protected override onWatermark(watermark: number): boolean {
    for (const lane of this.lanes) lane.watermark(watermark)
    return true
  }

  /** Puts a barrier behind everything. */
  barrier(barrier: Barrier): void {
    for (const lane of this.lanes) {
      lane.seal()
      lane.parcels.push(parcelOf(lane.channel, { barrier }))
    }
  }

  /** Parcels that wait. */
  get unsent(): number {
    let unsent = 0
    for (let i = 0; i < this.lanes.length; i++) unsent += this.lanes[i]!.parcels.length
    return unsent
  }

  /** Sends what there is room for. Gives the channel that has none, if there is more. */
  send(): Channel | undefined {
    let full: Channel | undefined
    for (const lane of this.lanes) {
      lane.seal()
      const { channel, parcels } = lane
      let sent = 0
      while (sent < parcels.length && channel.trySend(parcels[sent]!)) sent++
      if (sent > 0) parcels.splice(0, sent)
      if (parcels.length > 0) full = channel
    }
    return full
  }

  private laneOf(key: Key): number {
    const known = this.owners.get(key)
    if (known !== undefined) return known
    const owner = ownerOf(vnodeOfKey(key), this.lanes.length)
    if (this.owners.size >= ownersMax) this.owners.clear()
    this.owners.set(key, owner)
    return owner
  }
}

// ---- internal ----

/** Keys whose owner is remembered. */
const ownersMax = 65_536

/** A parcel of one thing. */
const parcelOf = (
  channel: Channel,
  { barrier, records, watermark = -Infinity }: Partial<Omit<Parcel, "channel">>
): Parcel => ({ channel, records, watermark, barrier })
