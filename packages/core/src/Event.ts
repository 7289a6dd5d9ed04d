/**
 * Events as the caller hands them in and as the store gives them back. `data` and `metadata` are JSON
 * values; what they mean belongs to the application, and {@link EventCodec} gives them types.
 */
import type * as DateTime from "effect/DateTime"
import type * as Option from "effect/Option"
import type { EventId } from "./EventId.js"
import type { Position } from "./Position.js"
import type { StreamId } from "./StreamId.js"
import type { StreamVersion } from "./StreamVersion.js"

/** Longest event type and longest tag. Unit: code points. */
export const eventTextCodePointsMax = 255

/** Most tags of one event. */
export const eventTagsMax = 64

/**
 * What travels with an event beside its data: a JSON object. Three fields have a meaning to Millrace:
 * `correlationId` (the conversation that the event belongs to) and `causationId` (the message that caused
 * it), both texts, come back as fields of the recorded event; `schemaVersion` is written and read by
 * {@link EventCodec}.
 */
export interface EventMetadata {
  readonly correlationId?: string
  readonly causationId?: string
  readonly schemaVersion?: number
  readonly [key: string]: unknown
}

/** An event that is to be appended. */
export interface NewEvent {
  /** What happened, for example `Deposited`. 1 to 255 code points, no NUL. */
  readonly type: string
  /** Any JSON value, `null` included. `undefined`, functions, bigints and cycles are refused. */
  readonly data: unknown
  /**
   * Unique in the log. Given, it makes the append idempotent: the same ids again are a repeat. Left out,
   * the store takes one from {@link EventIds}.
   */
  readonly id?: EventId | undefined
  readonly metadata?: EventMetadata | undefined
  /** Texts to find the event by, across streams. At most 64, each 1 to 255 code points, no NUL. Order is kept, repeats fall away. */
  readonly tags?: ReadonlyArray<string> | undefined
}

/** An event as it stands in the log. */
export interface RecordedEvent<Data = unknown> {
  readonly streamId: StreamId
  /** Place in its stream, from 1. */
  readonly version: StreamVersion
  /** Place in the log. */
  readonly position: Position
  readonly id: EventId
  readonly type: string
  readonly data: Data
  /** `{}` when the event was appended without. */
  readonly metadata: EventMetadata
  /** Empty when the event was appended without. */
  readonly tags: ReadonlyArray<string>
  /** When the store wrote it, by the store's clock, to the millisecond. */
  readonly recordedAt: DateTime.Utc
  readonly correlationId: Option.Option<string>
  readonly causationId: Option.Option<string>
  /** Whether `data` was replaced by `eraseEvents`. */
  readonly erased: boolean
}
