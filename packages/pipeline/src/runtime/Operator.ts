/**
 * An operator at work: one instance for each share of the keys. Operators of one task call one another directly, batch
 * by batch; nothing waits in between, so that at a barrier nothing is on its way inside of a task.
 *
 *     receive(records) ──▶ onRecords ──▶ emit ──▶ receive of the next ones …
 *     receiveWatermark ──▶ least of all ports ──▶ onWatermark (fires what is due) ──▶ the next ones …
 *
 * Invariants
 *
 *  1. A watermark is handed on after everything that it made due, also when that is done in several turns.
 *  2. Watermarks never go back, at any port.
 */
import type { Side } from "../SideOutput.js"
import { Records, recordsMax } from "../Records.js"
import type { Key } from "../Records.js"
import type { Snapshot } from "./Snapshot.js"

/** What an operator is told about where it runs. */
export interface OperatorContext {
  readonly id: string
  /** Number of its inputs. */
  readonly ports: number
  /** Whether records carry the watermark before each of them. */
  readonly hasMarks: boolean
  /** Unit: milliseconds since 1970. */
  readonly nowMs: () => number
  /** Wants `onTick` to be called at or after this time. Unit: milliseconds since 1970. */
  readonly wakeAt: (timeMs: number) => void
  /** Wants to go on with its watermark before anything else comes, as there is more due than fits a turn. */
  readonly unfinished: (operator: Operator) => void
}

/** Somebody that an operator hands records to. */
export interface Target {
  readonly operator: Operator
  readonly port: number
}

/** What an operator threw, with the operator. */
export class OperatorFault extends Error {
  constructor(
    readonly operator: string,
    override readonly cause: unknown
  ) {
    super(`operator ${operator}`)
  }
}

/** What was thrown in an operator, with the operator that it came from first. */
export const faultOf = (operator: string, cause: unknown): OperatorFault =>
  cause instanceof OperatorFault ? cause : new OperatorFault(operator, cause)

/** An operator at work. */
export abstract class Operator {
  readonly id: string
  /** Records so far, since the start. */
  recordsIn = 0
  recordsOut = 0
  /** The least watermark of all ports. */
  watermark = -Infinity
  /** The watermark that goes with what is pushed now. */
  protected mark = -Infinity
  private readonly portWatermarks: Array<number>
  private readonly targets: Array<Target> = []
  private readonly sides = new Map<Side, SideBuffer>()
  /** What `push` has filled. */
  private readonly pushed = new Records()

  constructor(protected readonly context: OperatorContext) {
    this.id = context.id
    this.portWatermarks = new Array<number>(context.ports).fill(-Infinity)
    if (context.hasMarks) this.pushed.marks = []
  }

  /** Takes records of a port. */
  protected abstract onRecords(records: Records, port: number): void

  /** Does what is due at the watermark. False: there is more, and it wants to be called again with the same one. */
  protected onWatermark(_watermark: number): boolean {
    return true
  }

  /** Does what is due by the clock. */
  protected onTick(_nowMs: number): void {}

  /** What it remembers, as of now. None: nothing, ever. */
  snapshot(): Snapshot | undefined {
    return undefined
  }

  /** Entries of keyed state, and their size in the last checkpoint. */
  get stateEntries(): number {
    return 0
  }

  connect(target: Target, side: Side | undefined): void {
    if (side === undefined) {
      this.targets.push(target)
      return
    }
    const buffer = this.sides.get(side) ?? new SideBuffer(this.context.hasMarks)
    buffer.targets.push(target)
    this.sides.set(side, buffer)
  }

  /** Hot: once a batch. */
  receive(records: Records, port: number): void {
    this.recordsIn += records.count
    try {
      this.onRecords(records, port)
    } catch (cause) {
      throw faultOf(this.id, cause)
    }
    this.flush()
  }

  receiveWatermark(watermark: number, port: number): void {
    if (this.reach(watermark, port)) this.proceed()
  }

