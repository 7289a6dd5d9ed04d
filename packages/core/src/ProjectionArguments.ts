/**
 * What the arguments of {@link ProjectionCheckpointStore} may be, and what moves between two checkpoints. A check
 * gives what is wrong, or `undefined`.
 */
import type { InvalidArgument } from "./InvalidArgument.js"
import { describe, invalid } from "./InvalidArgument.js"
import { pageRowsMax } from "./Page.js"
import type { GlobalProjectionCheckpoint } from "./ProjectionCheckpoint.js"
import { projectionNameCodePointsMax } from "./ProjectionCheckpoint.js"
import { streamIdFault } from "./StreamId.js"
import { textFault } from "./Text.js"

/** A stream that moves. `after` is greater than `before`; 0 = it has no row. */
export interface CursorMove {
  readonly streamId: string
  readonly before: number
  readonly after: number
}

/**
 * The streams whose cursor in `current` is not the one in `previous`. Nothing else is looked at: of equal entries
 * nothing is checked, read or written. A cursor or a position that goes back is refused.
 */
export const movesBetween = (
  previous: GlobalProjectionCheckpoint,
  current: GlobalProjectionCheckpoint
): ReadonlyArray<CursorMove> | InvalidArgument => {
  if (current.position < previous.position)
    return invalid(
      "current.position",
      `a position from that of previous on, ${previous.position}`,
      current.position
    )
  const moves: Array<CursorMove> = []
  for (const [streamId, after] of current.cursors) {
    const before = previous.cursors.get(streamId) ?? 0
    if (after === before) continue
    const fault =
      cursorFault("current", streamId, after) ??
      cursorFault("previous", streamId, before) ??
      (after < before
        ? invalid(cursorField("current", streamId), `a version from that of previous on, ${before}`, after)
        : undefined)
    if (fault !== undefined) return fault
    moves.push({ streamId, before, after })
  }
  return moves
}

/** What is wrong with a checkpoint to save: the whole of it is looked at. */
export const savedFault = (checkpoint: GlobalProjectionCheckpoint): InvalidArgument | undefined => {
  const fault = checkpointFault("checkpoint", checkpoint)
  if (fault !== undefined) return fault
  for (const [streamId, version] of checkpoint.cursors) {
    const fault = cursorFault("checkpoint", streamId, version)
    if (fault !== undefined) return fault
  }
  return undefined
}

/** What is wrong with a checkpoint but for its cursors: {@link movesBetween} looks at those that matter. */
export function checkpointFault(field: string, checkpoint: unknown): InvalidArgument | undefined {
  if (typeof checkpoint !== "object" || checkpoint === null)
    return invalid(field, "{ position, cursors }", checkpoint)
  const { cursors, position } = checkpoint as { readonly [name: string]: unknown }
  if (!isCount(position)) return invalid(`${field}.position`, "a position of 0 to 2^53 - 1", position)
  return cursors instanceof Map
    ? undefined
    : invalid(`${field}.cursors`, "a Map of versions by stream id", cursors)
}

/** The name of a projection. */
export const projectionNameFault = (name: unknown): InvalidArgument | undefined =>
  textArgumentFault("name", name)

/** Streams whose cursors are asked for. */
export function streamIdsFault(streamIds: unknown): InvalidArgument | undefined {
  if (!Array.isArray(streamIds)) return invalid("streamIds", "an array of stream ids", streamIds)
  for (let i = 0; i < streamIds.length; i++) {
    const fault = streamIdFault(streamIds[i])
    if (fault !== undefined) return invalid(`streamIds[${i}]`, `category/id; this one ${fault}`, streamIds[i])
  }
  return undefined
}

/** An epoch that a writer names. */
export const epochFault = (field: string, epoch: unknown): InvalidArgument | undefined =>
  isCount(epoch) && epoch > 0 ? undefined : invalid(field, "an epoch of 1 to 2^53 - 1", epoch)

/** What a write may carry beside the checkpoint. */
export function writeOptionsFault(options: unknown): InvalidArgument | undefined {
  if (typeof options !== "object" || options === null)
    return invalid("options", "{ epoch?, revision? }", options)
  const { epoch, revision } = options as { readonly [name: string]: unknown }
  const fault = epoch === undefined ? undefined : epochFault("options.epoch", epoch)
  if (fault !== undefined) return fault
  return revision === undefined || isCount(revision)
    ? undefined
    : invalid("options.revision", "an integer of 0 to 2^53 - 1", revision)
}

/** Which projections to list. */
export function projectionListingFault(listing: unknown): InvalidArgument | undefined {
  if (typeof listing !== "object" || listing === null)
    return invalid("listing", "{ limit, prefix?, after? }", listing)
  const { after, limit, prefix } = listing as { readonly [name: string]: unknown }
  if (!isCount(limit) || limit < 1 || limit > pageRowsMax)
    return invalid("limit", `an integer of 1 to ${pageRowsMax} projections`, limit)
  return (
    (prefix === undefined ? undefined : textArgumentFault("prefix", prefix)) ??
    (after === undefined ? undefined : textArgumentFault("after", after))
  )
}

// ---- internal ----

const cursorField = (checkpoint: string, streamId: unknown): string =>
  `${checkpoint}.cursors[${describe(streamId)}]`

function cursorFault(checkpoint: string, streamId: unknown, version: unknown): InvalidArgument | undefined {
  const fault = streamIdFault(streamId)
  if (fault !== undefined)
    return invalid(cursorField(checkpoint, streamId), `category/id; this one ${fault}`, streamId)
  return isCount(version)
    ? undefined
    : invalid(cursorField(checkpoint, streamId), "a version of 0 to 2^53 - 1", version)
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const textArgumentFault = (field: string, value: unknown): InvalidArgument | undefined => {
  const fault = textFault(value, projectionNameCodePointsMax)
  return fault === undefined
    ? undefined
    : invalid(field, `1 to ${projectionNameCodePointsMax} characters; this one ${fault}`, value)
}
