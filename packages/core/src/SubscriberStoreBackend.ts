/**
 * The thin seam beneath {@link SubscriberStore}: a backend keeps rows and decides, in one step that nobody can
 * come between, whether a lease holds and what then changes. Checks of arguments, brands, durations and the
 * typed errors are written here once.
 *
 * A backend says no more than "the lease did not hold" or "the key was not to be had". Why is asked afterwards
 * by `find`, on that way only; should the two not agree, because somebody came between, it is tried again.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import type { Epoch, Lease } from "./Lease.js"
import { LeaseHeld } from "./LeaseHeld.js"
import { LeaseLost } from "./LeaseLost.js"
import { ParkedFull } from "./ParkedEvent.js"
import type { ParkedEvent, ParkedRequest } from "./ParkedEvent.js"
import type { Position } from "./Position.js"
import { StoreUnavailable } from "./StoreUnavailable.js"
import {
  eventFault,
  isCount,
  isTtl,
  lagFault,
  limitFault,
  nameFault,
  optional,
  parkingFault,
  parkingRow,
  parkingsFault,
  placeFault,
  positionFault,
  ttlMsOf
} from "./SubscriberArguments.js"
import type { ParkingRow } from "./SubscriberArguments.js"
import { SubscriberStore } from "./SubscriberStore.js"
import type { SubscriberInfo } from "./SubscriberStore.js"

// ---- rows ----

/** A lease as a backend checks it: it holds if all three are those of the key's row, and that has not expired. */
export interface HeldLease {
  readonly key: string
  readonly workerId: string
  readonly epoch: number
  /** Unit: milliseconds. */
  readonly ttlMs: number
}

/** Who asks for a key's lease. */
export interface LeaseRequest {
  readonly key: string
  readonly workerId: string
  readonly ttlMs: number
  /** Where the cursor of a new key begins. */
  readonly startAt: number
  /** The new epoch is greater than this one too. */
  readonly above: number
}

/** A lease that was given or renewed. */
export interface GrantRow {
  readonly epoch: number
  /** Milliseconds since 1970, rounded down. */
  readonly expiresAtMs: number
  readonly paused: boolean
}

/** What a key has, at the moment of the look. */
export interface ConsumerRow {
  readonly epoch: number
  /** Who got the newest lease; undefined when it gave it back. */
  readonly workerId: string | undefined
  /** Until that lease ends, by the store's clock. Positive exactly while it holds. */
  readonly remainingMs: number
  readonly position: number
}

/** How far a consumer is behind. */
export interface LagRow {
  readonly events: number
  readonly ms: number
}

/** A key in a listing. */
export interface ListedRow extends ConsumerRow {
  readonly key: string
  readonly paused: boolean
  readonly lag: LagRow | undefined
  /** Number of parked events. */
  readonly parked: number
  readonly updatedAtMs: number
}

/** A parked event. */
export interface ParkedRow extends ParkingRow {
  readonly parkedAtMs: number
  readonly request: ParkedRequest | undefined
}

/**
 * What a database must supply. Whatever takes a lease checks it in the same transaction as it changes things, and
 * gives false (or undefined, or `Lost`) when it did not hold; nothing was changed then.
 */
