/**
 * Where pipelines keep their checkpoints. A checkpoint is a manifest and, where there is much state, a sidecar:
 *
 *     reserve an id ──▶ sidecar, durable ──▶ manifest, created ──▶ pointer to the latest, forward ──▶ …
 *       … ──▶ commit decision ──▶ (the sinks commit) ──▶ manifest, updated
 *
 * Guarantees
 *
 *  1. A crash between any two steps leaves the checkpoint before as the latest, whole.
 *  2. A manifest is created once: the same again is no fault and changes nothing, another one under its id is a
 *     `CheckpointConflict`. Only `updateManifest` replaces one, and never moves the pointer.
 *  3. Ids are given once, also after everything was pruned.
 *  4. What is read back is what was written, or it is said that it is not: sidecars and states have checksums.
 *  5. A write with a `fence` is refused with `LeaseLost` when a newer epoch has written here, or has reserved an id.
 *
 * One writer at a time is assumed where no fence is given.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type { CheckpointConflict, CheckpointNotFound, Serde } from "./CheckpointErrors.js"
import type { CheckpointId, CheckpointManifest } from "./CheckpointManifest.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Lease } from "./Lease.js"
import type { LeaseLost } from "./LeaseLost.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"

/** How a write is made. */
export interface CheckpointWriteOptions {
  /** In whose name: refused when a newer epoch has written. Default: nobody's, and not refused. */
  readonly fence?: Lease | undefined
}

/** A checkpoint in a listing. */
export interface CheckpointEntry {
  readonly checkpointId: CheckpointId
  readonly epoch: number
  /** Unit: milliseconds since 1970. */
  readonly timestampMs: number
  readonly savepoint: Option.Option<string>
}

/** A sidecar as it was written. */
export interface StateData {
  /** Unit: bytes. */
  readonly length: number
  /** SHA-256 in hexadecimal digits. */
  readonly checksum: string
}

/** A part of a sidecar. Unit: bytes. */
export interface StateRange {
  readonly offset: number
  readonly length: number
}

/** Something about a checkpoint that is not as it should be. */
export interface ValidationIssue {
  /** Whether it cannot be started from. */
  readonly fatal: boolean
  readonly reason: string
}

/** What a look at a checkpoint has found. */
export interface CheckpointValidation {
  readonly checkpointId: CheckpointId
  /** Whether it can be started from. */
  readonly valid: boolean
  readonly issues: ReadonlyArray<ValidationIssue>
}

/** What a recovery has found. */
export interface RecoveryReport {
  /** The newest checkpoint that can be started from; none = begin anew. */
  readonly chosen: Option.Option<CheckpointManifest>
  readonly chosenId: Option.Option<CheckpointId>
  /** The newer ones, newest first, and what was wrong with each. */
  readonly skipped: ReadonlyArray<{ readonly checkpointId: CheckpointId; readonly reason: string }>
  /** Number of checkpoints that were looked at. */
  readonly examined: number
  readonly elapsed: Duration.Duration
}

/** A database that checkpoints and results of a pipeline are both in. */
export interface SharedDatabase {
  /** Its client, by identity. */
  readonly database: object
  /** Does everything within it in one transaction: what the store writes, and what others write by the same client. */
  readonly transaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StoreUnavailable, R>
}

/** What every write can fail with. */
export type CheckpointWriteError = InvalidArgument | LeaseLost | StoreUnavailable

/** The checkpoints of one pipeline. */
export interface CheckpointStore {
  readonly pipeline: string
  /** The database that it is in, if it is in one that others can commit to as well. */
  readonly shared?: SharedDatabase | undefined

  /** Number of vnodes that its keys are spread over. A checkpoint with another number is told by a warning. */
  readonly vnodeCount: number

  /** An id that was never given before and never will be again. */
  readonly reserveId: (options?: CheckpointWriteOptions) => Effect.Effect<CheckpointId, CheckpointWriteError>

  /**
   * Creates the manifest and moves the pointer to it, if it points to a lower id. Its states must be in it, or in
   * sidecars that are there already. Fails with `CheckpointConflict` when there is another one of this id.
   */
  readonly save: (
    manifest: CheckpointManifest,
    options?: CheckpointWriteOptions
  ) => Effect.Effect<void, CheckpointConflict | CheckpointWriteError>

  /**
   * Sidecar, manifest, pointer, in this order. Gives the manifest as it was saved: with length and checksum of what
   * `chunks` were. They are taken one by one, never all together. Fails as `save` does, and as the chunks do.
   */
  readonly saveWithState: <E = never, R = never>(
    manifest: CheckpointManifest,
    chunks?: Stream.Stream<Uint8Array, E, R>,
    options?: CheckpointWriteOptions
  ) => Effect.Effect<CheckpointManifest, E | CheckpointConflict | CheckpointWriteError, R>

