/**
 * A function with state at work. Of each key there are its states, its timers, and when it had its last record. Event
 * time advances from record to record, so that a timer is due at the same place among them however they are batched.
 */
import { invalid } from "@millrace/core/InvalidArgument"
import * as Schema from "effect/Schema"
import type { AnyState, ProcessContext, States, Timer } from "../ProcessContext.js"
import type { Key, Records } from "../Records.js"
import type { Side } from "../SideOutput.js"
import * as StateForm from "../StateForm.js"
import { KeyedOperator } from "./KeyedOperator.js"
import type { Entry } from "./KeyedState.js"
import { keysOf } from "./Operator.js"
import type { OperatorContext } from "./Operator.js"
import { Timers } from "./Timers.js"

/** What it does. */
export interface ProcessPlan {
  readonly states: States
  readonly ttlMs: number | undefined
  readonly usesClock: boolean
  readonly onRecord: (value: unknown, context: ProcessContext<Key, States>) => Iterable<unknown> | undefined
  readonly onTimer:
    ((timer: Timer, context: ProcessContext<Key, States>) => Iterable<unknown> | undefined) | undefined
}

interface Alarm {
  readonly name: string
  readonly timeMs: number
  readonly kind: "event" | "clock"
  isGone: boolean
}

class ProcessEntry implements Entry {
  index = 0
  stamp = 0
  /** By place of the declared state; `unset` where nothing was set. */
  states: Array<unknown>
  alarms: Map<string, Alarm> | undefined = undefined
  /** Time of its newest record, where it is to be forgotten some day. */
  newestMs = -Infinity
  isGone = false

  constructor(
    readonly key: Key,
    readonly vnode: number,
    count: number
  ) {
    this.states = new Array<unknown>(count).fill(unset)
  }
}

const unset: unique symbol = Symbol("unset")

interface Due {
  readonly entry: ProcessEntry
  /** None: it is time to forget the key. */
  readonly alarm: Alarm | undefined
  readonly dueMs: number
}

/** The operator. */
export class ProcessOperator extends KeyedOperator<ProcessEntry> {
  private readonly names: ReadonlyArray<string>
  private readonly due = new Timers<Due>()
  private readonly dueByClock = new Timers<Due>()
  private entry: ProcessEntry | undefined = undefined
  private readonly processContext: {
    -readonly [Name in keyof ProcessContext<Key, States>]: ProcessContext<Key, States>[Name]
  }
  /** How far event time has come between two records. */
  private nowMs = -Infinity

  constructor(
    context: OperatorContext,
    private readonly plan: ProcessPlan
  ) {
    super(
      context,
      Object.fromEntries(Object.entries(plan.states).map(([name, state]) => [name, formOf(state)]))
    )
    this.names = Object.keys(plan.states)
    this.processContext = {
      key: "",
      timeMs: 0,
      watermarkMs: -Infinity,
      state: Object.fromEntries(
        this.names.map((name, at) => [name, this.handle(plan.states[name]!, at)])
      ) as never,
      timers: {
        at: (name, timeMs) => this.setAlarm(name, timeMs, "event"),
        atClock: (name, timeMs) => this.setAlarm(name, timeMs, "clock"),
        cancel: (name) => this.cancel(name)
      },
      side: (side: Side, value: unknown) => this.pushSide(side, value, this.processContext.timeMs)
    }
  }

  protected createEntry(key: Key, vnode: number): ProcessEntry {
    return new ProcessEntry(key, vnode, this.names.length)
  }

  protected encodeEntry({ alarms, newestMs, states }: ProcessEntry): unknown {
    const { names } = this
    const encoded: Record<string, unknown> = {}
    for (let at = 0; at < names.length; at++)
      if (states[at] !== unset) encoded[names[at]!] = this.encodeState(names[at]!, states[at])
    // Most keys have neither.
    if (newestMs === -Infinity && (alarms === undefined || alarms.size === 0)) return encoded
    const timers = [...(alarms?.values() ?? [])].flatMap(({ kind, name, timeMs }) => [
      name,
      timeMs,
      kind === "event"
    ])
    return [encoded, timers, newestMs]
  }

