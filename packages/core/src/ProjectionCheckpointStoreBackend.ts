/**
 * The thin seam beneath {@link ProjectionCheckpointStore}: a backend keeps one row a projection and one a stream
 * of it, and refuses writes by saying what is stored; the checks of the arguments, what moves between two
 * checkpoints and the typed errors are written here once.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Epoch } from "./Lease.js"
import { LeaseLost } from "./LeaseLost.js"
import { Position } from "./Position.js"
import {
  checkpointFault,
  epochFault,
  movesBetween,
  projectionListingFault,
  projectionNameFault,
  savedFault,
  streamIdsFault,
  writeOptionsFault
} from "./ProjectionArguments.js"
import type { CursorMove } from "./ProjectionArguments.js"
import type {
  GlobalProjectionCheckpoint,
  ProjectionInfo,
  ProjectionListing,
  ProjectionWriteOptions
} from "./ProjectionCheckpoint.js"
import { CheckpointBehind, cursorFor, emptyCheckpoint, ProjectionMoved } from "./ProjectionCheckpoint.js"
import { ProjectionCheckpointStore } from "./ProjectionCheckpointStore.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { StreamId } from "./StreamId.js"
import { StreamVersion } from "./StreamVersion.js"

/** A projection as a backend keeps it. */
export interface ProjectionRow {
  readonly name: string
  readonly position: number
  readonly revision: number | undefined
  /** 0 = it was never fenced. */
  readonly epoch: number
  /** Unit: milliseconds since 1970. */
  readonly updatedAtMs: number
}

/** In whose name a write is made. */
export interface ProjectionStamp {
  readonly epoch: number | undefined
  readonly revision: number | undefined
}

/** A checkpoint to save. A cursor of 0 gets no row, and is refused where there is one. */
export interface SaveRequest extends ProjectionStamp {
  readonly name: string
  readonly position: number
  readonly cursors: ReadonlyMap<string, number>
}

/** What moves. With the same position and no moves nothing is written, and only the comparison is made. */
export interface AdvanceRequest extends ProjectionStamp {
  readonly name: string
  /** The position that must be stored. */
  readonly expected: number
  readonly position: number
  /** At most one for each stream. */
  readonly moves: ReadonlyArray<CursorMove>
}

/** What is stored, of a write that was refused for it. */
export interface StoredInstead {
  readonly position: number
  readonly epoch: number
  /** The first stream, in byte order, that was in the way; undefined when epoch or position were. */
  readonly stream: { readonly streamId: string; readonly version: number } | undefined
}

/**
 * What a database must supply. Each write is one transaction, or part of the caller's, and gives what is stored
 * when that refuses it: then nothing was written. It is held against the epoch first, then against the position,
 * then against the cursors. A name without a row stands at position 0 and epoch 0.
 *
 * A write takes down a greater epoch, and the revision where there is none.
 */
export interface ProjectionCheckpointStoreBackend {
  readonly find: (name: string) => Effect.Effect<ProjectionRow | undefined, StoreUnavailable>
  /** The row and all cursors, as of one moment. */
  readonly load: (
    name: string
  ) => Effect.Effect<
    { readonly row: ProjectionRow; readonly cursors: Map<string, number> } | undefined,
    StoreUnavailable
  >
  readonly cursors: (
    name: string,
    streamIds: ReadonlyArray<string>
  ) => Effect.Effect<Map<string, number>, StoreUnavailable>
  /** Refused by a greater position, or a greater cursor of a stream that is given. */
  readonly save: (request: SaveRequest) => Effect.Effect<StoredInstead | undefined, StoreUnavailable>
  /** Refused by another position, or another cursor than `before` of a stream that moves. */
  readonly advance: (request: AdvanceRequest) => Effect.Effect<StoredInstead | undefined, StoreUnavailable>
  /** Makes no row. The revision is replaced, also by none. Refused by a greater epoch alone. */
  readonly reset: (
    name: string,
    stamp: ProjectionStamp
  ) => Effect.Effect<StoredInstead | undefined, StoreUnavailable>
  /** Gives the row as it is afterwards, or undefined when it has a greater epoch. */
  readonly claim: (
    name: string,
    epoch: number,
    revision: number | undefined
  ) => Effect.Effect<ProjectionRow | undefined, StoreUnavailable>
  readonly list: (listing: ProjectionListing) => Effect.Effect<ReadonlyArray<ProjectionRow>, StoreUnavailable>
}

/** Whether a write in the name of a lease comes from one that was overtaken. */
export const isOvertaken = (stored: Pick<StoredInstead, "epoch">, { epoch }: ProjectionStamp): boolean =>
  epoch !== undefined && stored.epoch > epoch

