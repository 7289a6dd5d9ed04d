/**
 * The log in the memory of one process: for tests, for examples and as the oracle that the database stores
 * are compared with. It keeps every promise of {@link EventStore} but durability. JavaScript runs one call
 * at a time, so that each decision below is a transaction of its own.
 *
 * A write is in the log when it returns, also inside some database's transaction: it joins none.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { AppendResult, ExpectedVersion, WriteResult } from "./Append.js"
import type { EventFilter, Filterable } from "./EventFilter.js"
import { matches, matchesAny } from "./EventFilter.js"
import { EventStore } from "./EventStore.js"
import { giveWay } from "./EventLoop.js"
import * as EventStoreBackend from "./EventStoreBackend.js"
import type { EventPage, EventRow, EventStoreSettings, ReadPlan, StreamRow } from "./EventStoreBackend.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Lease } from "./Lease.js"
import { LeaseLost } from "./LeaseLost.js"
import type { Position } from "./Position.js"
import type { PreparedAppend, PreparedWrite } from "./PreparedWrite.js"
import { compareStreamIds } from "./StreamId.js"
import { repeatOf } from "./Repeat.js"
import type { StreamId } from "./StreamId.js"
import type { StreamVersion } from "./StreamVersion.js"
import type { WriteError } from "./WriteError.js"
import {
  AppendConditionFailed,
  InvalidOriginalVersion,
  RoutingKeyMismatch,
  StreamDeleted
} from "./WriteError.js"

/** Settings of the memory store, and hooks for who keeps snapshots and leases beside it. */
export interface MemoryOptions extends EventStoreSettings {
  /** Called for each stream whose snapshots must go, because its events were deleted or erased. */
  readonly onForget?: ((streamId: StreamId) => void) | undefined
  /** Why a lease does not hold at `nowMs`; undefined while it does. Default: no lease is known, so that none holds. */
  readonly leaseFault?: ((lease: Lease, nowMs: number) => LeaseLost | undefined) | undefined
}

/** Builds an empty log. Fails with `InvalidArgument` when a setting is out of range. */
export const make = (options: MemoryOptions = {}): Effect.Effect<EventStore["Type"], InvalidArgument> =>
  Effect.gen(function* () {
    const fault = EventStoreBackend.settingsFault(options)
    if (fault !== undefined) return yield* fault
    const log = new MemoryLog(options.leaseFault ?? unknownLease)
    // Sliding: a hint that nobody took in time is overtaken by a newer one, which says more.
    const changes = yield* PubSub.sliding<number>(16)
    const forget = (streamIds: Iterable<StreamId>): void => {
      if (options.onForget !== undefined) for (const streamId of streamIds) options.onForget(streamId)
    }
    return yield* EventStoreBackend.make(
      {
        write: (write) =>
          Effect.zipRight(
            giveWay,
            Effect.suspend(() => {
              const result = log.write(write)
              return "_tag" in result
                ? Effect.fail(result)
                : Effect.as(PubSub.publish(changes, result.position), result)
            })
          ),
        read: (plan) => Effect.map(giveWay, () => log.read(plan)),
        streamVersion: (streamId) => Effect.sync(() => log.streams.get(streamId)?.version ?? 0),
        listStreams: ({ after, limit, prefix }) => Effect.sync(() => log.listStreams(prefix, after, limit)),
        head: Effect.sync(() => log.head),
        // What came before it listened may have been missed, so that it begins with a hint.
        changes: Stream.unwrapScoped(
          Effect.map(PubSub.subscribe(changes), (queue) =>
            Stream.concat(
              Stream.sync(() => log.head),
              Stream.fromQueue(queue)
            )
          )
        ),
        deleteStream: (streamId, expected, tombstone) =>
          Effect.suspend(() => {
            const result = log.deleteStream(streamId, expected, tombstone)
            if (typeof result !== "number") return Effect.fail(result)
            forget([streamId])
            return Effect.succeed(result)
          }),
        archiveStream: (streamId) => Effect.sync(() => log.archiveStream(streamId)),
        eraseEvents: (filter, replacement) =>
          Effect.sync(() => {
            const { count, streamIds } = log.eraseEvents(filter, replacement)
            forget(streamIds)
            return count
          })
      },
      options
    )
  })

/** An empty log for each build of the layer. */
export const layer = (options: MemoryOptions = {}): Layer.Layer<EventStore, InvalidArgument> =>
  Layer.effect(EventStore, make(options))

// ---- internal ----

interface MemoryStream {
  version: number
  readonly routingKey: string | null
  tombstoned: boolean
  /** Its rows, ascending. */
  rows: Array<MemoryRow>
}

