/**
 * Where consumers of the log keep their place: one cursor a key, moved by whoever holds the key's lease, and
 * the events that were set aside. A subscriber has one key for each of its partitions.
 *
 * Promises, the same on every store:
 *
 *  1. Of all leases ever given for a key, only the newest counts, and only until it expires. Every change
 *     made under a lease is refused with `LeaseLost` otherwise, whatever happened to its holder meanwhile.
 *  2. A cursor moves forward only, and never without a lease.
 *  3. Leases are measured by the store's clock alone (`clock_timestamp()` on Postgres, `Clock` elsewhere).
 *  4. A transaction that is fenced by a lease (`acknowledge`, `EventStore.write` with `fence`) does not keep
 *     that lease from being renewed, and keeps others from taking it over until it ends.
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Epoch, Lease } from "./Lease.js"
import type { LeaseHeld } from "./LeaseHeld.js"
import type { LeaseLost } from "./LeaseLost.js"
import type { ParkedEvent, ParkedFull, ParkedRequest, Parking } from "./ParkedEvent.js"
import type { Position } from "./Position.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"

/** How far a consumer is behind. Both are 0 for one that has caught up. */
export interface Lag {
  /** Positions between its cursor and the head: never less than the events that it has not seen. */
  readonly events: number
  /** Age of the oldest event that it has not handled, when it last said so. */
  readonly time: Duration.Duration
}

/** A consumer as the store knows it. */
export interface SubscriberInfo {
  readonly key: string
  readonly cursor: Position
  /** Who holds its lease; none when it was released or has expired. */
  readonly holder: Option.Option<string>
  /** Of the newest lease; none when none was ever given. */
  readonly epoch: Option.Option<Epoch>
  readonly paused: boolean
  /** As of the last `acknowledge` that said it. */
  readonly lag: Option.Option<Lag>
  /** Number of events that are set aside. */
  readonly parked: number
  /** When its cursor last moved, or when it was first seen. */
  readonly updatedAt: DateTime.Utc
}

/** Which consumers to list: in byte order of their keys. */
export interface SubscriberListing {
  /** Only keys that begin with it, literally. */
  readonly prefix?: string | undefined
  /** Only keys behind it. */
  readonly after?: string | undefined
  /** Unit: consumers. Range: 1 to 10 000. */
  readonly limit: number
}

