/**
 * One call of an append function: the arguments for a list of writes, and what its answer means for each of
 * them. Plain functions over arrays; who calls when is PgWriter's business.
 */
import type { AppendCondition, AppendResult, ExpectedVersion, WriteResult } from "@millrace/core/Append"
import type { EventFilter } from "@millrace/core/EventFilter"
import { LeaseLost } from "@millrace/core/LeaseLost"
import type { Position } from "@millrace/core/Position"
import type { PreparedWrite } from "@millrace/core/PreparedWrite"
import { categoryOf, compareStreamIds } from "@millrace/core/StreamId"
import type { StreamId } from "@millrace/core/StreamId"
import type { StreamVersion } from "@millrace/core/StreamVersion"
import { hash32 } from "@millrace/core/Vnode"
import type { WriteError } from "@millrace/core/WriteError"
import {
  AppendConditionFailed,
  EventIdConflict,
  InvalidOriginalVersion,
  RoutingKeyMismatch,
  StreamDeleted
} from "@millrace/core/WriteError"
import { numberArray, parseNumbers, parseTexts, textArray } from "./PgArray.js"
import type { BinaryWriter } from "./PgBinary.js"
import { jsonOid, textOid } from "./PgBinary.js"
import { fencesOf } from "./PgFence.js"
import type { Fences } from "./PgFence.js"
import { bucketCount } from "./PgNames.js"
import type { PgNames } from "./PgNames.js"
import type { Statement, TextRow } from "./PgPool.js"
import { filtersText, literals } from "./PgPredicate.js"

/**
 * What became of one write: its result, its error, or what somebody's transaction holds of it: a stream, a
 * condition's bucket (no stream), or its lease, which is being taken over.
 */
export type Outcome =
  | { readonly _tag: "Written"; readonly result: WriteResult }
  | { readonly _tag: "Refused"; readonly error: WriteError }
  | { readonly _tag: "Blocked"; readonly streamId: StreamId | undefined }
  | { readonly _tag: "LeaseBusy" }

/** How the general function is to be called. */
export interface AppendMode {
  /** Whether the ids may be in the log already. */
  readonly looksAtIds: boolean
  /** Whether to wait for rows and buckets that others hold. */
  readonly waits: boolean
  /** Longest wait for one lock; null leaves the connection's own setting. Unit: milliseconds. */
  readonly lockMs: number | null
  /**
   * Whether the call belongs to the caller's transaction. It then waits for the row of its lease as well, and
   * notifies the other processes itself.
   */
  readonly joined: boolean
}

/** The general function, which knows every rule. At most one of the writes may have a condition, and then it is alone. */
export const appendStatement = ({ q }: PgNames): Statement => ({
  name: `millrace_append_${q}`,
  text: `SELECT status, at_append, actual, said, first_versions, positions FROM ${q}.append($1::text[], $2::smallint[], $3::integer[], $4::integer[], $5::bigint[], $6::integer[], $7::text[], $8::integer[], $9::integer[], $10::text[], $11::text[], $12::json[], $13::json[], $14::text[], $15, $16::integer[], $17::integer[], $18, $19::bigint, $20, $21::integer, $22, $23::text[], $24::bigint[], $25::text[], $26::integer[], $27::integer)`
})

