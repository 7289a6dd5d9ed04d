/**
 * What pipelines should give, computed in the plainest way there is: all records at once, no batches, no keys apart,
 * quadratic where that is shorter. Whoever doubts a test of this folder reads here what it holds to be right.
 */
import type { Key } from "@millrace/pipeline/Records"
import type { Window } from "@millrace/pipeline/Windows"
import * as Windows from "@millrace/pipeline/Windows"

/** A record of these tests. */
export interface Rec {
  readonly key: Key
  /** When it happened. Unit: milliseconds. */
  readonly at: number
  /** Its number in order of arrival, over all partitions. */
  readonly n: number
  readonly v: number
  readonly partition: number
}

/** Which windows. */
export type Spec =
  | { readonly kind: "tumbling"; readonly size: number; readonly offset: number }
  | { readonly kind: "hopping"; readonly size: number; readonly hop: number; readonly offset: number }
  | { readonly kind: "session"; readonly gap: number }
  | { readonly kind: "global" }
  | { readonly kind: "count"; readonly size: number }

/** The same for the engine. */
export const windowOf = (spec: Spec): Window => {
  switch (spec.kind) {
    case "tumbling":
      return Windows.tumbling(spec.size, { offset: spec.offset })
    case "hopping":
      return Windows.hopping(spec.size, spec.hop, { offset: spec.offset })
    case "session":
      return Windows.session(spec.gap)
    case "global":
      return Windows.global
    case "count":
      return Windows.count(spec.size)
  }
}

/** Start and end of a window. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** The windows of a grid that a time is in. */
export const spansOf = (spec: Spec, at: number): ReadonlyArray<Span> => {
  if (spec.kind !== "tumbling" && spec.kind !== "hopping") return []
  const step = spec.kind === "tumbling" ? spec.size : spec.hop
  const spans: Array<Span> = []
  const first = Math.floor((at - spec.size - spec.offset) / step) - 1
  for (let i = first; i * step + spec.offset <= at; i++) {
    const start = i * step + spec.offset
    if (start <= at && at < start + spec.size) spans.push({ start, end: start + spec.size })
  }
  return spans
}

/** A window with its records, in order of arrival. */
export interface Group<R> extends Span {
  readonly key: Key
  readonly records: ReadonlyArray<R>
}

/** All windows of records that are not late, which come in order of arrival. */
export const groupsOf = <R extends { readonly key: Key; readonly at: number }>(
  spec: Spec,
  records: ReadonlyArray<R>
): ReadonlyArray<Group<R>> => {
  const groups: Array<Group<R>> = []
  for (const key of new Set(records.map((record) => record.key))) {
    const own = records.filter((record) => record.key === key)
    switch (spec.kind) {
      case "tumbling":
      case "hopping": {
        const starts = new Set(own.flatMap(({ at }) => spansOf(spec, at).map(({ start }) => start)))
        for (const start of starts) {
          const end = start + spec.size
          groups.push({ key, start, end, records: own.filter(({ at }) => at >= start && at < end) })
        }
        break
      }
      case "session": {
        const times = own.map(({ at }) => at).sort((a, b) => a - b)
        let first = times[0]!
        for (const [i, time] of times.entries()) {
          const next = times[i + 1]
          if (next !== undefined && next - time <= spec.gap) continue
          const from = first
          groups.push({
            key,
            start: from,
            end: time + spec.gap,
            records: own.filter(({ at }) => at >= from && at <= time)
          })
          first = next!
        }
        break
      }
      case "global":
        groups.push({ key, ...Windows.allTime, records: own })
        break
      case "count":
        for (let i = 0; i < own.length; i += spec.size)
          groups.push({ key, ...Windows.allTime, records: own.slice(i, i + spec.size) })
        break
    }
  }
  return groups
}

/** The watermark just before each record. */
export const watermarksOf = (
  records: ReadonlyArray<Rec>,
  bound: number,
  partitions: number
): ReadonlyArray<number> =>
  records.map((_, i) => {
    const before = records.slice(0, i)
    const newest = Array.from({ length: partitions }, (_, partition) =>
      Math.max(...before.filter((record) => record.partition === partition).map(({ at }) => at))
    )
    return Math.min(...newest) - bound
  })

/** How windows are handled. */
export interface Handling {
  readonly lateness: number
  /** 0 = no early results. */
  readonly every: number
  readonly isDiscarding: boolean
}

/** A result of a window: the numbers of its records. */
export interface Firing extends Span {
  readonly key: Key
  readonly firing: "early" | "onTime" | "late"
  readonly ns: ReadonlyArray<number>
}

interface Cell {
  readonly key: Key
  start: number
  end: number
  /** Of all records, or of those since the last result. */
  ns: Array<number>
  total: number
  hasFired: boolean
}

/**
 * Every result of windows, and every late record, in a run that looks at one record after another. A window is due at
 * its end, a session just after it, as it takes what comes at its very end; it is kept for the allowed lateness from then.
 */
