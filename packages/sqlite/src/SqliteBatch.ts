/**
 * Writes that commit together: what they need to know is loaded once, each is then decided by itself in plain
 * JavaScript, in order and seeing those before it, and what was accepted is inserted in a few statements.
 *
 * Runs inside a transaction that holds the write lock and in one go, so what was loaded stays true. A refused write leaves
 * nothing behind and the others go on; a statement that fails ends the whole, and the caller rolls back.
 */
import type { AppendCondition, AppendResult, ExpectedVersion, WriteResult } from "@millrace/core/Append"
import { matchesAny } from "@millrace/core/EventFilter"
import type { EventFilter } from "@millrace/core/EventFilter"
import type { Lease } from "@millrace/core/Lease"
import { LeaseLost } from "@millrace/core/LeaseLost"
import type { Position } from "@millrace/core/Position"
import type { PreparedAppend, PreparedWrite } from "@millrace/core/PreparedWrite"
import { repeatOf } from "@millrace/core/Repeat"
import type { StreamVersion } from "@millrace/core/StreamVersion"
import {
  AppendConditionFailed,
  InvalidOriginalVersion,
  RoutingKeyMismatch,
  StreamDeleted
} from "@millrace/core/WriteError"
import type { EventIdConflict, WriteError } from "@millrace/core/WriteError"
import * as ReadStatements from "./ReadStatements.js"
import type { SqliteSession } from "./SqliteSession.js"
import type { IdRow, StreamRow } from "./Statements.js"
import * as Statements from "./Statements.js"

/** What became of each write, in order, and the newest position that was written, if any. */
export interface BatchResult {
  readonly results: ReadonlyArray<WriteResult | WriteError>
  readonly position: number | undefined
}

/**
 * Decides the writes and inserts what was accepted. Throws what a statement throws; the caller then rolls back.
 *
 * @example
 * ```ts
 * const { results } = yield* database.commit((session) => SqliteBatch.commit(session, writes))
 * ```
 */
export function commit(session: SqliteSession, writes: ReadonlyArray<PreparedWrite>): BatchResult {
  const head = Statements.head(session)
  const batch = new Batch(head, Statements.streams(session, streamIdsOf(writes)))
  const named = writes.filter((write) => write.namesIds)
  if (named.length > 0) batch.knowIds(Statements.eventsById(session, idsOf(named)))
  const results = writes.map((write) => {
    const repeat = batch.repeatOf(write)
    if (repeat !== undefined) return repeat
    const met = write.condition === undefined ? undefined : firstMatch(session, batch, write.condition)
    if (met !== undefined) return new AppendConditionFailed({ position: met as Position })
    return batch.append(write, (lease, nowMs) => leaseFault(session, lease, nowMs))
  })
  if (batch.accepted.length === 0) return { results, position: undefined }
  insert(session, batch)
  return { results, position: batch.head }
}

/** Whether a stream stands where the caller expected it. */
export const holds = (
  expected: ExpectedVersion,
  { base, version }: { readonly version: number; readonly base: number }
): boolean =>
  expected === "any" ||
  (expected === "exists" ? version > base : expected === "empty" ? version === base : version === expected)

// ---- internal ----

interface Stream {
  readonly version: number
  readonly base: number
  readonly routingKey: string | null
  readonly tombstoned: boolean
}

interface Place {
  readonly streamId: string
  readonly version: number
  readonly position: number
}

/** An append that will be inserted. */
interface Accepted {
  readonly append: PreparedAppend
  readonly firstVersion: number
  readonly firstPosition: number
  readonly routingKey: string | null
  readonly nowMs: number
}

function streamIdsOf(writes: ReadonlyArray<PreparedWrite>): ReadonlyArray<string> {
  const ids = new Set<string>()
  for (const write of writes) for (const append of write.appends) ids.add(append.streamId)
  return Array.from(ids)
}

const idsOf = (writes: ReadonlyArray<PreparedWrite>): ReadonlyArray<string> =>
  writes.flatMap((write) => write.appends.flatMap((append) => append.events.map((event) => event.id)))

class Batch {
  readonly accepted: Array<Accepted> = []
  readonly moved = new Map<string, Stream>()
  private readonly streams = new Map<string, Stream>()
  /** Kept only when a write of the batch names ids. */
  private ids: Map<string, Place> | undefined

  constructor(
    public head: number,
    rows: ReadonlyArray<StreamRow>
  ) {
    for (const [streamId, version, base, routingKey, tombstoned] of rows)
      this.streams.set(streamId, { version, base, routingKey, tombstoned: tombstoned === 1 })
  }

  knowIds(rows: ReadonlyArray<IdRow>): void {
    this.ids = new Map(rows.map(([id, streamId, version, position]) => [id, { streamId, version, position }]))
  }

  /** The first result when all ids are there as a repeat has them; a conflict when only some are, or elsewhere; else nothing. */
  repeatOf(write: PreparedWrite): WriteResult | EventIdConflict | undefined {
    if (!write.namesIds || this.ids === undefined || this.ids.size === 0) return undefined
    const ids = this.ids
    return repeatOf(write, (id) => ids.get(id))
  }

