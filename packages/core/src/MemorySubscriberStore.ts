/**
 * Consumers in the memory of one process: their leases, cursors and parked events. Everything runs between two
 * turns of the event loop, so that nobody comes between a check and what follows from it. Time is `Clock`.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Lease } from "./Lease.js"
import type { LeaseLost } from "./LeaseLost.js"
import { SubscriberStore } from "./SubscriberStore.js"
import type {
  ConsumerRow,
  HeldLease,
  LagRow,
  ListedRow,
  ParkedRow,
  SubscriberStoreBackend
} from "./SubscriberStoreBackend.js"
import * as Backend from "./SubscriberStoreBackend.js"
import { compareUtf8 } from "./Text.js"

/** The store, and the look at a lease with which a log in memory checks the fence of a write. */
export interface MemorySubscribers {
  readonly store: SubscriberStore["Type"]
  /** Why the lease does not hold at `nowMs`, by the clock of the store; undefined while it does. */
  readonly leaseFault: (lease: Lease, nowMs: number) => LeaseLost | undefined
}

/** Builds an empty store. */
export const make: Effect.Effect<MemorySubscribers> = Effect.sync(() => {
  const consumers = new Map<string, Consumer>()
  return {
    store: Backend.make(makeBackend(consumers)),
    leaseFault: (lease, nowMs) => {
      const held = Backend.heldLease(lease)
      const consumer = consumers.get(lease.key)
      return held !== undefined && consumer !== undefined && consumer.holds(held, nowMs)
        ? undefined
        : Backend.leaseLost(lease.key, consumer?.row(nowMs))
    }
  }
})

/** An empty store for each build of the layer. */
export const layer: Layer.Layer<SubscriberStore> = Layer.effect(
  SubscriberStore,
  Effect.map(make, ({ store }) => store)
)

// ---- internal ----

/** Everything about one key. */
class Consumer {
  epoch = 1
  expiresAtMs: number
  paused = false
  lag: LagRow | undefined
  /** By park key and position. */
  readonly parked = new Map<string, Map<number, ParkedRow>>()
  parkedCount = 0

  constructor(
    public workerId: string | undefined,
    ttlMs: number,
    public position: number,
    public updatedAtMs: number
  ) {
    this.expiresAtMs = updatedAtMs + ttlMs
  }

  row(nowMs: number): ConsumerRow {
    const { epoch, expiresAtMs, position, workerId } = this
    return { epoch, workerId, remainingMs: expiresAtMs - nowMs, position }
  }

  holds({ epoch, workerId }: HeldLease, nowMs: number): boolean {
    return this.epoch === epoch && this.workerId === workerId && this.expiresAtMs > nowMs
  }

  isParked(parkKey: string, position: number): boolean {
    return this.parked.get(parkKey)?.has(position) === true
  }

  put(row: ParkedRow): void {
    const byPosition = this.parked.get(row.parkKey) ?? new Map<number, ParkedRow>()
    this.parked.set(row.parkKey, byPosition)
    if (!byPosition.has(row.position)) this.parkedCount++
    byPosition.set(row.position, row)
  }

  remove(parkKey: string, position: number): void {
    const byPosition = this.parked.get(parkKey)
    if (byPosition === undefined || !byPosition.delete(position)) return
    this.parkedCount--
    if (byPosition.size === 0) this.parked.delete(parkKey)
  }

  /** The events of a park key, in the order of their positions. */
  rows(parkKey: string): ReadonlyArray<ParkedRow> {
    return [...(this.parked.get(parkKey)?.values() ?? [])].sort((a, b) => a.position - b.position)
  }

  /** In byte order. */
  parkKeys(): ReadonlyArray<string> {
    return [...this.parked.keys()].sort(compareUtf8)
  }
}

const atNow = <A>(use: (nowMs: number) => A): Effect.Effect<A> => Effect.map(Clock.currentTimeMillis, use)