export const firingsOf = (
  spec: Spec,
  records: ReadonlyArray<Rec>,
  watermarks: ReadonlyArray<number>,
  { every, isDiscarding, lateness }: Handling
): { readonly firings: ReadonlyArray<Firing>; readonly late: ReadonlyArray<number> } => {
  const firings: Array<Firing> = []
  const late: Array<number> = []
  let cells: Array<Cell> = []
  const dueOf = (end: number) => (spec.kind === "session" ? end + 1 : end)
  const fire = (cell: Cell, firing: Firing["firing"]) => {
    if (isDiscarding && cell.ns.length === 0) return
    const { end, key, start } = cell
    firings.push({ key, start, end, firing, ns: [...cell.ns].sort((a, b) => a - b) })
    if (isDiscarding) cell.ns = []
  }
  const advance = (watermark: number) => {
    for (const cell of cells) {
      if (cell.hasFired || dueOf(cell.end) > watermark) continue
      fire(cell, "onTime")
      cell.hasFired = true
    }
    cells = cells.filter(({ end }) => dueOf(end) + lateness > watermark)
  }
  const add = (cell: Cell, n: number, watermark: number) => {
    cell.ns.push(n)
    cell.total++
    if (dueOf(cell.end) <= watermark) {
      cell.hasFired = true
      fire(cell, "late")
    } else if (every > 0 && (isDiscarding ? cell.ns.length : cell.total) % every === 0) fire(cell, "early")
  }
  const cellOf = (key: Key, { end, start }: Span): Cell => {
    const found = cells.find((cell) => cell.key === key && cell.start === start && cell.end === end)
    if (found !== undefined) return found
    const cell: Cell = { key, start, end, ns: [], total: 0, hasFired: false }
    cells.push(cell)
    return cell
  }
  for (const [i, { at, key, n }] of records.entries()) {
    const watermark = watermarks[i]!
    advance(watermark)
    switch (spec.kind) {
      case "tumbling":
      case "hopping": {
        const spans = spansOf(spec, at).filter(({ end }) => end + lateness > watermark)
        if (spans.length === 0) late.push(n)
        for (const span of spans) add(cellOf(key, span), n, watermark)
        break
      }
      case "session": {
        const touched = cells.filter(
          (cell) => cell.key === key && at <= cell.end && at + spec.gap >= cell.start
        )
        if (touched.length === 0 && at + spec.gap + 1 + lateness <= watermark) {
          late.push(n)
          break
        }
        const merged: Cell = {
          key,
          start: Math.min(at, ...touched.map(({ start }) => start)),
          end: Math.max(at + spec.gap, ...touched.map(({ end }) => end)),
          ns: touched.flatMap(({ ns }) => ns),
          total: touched.reduce((sum, { total }) => sum + total, 0),
          hasFired: false
        }
        cells = [...cells.filter((cell) => !touched.includes(cell)), merged]
        add(merged, n, watermark)
        break
      }
      case "global":
        add(cellOf(key, Windows.allTime), n, watermark)
        break
      case "count": {
        const cell = cellOf(key, Windows.allTime)
        if (cell.total + 1 < spec.size) {
          add(cell, n, watermark)
          break
        }
        cell.ns.push(n)
        fire(cell, "onTime")
        cells = cells.filter((other) => other !== cell)
        break
      }
    }
  }
  advance(Infinity)
  return { firings, late }
}

/** Pairs of records of one window; undefined where there is no other. */
export const joinWindowOf = (
  spec: Spec,
  kind: "inner" | "left" | "right" | "full",
  left: ReadonlyArray<Rec>,
  right: ReadonlyArray<Rec>
): ReadonlyArray<readonly [Key, number, Rec | undefined, Rec | undefined]> => {
  const both = [
    ...left.map((rec) => ({ key: rec.key, at: rec.at, rec, isLeft: true })),
    ...right.map((rec) => ({ key: rec.key, at: rec.at, rec, isLeft: false }))
  ]
  return groupsOf(spec, both).flatMap(
    ({ key, records, start }): ReadonlyArray<readonly [Key, number, Rec | undefined, Rec | undefined]> => {
      const ls = records.filter(({ isLeft }) => isLeft).map(({ rec }) => rec)
      const rs = records.filter(({ isLeft }) => !isLeft).map(({ rec }) => rec)
      if (rs.length === 0 && (kind === "left" || kind === "full"))
        return ls.map((l) => [key, start, l, undefined] as const)
      if (ls.length === 0 && (kind === "right" || kind === "full"))
        return rs.map((r) => [key, start, undefined, r] as const)
      return ls.flatMap((l) => rs.map((r) => [key, start, l, r] as const))
    }
  )
}

/** Pairs of which the right one lies within an interval around the left one. */
export const joinIntervalOf = (
  lower: number,
  upper: number,
  left: ReadonlyArray<Rec>,
  right: ReadonlyArray<Rec>
): ReadonlyArray<readonly [Rec, Rec]> =>
  left.flatMap((l) =>
    right
      .filter((r) => r.key === l.key && r.at >= l.at + lower && r.at <= l.at + upper)
      .map((r) => [l, r] as const)
  )

