/**
 * Windows at work: for each key its windows that are not yet forgotten, by start, nearly always one or two; and for all
 * keys the times at which something is due.
 *
 * A window is due at its end, and, if it is kept longer, once more when it is to be forgotten. Timers are not part of a
 * checkpoint: they follow from the windows.
 */
import type { Key, Records } from "../Records.js"
import { endOfTime } from "../Records.js"
import type { Side } from "../SideOutput.js"
import type { TimeWindow, Window } from "../Windows.js"
import { allTime, startOf } from "../Windows.js"
import type { Forms } from "./KeyedOperator.js"
import { KeyedOperator } from "./KeyedOperator.js"
import type { Entry } from "./KeyedState.js"
import { keysOf } from "./Operator.js"
import type { OperatorContext } from "./Operator.js"
import { Timers } from "./Timers.js"

/** What a window operator does. Times in milliseconds. */
export interface WindowPlan {
  readonly window: Window
  readonly latenessMs: number
  /** A result after every so many records of a window; 0 = none before its end. */
  readonly early: number
  readonly isDiscarding: boolean
  readonly late: Side | undefined
  readonly initial: () => unknown
  readonly add: (accumulator: unknown, value: unknown, port: number) => unknown
  readonly merge: (left: unknown, right: unknown) => unknown
  readonly result: (accumulator: unknown, key: Key, window: TimeWindow) => unknown
  /** Several results of a window, instead of the one. */
  readonly results?: ((accumulator: unknown, key: Key, window: TimeWindow) => Iterable<unknown>) | undefined
  /** The forms of what accumulators are made of. */
  readonly forms: Forms
  /** An accumulator as plain data. */
  readonly encode: (accumulator: unknown) => unknown
  /** The same backwards; `read` reads a state that was kept in the form of that name. */
  readonly decode: (data: unknown, read: (form: string, data: unknown) => unknown) => unknown
}

/** A window of the grid, the same object for all keys: told apart faster than by its start. */
class Slot {
  constructor(
    readonly start: number,
    readonly end: number
  ) {}
}

/** One window of one key. */
class Cell {
  /** Records since the accumulator began. */
  count = 0
  /** Records since the window began, where it ends by their number. */
  total = 0
  hasFired = false
  isGone = false
  slot: Slot | undefined = undefined

  constructor(
    readonly entry: WindowEntry,
    public start: number,
    public end: number,
    public acc: unknown
  ) {}
}

class WindowEntry implements Entry {
  index = 0
  stamp = 0
  /** By start, ascending. */
  cells: Array<Cell> = []
  /** The one that had the last record. */
  last: Cell | undefined = undefined

  constructor(
    readonly key: Key,
    readonly vnode: number
  ) {}
}

/** Results that are given in one turn, so that a million windows that end at once do not hold up the process. */
const firedMax = 10_000

/** The operator. */
export class WindowOperator extends KeyedOperator<WindowEntry> {
  /** Records that came when all their windows were gone. */
  lateRecords = 0
  private readonly timers = new Timers<Cell>()
  private readonly slots = new Map<number, Slot>()
  /** A session takes what comes at its very end, so that it is due only after that. */
  private readonly dueAfterEnd: number
  private readonly isSimple: boolean

  constructor(
    context: OperatorContext,
    private readonly plan: WindowPlan
  ) {
    super(context, plan.forms)
    this.dueAfterEnd = plan.window._tag === "Session" ? 1 : 0
    this.isSimple = plan.early === 0 && plan.latenessMs === 0
  }

  private readonly read = (form: string, data: unknown): unknown => this.decodeState(form, data)

  protected createEntry(key: Key, vnode: number): WindowEntry {
    return new WindowEntry(key, vnode)
  }

  protected encodeEntry({ cells }: WindowEntry): unknown {
    const data: Array<unknown> = []
    for (const { acc, count, end, hasFired, start, total } of cells)
      data.push(start, end, count, total, hasFired, this.plan.encode(acc))
    return data
  }

  protected decodeEntry(entry: WindowEntry, data: unknown): void {
    const fields = data as ReadonlyArray<unknown>
    for (let i = 0; i < fields.length; i += 6) {
      const cell = new Cell(
        entry,
        fields[i] as number,
        fields[i + 1] as number,
        this.plan.decode(fields[i + 5], this.read)
      )
      cell.count = fields[i + 2] as number
      cell.total = fields[i + 3] as number
      cell.hasFired = fields[i + 4] as boolean
      entry.cells.push(cell)
      this.timers.add(cell.end + this.dueAfterEnd + (cell.hasFired ? this.plan.latenessMs : 0), cell)
    }
  }

  protected onRecords(records: Records, port: number): void {
    const { window } = this.plan
    switch (window._tag) {
      case "Tumbling":
        return this.onTumbling(records, port, window.sizeMs, window.offsetMs)
      case "Hopping":
        return this.onHopping(records, port, window.sizeMs, window.hopMs, window.offsetMs)
      case "Session":
        return this.onSession(records, port, window.gapMs)
      case "Global":
        return this.onGlobal(records, port, 0)
      case "Count":
        return this.onGlobal(records, port, window.size)
    }
  }

