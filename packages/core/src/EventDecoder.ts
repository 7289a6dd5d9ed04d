/**
 * Stored rows to events, the same for every database. A backend hands in row after row, as it gets them, and
 * nothing of a row is kept but what its event needs: a view over the driver's own values will do, and the same
 * one for every row.
 *
 * Stored rows are trusted but for their JSON. The first that is broken ends the page: those before it are good,
 * and `broken` names the position and the place.
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import { SerializationError } from "./EngineError.js"
import type { EventMetadata, RecordedEvent } from "./Event.js"
import type { EventId } from "./EventId.js"
import type { Position } from "./Position.js"
import type { StreamId } from "./StreamId.js"
import type { StreamVersion } from "./StreamVersion.js"

/** An event as a database has it: JSON still as text, the time as milliseconds since 1970. */
export interface EventRow {
  readonly position: number
  readonly streamId: string
  readonly version: number
  readonly id: string
  readonly type: string
  readonly data: string
  readonly metadata: string | null
  /** A null among them means that the row is broken. */
  readonly tags: ReadonlyArray<string | null> | null
  readonly recordedAtMs: number
  readonly erased: boolean
}

/** The events of one page, in the order in which their rows came. */
export class EventDecoder {
  readonly events: Array<RecordedEvent> = []
  /** What is wrong with the row after the last event; rows after it were not looked at. */
  broken: SerializationError | undefined = undefined
  // Events of one write share their time, so the object is kept: a fifth of the whole decoding.
  private recordedAt = DateTime.unsafeMake(0)

  /**
   * Adds the row's event.
   *
   * Hot: runs for every event that is read. No Effect; a Schema here costs 6 to 12 times as much.
   */
  add(row: EventRow): void {
    if (this.broken !== undefined) return
    let data: unknown
    let metadata: EventMetadata = noMetadata
    let correlationId = none
    let causationId = none
    try {
      data = JSON.parse(row.data)
    } catch (cause) {
      return this.fault(row, "data", cause)
    }
    const { metadata: metadataText, position, recordedAtMs, tags, version } = row
    if (metadataText !== null) {
      try {
        metadata = JSON.parse(metadataText)
      } catch (cause) {
        return this.fault(row, "metadata", cause)
      }
      if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata))
        return this.fault(row, "metadata", "not an object")
      if (metadata.correlationId !== undefined) {
        if (typeof metadata.correlationId !== "string")
          return this.fault(row, "metadata.correlationId", "not a text")
        correlationId = Option.some(metadata.correlationId)
      }
      if (metadata.causationId !== undefined) {
        if (typeof metadata.causationId !== "string")
          return this.fault(row, "metadata.causationId", "not a text")
        causationId = Option.some(metadata.causationId)
      }
    }
    if (tags !== null && tags.includes(null)) return this.fault(row, "tags", "not a list of texts")
    // The greatest time that a Date can hold.
    if (!(Math.abs(recordedAtMs) <= 8.64e15)) return this.fault(row, "recordedAt", "not a time")
    if (this.recordedAt.epochMillis !== recordedAtMs) this.recordedAt = DateTime.unsafeMake(recordedAtMs)
    if (!Number.isSafeInteger(position)) return this.fault(row, "position", "beyond 2^53 - 1")
    if (!Number.isSafeInteger(version)) return this.fault(row, "version", "beyond 2^53 - 1")
    this.events.push({
      streamId: row.streamId as StreamId,
      version: version as StreamVersion,
      position: position as Position,
      id: row.id as EventId,
      type: row.type,
      data,
      metadata,
      tags: (tags as ReadonlyArray<string> | null) ?? noTags,
      recordedAt: this.recordedAt,
      correlationId,
      causationId,
      erased: row.erased
    })
  }

  private fault(row: EventRow, path: string, cause: unknown): void {
    this.broken = new SerializationError({
      eventType: row.type,
      streamId: row.streamId,
      version: row.version as StreamVersion,
      position: row.position as Position,
      path,
      reason: `stored value is broken: ${cause instanceof Error ? cause.message : String(cause)}`
    })
  }
}

// ---- internal ----

const noTags: ReadonlyArray<string> = Object.freeze([])
const noMetadata: EventMetadata = Object.freeze({})
const none: Option.Option<string> = Option.none()
