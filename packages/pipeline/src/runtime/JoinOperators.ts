/** Joins over an interval of time, and with a table, at work. */
import type { Key, Records } from "../Records.js"
import type { StateForm } from "../StateForm.js"
import { KeyedOperator } from "./KeyedOperator.js"
import type { Entry } from "./KeyedState.js"
import { keysOf } from "./Operator.js"
import type { OperatorContext } from "./Operator.js"
import { Timers } from "./Timers.js"

/** Records of one side of a key, by time; among equals in the order in which they came. */
class Timeline {
  readonly times: Array<number> = []
  readonly values: Array<unknown> = []

  get size(): number {
    return this.times.length
  }

  add(timeMs: number, value: unknown): void {
    const at = this.after(timeMs)
    if (at === this.times.length) {
      this.times.push(timeMs)
      this.values.push(value)
    } else {
      this.times.splice(at, 0, timeMs)
      this.values.splice(at, 0, value)
    }
  }

  /** Place of the first one that is later. */
  after(timeMs: number): number {
    let low = 0
    let high = this.times.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.times[middle]! <= timeMs) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Place of the first one that is not earlier. */
  from(timeMs: number): number {
    let at = this.after(timeMs)
    while (at > 0 && this.times[at - 1] === timeMs) at--
    return at
  }

  /** Removes those before a place. */
  dropBefore(at: number): void {
    if (at === 0) return
    this.times.splice(0, at)
    this.values.splice(0, at)
  }
}

class JoinEntry implements Entry {
  index = 0
  stamp = 0
  readonly left = new Timeline()
  readonly right = new Timeline()
  /** When it is looked at next. */
  dueMs = Infinity
  isGone = false

  constructor(
    readonly key: Key,
    readonly vnode: number
  ) {}
}

/** Keys that are looked at in one turn. */
const lookedAtMax = 10_000

/** What both joins have in common: two timelines of each key, and a time at which a key is to be looked at. */
abstract class TimelineOperator extends KeyedOperator<JoinEntry> {
  protected readonly due = new Timers<JoinEntry>()

  constructor(context: OperatorContext, left: StateForm<unknown>, right: StateForm<unknown>) {
    super(context, { left, right })
  }

  protected createEntry(key: Key, vnode: number): JoinEntry {
    return new JoinEntry(key, vnode)
  }

  protected encodeEntry({ left, right }: JoinEntry): unknown {
    return [
      left.times,
      left.values.map((value) => this.encodeState("left", value)),
      right.times,
      right.values.map((value) => this.encodeState("right", value))
    ]
  }

  protected decodeEntry(entry: JoinEntry, data: unknown): void {
    const [leftTimes, left, rightTimes, right] = data as ReadonlyArray<ReadonlyArray<unknown>>
    for (const [i, value] of left!.entries()) {
      entry.left.times.push(leftTimes![i] as number)
      entry.left.values.push(this.decodeState("left", value))
    }
    for (const [i, value] of right!.entries()) {
      entry.right.times.push(rightTimes![i] as number)
      entry.right.values.push(this.decodeState("right", value))
    }
    this.lookAgain(entry)
  }

  /** When a key is to be looked at; Infinity: never. */
  protected abstract dueAt(entry: JoinEntry): number
  /** Looks at a key. */
  protected abstract look(entry: JoinEntry, watermark: number): void

  protected lookAgain(entry: JoinEntry): void {
    const dueMs = this.dueAt(entry)
    if (dueMs < entry.dueMs) {
      entry.dueMs = dueMs
      this.due.add(dueMs, entry)
    }
  }

  protected override onWatermark(watermark: number): boolean {
    for (let looked = 0; looked < lookedAtMax; looked++) {
      const entry = this.due.take(watermark)
      if (entry === undefined) return true
      if (entry.isGone) continue
      entry.dueMs = Infinity
      if (entry.stamp !== this.state.stamp) this.state.touch(entry)
      this.look(entry, watermark)
      if (entry.left.size === 0 && entry.right.size === 0) {
        entry.isGone = true
        this.state.remove(entry)
      } else this.lookAgain(entry)
    }
    return this.due.earliest > watermark
  }
}

/** What an interval join does. */
export interface IntervalPlan {
  readonly lowerMs: number
  readonly upperMs: number
  readonly left: StateForm<unknown>
  readonly right: StateForm<unknown>
  readonly combine: (left: unknown, right: unknown, context: { readonly key: Key }) => unknown
}