  protected decodeEntry(entry: ProcessEntry, data: unknown): void {
    const { names } = this
    const [encoded, timers, newestMs] = Array.isArray(data)
      ? (data as unknown as readonly [Record<string, unknown>, ReadonlyArray<unknown>, number])
      : ([data as Record<string, unknown>, noTimers, -Infinity] as const)
    for (let at = 0; at < names.length; at++) {
      const name = names[at]!
      if (name in encoded) entry.states[at] = this.decodeState(name, encoded[name])
    }
    entry.newestMs = newestMs
    for (let i = 0; i < timers.length; i += 3)
      this.addAlarm(
        entry,
        timers[i] as string,
        timers[i + 1] as number,
        timers[i + 2] === true ? "event" : "clock"
      )
    this.expireAfter(entry)
  }

  protected onRecords(records: Records): void {
    const { count, marks, times, values } = records
    const keys = keysOf(records)
    const { plan, processContext: context, state } = this
    for (let i = 0; i < count; i++) {
      if (marks !== undefined) this.advance(Math.max(marks[i]!, this.nowMs), Infinity)
      const key = keys[i]!
      const entry = state.use(key)
      const timeMs = times[i]!
      if (plan.ttlMs !== undefined && timeMs > entry.newestMs) {
        const isFirst = entry.newestMs === -Infinity
        entry.newestMs = timeMs
        if (isFirst) this.expireAfter(entry)
      }
      this.enter(entry, timeMs)
      this.give(plan.onRecord(values[i], context), timeMs)
      this.leave(entry)
    }
  }

  protected override onWatermark(watermark: number): boolean {
    return this.advance(watermark, firedMax)
  }

  protected override onTick(nowMs: number): void {
    for (;;) {
      const due = this.dueByClock.take(nowMs)
      if (due === undefined) break
      this.fire(due)
    }
    this.context.wakeAt(this.dueByClock.earliest)
  }

  /** Lets event time come to a moment. False: there is more due than was asked for. */
  private advance(watermark: number, max: number): boolean {
    this.nowMs = Math.max(this.nowMs, watermark)
    for (let fired = 0; fired < max; fired++) {
      const due = this.due.take(watermark)
      if (due === undefined) {
        this.mark = Math.max(this.mark, watermark)
        return true
      }
      this.fire(due)
    }
    return this.due.earliest > watermark
  }

  private fire({ alarm, dueMs, entry }: Due): void {
    if (entry.isGone) return
    if (alarm === undefined) {
      const goneMs = entry.newestMs + this.plan.ttlMs!
      if (goneMs > dueMs) {
        this.due.add(goneMs, { entry, alarm: undefined, dueMs: goneMs })
        return
      }
      // Timers of the same moment come first: they may set what is to be kept.
      for (const { kind, timeMs } of entry.alarms?.values() ?? []) {
        if (kind === "event" && timeMs <= goneMs) {
          this.due.add(goneMs, { entry, alarm: undefined, dueMs: goneMs })
          return
        }
      }
      this.forget(entry)
      return
    }
    if (alarm.isGone) return
    if (entry.stamp !== this.state.stamp) this.state.touch(entry)
    entry.alarms?.delete(alarm.name)
    alarm.isGone = true
    this.enter(entry, alarm.timeMs)
    if (this.plan.onTimer !== undefined)
      this.give(
        this.plan.onTimer({ name: alarm.name, timeMs: alarm.timeMs, kind: alarm.kind }, this.processContext),
        alarm.timeMs
      )
    this.leave(entry)
  }

  private enter(entry: ProcessEntry, timeMs: number): void {
    const { processContext: context } = this
    this.entry = entry
    context.key = entry.key
    context.timeMs = timeMs
    context.watermarkMs = this.nowMs
  }

  /** A key without states and timers need not be remembered. */
  private leave(entry: ProcessEntry): void {
    this.entry = undefined
    if (entry.alarms !== undefined && entry.alarms.size > 0) return
    for (const state of entry.states) if (state !== unset) return
    this.forget(entry)
  }