  /** Has what is due by the clock done. */
  tick(nowMs: number): void {
    try {
      this.onTick(nowMs)
    } catch (cause) {
      throw faultOf(this.id, cause)
    }
    this.flush()
  }

  /**
   * Lets event time come to the mark of a record, between two records of a batch: with everything that it makes due,
   * handed on, and the watermark behind it.
   */
  protected catchUp(mark: number, port: number): void {
    if (!this.reach(mark, port)) return
    this.flush()
    const { watermark } = this
    while (!this.onWatermark(watermark)) this.flush()
    this.flush()
    this.pass(watermark)
  }

  /** Goes on with what is due. */
  proceed(): void {
    let isDone: boolean
    const { watermark } = this
    try {
      isDone = this.onWatermark(watermark)
    } catch (cause) {
      throw faultOf(this.id, cause)
    }
    this.flush()
    if (isDone) this.pass(watermark)
    else this.context.unfinished(this)
  }

  /** The watermark of the other ports, for what comes in at this one. */
  protected othersWatermark(port: number): number {
    let least = Infinity
    for (let i = 0; i < this.portWatermarks.length; i++)
      if (i !== port && this.portWatermarks[i]! < least) least = this.portWatermarks[i]!
    return least
  }

  /** Hands records on as they are. */
  protected emit(records: Records): void {
    if (records.count === 0) return
    this.recordsOut += records.count
    const { targets } = this
    for (let i = 0; i < targets.length; i++) targets[i]!.operator.receive(records, targets[i]!.port)
  }

  /** Hands one record on, together with others. */
  protected push(value: unknown, timeMs: number): void {
    const { pushed } = this
    const at = pushed.count++
    pushed.values[at] = value
    pushed.times[at] = timeMs
    if (pushed.marks !== undefined) pushed.marks[at] = this.mark
    if (pushed.count === recordsMax) this.flushMain()
  }

  /** Hands one record on to a side output; it is dropped when nobody is there to take it. */
  protected pushSide(side: Side, value: unknown, timeMs: number): void {
    this.sides.get(side)?.push(value, timeMs, this.mark)
  }

  private flushMain(): void {
    const { pushed } = this
    this.emit(pushed)
    pushed.count = 0
  }

  /** Hands on what was pushed. */
  protected flush(): void {
    if (this.pushed.count > 0) this.flushMain()
    if (this.sides.size > 0) for (const side of this.sides.values()) side.flush()
  }

  /** Lets a port come to a watermark. Whether the least of all ports is further than before. */
  private reach(watermark: number, port: number): boolean {
    const ports = this.portWatermarks
    if (watermark <= ports[port]!) return false
    ports[port] = watermark
    const least = Math.min(watermark, this.othersWatermark(port))
    if (least <= this.watermark) return false
    this.watermark = least
    return true
  }

  private pass(watermark: number): void {
    this.mark = watermark
    const { targets } = this
    for (let i = 0; i < targets.length; i++)
      targets[i]!.operator.receiveWatermark(watermark, targets[i]!.port)
    for (const side of this.sides.values())
      for (const target of side.targets) target.operator.receiveWatermark(watermark, target.port)
  }
}

/** The key of a record, which only operators behind a `keyBy` ask for. */
export const keysOf = (records: Records): ReadonlyArray<Key> => {
  if (records.keys === undefined) throw new Error("records without keys")
  return records.keys
}

// ---- internal ----

class SideBuffer {
  readonly targets: Array<Target> = []
  private readonly records = new Records()

  constructor(hasMarks: boolean) {
    if (hasMarks) this.records.marks = []
  }

  push(value: unknown, timeMs: number, mark: number): void {
    const { records } = this
    const at = records.count++
    records.values[at] = value
    records.times[at] = timeMs
    if (records.marks !== undefined) records.marks[at] = mark
    if (records.count === recordsMax) this.flush()
  }

  flush(): void {
    const { records } = this
    if (records.count === 0) return
    for (const { operator, port } of this.targets) operator.receive(records, port)
    records.count = 0
  }
}
