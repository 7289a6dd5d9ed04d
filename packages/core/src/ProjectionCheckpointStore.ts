/**
 * Where projections keep their place: one checkpoint a name, made of a position and of a cursor for each stream.
 *
 * Promises, the same on every store:
 *
 *  1. A checkpoint moves forward only. `resetProjectionCheckpoint` alone takes it back, to the beginning.
 *  2. Every write is done as a whole or not at all. What fails with a typed error has written nothing.
 *  3. `advanceProjectionCursors` is a compare-and-set: of several who go on from one and the same checkpoint,
 *     one wins, and the others are told. It writes and reads the streams that moved, and no others.
 *  4. Where an epoch is given, an older one than the greatest ever seen changes nothing.
 *  5. Names are compared whole: "a" is neither "A" nor "a/b", and no character means anything but itself.
 *
 * Inside `sql.withTransaction` of the same database each method belongs to that transaction: rows of a model
 * and the cursor that says so commit together or not at all. Each write keeps the projection's row locked until
 * then, so make it the last statement.
 *
 * In the worst case (connection lost while committing) a `StoreUnavailable` leaves open whether it was written.
 * Load the checkpoint and go on from there; repeating an `advance` as it was is refused if it had taken effect.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Epoch } from "./Lease.js"
import type { LeaseLost } from "./LeaseLost.js"
import type {
  CheckpointBehind,
  GlobalProjectionCheckpoint,
  ProjectionInfo,
  ProjectionListing,
  ProjectionMoved,
  ProjectionWriteOptions,
  StoredProjectionCheckpoint
} from "./ProjectionCheckpoint.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { StreamId } from "./StreamId.js"
import type { StreamVersion } from "./StreamVersion.js"

/**
 * The service. Ready-made layers: `Memory.layer`, `Sqlite.layer`, `Postgres.layer`.
 *
 * Every method fails with `InvalidArgument` (correct the named field) and `StoreUnavailable` (try again if
 * `transient`). Names have 1 to 255 code points.
 */
export class ProjectionCheckpointStore extends Context.Tag("@millrace/core/ProjectionCheckpointStore")<
  ProjectionCheckpointStore,
  {
    /**
     * The whole checkpoint, with the cursors of all streams, as of one moment. A name that nobody knows has
     * the empty one. A projection of many streams is better served by `getProjection` and `loadProjectionCursors`.
     */
    readonly loadProjectionCheckpoint: (
      name: string
    ) => Effect.Effect<StoredProjectionCheckpoint, InvalidArgument | StoreUnavailable>

    /**
     * The cursors of the streams that are named: what a page of events needs, whatever else the projection has
     * seen. A stream without a cursor is not in the map. Costs an index lookup a stream.
     */
    readonly loadProjectionCursors: (
      name: string,
      streamIds: ReadonlyArray<StreamId | string>
    ) => Effect.Effect<ReadonlyMap<StreamId, StreamVersion>, InvalidArgument | StoreUnavailable>

    /** Position, revision and epoch, without the cursors; none for a name that nobody knows. */
    readonly getProjection: (
      name: string
    ) => Effect.Effect<Option.Option<ProjectionInfo>, InvalidArgument | StoreUnavailable>

    /**
     * Replaces the whole checkpoint: cursors of streams that `checkpoint` does not hold are removed.
     *
     * Fails with `CheckpointBehind` (load, and go on from there) when the position, or the cursor of a stream
     * that it holds, is lower than the stored one, and with `LeaseLost` (stop). It compares every stored cursor
     * with the given ones and writes those that differ: one at a time is moved cheaper by
     * `advanceProjectionCursors`.
     */
    readonly saveProjectionCheckpoint: (
      name: string,
      checkpoint: GlobalProjectionCheckpoint,
      options?: ProjectionWriteOptions
    ) => Effect.Effect<void, CheckpointBehind | LeaseLost | InvalidArgument | StoreUnavailable>

    /**
     * Goes from `previous` to `current`, and writes what differs between them: the position, and the cursors of
     * the streams in `current` that `previous` has at another version or not at all.
     *
     * Both are *deltas*: they need hold only the streams that were touched, and every stream that `current` does
     * not hold keeps its cursor. A catch-up that touched 10 of 100 000 streams loads those 10, hands in two maps
     * of 10, and 10 rows are read and written. Whole checkpoints are as good, and cost a comparison in memory.
     *
     * `previous` is what must be stored now: its position, and for each stream that moves its cursor there (no
     * entry = none). Otherwise it fails with `ProjectionMoved`: load and go on from there. `LeaseLost`: stop.
     * A `current` that is behind `previous` is `InvalidArgument`. When the two are equal nothing is written,
     * and the same is checked.
     *
     * @example
     * ```ts
     * const before = { position, cursors: yield* store.loadProjectionCursors("totals", ["account/1", "account/2"]) }
     * const after = { position: lastOfPage, cursors: new Map([[StreamId.make("account/2"), StreamVersion.make(7)]]) }
     * yield* store.advanceProjectionCursors("totals", before, after, { epoch: lease.epoch })
     * ```
     */
    readonly advanceProjectionCursors: (
      name: string,
      previous: GlobalProjectionCheckpoint,
      current: GlobalProjectionCheckpoint,
      options?: ProjectionWriteOptions
    ) => Effect.Effect<void, ProjectionMoved | LeaseLost | InvalidArgument | StoreUnavailable>

    /**
     * Back to the beginning: position 0, no cursors. The epoch stays, so that who was overtaken stays so; the
     * revision becomes the given one, or none. A name that nobody knows stays so. Fails with `LeaseLost` (stop).
     */
    readonly resetProjectionCheckpoint: (
      name: string,
      options?: ProjectionWriteOptions
    ) => Effect.Effect<void, LeaseLost | InvalidArgument | StoreUnavailable>

    /**
     * Takes the projection over for the holder of `epoch`: from here on lower epochs are refused. Waits for a
     * write of the former holder that is under way, and gives what it left behind. The same epoch again changes
     * nothing. Fails with `LeaseLost` when a greater one is stored (stop); its `holder` is empty, since
     * only the keeper of the lease knows the name. This matters where model and log are in two databases:
     * the epoch then lives with the model, and fences it without asking the other one.
     */
    readonly claimProjection: (
      name: string,
      epoch: Epoch,
      options?: Pick<ProjectionWriteOptions, "revision">
    ) => Effect.Effect<ProjectionInfo, LeaseLost | InvalidArgument | StoreUnavailable>

    /** The projections that the store knows, without their cursors. */
    readonly listProjections: (
      listing: ProjectionListing
    ) => Effect.Effect<ReadonlyArray<ProjectionInfo>, InvalidArgument | StoreUnavailable>
  }
>() {}