const makeBackend = (consumers: Map<string, Consumer>): SubscriberStoreBackend => {
  /** The key's consumer, if the lease holds. */
  const heldBy = (lease: HeldLease, nowMs: number): Consumer | undefined => {
    const consumer = consumers.get(lease.key)
    return consumer?.holds(lease, nowMs) === true ? consumer : undefined
  }
  return {
    find: (key) => atNow((nowMs) => consumers.get(key)?.row(nowMs)),

    take: ({ above, key, startAt, ttlMs, workerId }) =>
      atNow((nowMs) => {
        const known = consumers.get(key)
        if (known === undefined) {
          const made = new Consumer(workerId, ttlMs, startAt, nowMs)
          made.epoch = above + 1
          consumers.set(key, made)
          return grantOf(made)
        }
        const holder = Backend.holderOf(known.row(nowMs))
        if (holder !== undefined && holder !== workerId) return undefined
        known.epoch = Math.max(known.epoch, above) + 1
        known.workerId = workerId
        known.expiresAtMs = nowMs + ttlMs
        return grantOf(known)
      }),

    renew: (lease) =>
      atNow((nowMs) => {
        const consumer = heldBy(lease, nowMs)
        if (consumer === undefined) return undefined
        consumer.expiresAtMs = nowMs + lease.ttlMs
        return grantOf(consumer)
      }),

    release: ({ epoch, key, workerId }) =>
      Effect.sync(() => {
        const consumer = consumers.get(key)
        if (consumer?.epoch === epoch && consumer.workerId === workerId) consumer.workerId = undefined
      }),

    advance: (lease, position, lag) =>
      atNow((nowMs) => {
        const consumer = heldBy(lease, nowMs)
        if (consumer === undefined || consumer.position > position) return false
        if (consumer.position < position) consumer.updatedAtMs = nowMs
        consumer.position = position
        consumer.lag = lag ?? consumer.lag
        return true
      }),

    setPaused: (key, paused) =>
      Effect.sync(() => {
        const consumer = consumers.get(key)
        if (consumer !== undefined) consumer.paused = paused
        return consumer !== undefined
      }),

    list: ({ after, limit, prefix = "" }) =>
      atNow((nowMs) =>
        [...consumers.keys()]
          .filter((key) => key.startsWith(prefix) && (after === undefined || compareUtf8(key, after) > 0))
          .sort(compareUtf8)
          .slice(0, limit)
          .map((key) => listedRow(key, consumers.get(key)!, nowMs))
      ),

    park: (lease, parkings, max) =>
      atNow((nowMs) => {
        const consumer = heldBy(lease, nowMs)
        if (consumer === undefined) return "Lost"
        const fresh = new Map(
          parkings
            .filter(({ parkKey, position }) => !consumer.isParked(parkKey, position))
            // Of several that are the same, the first one stays.
            .map((row) => [`${row.position} ${row.parkKey}`, row] as const)
            .reverse()
        )
        if (fresh.size > 0 && consumer.parkedCount + fresh.size > max) return "Full"
        for (const row of fresh.values()) consumer.put({ ...row, parkedAtMs: nowMs, request: undefined })
        return "Parked"
      }),

    parked: (key, parkKey, after, limit) =>
      Effect.sync(() => {
        const consumer = consumers.get(key)
        if (consumer === undefined) return []
        const parkKeys = parkKey === undefined ? consumer.parkKeys() : [parkKey]
        return parkKeys
          .flatMap((parkKey) => consumer.rows(parkKey))
          .filter((row) => after === undefined || isBehind(row, after))
          .slice(0, limit)
      }),

    parkedKeys: (key, after, limit, requested) =>
      Effect.sync(() => {
        const consumer = consumers.get(key)
        if (consumer === undefined) return []
        return consumer
          .parkKeys()
          .filter((parkKey) => after === undefined || compareUtf8(parkKey, after) > 0)
          .map((parkKey) => ({ parkKey, request: requestOf(consumer.rows(parkKey)) }))
          .filter(({ request }) => !requested || request !== undefined)
          .slice(0, limit)
      }),

    request: (key, request, parkKey) =>
      Effect.sync(() => {
        const consumer = consumers.get(key)
        if (consumer === undefined) return 0
        const parkKeys = parkKey === undefined ? consumer.parkKeys() : [parkKey]
        const rows = parkKeys.flatMap((parkKey) => consumer.rows(parkKey))
        for (const row of rows) consumer.put({ ...row, request })
        return rows.length
      }),

    unpark: (lease, parkKey, position) =>
      atNow((nowMs) => {
        const consumer = heldBy(lease, nowMs)
        consumer?.remove(parkKey, position)
        return consumer !== undefined
      }),

    repark: (lease, parkKey, position, reason) =>
      atNow((nowMs) => {
        const consumer = heldBy(lease, nowMs)
        if (consumer === undefined) return false
        for (const row of consumer.rows(parkKey)) {
          const failed = row.position === position ? { attempts: row.attempts + 1, reason } : undefined
          consumer.put({ ...row, ...failed, request: undefined })
        }
        return true
      })
  }
}

const grantOf = ({ epoch, expiresAtMs, paused }: Consumer): Backend.GrantRow => ({
  epoch,
  expiresAtMs,
  paused
})

const listedRow = (key: string, consumer: Consumer, nowMs: number): ListedRow => ({
  ...consumer.row(nowMs),
  key,
  paused: consumer.paused,
  lag: consumer.lag,
  parked: consumer.parkedCount,
  updatedAtMs: consumer.updatedAtMs
})

const isBehind = (
  row: ParkedRow,
  place: { readonly parkKey: string; readonly position: number }
): boolean => {
  const order = compareUtf8(row.parkKey, place.parkKey)
  return order > 0 || (order === 0 && row.position > place.position)
}

/** "retry" wins where both were asked for: nothing is lost by it. */
const requestOf = (rows: ReadonlyArray<ParkedRow>): ParkedRow["request"] =>
  rows.some((row) => row.request === "retry")
    ? "retry"
    : rows.find((row) => row.request !== undefined)?.request