/** The arguments of {@link appendStatement}. */
export function appendValues(
  writes: ReadonlyArray<PreparedWrite>,
  mode: AppendMode,
  { q }: PgNames,
  binary: BinaryWriter
): Array<unknown> {
  const vnodes = new Map<string, number>()
  for (const write of writes) for (const append of write.appends) vnodes.set(append.streamId, append.vnode)
  const streamIds = Array.from(vnodes.keys()).sort(compareStreamIds)
  const indexOf = new Map(streamIds.map((streamId, index) => [streamId, index + 1]))

  const aw: Array<number> = []
  const ai: Array<number> = []
  const ae: Array<number> = []
  const an: Array<number> = []
  const ak: Array<string | null> = []
  const ea: Array<number> = []
  const ek: Array<number> = []
  const et: Array<string> = []
  const ei: Array<string> = []
  const ed: Array<string> = []
  const em: Array<string | null> = []
  const eg: Array<string | null> = []
  for (let w = 0; w < writes.length; w++) {
    for (const append of writes[w]!.appends) {
      aw.push(w + 1)
      ai.push(indexOf.get(append.streamId)!)
      ae.push(expectedCode(append.expected))
      an.push(append.events.length)
      ak.push(append.routingKey)
      let k = 0
      for (const event of append.events) {
        ea.push(aw.length)
        ek.push(++k)
        et.push(event.type)
        ei.push(event.id)
        ed.push(event.data)
        em.push(event.metadata)
        eg.push(event.tags === null ? null : textArray(event.tags))
      }
    }
  }
  const condition = writes.length === 1 ? writes[0]!.condition : undefined
  const fences = fencesOf(writes)
  return [
    textArray(streamIds),
    numberArray(streamIds.map((streamId) => vnodes.get(streamId)!)),
    numberArray(aw),
    numberArray(ai),
    numberArray(ae),
    numberArray(an),
    textArray(ak),
    numberArray(ea),
    numberArray(ek),
    binary.array(et, textOid),
    binary.array(ei, textOid),
    binary.array(ed, jsonOid),
    binary.array(em, jsonOid),
    binary.array(eg, textOid),
    mode.looksAtIds,
    numberArray(appendBuckets(writes)),
    condition === undefined ? null : numberArray(conditionBuckets(condition.filters)),
    condition === undefined ? null : conditionText(condition, q),
    condition === undefined ? null : condition.after,
    mode.waits,
    mode.lockMs,
    mode.joined,
    ...fenceValues(fences),
    fences === undefined ? null : numberArray(fences.ofWrites),
    fences === undefined || !mode.joined ? null : fences.ttlMs
  ]
}

/** What the general function's answer means, one outcome a write. */
export function appendOutcomes(writes: ReadonlyArray<PreparedWrite>, row: TextRow): Array<Outcome> {
  const status = parseNumbers(row[0]!)
  const atAppend = parseNumbers(row[1]!)
  const actual = parseNumbers(row[2]!)
  const said = parseTexts(row[3]!)
  const firstVersions = parseNumbers(row[4]!)
  const positions = parseNumbers(row[5]!)
  let append = 0
  let event = 0
  return writes.map((write, w) => {
    const firstAppend = append
    const firstEvent = event
    append += write.appends.length
    event += write.eventCount
    const code = status[w]!
    if (code <= 1) {
      return written(write, firstVersions.slice(firstAppend, append), positions.slice(firstEvent, event))
    }
    const failing = write.appends[atAppend[w]! - 1 - firstAppend]
    if (code === 7) return { _tag: "Blocked", streamId: failing?.streamId }
    if (code === 9) return { _tag: "LeaseBusy" }
    return { _tag: "Refused", error: refusal(code, failing, write, actual[w]!, said[w] ?? null) }
  })
}

// ---- the fast forms ----

/** Whether a write may go through the fast forms: one append, no id that may be in the log, no condition. */
export const isSimple = (write: PreparedWrite): boolean =>
  write.appends.length === 1 && !write.namesIds && write.condition === undefined

/** How a fast form is to be called. */
export interface FastMode {
  /** Followed by the fence, which undoes it when a lease is lost. */
  readonly fenced: boolean
  /** Notifies the other processes in its own transaction. */
  readonly notifies: boolean
}

/** The statements of a fast form. */
export type FastForm = (mode: FastMode) => Statement

/** The statements that call `call` and then what the mode asks for; `fences`: the numbers of those arguments. */
const fastForm = (
  { channel, q }: PgNames,
  name: string,
  call: string,
  fences: readonly [keys: number, epochs: number, workers: number]
): FastForm => {
  const [keys, epochs, workers] = fences
  const statement = ({ fenced, notifies }: FastMode): Statement => ({
    name: `millrace_${name}${fenced ? "_fenced" : ""}${notifies ? "_notify" : ""}_${q}`,
    text: [
      `SELECT ${call}`,
      ...(fenced ? [`${q}.hold_fences($${keys}::text[], $${epochs}::bigint[], $${workers}::text[])`] : []),
      ...(notifies ? [`pg_notify('${channel}', '')`] : [])
    ].join(", ")
  })
  const both = [false, true]
  // By number, so that nothing is made for a call: 1 for the fence, 2 for the notification.
  const all = both.flatMap((notifies) => both.map((fenced) => statement({ fenced, notifies })))
  return ({ fenced, notifies }) => all[(fenced ? 1 : 0) + (notifies ? 2 : 0)]!
}