  /** Hot: 35 ns a record with 1 000 keys; the window of the record before is usually that of the next. */
  private onTumbling(records: Records, port: number, sizeMs: number, offsetMs: number): void {
    const { count, marks, times, values } = records
    const keys = keysOf(records)
    const { isSimple, state } = this
    const { add, latenessMs } = this.plan
    const { entries, stamp } = state
    let start = 0
    let end = 0
    let slot = noSlot
    let isLate = false
    for (let i = 0; i < count; i++) {
      const time = times[i]!
      if (marks !== undefined && marks[i]! >= this.timers.earliest) {
        this.catchUp(marks[i]!, port)
        start = end = 0
      }
      if (time < start || time >= end) {
        start = startOf(time, sizeMs, offsetMs)
        end = start + sizeMs
        slot = this.slotAt(start, end)
        isLate = end + latenessMs <= this.watermark
      }
      if (isLate) {
        this.onLate(values[i], time)
        continue
      }
      const key = keys[i]!
      let entry = entries.get(key)
      if (entry === undefined) entry = state.create(key)
      else if (entry.stamp !== stamp) state.touch(entry)
      let cell = entry.last
      if (cell === undefined || cell.slot !== slot) {
        cell = this.cellAt(entry, start, end)
        cell.slot = slot
        entry.last = cell
      }
      cell.acc = add(cell.acc, values[i], port)
      if (!isSimple) this.afterAdd(cell)
    }
  }

  private onHopping(records: Records, port: number, sizeMs: number, hopMs: number, offsetMs: number): void {
    const { count, marks, times, values } = records
    const keys = keysOf(records)
    const { isSimple, state } = this
    const { add, latenessMs } = this.plan
    let last = 0
    let hop = 0
    for (let i = 0; i < count; i++) {
      const time = times[i]!
      const value = values[i]
      if (marks !== undefined && marks[i]! >= this.timers.earliest) this.catchUp(marks[i]!, port)
      if (time < last || time >= hop) {
        last = startOf(time, hopMs, offsetMs)
        hop = last + hopMs
      }
      const first = last - hopMs * Math.ceil(sizeMs / hopMs - 1)
      let entry: WindowEntry | undefined
      for (let start = first; start <= last; start += hopMs) {
        const end = start + sizeMs
        if (time >= end || end + latenessMs <= this.watermark) continue
        entry ??= state.use(keys[i]!)
        const cell = this.cellAt(entry, start, end)
        cell.acc = add(cell.acc, value, port)
        if (!isSimple) this.afterAdd(cell)
      }
      if (entry === undefined) this.onLate(value, time)
    }
  }

  /**
   * A record is a window of itself, which grows together with all that it touches. Late is what touches none that is
   * still there, and would itself be due and gone.
   */
  private onSession(records: Records, port: number, gapMs: number): void {
    const { count, marks, times, values } = records
    const keys = keysOf(records)
    const { isSimple, state } = this
    const { add, latenessMs } = this.plan
    for (let i = 0; i < count; i++) {
      const time = times[i]!
      const key = keys[i]!
      if (marks !== undefined && marks[i]! >= this.timers.earliest) this.catchUp(marks[i]!, port)
      const existing = state.entries.get(key)
      const touches = existing !== undefined && touchesAny(existing.cells, time, gapMs)
      if (!touches && time + gapMs + this.dueAfterEnd + latenessMs <= this.watermark) {
        this.onLate(values[i], time)
        continue
      }
      const entry = state.use(key)
      const cell = touches ? this.grow(entry, time, gapMs) : this.cellAt(entry, time, time + gapMs)
      cell.acc = add(cell.acc, values[i], port)
      if (!isSimple) this.afterAdd(cell)
    }
  }

  /** The session that a record belongs to, after it has become one with all that it touches. */
  private grow(entry: WindowEntry, time: number, gapMs: number): Cell {
    const { merge } = this.plan
    const touched = entry.cells.filter((cell) => time <= cell.end && time + gapMs >= cell.start)
    const [kept, ...others] = touched as [Cell, ...Array<Cell>]
    for (const other of others) {
      kept.acc = merge(kept.acc, other.acc)
      kept.count += other.count
      kept.end = Math.max(kept.end, other.end)
      kept.hasFired = kept.hasFired || other.hasFired
      other.isGone = true
    }
    kept.start = Math.min(kept.start, time)
    kept.end = Math.max(kept.end, time + gapMs)
    // What was due before has been given already; it is due again for all of it.
    if (kept.hasFired && kept.end + this.dueAfterEnd > this.watermark) {
      kept.hasFired = false
      this.timers.add(kept.end + this.dueAfterEnd, kept)
    }
    if (others.length > 0) entry.cells = entry.cells.filter(({ isGone }) => !isGone)
    return kept
  }