/**
 * A record meets the partners that are there, and waits for the others until the watermark says that none can come:
 * left t is done with at W > t + upper, right t at W > t - lower.
 */
export class IntervalJoinOperator extends TimelineOperator {
  constructor(
    context: OperatorContext,
    private readonly plan: IntervalPlan
  ) {
    super(context, plan.left, plan.right)
  }

  protected onRecords(records: Records, port: number): void {
    const { combine, lowerMs, upperMs } = this.plan
    const { count, marks, times, values } = records
    const keys = keysOf(records)
    for (let i = 0; i < count; i++) {
      if (marks !== undefined && marks[i]! >= this.due.earliest) this.catchUp(marks[i]!, port)
      const timeMs = times[i]!
      const value = values[i]
      const key = keys[i]!
      const entry = this.state.use(key)
      const others = port === 0 ? entry.right : entry.left
      const from = port === 0 ? timeMs + lowerMs : timeMs - upperMs
      const to = port === 0 ? timeMs + upperMs : timeMs - lowerMs
      for (let at = others.from(from); at < others.size && others.times[at]! <= to; at++) {
        const later = Math.max(timeMs, others.times[at]!)
        const other = others.values[at]
        this.push(port === 0 ? combine(value, other, { key }) : combine(other, value, { key }), later)
      }
      ;(port === 0 ? entry.left : entry.right).add(timeMs, value)
      this.lookAgain(entry)
    }
  }

  protected dueAt({ left, right }: JoinEntry): number {
    const { lowerMs, upperMs } = this.plan
    return Math.min(
      left.size === 0 ? Infinity : left.times[0]! + Math.max(0, upperMs) + 1,
      right.size === 0 ? Infinity : right.times[0]! + Math.max(0, -lowerMs) + 1
    )
  }

  protected look({ left, right }: JoinEntry, watermark: number): void {
    const { lowerMs, upperMs } = this.plan
    // What is due at W may still meet what comes at W.
    left.dropBefore(left.from(watermark - Math.max(0, upperMs)))
    right.dropBefore(right.from(watermark - Math.max(0, -lowerMs)))
  }
}

/** What a join with a table does. */
export interface TablePlan {
  readonly stream: StateForm<unknown>
  readonly table: StateForm<unknown>
  readonly isLeft: boolean
  readonly ttlMs: number | undefined
  readonly combine: (value: unknown, row: unknown, context: { readonly key: Key }) => unknown
}

/** Records of the stream (left) wait for the watermark; of the table (right) the newest row before it is kept, and all behind. */
export class TableJoinOperator extends TimelineOperator {
  constructor(
    context: OperatorContext,
    private readonly plan: TablePlan
  ) {
    super(context, plan.stream, plan.table)
  }

  protected onRecords(records: Records, port: number): void {
    const { count, marks, times, values } = records
    const keys = keysOf(records)
    for (let i = 0; i < count; i++) {
      if (marks !== undefined && marks[i]! >= this.due.earliest) this.catchUp(marks[i]!, port)
      const entry = this.state.use(keys[i]!)
      ;(port === 0 ? entry.left : entry.right).add(times[i]!, values[i])
      this.lookAgain(entry)
    }
  }

  protected dueAt({ left, right }: JoinEntry): number {
    const { ttlMs } = this.plan
    return Math.min(
      // A row of the record's own time counts, so that it must have come.
      left.size === 0 ? Infinity : left.times[0]! + 1,
      // Of several rows all but the last one before the watermark are of no more use.
      right.size < 2 ? Infinity : right.times[1]! + 1,
      ttlMs === undefined || right.size === 0 ? Infinity : right.times[right.size - 1]! + ttlMs + 1
    )
  }

  protected look({ key, left, right }: JoinEntry, watermark: number): void {
    const { combine, isLeft, ttlMs } = this.plan
    const ready = left.from(watermark)
    for (let i = 0; i < ready; i++) {
      const timeMs = left.times[i]!
      const at = right.after(timeMs) - 1
      const isThere = at >= 0 && (ttlMs === undefined || right.times[at]! + ttlMs >= timeMs)
      if (isThere || isLeft)
        this.push(combine(left.values[i], isThere ? right.values[at] : undefined, { key }), timeMs)
    }
    left.dropBefore(ready)
    // Whoever still comes is not before the watermark: of the rows before it one is enough.
    right.dropBefore(Math.max(0, right.from(watermark) - 1))
    if (ttlMs !== undefined) right.dropBefore(right.from(watermark - ttlMs))
  }
}