export interface SubscriberStoreBackend {
  readonly find: (key: string) => Effect.Effect<ConsumerRow | undefined, StoreUnavailable>
  /** Makes the key, or gives its lease with the next epoch; undefined when another worker has it. */
  readonly take: (request: LeaseRequest) => Effect.Effect<GrantRow | undefined, StoreUnavailable>
  readonly renew: (lease: HeldLease) => Effect.Effect<GrantRow | undefined, StoreUnavailable>
  readonly release: (lease: HeldLease) => Effect.Effect<void, StoreUnavailable>
  /** Moves the cursor, keeps the lag if there is one. False also when the cursor stands behind `position` already. */
  readonly advance: (
    lease: HeldLease,
    position: number,
    lag: LagRow | undefined
  ) => Effect.Effect<boolean, StoreUnavailable>
  /** False when the key is not known. */
  readonly setPaused: (key: string, paused: boolean) => Effect.Effect<boolean, StoreUnavailable>
  readonly list: (listing: {
    readonly prefix: string | undefined
    readonly after: string | undefined
    readonly limit: number
  }) => Effect.Effect<ReadonlyArray<ListedRow>, StoreUnavailable>
  /** Adds those that are not there. `Full`: there would be new ones, and then more than `max` in all. */
  readonly park: (
    lease: HeldLease,
    parkings: ReadonlyArray<ParkingRow>,
    max: number
  ) => Effect.Effect<"Parked" | "Lost" | "Full", StoreUnavailable>
  readonly parked: (
    key: string,
    parkKey: string | undefined,
    after: { readonly parkKey: string; readonly position: number } | undefined,
    limit: number
  ) => Effect.Effect<ReadonlyArray<ParkedRow>, StoreUnavailable>
  /** `request`: the greatest of those of its events. */
  readonly parkedKeys: (
    key: string,
    after: string | undefined,
    limit: number,
    requested: boolean
  ) => Effect.Effect<
    ReadonlyArray<{ readonly parkKey: string; readonly request: ParkedRequest | undefined }>,
    StoreUnavailable
  >
  /** Gives the number of events marked. */
  readonly request: (
    key: string,
    request: ParkedRequest,
    parkKey: string | undefined
  ) => Effect.Effect<number, StoreUnavailable>
  readonly unpark: (
    lease: HeldLease,
    parkKey: string,
    position: number
  ) => Effect.Effect<boolean, StoreUnavailable>
  /** Adds one to the attempts of an event that is there, and unmarks all events of its park key. */
  readonly repark: (
    lease: HeldLease,
    parkKey: string,
    position: number,
    reason: string
  ) => Effect.Effect<boolean, StoreUnavailable>
}

// ---- the store ----

