/**
 * How far a projection has come: a position of the log up to which it has finished, and of each stream that it
 * has seen the version of the last event that it handled. The position says where to read on; the cursors tell
 * events that were handled from those that were not, and show a gap. A checkpoint moves forward only.
 */
import type * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Epoch } from "./Lease.js"
import { Position, start } from "./Position.js"
import { StreamId } from "./StreamId.js"
import { emptyStream, StreamVersion } from "./StreamVersion.js"

/** A position in the log and a version for each stream. A stream that is not in `cursors` stands at 0. */
export interface GlobalProjectionCheckpoint {
  /** Everything up to here is finished; 0 = nothing. */
  readonly position: Position
  /** The version of the last event that was handled, by stream. No store gives back an entry of 0. */
  readonly cursors: ReadonlyMap<StreamId, StreamVersion>
}

/** Where every projection begins. */
export const emptyCheckpoint: GlobalProjectionCheckpoint = { position: start, cursors: new Map() }

/** The version up to which a stream was handled: 0 for one that the checkpoint does not hold. */
export const cursorFor = (checkpoint: GlobalProjectionCheckpoint, streamId: StreamId): StreamVersion =>
  checkpoint.cursors.get(streamId) ?? emptyStream

/** What a store knows of a projection beside its cursors. */
export interface ProjectionInfo {
  readonly name: string
  readonly position: Position
  /**
   * The projection's own version, of the write that said it first since the last reset; none when nobody did.
   * When it is not the one of the code, the model was built by other code and wants to be rebuilt.
   */
  readonly revision: Option.Option<number>
  /** The greatest epoch that ever claimed or moved it; none when it was never fenced. */
  readonly epoch: Option.Option<Epoch>
  /** When it was last moved, claimed or reset, by the store's clock. */
  readonly updatedAt: DateTime.Utc
}

/** Where a projection stands; 0 when nobody knows it. */
export const positionOf = (info: Option.Option<Pick<ProjectionInfo, "position">>): Position =>
  Option.match(info, { onNone: () => start, onSome: ({ position }) => position })

/** A checkpoint as a store gives it back. */
export interface StoredProjectionCheckpoint extends GlobalProjectionCheckpoint {
  /** As in {@link ProjectionInfo}. */
  readonly revision: Option.Option<number>
  /** As in {@link ProjectionInfo}. */
  readonly epoch: Option.Option<Epoch>
}

/** Which projections to list: in byte order of their names. */
export interface ProjectionListing {
  /** Only names that begin with it, literally. */
  readonly prefix?: string | undefined
  /** Only names behind it: the last of the page before. Need not exist any more. */
  readonly after?: string | undefined
  /** Unit: projections. Range: 1 to 10 000. */
  readonly limit: number
}

/** What is written beside the checkpoint, and whether the writer may write at all. */
export interface ProjectionWriteOptions {
  /**
   * The epoch of the writer's lease. The write is refused with `LeaseLost` when a greater one has claimed or
   * moved the projection; a greater one than the stored is taken down. Default: the write is not fenced.
   */
  readonly epoch?: Epoch | undefined
  /**
   * The projection's own version. The first one that is said stays until a reset. Range: 0 to 2^53 − 1.
   * Default: what is stored stays.
   */
  readonly revision?: number | undefined
}

/** Longest name of a projection. Unit: code points. */
export const projectionNameCodePointsMax = 255

/**
 * The stored checkpoint is not the one that the caller started from: somebody else moved or reset it. Nothing
 * was written. Load it and go on from there; what was done since the former one counts for nothing.
 */
export class ProjectionMoved extends Schema.TaggedError<ProjectionMoved>()("ProjectionMoved", {
  name: Schema.String,
  /** The position that the caller started from. */
  expected: Position,
  /** The stored position. */
  actual: Position,
  /** When the positions are the same: the first stream, in byte order, whose cursor is another one. */
  stream: Schema.NullOr(Schema.Struct({ streamId: StreamId, expected: StreamVersion, actual: StreamVersion }))
}) {
  override get message(): string {
    const stream =
      this.stream === null
        ? ""
        : ` streamId=${this.stream.streamId} expectedVersion=${this.stream.expected} actualVersion=${this.stream.actual}`
    return `somebody else moved the projection, load it again. name=${this.name} expected=${this.expected} actual=${this.actual}${stream}`
  }
}

/**
 * The checkpoint to save stands behind the stored one, by its position or by a stream's cursor. Nothing was
 * written. Load the stored one and go on from there; reset the projection first when going back is meant.
 */
export class CheckpointBehind extends Schema.TaggedError<CheckpointBehind>()("CheckpointBehind", {
  name: Schema.String,
  /** The position that was to be saved. */
  given: Position,
  /** The stored position. */
  stored: Position,
  /** When the position is not behind: the first stream, in byte order, whose cursor is. */
  stream: Schema.NullOr(Schema.Struct({ streamId: StreamId, given: StreamVersion, stored: StreamVersion }))
}) {
  override get message(): string {
    const stream =
      this.stream === null
        ? ""
        : ` streamId=${this.stream.streamId} givenVersion=${this.stream.given} storedVersion=${this.stream.stored}`
    return `checkpoint is behind the stored one, load it again. name=${this.name} given=${this.given} stored=${this.stored}${stream}`
  }
}