/** Any number of simple writes to distinct streams. */
export const simpleStatement = (names: PgNames): FastForm =>
  fastForm(
    names,
    "simple",
    `${names.q}.append_simple($1::text[], $2::smallint[], $3::bigint[], $4::integer[], $5::text[], $6::integer[], $7::integer[], $8::text[], $9::text[], $10::json[], $11::json[], $12::text[], $13::integer[], $14::integer)`,
    [15, 16, 17]
  )

/** The arguments of {@link simpleStatement}. The writes must be in byte order of their streams. */
export function simpleValues(
  writes: ReadonlyArray<PreparedWrite>,
  lockMs: number,
  fences: Fences | undefined,
  binary: BinaryWriter
): Array<unknown> {
  const ss: Array<string> = []
  const vs: Array<number> = []
  const es: Array<number> = []
  const ns: Array<number> = []
  const ks: Array<string | null> = []
  const ea: Array<number> = []
  const ek: Array<number> = []
  const et: Array<string> = []
  const ei: Array<string> = []
  const ed: Array<string> = []
  const em: Array<string | null> = []
  const eg: Array<string | null> = []
  for (let w = 0; w < writes.length; w++) {
    const { events, expected, routingKey, streamId, vnode } = writes[w]!.appends[0]!
    ss.push(streamId)
    vs.push(vnode)
    es.push(expectedCode(expected))
    ns.push(events.length)
    ks.push(routingKey)
    for (let k = 0; k < events.length; k++) {
      const event = events[k]!
      ea.push(w + 1)
      ek.push(k + 1)
      et.push(event.type)
      ei.push(event.id)
      ed.push(event.data)
      em.push(event.metadata)
      eg.push(event.tags === null ? null : textArray(event.tags))
    }
  }
  const values = [
    binary.array(ss, textOid),
    numberArray(vs),
    numberArray(es),
    numberArray(ns),
    binary.array(ks, textOid),
    numberArray(ea),
    numberArray(ek),
    binary.array(et, textOid),
    binary.array(ei, textOid),
    binary.array(ed, jsonOid),
    binary.array(em, jsonOid),
    binary.array(eg, textOid),
    numberArray(appendBuckets(writes)),
    lockMs
  ]
  return fences === undefined ? values : [...values, ...fenceValues(fences)]
}

/** One simple write of one event. */
export const oneStatement = (names: PgNames): FastForm =>
  fastForm(
    names,
    "one",
    `${names.q}.append_one($1, $2::smallint, $3::bigint, $4, $5, $6, $7::json, $8::json, $9::text[], $10::integer[], $11::integer)`,
    [12, 13, 14]
  )

/** The arguments of {@link oneStatement}. */
export function oneValues(write: PreparedWrite, lockMs: number, fences: Fences | undefined): Array<unknown> {
  const { events, expected, routingKey, streamId, vnode } = write.appends[0]!
  const event = events[0]!
  const values = [
    streamId,
    vnode,
    expectedCode(expected),
    routingKey,
    event.type,
    event.id,
    event.data,
    event.metadata,
    event.tags === null ? null : textArray(event.tags),
    numberArray(appendBuckets([write])),
    lockMs
  ]
  return fences === undefined ? values : [...values, ...fenceValues(fences)]
}

/** The leases as arguments, null when there are none. */
const fenceValues = (fences: Fences | undefined): ReadonlyArray<unknown> =>
  fences === undefined ? [null, null, null] : [fences.keys, fences.epochs, fences.workers]

/**
 * What the answer of a fast form means: results, with `undefined` for a write that was not made and whose
 * reason the general function knows; or nothing at all, when a condition held a bucket.
 */
export function simpleOutcomes(
  writes: ReadonlyArray<PreparedWrite>,
  row: TextRow
): ReadonlyArray<Outcome | undefined> | undefined {
  const numbers = parseNumbers(row[0]!)
  if (numbers.length === 0) return undefined
  let at = writes.length
  return writes.map((write, w) => {
    const version = numbers[w]!
    if (version === 0) return undefined
    const from = at
    at += write.eventCount
    return written(write, [version - write.eventCount + 1], numbers.slice(from, at))
  })
}

// ---- results ----