/** Builds the store from a backend. */
export const make = (backend: SubscriberStoreBackend): SubscriberStore["Type"] =>
  SubscriberStore.of({
    getSubscriberCursor: (key) =>
      checked(nameFault("key", key), () =>
        Effect.map(backend.find(key), (row) =>
          row === undefined ? Option.none() : Option.some(row.position as Position)
        )
      ),
    isSubscriberRunning: (key, workerId) =>
      checked(nameFault("key", key) ?? nameFault("workerId", workerId), () =>
        Effect.map(backend.find(key), (row) => holderOf(row) === workerId)
      ),
    upsertSubscriber: (key, workerId, { above = 0, startAt = 0 as Position, ttl }) => {
      const ttlMs = ttlMsOf(ttl)
      return checked(
        nameFault("key", key) ??
          nameFault("workerId", workerId) ??
          (isTtl(ttlMs) ? undefined : invalid("ttl", "a duration of 100 milliseconds to 1 day", ttl)) ??
          positionFault("startAt", startAt) ??
          (isCount(above) && above < Number.MAX_SAFE_INTEGER
            ? undefined
            : invalid("above", "an epoch of 1 to 2^53 - 2", above)),
        () =>
          Effect.map(take(backend, { key, workerId, ttlMs, startAt, above }, turnsMax), (grant) =>
            leaseOf({ key, workerId, ttlMs }, grant)
          )
      )
    },
    renew: (lease) =>
      holding(backend, lease, (held) =>
        Effect.map(backend.renew(held), (grant) =>
          grant === undefined ? undefined : { value: leaseOf(held, grant) }
        )
      ),
    release: (lease) => {
      const held = heldLease(lease)
      return held === undefined ? Effect.void : backend.release(held)
    },
    acknowledge: (lease, cursor, lag) =>
      checked(positionFault("cursor", cursor) ?? lagFault(lag), () => {
        const held = heldLease(lease)
        return held === undefined
          ? lost(lease.key, undefined)
          : advance(
              backend,
              held,
              cursor,
              lag === undefined
                ? undefined
                : { events: lag.events, ms: Math.floor(Duration.toMillis(lag.time)) },
              turnsMax
            )
      }),
    pause: (key) => checked(nameFault("key", key), () => backend.setPaused(key, true)),
    resume: (key) => checked(nameFault("key", key), () => backend.setPaused(key, false)),
    listSubscribers: ({ after, limit, prefix }) =>
      checked(
        limitFault(limit) ?? optional("prefix", prefix, nameFault) ?? optional("after", after, nameFault),
        () => Effect.map(backend.list({ prefix, after, limit }), (rows) => rows.map(infoOf))
      ),
    park: (lease, parkings, { max }) =>
      checked(
        (isCount(max) ? undefined : invalid("max", "an integer of 0 to 2^53 - 1", max)) ??
          parkingsFault(parkings),
        () =>
          holding(backend, lease, (held) =>
            Effect.flatMap(backend.park(held, parkings.map(parkingRow), max), (outcome) =>
              outcome === "Full"
                ? Effect.fail(new ParkedFull({ key: held.key, max }))
                : Effect.succeed(done(outcome === "Parked"))
            )
          )
      ),
    parked: (key, { after, limit, parkKey }) =>
      checked(
        nameFault("key", key) ??
          optional("parkKey", parkKey, nameFault) ??
          optional("after", after, placeFault) ??
          limitFault(limit),
        () => Effect.map(backend.parked(key, parkKey, after, limit), (rows) => rows.map(parkedEventOf))
      ),
    parkedKeys: (key, { after, limit, requested = false }) =>
      checked(nameFault("key", key) ?? optional("after", after, nameFault) ?? limitFault(limit), () =>
        backend.parkedKeys(key, after, limit, requested)
      ),
    requestParked: (key, request, parkKey) =>
      checked(
        nameFault("key", key) ??
          (request === "retry" || request === "drop"
            ? undefined
            : invalid("request", `"retry" or "drop"`, request)) ??
          optional("parkKey", parkKey, nameFault),
        () => backend.request(key, request, parkKey)
      ),
    unpark: (lease, parkKey, position) =>
      checked(nameFault("parkKey", parkKey) ?? eventFault("position", position), () =>
        holding(backend, lease, (held) => Effect.map(backend.unpark(held, parkKey, position), done))
      ),
    repark: (lease, parking) =>
      checked(parkingFault("parking", parking), () => {
        const { parkKey, position, reason } = parkingRow(parking)
        return holding(backend, lease, (held) =>
          Effect.map(backend.repark(held, parkKey, position, reason), done)
        )
      })
  })

/**
 * The lease as backends take it; undefined for what no store ever gave, which is therefore lost. It has nothing
 * in it that a database could choke on.
 */
export const heldLease = ({ epoch, key, ttl, workerId }: Lease): HeldLease | undefined => {
  const ttlMs = ttlMsOf(ttl)
  return nameFault("key", key) === undefined &&
    nameFault("workerId", workerId) === undefined &&
    isCount(epoch) &&
    isTtl(ttlMs)
    ? { key, workerId, epoch, ttlMs }
    : undefined
}

/** Who holds the lease at this moment. */
export const holderOf = (row: ConsumerRow | undefined): string | undefined =>
  row !== undefined && row.remainingMs > 0 ? row.workerId : undefined

/** The error of a lease that does not hold, where the key's row is what was seen of it. */
export const leaseLost = (key: string, row: ConsumerRow | undefined): LeaseLost =>
  new LeaseLost({ key, holder: holderOf(row) ?? "" })

// ---- internal: leases ----

/** How often something is tried that others came between; each time one of them was served. */
const turnsMax = 5

/**
 * Looks before it takes: a lease that is held costs those who wait for it a plain read, which locks nothing, so
 * that none of them can keep its holder from renewing it.
 */
const take = (
  backend: SubscriberStoreBackend,
  request: LeaseRequest,
  turns: number
): Effect.Effect<GrantRow, LeaseHeld | StoreUnavailable> =>
  Effect.flatMap(backend.find(request.key), (row) => {
    const holder = holderOf(row)
    if (row !== undefined && holder !== undefined && holder !== request.workerId)
      return Effect.fail(new LeaseHeld({ key: request.key, holder, remainingMs: row.remainingMs }))
    return Effect.flatMap(backend.take(request), (grant) => {
      if (grant !== undefined) return Effect.succeed(grant)
      return turns > 1 ? take(backend, request, turns - 1) : Effect.fail(contended("upsertSubscriber"))
    })
  })