  /** Position of the first event of this batch past `after` that any of the filters matches. */
  firstMatch(filters: ReadonlyArray<EventFilter>, after: number): number | undefined {
    for (const { append, firstPosition } of this.accepted) {
      for (let i = 0; i < append.events.length; i++) {
        const position = firstPosition + i
        const { tags, type } = append.events[i]!
        if (position > after && matchesAny(filters, { streamId: append.streamId, type, tags: tags ?? [] }))
          return position
      }
    }
    return undefined
  }

  /** Checks every append of the write, and then its lease; then takes all of them, or none. */
  append(
    write: PreparedWrite,
    leaseFault: (lease: Lease, nowMs: number) => LeaseLost | undefined
  ): WriteResult | WriteError {
    const staged = new Map<string, Stream>()
    for (const append of write.appends) {
      const { events, expected, routingKey, streamId } = append
      const now = staged.get(streamId) ??
        this.streams.get(streamId) ?? { version: 0, base: 0, routingKey, tombstoned: false }
      if (now.tombstoned) return new StreamDeleted({ streamId })
      if (routingKey !== null && routingKey !== now.routingKey)
        return new RoutingKeyMismatch({ streamId, expected: now.routingKey, actual: routingKey })
      if (!holds(expected, now))
        return new InvalidOriginalVersion({ streamId, expected, actual: now.version as StreamVersion })
      staged.set(streamId, { ...now, version: now.version + events.length })
    }
    // By the time as it is now: the write may have waited.
    const lost =
      write.fence === undefined ? undefined : leaseFault(write.fence, write.clock.unsafeCurrentTimeMillis())
    if (lost !== undefined) return lost
    return {
      appends: write.appends.map((append) => this.accept(append, write.nowMs)),
      position: this.head as Position
    }
  }

  private accept(append: PreparedAppend, nowMs: number): AppendResult {
    const { events, streamId } = append
    const before = this.streams.get(streamId) ?? {
      version: 0,
      base: 0,
      routingKey: append.routingKey,
      tombstoned: false
    }
    const after = { ...before, version: before.version + events.length }
    this.streams.set(streamId, after)
    this.moved.set(streamId, after)
    const firstVersion = before.version + 1
    const firstPosition = this.head + 1
    this.head += events.length
    this.accepted.push({ append, firstVersion, firstPosition, routingKey: before.routingKey, nowMs })
    const ids = events.map((event) => event.id)
    if (this.ids !== undefined) {
      for (let i = 0; i < ids.length; i++)
        this.ids.set(ids[i]!, { streamId, version: firstVersion + i, position: firstPosition + i })
    }
    return {
      streamId,
      firstVersion: firstVersion as StreamVersion,
      version: after.version as StreamVersion,
      firstPosition: firstPosition as Position,
      position: this.head as Position,
      ids
    }
  }
}

/** Position of the first event past `after` that any of the condition's filters matches: in the log, else in the batch. */
const firstMatch = (
  session: SqliteSession,
  batch: Batch,
  { after, filters }: AppendCondition
): number | undefined => {
  const { params, sql } = ReadStatements.firstMatch(filters, after)
  const [row] = session.rows(sql, params)
  return row === undefined ? batch.firstMatch(filters, after) : (row[0] as number)
}

/**
 * Why a lease does not hold. The transaction has the write lock of the file, so that nobody can take the lease
 * over, nor let go of it, before it commits.
 */
function leaseFault(
  session: SqliteSession,
  { epoch, key, workerId }: Lease,
  nowMs: number
): LeaseLost | undefined {
  const row = Statements.lease(session, key)
  const holder = row === undefined || row[3] <= nowMs ? "" : (row[2] ?? "")
  return holder === workerId && row?.[0] === epoch && row[1] === epoch
    ? undefined
    : new LeaseLost({ key, holder })
}

/** Hot: touches every event that is written. A plain loop into one array of values. */
function insert(session: SqliteSession, { accepted, head, moved }: Batch): void {
  const events: Array<unknown> = []
  const tags: Array<unknown> = []
  for (const { append, firstPosition, firstVersion, nowMs, routingKey } of accepted) {
    for (let i = 0; i < append.events.length; i++) {
      const event = append.events[i]!
      const position = firstPosition + i
      events.push(
        position,
        append.streamId,
        firstVersion + i,
        event.type,
        append.vnode,
        routingKey,
        nowMs,
        event.id,
        event.tags === null ? null : JSON.stringify(event.tags),
        event.metadata,
        event.data
      )
      if (event.tags !== null) for (const tag of event.tags) tags.push(tag, position)
    }
  }
  const streams: Array<unknown> = []
  for (const [streamId, { routingKey, version }] of moved) streams.push(streamId, version, routingKey)

  Statements.addEvents(session, events)
  Statements.addTags(session, tags)
  Statements.moveStreams(session, streams)
  Statements.moveHead(session, head)
}