interface MemoryRow extends EventRow {
  readonly streamId: StreamId
  data: string
  erased: boolean
  archived: boolean
  readonly routingKey: string | null
  readonly vnode: number
}

const noTags: ReadonlyArray<string> = []

const filterable = (row: EventRow): Filterable => ({
  streamId: row.streamId,
  type: row.type,
  tags: (row.tags as ReadonlyArray<string> | null) ?? noTags
})

/** First index whose position is greater than `position`. */
function firstAfter(rows: ReadonlyArray<EventRow>, position: number): number {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (rows[middle]!.position > position) high = middle
    else low = middle + 1
  }
  return low
}

/** Whether the stream is where the caller expected it. */
const holds = (
  expected: ExpectedVersion,
  stream: { readonly version: number; readonly rows: { readonly length: number } }
): boolean =>
  expected === "any" ||
  (expected === "exists"
    ? stream.rows.length > 0
    : expected === "empty"
      ? stream.rows.length === 0
      : stream.version === expected)

const unknownLease = ({ key }: Lease): LeaseLost => new LeaseLost({ key, holder: "" })

class MemoryLog {
  constructor(private readonly leaseFault: (lease: Lease, nowMs: number) => LeaseLost | undefined) {}

  head = 0
  rows: Array<MemoryRow> = []
  readonly streams = new Map<StreamId, MemoryStream>()
  readonly byId = new Map<string, MemoryRow>()

  write(write: PreparedWrite): WriteResult | WriteError {
    const repeat = write.namesIds ? repeatOf(write, (id) => this.byId.get(id)) : undefined
    if (repeat !== undefined) return repeat
    if (write.condition !== undefined) {
      const { after, filters } = write.condition
      for (let i = firstAfter(this.rows, after); i < this.rows.length; i++) {
        const row = this.rows[i]!
        if (matchesAny(filters, filterable(row)))
          return new AppendConditionFailed({ position: row.position as Position })
      }
    }
    const staged = new Map<
      StreamId,
      { version: number; rows: { length: number }; routingKey: string | null }
    >()
    for (const append of write.appends) {
      const stream = this.streams.get(append.streamId)
      const now = staged.get(append.streamId) ?? {
        version: stream?.version ?? 0,
        rows: { length: stream?.rows.length ?? 0 },
        routingKey: stream === undefined ? append.routingKey : stream.routingKey
      }
      if (stream?.tombstoned === true) return new StreamDeleted({ streamId: append.streamId })
      if (append.routingKey !== null && append.routingKey !== now.routingKey) {
        return new RoutingKeyMismatch({
          streamId: append.streamId,
          expected: now.routingKey,
          actual: append.routingKey
        })
      }
      if (!holds(append.expected, now)) {
        return new InvalidOriginalVersion({
          streamId: append.streamId,
          expected: append.expected,
          actual: now.version as StreamVersion
        })
      }
      staged.set(append.streamId, {
        version: now.version + append.events.length,
        rows: { length: now.rows.length + append.events.length },
        routingKey: now.routingKey
      })
    }
    const lost = write.fence === undefined ? undefined : this.leaseFault(write.fence, write.nowMs)
    if (lost !== undefined) return lost
    const appends = write.appends.map((append) => this.append(append, write.nowMs))
    return { appends, position: this.head as Position }
  }

  /** Puts the events of an append that was checked at the end of its stream and of the log. */
  private append({ events, routingKey, streamId, vnode }: PreparedAppend, nowMs: number): AppendResult {
    let stream = this.streams.get(streamId)
    if (stream === undefined) {
      stream = { version: 0, routingKey, tombstoned: false, rows: [] }
      this.streams.set(streamId, stream)
    }
    const firstVersion = stream.version + 1
    const firstPosition = this.head + 1
    for (const event of events) {
      const row: MemoryRow = {
        ...event,
        position: ++this.head,
        streamId,
        version: ++stream.version,
        recordedAtMs: nowMs,
        erased: false,
        archived: false,
        routingKey: stream.routingKey,
        vnode
      }
      this.rows.push(row)
      stream.rows.push(row)
      this.byId.set(row.id, row)
    }
    return {
      streamId,
      firstVersion: firstVersion as StreamVersion,
      version: stream.version as StreamVersion,
      firstPosition: firstPosition as Position,
      position: this.head as Position,
      ids: events.map((event) => event.id)
    }
  }

