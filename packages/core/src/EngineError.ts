/**
 * Everything that reading, decoding and the engines above the log can fail with. As with {@link WriteError},
 * one class for each thing that a caller would treat differently.
 */
import * as Schema from "effect/Schema"
import { describe, InvalidArgument } from "./InvalidArgument.js"
import { LeaseLost } from "./LeaseLost.js"
import { Position } from "./Position.js"
import { StoreUnavailable } from "./StoreUnavailable.js"
import { InvalidStreamId, StreamId } from "./StreamId.js"
import { StreamVersion } from "./StreamVersion.js"

/**
 * A stored event does not have the form that its type promises, or an event could not be encoded. The code
 * (schema, upcaster) or the row must be mended; reading again gives the same answer.
 */
export class SerializationError extends Schema.TaggedError<SerializationError>()("SerializationError", {
  eventType: Schema.String,
  /** The stream of the event; empty while it belongs to none yet. */
  streamId: Schema.String,
  /** 0 while the event is not stored yet. A plain number, since the broken value may be this one. */
  version: Schema.Number,
  /** 0 while the event is not stored yet. A plain number, like the version. */
  position: Schema.Number,
  /** Path in the data, for example `data.items[2].price`. */
  path: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `event does not have the promised form. eventType=${this.eventType} streamId=${this.streamId} version=${this.version} position=${this.position} path=${this.path} reason="${this.reason}"`
  }
}

/** A handler failed on an event. Whether it is tried again, set aside or ends the consumer is the consumer's policy. */
export class HandlerError extends Schema.TaggedError<HandlerError>()("HandlerError", {
  eventType: Schema.String,
  streamId: Schema.String,
  position: Position,
  cause: Schema.Defect
}) {
  override get message(): string {
    const reason = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `handler failed. eventType=${this.eventType} streamId=${this.streamId} position=${this.position} reason=${describe(reason)}`
  }
}

/** A consumer that is `strict` met an event of its filter that none of its handlers takes. Add a handler, or narrow the filter. */
export class UnhandledEvent extends Schema.TaggedError<UnhandledEvent>()("UnhandledEvent", {
  eventType: Schema.String,
  streamId: Schema.String,
  position: Position
}) {
  override get message(): string {
    return `no handler takes the event. eventType=${this.eventType} streamId=${this.streamId} position=${this.position}`
  }
}

/** A stream's versions do not follow one another where they must. Something was lost between log and consumer: rebuild. */
export class StreamGap extends Schema.TaggedError<StreamGap>()("StreamGap", {
  streamId: StreamId,
  expected: StreamVersion,
  actual: StreamVersion
}) {
  override get message(): string {
    return `stream has a gap. streamId=${this.streamId} expected=${this.expected} actual=${this.actual}`
  }
}

/**
 * A cursor stands past the end of the log: the log is not the one that the cursor was made on (restored from
 * a backup, failed over with loss, another database). Find out which, then reset the consumer.
 */
export class CursorAheadOfLog extends Schema.TaggedError<CursorAheadOfLog>()("CursorAheadOfLog", {
  cursor: Position,
  head: Position
}) {
  override get message(): string {
    return `cursor is ahead of the log. cursor=${this.cursor} head=${this.head}`
  }
}

/** A projection stopped. `cause` says why; the others run on. */
export class ProjectionFailed extends Schema.TaggedError<ProjectionFailed>()("ProjectionFailed", {
  projectionName: Schema.String,
  position: Position,
  cause: Schema.Defect
}) {
  override get message(): string {
    return `projection stopped. projectionName=${this.projectionName} position=${this.position}`
  }
}

/** Everything that reading and the engines can fail with. */
export const EngineError = Schema.Union(
  StoreUnavailable,
  SerializationError,
  HandlerError,
  UnhandledEvent,
  StreamGap,
  LeaseLost,
  CursorAheadOfLog,
  ProjectionFailed,
  InvalidArgument,
  InvalidStreamId
)
export type EngineError = typeof EngineError.Type

/** What a read of events can fail with. */
export type ReadError = StoreUnavailable | SerializationError | InvalidArgument
