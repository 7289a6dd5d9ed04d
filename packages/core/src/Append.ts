/**
 * The arguments and the result of a write: which events go to which streams, what the caller believes about
 * them, and where the events came to stand.
 */
import type { NewEvent } from "./Event.js"
import type { EventFilter } from "./EventFilter.js"
import type { EventId } from "./EventId.js"
import type { Lease } from "./Lease.js"
import type { Position } from "./Position.js"
import type { StreamId } from "./StreamId.js"
import type { StreamVersion } from "./StreamVersion.js"

/**
 * What the caller believes of a stream when it appends: its exact version, or `"any"` (no belief, the
 * default), `"exists"` (it has events), `"empty"` (it has none, the same as version 0 for a stream that was
 * never deleted).
 */
export type ExpectedVersion = StreamVersion | "any" | "exists" | "empty"

/** Events for the end of one stream. */
export interface StreamAppend {
  readonly streamId: StreamId | string
  /** At least one. */
  readonly events: ReadonlyArray<NewEvent>
  /** Default: `"any"`. */
  readonly expected?: ExpectedVersion | undefined
  /** The key of the stream, 1 to 255 code points. Needed with the first append only, if at all; another one later is refused. */
  readonly routingKey?: string | undefined
}

/**
 * Holds while no event past `after` matches any of the filters: what a decision was based on is still the
 * whole truth (a *dynamic consistency boundary*). `after` is the position up to which the caller has read.
 */
export interface AppendCondition {
  readonly filters: ReadonlyArray<EventFilter>
  readonly after: Position
}

/** What a write may ask for beside its appends. */
export interface WriteOptions {
  readonly condition?: AppendCondition | undefined
  /**
   * The write takes effect only while this lease is the newest of its key and has not expired by the store's
   * clock; otherwise nothing is written and it fails with `LeaseLost` (stop). Nobody can take the lease over
   * between that check and the commit: whatever its next holder reads or writes stands behind this write. A
   * lease as it was given does as well as one that was renewed since.
   *
   * Looked at last, when nothing else refuses the write. One that was made before, with the same event ids, gives
   * its first result, also when the lease is lost by now: nothing is written then, and the first time is what the
   * caller asks about.
   *
   * Inside `sql.withTransaction` the same holds until that transaction ends, so keep it short. On Postgres it
   * must be READ COMMITTED, and the server ends it when it stands idle for longer than the lease's `ttl`.
   */
  readonly fence?: Lease | undefined
}

/** Where the events of one append came to stand. */
export interface AppendResult {
  readonly streamId: StreamId
  /** Version of the first event of this append. The others follow without a gap. */
  readonly firstVersion: StreamVersion
  /** Version of the stream after this append. */
  readonly version: StreamVersion
  /** Positions of the first and the last event; between them may stand events of other streams. */
  readonly firstPosition: Position
  readonly position: Position
  /** Ids of the events, in order. */
  readonly ids: ReadonlyArray<EventId>
}

/** The result of a write: one entry an append, in the caller's order. */
export interface WriteResult {
  readonly appends: ReadonlyArray<AppendResult>
  /** The greatest position written. A reader that has come this far has seen all of the write. */
  readonly position: Position
}

/** Most appends of one write. */
export const appendsMax = 1_000

/** Most events of one write. */
export const eventsMax = 10_000

/** Most JSON text of one write, all of its events together. Unit: UTF-16 units. */
export const writeUnitsMax = 67_108_864

/** Most bytes of one event: `data` and `metadata` as JSON in UTF-8. Default of every store. Unit: bytes. */
export const eventBytesMaxDefault = 1_048_576
