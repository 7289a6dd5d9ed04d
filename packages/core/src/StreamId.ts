/**
 * Names of streams. A stream holds the events of one aggregate in order; its name is `category/id`, for
 * example `account/42`. The category tells what kind of thing it is and contains no "/"; the id may.
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { describe } from "./InvalidArgument.js"
import { compareUtf8, textFault } from "./Text.js"

/** Longest stream name. Unit: code points (Unicode characters; an emoji counts once). */
export const streamIdCodePointsMax = 255

/** Why a text is not a stream name, or `undefined` when it is one. */
export function streamIdFault(value: unknown): string | undefined {
  const fault = textFault(value, streamIdCodePointsMax)
  if (fault !== undefined) return fault
  const slash = (value as string).indexOf("/")
  if (slash < 0) return "has no '/' between category and id"
  if (slash === 0) return "has no category before the first '/'"
  if (slash === (value as string).length - 1) return "has no id after the '/'"
  return undefined
}

/**
 * Name of one stream, `category/id`. Range: 3 to 255 code points; the category has no "/", the id may have;
 * no NUL, no lone surrogate. Ordered by its UTF-8 bytes everywhere ({@link compareStreamIds}).
 *
 * @example
 * ```ts
 * const id = StreamId.make("account/42")   // throws when it is not a stream name
 * ```
 */
export const StreamId = Schema.String.pipe(
  Schema.filter((value) => {
    const fault = streamIdFault(value)
    return fault === undefined ? undefined : `a stream id is category/id; this one ${fault}`
  }),
  Schema.brand("StreamId")
)
export type StreamId = typeof StreamId.Type

/** The name is not `category/id` within its limits. Nothing was written; correct the name. */
export class InvalidStreamId extends Schema.TaggedError<InvalidStreamId>()("InvalidStreamId", {
  /** The refused name, shortened to at most 80 characters. */
  streamId: Schema.String,
  /** What is wrong with it, in words. */
  reason: Schema.String
}) {
  override get message(): string {
    return `not a stream id, which is category/id of 3 to ${streamIdCodePointsMax} characters. reason="${this.reason}" streamId=${JSON.stringify(this.streamId)}`
  }
}

/**
 * Builds a stream name from its two parts.
 *
 * Throws `InvalidStreamId` when the category is empty or contains "/", or the whole is out of range; use
 * {@link parseStreamId} for names that come from outside.
 */
export const streamIdOf = (category: string, id: string): StreamId => {
  const name = `${category}/${id}`
  const reason = category.includes("/") ? "has a '/' in its category" : streamIdFault(name)
  if (reason !== undefined) throw invalidStreamId(name, reason)
  return name as StreamId
}

/** The error for a value that is no stream name; `reason` is its {@link streamIdFault}. */
export const invalidStreamId = (value: unknown, reason: string): InvalidStreamId =>
  new InvalidStreamId({ streamId: typeof value === "string" ? value.slice(0, 80) : describe(value), reason })

/** Reads a name that comes from outside; a wrong one is an {@link InvalidStreamId} that says why. */
export const parseStreamId = (value: unknown): Either.Either<StreamId, InvalidStreamId> => {
  const reason = streamIdFault(value)
  return reason === undefined ? Either.right(value as StreamId) : Either.left(invalidStreamId(value, reason))
}

/** The category of a stream: what stands before the first "/". */
export const categoryOf = (streamId: string): string => streamId.slice(0, streamId.indexOf("/"))

/** The id of a stream within its category: what stands after the first "/". */
export const idOf = (streamId: string): string => streamId.slice(streamId.indexOf("/") + 1)

/** The order of stream names in every store and every listing: that of their UTF-8 bytes. */
export const compareStreamIds: (a: string, b: string) => -1 | 0 | 1 = compareUtf8
