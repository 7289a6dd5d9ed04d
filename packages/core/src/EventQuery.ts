/**
 * What a reader asks the log for. A query whose filters all name one and the same stream is a *read of that
 * stream*: it sees every committed event of it, archived ones included, whatever the head. Every other
 * query is a *read of the log*: it stops at the head and leaves archived events out unless asked for.
 */
import type { RecordedEvent } from "./Event.js"
import type { EventFilter } from "./EventFilter.js"
import type { PageRequest } from "./Page.js"
import type { Position } from "./Position.js"
import type { RoutingKey } from "./RoutingKey.js"
import type { StreamVersion } from "./StreamVersion.js"

/** A query. Without any field: the first 40 events of the log. */
export interface ReadQuery {
  /** Of these one must match; none or an empty list = every event. At most 100. */
  readonly filters?: ReadonlyArray<EventFilter> | undefined
  /** Default: all. */
  readonly routingKey?: RoutingKey | undefined
  /** Default: forward, 40 rows, from the beginning. */
  readonly page?: PageRequest | undefined
  /** Nothing past this position, itself included. */
  readonly upTo?: Position | undefined
  /** Only versions greater than this one. Allowed in a read of one stream alone: this is how an aggregate goes on from its snapshot. */
  readonly afterVersion?: StreamVersion | undefined
  /** Only streams of these vnodes: `from` to `to`, both included, 0 to 255. How partitions divide the log. */
  readonly vnodes?: VnodeRange | undefined
  /** Whether a read of the log gives archived events too. Default: false. */
  readonly includeArchived?: boolean | undefined
}

/** A range of vnodes, both ends included. 0 to 255, `from` not greater than `to`. */
export interface VnodeRange {
  readonly from: number
  readonly to: number
}

/** What a consumer asks the log for: the next events that it wants. */
export interface LogQuery {
  /** Where it has come to; only events past it. */
  readonly after: Position
  /** Most events to give. Range: 1 to 10 000. */
  readonly limit: number
  /** Of these one must match; none or an empty list = every event. At most 100. */
  readonly filters?: ReadonlyArray<EventFilter> | undefined
  /** Default: all. */
  readonly routingKey?: RoutingKey | undefined
  /** Only streams of these vnodes. */
  readonly vnodes?: VnodeRange | undefined
  /** A head that is known from before: up to there it is not asked for anew. */
  readonly head?: Position | undefined
}

/** The next events of the log for a consumer. */
export interface LogPage {
  /** In the order of the log. */
  readonly events: ReadonlyArray<RecordedEvent>
  /** Up to here nothing that the query wants is missing: go on after it, also when there are no events. */
  readonly through: Position
  /** The head as it is known; `through` never goes beyond it, and is equal to it when there is no more to read. */
  readonly head: Position
}

/** A stream as listings show it. */
export interface StreamInfo {
  readonly streamId: string
  /** The version of its newest event, or where it stood when it was deleted. */
  readonly version: StreamVersion
  /** Whether it was deleted for good and refuses appends. */
  readonly tombstoned: boolean
  /** Versions up to this one were deleted; 0 when nothing ever was. Those of its events are greater. */
  readonly deletedThrough: StreamVersion
}

/** Which streams to list. */
export interface StreamListing {
  /** What the stream id begins with, literally. */
  readonly prefix?: string | undefined
  /** Only streams behind this one in byte order: the last of the page before. Need not exist any more. */
  readonly after?: string | undefined
  /** Unit: streams. Range: 1 to 10 000. */
  readonly limit: number
}
