/**
 * Everything a write can fail with, one class for each thing that a caller would treat differently, so that
 * `Effect.catchTag("InvalidOriginalVersion", …)` works. When any of them is returned, nothing of the write is
 * in the log.
 */
import * as Schema from "effect/Schema"
import { InvalidArgument } from "./InvalidArgument.js"
import { LeaseLost } from "./LeaseLost.js"
import { Position } from "./Position.js"
import { StoreUnavailable } from "./StoreUnavailable.js"
import { InvalidStreamId, StreamId } from "./StreamId.js"
import { StreamVersion } from "./StreamVersion.js"

/** The stream is not where the caller expected it. Read it again, decide again. */
export class InvalidOriginalVersion extends Schema.TaggedError<InvalidOriginalVersion>()(
  "InvalidOriginalVersion",
  {
    streamId: StreamId,
    expected: Schema.Union(StreamVersion, Schema.Literal("any", "exists", "empty")),
    actual: StreamVersion
  }
) {
  override get message(): string {
    return `stream is not at the expected version. streamId=${this.streamId} expected=${this.expected} actual=${this.actual}`
  }
}

/** An event that the decision did not know of matches the condition. Read on from `after`, decide again. */
export class AppendConditionFailed extends Schema.TaggedError<AppendConditionFailed>()(
  "AppendConditionFailed",
  {
    /** Position of a matching event past `after`. Log readers may have to wait a moment until it is at or below the head. */
    position: Position
  }
) {
  override get message(): string {
    return `the append condition does not hold. position=${this.position}`
  }
}

/** An event id is in the log already, and this write is not the repeat of that one. Give the event a new id. */
export class EventIdConflict extends Schema.TaggedError<EventIdConflict>()("EventIdConflict", {
  /** The stream that the event was to go to. */
  streamId: StreamId,
  /** One of the ids in conflict. */
  id: Schema.String
}) {
  override get message(): string {
    return `an event with this id exists, and this is not its repeat. id=${this.id} streamId=${this.streamId}`
  }
}

/** There is nothing to write: no append, an append without events, or an event without a type. */
export class MissingData extends Schema.TaggedError<MissingData>()("MissingData", {
  /** Path of what is missing, for example `appends[0].events`. */
  field: Schema.String
}) {
  override get message(): string {
    return `nothing to write. field=${this.field}`
  }
}

/** The stream got another routing key with its first append, or none. Leave the key out, or use the first one. */
export class RoutingKeyMismatch extends Schema.TaggedError<RoutingKeyMismatch>()("RoutingKeyMismatch", {
  streamId: StreamId,
  /** The stream's key; null when it has none. */
  expected: Schema.NullOr(Schema.String),
  actual: Schema.String
}) {
  override get message(): string {
    return `the stream keeps its first routing key. streamId=${this.streamId} expected=${this.expected} actual=${this.actual}`
  }
}

/** The event's `data` and `metadata` are more bytes than the store takes. Make it smaller, or keep the bulk elsewhere. */
export class EventTooLarge extends Schema.TaggedError<EventTooLarge>()("EventTooLarge", {
  streamId: StreamId,
  /** Place of the event in its append, from 0. */
  index: Schema.NonNegativeInt,
  bytes: Schema.NonNegativeInt,
  maxBytes: Schema.NonNegativeInt
}) {
  override get message(): string {
    return `event is too large. streamId=${this.streamId} index=${this.index} bytes=${this.bytes} maxBytes=${this.maxBytes}`
  }
}

/** The stream was deleted for good. Nothing can be appended to it; use another name. */
export class StreamDeleted extends Schema.TaggedError<StreamDeleted>()("StreamDeleted", {
  streamId: StreamId
}) {
  override get message(): string {
    return `stream is deleted for good. streamId=${this.streamId}`
  }
}

/** Everything a write can fail with. */
export const WriteError = Schema.Union(
  InvalidOriginalVersion,
  AppendConditionFailed,
  EventIdConflict,
  MissingData,
  InvalidStreamId,
  InvalidArgument,
  RoutingKeyMismatch,
  EventTooLarge,
  StreamDeleted,
  LeaseLost,
  StoreUnavailable
)
export type WriteError = typeof WriteError.Type