  /**
   * Writes a sidecar: durable, and all of it or nothing. Replaces one of an attempt that broke off. Fails with
   * `CheckpointConflict` when there is a manifest of this id, and other bytes with it.
   */
  readonly saveStateData: <E = never, R = never>(
    checkpointId: number,
    chunks: Stream.Stream<Uint8Array, E, R>,
    options?: CheckpointWriteOptions
  ) => Effect.Effect<StateData, E | CheckpointConflict | CheckpointWriteError, R>

  /** A sidecar, or a part of it, in pieces of at most 1 MiB; none when there is no such sidecar. */
  readonly loadStateData: (
    checkpointId: number,
    range?: StateRange
  ) => Effect.Effect<
    Option.Option<Stream.Stream<Uint8Array, StoreUnavailable>>,
    InvalidArgument | StoreUnavailable
  >

  /** Replaces a manifest, and leaves the pointer. For the statuses of sinks that have committed. */
  readonly updateManifest: (
    manifest: CheckpointManifest,
    options?: CheckpointWriteOptions
  ) => Effect.Effect<void, CheckpointNotFound | CheckpointWriteError>

  /** The manifest that the pointer is at; none when there is none. Not validated: see `recoverLatestValidated`. */
  readonly loadLatest: Effect.Effect<Option.Option<CheckpointManifest>, Serde | StoreUnavailable>

  /** A manifest; none when there is none. */
  readonly loadById: (
    checkpointId: number
  ) => Effect.Effect<Option.Option<CheckpointManifest>, Serde | InvalidArgument | StoreUnavailable>

  /** All checkpoints, oldest first. Those whose manifest cannot be read are left out. */
  readonly list: Effect.Effect<ReadonlyArray<CheckpointEntry>, StoreUnavailable>

  /** The ids of all manifests, ascending, also of those that cannot be read. */
  readonly listIds: Effect.Effect<ReadonlyArray<CheckpointId>, StoreUnavailable>

  /**
   * Removes all but the newest `keep` checkpoints (0 to 1 000 000), and the sidecars that nothing refers to any more.
   * Never a savepoint, never a sidecar that a kept checkpoint refers to, and never what the pointer is at, unless
   * `keep` is 0: then there is no latest any more. Gives the number of checkpoints removed.
   */
  readonly prune: (
    keep: number,
    options?: CheckpointWriteOptions
  ) => Effect.Effect<number, CheckpointWriteError>

  /** Whether a checkpoint can be started from. What is wrong with it is the result; only storage fails. */
  readonly validateCheckpoint: (
    checkpointId: number
  ) => Effect.Effect<CheckpointValidation, InvalidArgument | StoreUnavailable>

  /**
   * The newest checkpoint that can be started from. Skips what is not valid, and what has sinks that are pending
   * while nobody decided to commit: the sources would stand behind what the sinks have.
   */
  readonly recoverLatestValidated: Effect.Effect<RecoveryReport, StoreUnavailable>

  /**
   * Removes sidecars without a manifest that no manifest refers to, and gives their number. For when nothing is being
   * saved: the sidecar of a checkpoint under way has no manifest yet.
   */
  readonly cleanupOrphans: (options?: CheckpointWriteOptions) => Effect.Effect<number, CheckpointWriteError>

  /** Notes that the sinks of a checkpoint shall commit, whatever happens from now on. Again is no fault. */
  readonly recordCommitDecision: (
    checkpointId: number,
    options?: CheckpointWriteOptions
  ) => Effect.Effect<void, CheckpointNotFound | CheckpointWriteError>

  /** Whether that was noted. */
  readonly commitDecision: (
    checkpointId: number
  ) => Effect.Effect<boolean, InvalidArgument | StoreUnavailable>
}

/** How a pipeline's checkpoints are kept. */
export interface PipelineCheckpointOptions {
  /** Range: 1 to 32 768. Default: 256. */
  readonly vnodeCount?: number | undefined
}

/**
 * The service. Ready-made layers: `Memory.layer`, `FileCheckpointStore.layer`, `Sqlite.layer`, `Postgres.layer`,
 * `S3CheckpointStore.layer`.
 */
export class CheckpointStorage extends Context.Tag("@millrace/core/CheckpointStorage")<
  CheckpointStorage,
  {
    /** The checkpoints of one pipeline. `name`: 1 to 255 code points, compared whole. */
    readonly forPipeline: (
      name: string,
      options?: PipelineCheckpointOptions
    ) => Effect.Effect<CheckpointStore, InvalidArgument | StoreUnavailable>
  }
>() {}