/** The service. Ready-made layers: `Memory.layer`, `Sqlite.layer`, `Postgres.layer`. */
export class SubscriberStore extends Context.Tag("@millrace/core/SubscriberStore")<
  SubscriberStore,
  {
    /** How far the consumer has come; none when nobody ever asked for its lease. */
    readonly getSubscriberCursor: (
      key: string
    ) => Effect.Effect<Option.Option<Position>, InvalidArgument | StoreUnavailable>

    /** Whether the worker holds the key's lease at this moment. */
    readonly isSubscriberRunning: (
      key: string,
      workerId: string
    ) => Effect.Effect<boolean, InvalidArgument | StoreUnavailable>

    /**
     * Gives the key's lease to the worker, with a new epoch. The key is made when it is new, its cursor at
     * `startAt` (default 0, the beginning); of a known one the cursor stays. The epoch is greater than any given
     * out before, and than `above`, which a model that is kept elsewhere may have seen.
     *
     * A worker that asks again gets the lease at once, and with it the former one of the same worker is lost:
     * ids must be unique among those that run. `ttl`: 100 ms to 1 day. Fails with `LeaseHeld`: wait ttl / 10
     * and ask again.
     */
    readonly upsertSubscriber: (
      key: string,
      workerId: string,
      options: {
        readonly ttl: Duration.DurationInput
        readonly startAt?: Position | undefined
        readonly above?: Epoch | undefined
      }
    ) => Effect.Effect<Lease, LeaseHeld | InvalidArgument | StoreUnavailable>

    /** The lease for another `ttl` from now on. Fails with `LeaseLost` (stop), also when it has just expired. */
    readonly renew: (lease: Lease) => Effect.Effect<Lease, LeaseLost | StoreUnavailable>

    /** Gives the lease back, so that others need not wait for its end. One that is lost already is no fault. */
    readonly release: (lease: Lease) => Effect.Effect<void, StoreUnavailable>

    /**
     * Moves the cursor. The same cursor again changes nothing but the lag; a lower one is `InvalidArgument`.
     * Fails with `LeaseLost` (stop; nothing was changed).
     *
     * Inside `sql.withTransaction` of the same database it belongs to that transaction: effects that were
     * made there commit together with the cursor, or not at all. Make it the last statement.
     */
    readonly acknowledge: (
      lease: Lease,
      cursor: Position,
      lag?: Lag | undefined
    ) => Effect.Effect<void, LeaseLost | InvalidArgument | StoreUnavailable>

    /**
     * Keeps the consumer from handling events, here and in every other process, until `resume`. Whoever holds
     * the lease learns of it when it renews. Gives false when the key is not known.
     */
    readonly pause: (key: string) => Effect.Effect<boolean, InvalidArgument | StoreUnavailable>

    /** Lets a paused consumer go on. Gives false when the key is not known. */
    readonly resume: (key: string) => Effect.Effect<boolean, InvalidArgument | StoreUnavailable>

    /** The consumers that the store knows. */
    readonly listSubscribers: (
      listing: SubscriberListing
    ) => Effect.Effect<ReadonlyArray<SubscriberInfo>, InvalidArgument | StoreUnavailable>

    /**
     * Sets events aside, all or none; those that are parked already stay as they are. `max` is the number of
     * parked events of this key that it must not go beyond. Fails with `ParkedFull` and `LeaseLost`.
     */
    readonly park: (
      lease: Lease,
      parkings: ReadonlyArray<Parking>,
      options: { readonly max: number }
    ) => Effect.Effect<void, ParkedFull | LeaseLost | InvalidArgument | StoreUnavailable>

    /** Parked events by key and position: of all park keys or of one, behind `after`, 1 to 10 000 of them. */
    readonly parked: (
      key: string,
      options: {
        readonly parkKey?: string | undefined
        readonly after?: { readonly parkKey: string; readonly position: Position } | undefined
        readonly limit: number
      }
    ) => Effect.Effect<ReadonlyArray<ParkedEvent>, InvalidArgument | StoreUnavailable>

    /** The park keys that have events, in byte order, behind `after`, 1 to 10 000 of them; with `requested` only those for which something was asked. */
    readonly parkedKeys: (
      key: string,
      options: {
        readonly after?: string | undefined
        readonly limit: number
        readonly requested?: boolean | undefined
      }
    ) => Effect.Effect<
      ReadonlyArray<{ readonly parkKey: string; readonly request: ParkedRequest | undefined }>,
      InvalidArgument | StoreUnavailable
    >

    /**
     * Asks the holder of the lease to retry or drop the events of one park key, or of all. It does so when it
     * next renews, from whatever process this was asked. Gives the number of events concerned.
     */
    readonly requestParked: (
      key: string,
      request: ParkedRequest,
      parkKey?: string | undefined
    ) => Effect.Effect<number, InvalidArgument | StoreUnavailable>

    /** Takes one event out: it was handled, or is to be forgotten. One that is not parked is no fault. Fails with `LeaseLost`. */
    readonly unpark: (
      lease: Lease,
      parkKey: string,
      position: Position
    ) => Effect.Effect<void, LeaseLost | InvalidArgument | StoreUnavailable>

    /**
     * Its handler failed again: counts the attempt, keeps the new reason, and takes back what was asked for
     * the park key. Fails with `LeaseLost`.
     */
    readonly repark: (
      lease: Lease,
      parking: Parking
    ) => Effect.Effect<void, LeaseLost | InvalidArgument | StoreUnavailable>
  }
>() {}