const advance = (
  backend: SubscriberStoreBackend,
  held: HeldLease,
  position: number,
  lag: LagRow | undefined,
  turns: number
): Effect.Effect<void, LeaseLost | InvalidArgument | StoreUnavailable> =>
  Effect.flatMap(backend.advance(held, position, lag), (moved) => {
    if (moved) return Effect.void
    return Effect.flatMap(backend.find(held.key), (row) => {
      if (row === undefined || !holds(row, held)) return lost(held.key, row)
      if (row.position > position)
        return Effect.fail(invalid("cursor", `a position of ${row.position} or more`, position))
      // It was renewed in the moment between the state that the statement saw and its look at the clock.
      return turns > 1
        ? advance(backend, held, position, lag, turns - 1)
        : Effect.fail(contended("acknowledge"))
    })
  })

const holds = (row: ConsumerRow, { epoch, workerId }: HeldLease): boolean =>
  row.epoch === epoch && holderOf(row) === workerId

/** Does what gives something as long as the lease holds, and fails with `LeaseLost` when it gave nothing. */
const holding = <A, E>(
  backend: SubscriberStoreBackend,
  lease: Lease,
  use: (held: HeldLease) => Effect.Effect<{ readonly value: A } | undefined, E>
): Effect.Effect<A, E | LeaseLost | StoreUnavailable> => {
  const held = heldLease(lease)
  if (held === undefined) return lost(lease.key, undefined)
  return Effect.flatMap(use(held), (result): Effect.Effect<A, LeaseLost | StoreUnavailable> =>
    result === undefined
      ? Effect.flatMap(backend.find(held.key), (row) => lost(held.key, row))
      : Effect.succeed(result.value)
  )
}

const done = (held: boolean): { readonly value: void } | undefined =>
  held ? { value: undefined } : undefined

const lost = (key: string, row: ConsumerRow | undefined): Effect.Effect<never, LeaseLost> =>
  Effect.fail(leaseLost(typeof key === "string" ? key : "", row))

const contended = (operation: string): StoreUnavailable =>
  new StoreUnavailable({
    operation,
    transient: true,
    cause: new Error(`others came between ${turnsMax} times`)
  })

const leaseOf = (
  { key, ttlMs, workerId }: { readonly key: string; readonly workerId: string; readonly ttlMs: number },
  { epoch, expiresAtMs, paused }: GrantRow
): Lease => ({
  key,
  workerId,
  epoch: epoch as Epoch,
  ttl: Duration.millis(ttlMs),
  expiresAt: DateTime.unsafeMake(expiresAtMs),
  paused
})

// ---- internal: results ----

const infoOf = (row: ListedRow): SubscriberInfo => ({
  key: row.key,
  cursor: row.position as Position,
  holder: Option.fromNullable(holderOf(row)),
  epoch: row.epoch > 0 ? Option.some(row.epoch as Epoch) : Option.none(),
  paused: row.paused,
  lag: Option.map(Option.fromNullable(row.lag), ({ events, ms }) => ({ events, time: Duration.millis(ms) })),
  parked: row.parked,
  updatedAt: DateTime.unsafeMake(row.updatedAtMs)
})

const parkedEventOf = ({
  attempts,
  parkKey,
  parkedAtMs,
  position,
  reason,
  request
}: ParkedRow): ParkedEvent => ({
  parkKey,
  position: position as Position,
  reason,
  attempts,
  parkedAt: DateTime.unsafeMake(parkedAtMs),
  request
})

const checked = <A, E>(
  fault: InvalidArgument | undefined,
  use: () => Effect.Effect<A, E>
): Effect.Effect<A, E | InvalidArgument> => (fault === undefined ? Effect.suspend(use) : Effect.fail(fault))