/** Each record with the newest row that is not later; of rows of one time the one that came last. */
export const joinTableOf = (
  kind: "inner" | "left",
  ttl: number | undefined,
  stream: ReadonlyArray<Rec>,
  table: ReadonlyArray<Rec>
): ReadonlyArray<readonly [Rec, Rec | undefined]> =>
  stream.flatMap((rec) => {
    let row: Rec | undefined
    for (const each of table)
      if (each.key === rec.key && each.at <= rec.at && (row === undefined || each.at >= row.at)) row = each
    if (row !== undefined && ttl !== undefined && row.at + ttl < rec.at) row = undefined
    return row === undefined && kind === "inner" ? [] : [[rec, row] as const]
  })

/** What a record has a `process` do with the timers of its key. */
export type Act =
  | { readonly kind: "none" | "clear" }
  | { readonly kind: "set"; readonly name: string; readonly inMs: number }
  | { readonly kind: "cancel"; readonly name: string }
  /** A timer that sets itself again, so many times. */
  | { readonly kind: "again"; readonly times: number; readonly inMs: number }

interface Alarm {
  readonly key: Key
  readonly name: string
  readonly timeMs: number
}

/**
 * What the process of `process.test.ts` gives, as texts, key by key: records are counted, timers do as the records say, and x cancels y. Before
 * each record everything is done that is due at its watermark, earliest first, of one time what was set first; then keys
 * are forgotten that had no record for `ttl`, each at its own moment, after the timers of that moment.
 */
export const processOf = (
  records: ReadonlyArray<Rec>,
  acts: ReadonlyArray<Act>,
  watermarks: ReadonlyArray<number>,
  ttl?: number
): ReadonlyArray<readonly [Key, string]> => {
  const given: Array<readonly [Key, string]> = []
  const counts = new Map<Key, number>()
  const newest = new Map<Key, number>()
  let alarms: Array<Alarm> = []
  const set = (alarm: Alarm) => {
    alarms = [...alarms.filter(({ key, name }) => key !== alarm.key || name !== alarm.name), alarm]
  }
  const forget = (key: Key) => {
    counts.delete(key)
    newest.delete(key)
    alarms = alarms.filter((alarm) => alarm.key !== key)
  }
  const hasNothing = (key: Key) => !counts.has(key) && !alarms.some((alarm) => alarm.key === key)
  const advance = (watermark: number) => {
    for (;;) {
      let alarm: Alarm | undefined
      for (const each of alarms)
        if (each.timeMs <= watermark && (alarm === undefined || each.timeMs < alarm.timeMs)) alarm = each
      const until = alarm?.timeMs ?? Infinity
      const gone =
        ttl === undefined
          ? undefined
          : [...newest]
              .filter(([, time]) => time + ttl <= watermark && time + ttl < until)
              .sort(([, a], [, b]) => a - b)[0]
      if (gone !== undefined) {
        forget(gone[0])
        continue
      }
      if (alarm === undefined) return
      const { key, name, timeMs } = alarm
      alarms = alarms.filter((each) => each !== alarm)
      given.push([key, `timer ${name} ${timeMs} ${counts.get(key) ?? 0}`])
      if (name === "x") alarms = alarms.filter((each) => each.key !== key || each.name !== "y")
      const [, left, inMs] = /^again (\d+) (\d+)$/.exec(name) ?? []
      if (left !== undefined && Number(left) > 0)
        set({ key, name: `again ${Number(left) - 1} ${inMs}`, timeMs: timeMs + Number(inMs) })
      if (hasNothing(key)) newest.delete(key)
    }
  }
  for (const [i, { at, key, n }] of records.entries()) {
    advance(watermarks[i]!)
    if (ttl !== undefined) newest.set(key, Math.max(newest.get(key) ?? -Infinity, at))
    counts.set(key, (counts.get(key) ?? 0) + 1)
    given.push([key, `record ${n} ${counts.get(key)}`])
    const act = acts[n % acts.length]!
    if (act.kind === "set") set({ key, name: act.name, timeMs: at + act.inMs })
    if (act.kind === "again") set({ key, name: `again ${act.times} ${act.inMs}`, timeMs: at + act.inMs })
    if (act.kind === "cancel") alarms = alarms.filter((alarm) => alarm.key !== key || alarm.name !== act.name)
    if (act.kind === "clear") counts.delete(key)
    if (hasNothing(key)) newest.delete(key)
  }
  advance(8.64e15)
  return given
}

/** The first of all that are the same, where something is forgotten that did not come for `ttl`. */
export const dedupeOf = (
  records: ReadonlyArray<Rec>,
  watermarks: ReadonlyArray<number>,
  ttl: number | undefined
): ReadonlyArray<number> => {
  const seen = new Map<Key, number>()
  const given: Array<number> = []
  for (const [i, { at, key, n }] of records.entries()) {
    const last = seen.get(key)
    const isKnown = last !== undefined && (ttl === undefined || last + ttl > watermarks[i]!)
    if (!isKnown) given.push(n)
    seen.set(key, isKnown ? Math.max(last, at) : at)
  }
  return given
}