/** The result of a write from the first versions of its appends and the positions of its events. */
export function written(
  write: PreparedWrite,
  firstVersions: ReadonlyArray<number>,
  positions: ReadonlyArray<number>
): Outcome {
  let event = 0
  let position = 0
  const appends = write.appends.map(({ events, streamId }, i): AppendResult => {
    const firstPosition = positions[event]!
    event += events.length
    const lastPosition = positions[event - 1]!
    if (lastPosition > position) position = lastPosition
    return {
      streamId,
      firstVersion: firstVersions[i]! as StreamVersion,
      version: (firstVersions[i]! + events.length - 1) as StreamVersion,
      firstPosition: firstPosition as Position,
      position: lastPosition as Position,
      ids: events.map((each) => each.id)
    }
  })
  return { _tag: "Written", result: { appends, position: position as Position } }
}

/** The error that a status of a function stands for. */
export function refusal(
  code: number,
  failing: PreparedWrite["appends"][number] | undefined,
  write: PreparedWrite,
  actual: number,
  said: string | null
): WriteError {
  const { expected, routingKey, streamId } = failing ?? write.appends[0]!
  switch (code) {
    case 2:
      return new InvalidOriginalVersion({ streamId, expected, actual: actual as StreamVersion })
    case 3:
      return new StreamDeleted({ streamId })
    case 4:
      return new RoutingKeyMismatch({ streamId, expected: said, actual: routingKey ?? "" })
    case 5:
      return new EventIdConflict({ streamId, id: said ?? "" })
    case 8:
      return new LeaseLost({ key: write.fence?.key ?? "", holder: said ?? "" })
    default:
      return new AppendConditionFailed({ position: actual as Position })
  }
}

/** −1 any, −2 exists, −3 empty, else the version itself. */
export const expectedCode = (expected: ExpectedVersion): number =>
  expected === "any" ? -1 : expected === "exists" ? -2 : expected === "empty" ? -3 : expected

// ---- buckets ----

const bucketOf = (kind: "category" | "type" | "tag", text: string): number =>
  hash32(`${kind}/${text}`) % bucketCount

/** The buckets of everything that a condition could find these events by: ascending, without repeats. */
export function appendBuckets(writes: ReadonlyArray<PreparedWrite>): Array<number> {
  const buckets = new Set<number>()
  let category = ""
  let type = ""
  for (const write of writes) {
    for (const append of write.appends) {
      if (append.category !== category) {
        category = append.category
        buckets.add(bucketOf("category", category))
      }
      for (const event of append.events) {
        if (event.type !== type) {
          type = event.type
          buckets.add(bucketOf("type", type))
        }
        if (event.tags !== null) for (const tag of event.tags) buckets.add(bucketOf("tag", tag))
      }
    }
  }
  return Array.from(buckets).sort((a, b) => a - b)
}

/**
 * Buckets that every event matching one of the filters shares with it. One bucket a filter is enough: an
 * event that matches has all of the filter's tags, its type and its category. The rarest is taken, so that
 * a condition stands in the way of few others. A filter that names none of them takes all buckets.
 */
export function conditionBuckets(filters: ReadonlyArray<EventFilter>): Array<number> {
  const buckets = new Set<number>()
  for (const filter of filters) {
    const category = filter.category ?? categoryIn(filter.streamId) ?? categoryIn(filter.prefix)
    if (filter.tags !== undefined && filter.tags.length > 0) buckets.add(bucketOf("tag", filter.tags[0]!))
    else if (filter.type !== undefined) buckets.add(bucketOf("type", filter.type))
    else if (category !== undefined) buckets.add(bucketOf("category", category))
    else for (let bucket = 0; bucket < bucketCount; bucket++) buckets.add(bucket)
  }
  return Array.from(buckets).sort((a, b) => a - b)
}

const categoryIn = (text: string | undefined): string | undefined =>
  text !== undefined && text.includes("/") ? categoryOf(text) : undefined

/**
 * The query that finds the first event past `$1` that breaks the condition. Where tags or a stream narrow it
 * down, `position + 0` keeps the planner from walking the log in the hope of an early hit.
 */
export function conditionText({ filters }: AppendCondition, q: string): string {
  const narrow = filters.every(
    (filter) => filter.streamId !== undefined || (filter.tags !== undefined && filter.tags.length > 0)
  )
  return `SELECT e.position FROM ${q}.events e WHERE e.position > $1 AND ${filtersText(filters, literals)} ORDER BY e.position${narrow ? " + 0" : ""} LIMIT 1`
}