  read(plan: ReadPlan): EventPage {
    const rows = this.rowsOf(plan)
    const found = new EventStoreBackend.EventDecoder()
    const upTo = plan.upTo ?? Number.MAX_SAFE_INTEGER
    if (plan.backward) {
      const end = plan.before === undefined ? upTo : Math.min(upTo, plan.before - 1)
      for (let i = firstAfter(rows, end) - 1; i >= 0 && found.events.length < plan.limit; i--) {
        if (wanted(rows[i]!, plan)) found.add(rows[i]!)
      }
    } else {
      for (let i = firstAfter(rows, plan.after); i < rows.length && found.events.length < plan.limit; i++) {
        if (rows[i]!.position > upTo) break
        if (wanted(rows[i]!, plan)) found.add(rows[i]!)
      }
    }
    return {
      events: found.events,
      broken: found.broken,
      behind: plan.lookBehind && this.anyBehind(rows, plan, upTo)
    }
  }

  /** The rows among which those of a plan are, ascending. */
  private rowsOf({ ids, streamId }: ReadPlan): ReadonlyArray<MemoryRow> {
    if (ids !== undefined)
      return [...new Set(ids)]
        .flatMap((id) => this.byId.get(id) ?? [])
        .sort((a, b) => a.position - b.position)
    return streamId === undefined ? this.rows : (this.streams.get(streamId as StreamId)?.rows ?? [])
  }

  private anyBehind(rows: ReadonlyArray<MemoryRow>, plan: ReadPlan, upTo: number): boolean {
    if (plan.backward) {
      if (plan.before === undefined) return false
      for (let i = firstAfter(rows, plan.before - 1); i < rows.length && rows[i]!.position <= upTo; i++) {
        if (wanted(rows[i]!, plan)) return true
      }
      return false
    }
    for (let i = firstAfter(rows, Math.min(plan.after, upTo)) - 1; i >= 0; i--)
      if (wanted(rows[i]!, plan)) return true
    return false
  }

  listStreams(prefix: string | undefined, after: string | undefined, limit: number): Array<StreamRow> {
    const ids = Array.from(this.streams.keys()).filter((id) => {
      const stream = this.streams.get(id)!
      if (stream.rows.length === 0 && !stream.tombstoned) return false
      return (
        (prefix === undefined || id.startsWith(prefix)) &&
        (after === undefined || compareStreamIds(id, after) > 0)
      )
    })
    return ids
      .sort(compareStreamIds)
      .slice(0, limit)
      .map((streamId) => {
        const { rows, tombstoned, version } = this.streams.get(streamId)!
        return { streamId, version, tombstoned, deletedThrough: version - rows.length }
      })
  }

  deleteStream(
    streamId: StreamId,
    expected: ExpectedVersion,
    tombstone: boolean
  ): number | InvalidOriginalVersion {
    let stream = this.streams.get(streamId)
    if (!holds(expected, stream ?? { version: 0, rows: [] })) {
      return new InvalidOriginalVersion({
        streamId,
        expected,
        actual: (stream?.version ?? 0) as StreamVersion
      })
    }
    if (stream === undefined) {
      if (!tombstone) return 0
      stream = { version: 0, routingKey: null, tombstoned: true, rows: [] }
      this.streams.set(streamId, stream)
      return 0
    }
    if (tombstone) stream.tombstoned = true
    const gone = stream.rows
    if (gone.length === 0) return 0
    for (const row of gone) this.byId.delete(row.id)
    stream.rows = []
    this.rows = this.rows.filter((row) => row.streamId !== streamId)
    return gone.length
  }

  archiveStream(streamId: StreamId): number {
    let count = 0
    for (const row of this.streams.get(streamId)?.rows ?? []) {
      if (!row.archived) count++
      row.archived = true
    }
    return count
  }

  eraseEvents(
    filter: EventFilter,
    replacement: string
  ): { readonly count: number; readonly streamIds: Set<StreamId> } {
    const streamIds = new Set<StreamId>()
    let count = 0
    for (const row of this.rows) {
      if (!matches(filter, filterable(row))) continue
      row.data = replacement
      row.erased = true
      streamIds.add(row.streamId)
      count++
    }
    return { count, streamIds }
  }
}

/** Whether a row, apart from its position, is one that the plan asks for. */
function wanted(row: MemoryRow, plan: ReadPlan): boolean {
  if (row.archived && !plan.includeArchived) return false
  if (row.version <= plan.afterVersion) return false
  if (plan.vnodes !== undefined && (row.vnode < plan.vnodes.from || row.vnode > plan.vnodes.to)) return false
  const key = plan.routingKey
  if (key._tag === "Value" && row.routingKey !== key.key) return false
  if (key._tag === "Unkeyed" && row.routingKey !== null) return false
  return matchesAny(plan.filters, filterable(row))
}