  private forget(entry: ProcessEntry): void {
    if (entry.isGone) return
    entry.isGone = true
    this.state.remove(entry)
  }

  private give(made: Iterable<unknown> | undefined, timeMs: number): void {
    if (made === undefined) return
    for (const value of made) this.push(value, timeMs)
  }

  private expireAfter(entry: ProcessEntry): void {
    const { ttlMs } = this.plan
    if (ttlMs !== undefined && entry.newestMs > -Infinity)
      this.due.add(entry.newestMs + ttlMs, { entry, alarm: undefined, dueMs: entry.newestMs + ttlMs })
  }

  private current(): ProcessEntry {
    if (this.entry === undefined)
      throw new Error(`${this.id}: the context was used after the function had returned`)
    return this.entry
  }

  private setAlarm(name: string, timeMs: number, kind: "event" | "clock"): void {
    const entry = this.current()
    if (!Number.isFinite(timeMs)) throw invalid("timeMs", "a number of milliseconds since 1970", timeMs)
    if (kind === "clock" && !this.plan.usesClock)
      throw invalid(
        "atClock",
        "only where `usesClock` is set, as the pipeline is not deterministic then",
        name
      )
    this.cancel(name)
    this.addAlarm(entry, name, timeMs, kind)
  }

  private addAlarm(entry: ProcessEntry, name: string, timeMs: number, kind: "event" | "clock"): void {
    const alarm: Alarm = { name, timeMs, kind, isGone: false }
    entry.alarms ??= new Map()
    entry.alarms.set(name, alarm)
    if (kind === "event") {
      this.due.add(timeMs, { entry, alarm, dueMs: timeMs })
      return
    }
    this.dueByClock.add(timeMs, { entry, alarm, dueMs: timeMs })
    this.context.wakeAt(this.dueByClock.earliest)
  }

  private cancel(name: string): void {
    const { alarms } = this.current()
    const alarm = alarms?.get(name)
    if (alarm === undefined) return
    alarm.isGone = true
    alarms!.delete(name)
  }

  private handle(state: AnyState, at: number): unknown {
    const get = (): unknown => this.current().states[at]
    const set = (value: unknown): void => void (this.current().states[at] = value)
    const clear = (): void => set(unset)
    switch (state._tag) {
      case "Value": {
        const initial: unknown = state.initial
        return {
          get: () => {
            const value = get()
            return value === unset
              ? typeof initial === "function"
                ? (initial() as unknown)
                : undefined
              : value
          },
          set,
          clear
        }
      }
      case "List":
        return {
          get: () => (get() === unset ? [] : get()),
          add: (value: unknown) => {
            const list = get()
            if (list === unset) set([value])
            else (list as Array<unknown>).push(value)
          },
          set: (values: ReadonlyArray<unknown>) => (values.length === 0 ? clear() : set([...values])),
          clear
        }
      case "Map": {
        const map = (): Map<string, unknown> | undefined =>
          get() === unset ? undefined : (get() as Map<string, unknown>)
        return {
          get: (name: string) => map()?.get(name),
          has: (name: string) => map()?.has(name) === true,
          set: (name: string, value: unknown) => {
            const there = map()
            if (there === undefined) set(new Map([[name, value]]))
            else there.set(name, value)
          },
          remove: (name: string) => {
            const there = map()
            there?.delete(name)
            if (there?.size === 0) clear()
          },
          entries: () => (map() ?? new Map<string, unknown>()).entries(),
          size: () => map()?.size ?? 0,
          clear
        }
      }
    }
  }
}

// ---- internal ----

const noTimers: ReadonlyArray<unknown> = []

/** Timers that are handled in one turn. */
const firedMax = 10_000

const formOf = (state: AnyState): StateForm.StateForm<unknown> => {
  const schema = state.schema as Schema.Schema<unknown>
  switch (state._tag) {
    case "Value":
      return StateForm.make(schema, state.form)
    case "List":
      return StateForm.make(Schema.Array(schema), state.form)
    case "Map":
      return StateForm.make(Schema.Map({ key: Schema.String, value: schema }), state.form)
  }
}