/** Builds the store from a backend. */
export const make = (backend: ProjectionCheckpointStoreBackend): ProjectionCheckpointStore["Type"] =>
  ProjectionCheckpointStore.of({
    loadProjectionCheckpoint: (name) =>
      unlessFault(projectionNameFault(name), () =>
        Effect.map(backend.load(name), (stored) =>
          stored === undefined
            ? { ...emptyCheckpoint, revision: Option.none(), epoch: Option.none() }
            : {
                position: Position.make(stored.row.position),
                cursors: asCursors(stored.cursors),
                revision: Option.fromNullable(stored.row.revision),
                epoch: asEpoch(stored.row.epoch)
              }
        )
      ),
    loadProjectionCursors: (name, streamIds) =>
      unlessFault(projectionNameFault(name) ?? streamIdsFault(streamIds), () =>
        streamIds.length === 0
          ? Effect.succeed(new Map())
          : Effect.map(backend.cursors(name, streamIds), asCursors)
      ),
    getProjection: (name) =>
      unlessFault(projectionNameFault(name), () =>
        Effect.map(backend.find(name), (row) => Option.map(Option.fromNullable(row), asInfo))
      ),
    saveProjectionCheckpoint: (name, checkpoint, options = {}) =>
      unlessFault(projectionNameFault(name) ?? savedFault(checkpoint) ?? writeOptionsFault(options), () => {
        const { cursors, position } = checkpoint
        return Effect.flatMap(
          backend.save({ name, position, cursors, ...stampOf(options) }),
          refuse(name, options, (stored) => behind(name, checkpoint, stored))
        )
      }),
    advanceProjectionCursors: (name, previous, current, options = {}) =>
      unlessFault(
        projectionNameFault(name) ??
          checkpointFault("previous", previous) ??
          checkpointFault("current", current) ??
          writeOptionsFault(options),
        () => {
          const moves = movesBetween(previous, current)
          if ("_tag" in moves) return Effect.fail(moves)
          const { position } = current
          return Effect.flatMap(
            backend.advance({ name, expected: previous.position, position, moves, ...stampOf(options) }),
            refuse(name, options, (stored) => moved(name, previous, stored))
          )
        }
      ),
    resetProjectionCheckpoint: (name, options = {}) =>
      unlessFault(projectionNameFault(name) ?? writeOptionsFault(options), () =>
        Effect.flatMap(
          backend.reset(name, stampOf(options)),
          refuse(name, options, () => overtaken(name))
        )
      ),
    claimProjection: (name, epoch, options = {}) =>
      unlessFault(projectionNameFault(name) ?? epochFault("epoch", epoch) ?? writeOptionsFault(options), () =>
        Effect.flatMap(backend.claim(name, epoch, options.revision), (row) =>
          row === undefined ? Effect.fail(overtaken(name)) : Effect.succeed(asInfo(row))
        )
      ),
    listProjections: (listing) =>
      unlessFault(projectionListingFault(listing), () =>
        Effect.map(backend.list(listing), (rows) => rows.map(asInfo))
      )
  })

// ---- internal: what is refused ----

const refuse =
  <E>(name: string, options: ProjectionWriteOptions, otherwise: (stored: StoredInstead) => E) =>
  (stored: StoredInstead | undefined): Effect.Effect<void, E | LeaseLost> => {
    if (stored === undefined) return Effect.void
    return Effect.fail(isOvertaken(stored, stampOf(options)) ? overtaken(name) : otherwise(stored))
  }

const overtaken = (name: string): LeaseLost => new LeaseLost({ key: name, holder: "" })

const behind = (
  name: string,
  checkpoint: GlobalProjectionCheckpoint,
  { position, stream }: StoredInstead
): CheckpointBehind => {
  const streamId = stream?.streamId as StreamId
  return new CheckpointBehind({
    name,
    given: checkpoint.position,
    stored: Position.make(position),
    stream:
      stream === undefined
        ? null
        : { streamId, given: cursorFor(checkpoint, streamId), stored: StreamVersion.make(stream.version) }
  })
}

const moved = (
  name: string,
  previous: GlobalProjectionCheckpoint,
  { position, stream }: StoredInstead
): ProjectionMoved => {
  const streamId = stream?.streamId as StreamId
  return new ProjectionMoved({
    name,
    expected: previous.position,
    actual: Position.make(position),
    stream:
      stream === undefined
        ? null
        : { streamId, expected: cursorFor(previous, streamId), actual: StreamVersion.make(stream.version) }
  })
}

const stampOf = ({ epoch, revision }: ProjectionWriteOptions): ProjectionStamp => ({ epoch, revision })

// ---- internal: results ----

/** Rows are trusted: they were checked before they were written. */
const asCursors = (cursors: Map<string, number>): ReadonlyMap<StreamId, StreamVersion> =>
  cursors as Map<StreamId, StreamVersion>

const asEpoch = (epoch: number): Option.Option<Epoch> =>
  epoch === 0 ? Option.none() : Option.some(epoch as Epoch)

const asInfo = (row: ProjectionRow): ProjectionInfo => ({
  name: row.name,
  position: Position.make(row.position),
  revision: Option.fromNullable(row.revision),
  epoch: asEpoch(row.epoch),
  updatedAt: DateTime.unsafeMake(row.updatedAtMs)
})

// ---- internal: arguments ----

const unlessFault = <Use extends Effect.Effect<unknown, unknown>>(
  fault: InvalidArgument | undefined,
  use: () => Use
): Use | Effect.Effect<never, InvalidArgument> => (fault === undefined ? use() : Effect.fail(fault))