  private onGlobal(records: Records, port: number, size: number): void {
    const { count, times, values } = records
    const keys = keysOf(records)
    const { state } = this
    const { add, early } = this.plan
    for (let i = 0; i < count; i++) {
      const entry = state.use(keys[i]!)
      const cell = this.cellAt(entry, allTime.start, allTime.end)
      cell.acc = add(cell.acc, values[i], port)
      cell.count++
      cell.total++
      if (size > 0 && cell.total === size) {
        this.fire(cell, "onTime", times[i]!)
        this.forget(cell)
      } else if (early > 0 && cell.count % early === 0) this.fire(cell, "early", times[i]!)
    }
  }

  private slotAt(start: number, end: number): Slot {
    const known = this.slots.get(start)
    if (known !== undefined) return known
    // One that is made anew meets no cell, and a look by the start finds it.
    if (this.slots.size >= slotsMax) this.slots.clear()
    const slot = new Slot(start, end)
    this.slots.set(start, slot)
    return slot
  }

  private onLate(value: unknown, time: number): void {
    this.lateRecords++
    if (this.plan.late !== undefined) this.pushSide(this.plan.late, value, time)
  }

  /** A window of an entry, made when there is none. The newest ones are at the end. */
  private cellAt(entry: WindowEntry, start: number, end: number): Cell {
    const { cells } = entry
    let at = cells.length
    while (at > 0 && cells[at - 1]!.start > start) at--
    const found = at > 0 ? cells[at - 1]! : undefined
    if (found !== undefined && found.start === start) return found
    const cell = new Cell(entry, start, end, this.plan.initial())
    // A list of one is made with room for one: a million keys have one window each.
    if (cells.length === 0) entry.cells = [cell]
    else cells.splice(at, 0, cell)
    this.timers.add(end + this.dueAfterEnd, cell)
    return cell
  }

  /** What else follows from a record: an early result, or a late one. */
  private afterAdd(cell: Cell): void {
    cell.count++
    const { early } = this.plan
    if (cell.end + this.dueAfterEnd <= this.watermark) {
      // Made by a late record: its time to be forgotten is still to be set.
      if (!cell.hasFired) this.onFirst(cell)
      this.fire(cell, "late", cell.end - 1)
    } else if (early > 0 && cell.count % early === 0) this.fire(cell, "early", cell.end - 1)
  }

  private onFirst(cell: Cell): void {
    cell.hasFired = true
    this.timers.add(cell.end + this.dueAfterEnd + this.plan.latenessMs, cell)
  }

  protected override onWatermark(given: number): boolean {
    const { latenessMs } = this.plan
    const watermark = given >= endOfTime ? Infinity : given
    for (let fired = 0; fired < firedMax; fired++) {
      const cell = this.timers.take(watermark)
      if (cell === undefined) return true
      if (cell.isGone) continue
      const dueMs = cell.end + this.dueAfterEnd
      if (!cell.hasFired) {
        // A session that has grown since is due later.
        if (dueMs > watermark) {
          this.timers.add(dueMs, cell)
          continue
        }
        if (cell.entry.stamp !== this.state.stamp) this.state.touch(cell.entry)
        this.fire(cell, "onTime", Math.min(cell.end + this.dueAfterEnd, endOfTime) - 1)
        if (latenessMs === 0 || watermark >= endOfTime) this.forget(cell)
        else this.onFirst(cell)
      } else if (cell.end + this.dueAfterEnd + latenessMs <= watermark) {
        if (cell.entry.stamp !== this.state.stamp) this.state.touch(cell.entry)
        this.forget(cell)
      } else this.timers.add(cell.end + this.dueAfterEnd + latenessMs, cell)
    }
    return this.timers.earliest > watermark
  }

  private fire(cell: Cell, firing: "early" | "onTime" | "late", time: number): void {
    const { plan } = this
    // Everything was given already, by triggers.
    if (plan.isDiscarding && cell.count === 0 && !this.isSimple) return
    const { key } = cell.entry
    const window = { start: cell.start, end: cell.end }
    if (plan.results === undefined)
      this.push({ key, window, value: plan.result(cell.acc, key, window), firing }, time)
    else for (const result of plan.results(cell.acc, key, window)) this.push(result, time)
    if (plan.isDiscarding) {
      cell.acc = plan.initial()
      cell.count = 0
    }
  }

  private forget(cell: Cell): void {
    const { entry } = cell
    cell.isGone = true
    if (entry.last === cell) entry.last = undefined
    if (entry.cells.length === 1) {
      entry.cells = []
      this.state.remove(entry)
    } else entry.cells.splice(entry.cells.indexOf(cell), 1)
  }
}

// ---- internal ----

const noSlot = new Slot(0, 0)

/** Windows of the grid that are remembered. */
const slotsMax = 1_024

/** Whether a record is within the gap of any session. */
const touchesAny = (cells: ReadonlyArray<Cell>, time: number, gapMs: number): boolean => {
  for (let i = cells.length - 1; i >= 0; i--)
    if (time <= cells[i]!.end && time + gapMs >= cells[i]!.start) return true
  return false
}
