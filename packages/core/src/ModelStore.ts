/**
 * Where the models of projections are kept, each with its checkpoint. This is the seam beneath
 * {@link ProjectionRunner}: a database says how rows and checkpoint become one transaction and how one model takes
 * the place of another; reading, order, leases, poison and rebuilds are written above it, once.
 *
 * A projection has one *live* model, the one that readers see, and may have two more beside it: one that is being
 * *built* and one that was live *formerly* and is kept for going back. Those two have a generation, a number that
 * no other model of the projection ever had, in the names of their tables and of their checkpoint.
 *
 *     balances            balances__g7             balances__g4
 *     live        ◀─swap─ building                 former
 *        └────────swap──────────────────────────────▶ (the one before it is dropped)
 *
 * Promises, the same on every store:
 *
 *  1. `apply` does everything or nothing where the model is the store's own: the rows of all events and the
 *     checkpoint. It is a compare-and-set, and refused for an epoch that is not the greatest any more.
 *  2. `swap` is atomic for readers: a statement sees the live model of before or that of after, and no other. It
 *     never puts a model in place that is behind the live one.
 *  3. After `swap` and `empty` no epoch that was given out before moves the live model any more: who ran it takes
 *     a new lease, and reads anew where it stands.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { HandlerError } from "./EngineError.js"
import type { RecordedEvent } from "./Event.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Epoch, Lease } from "./Lease.js"
import type { LeaseLost } from "./LeaseLost.js"
import type { Position } from "./Position.js"
import type { FoldProjection, Projection } from "./Projection.js"
import type { GlobalProjectionCheckpoint, ProjectionInfo, ProjectionMoved } from "./ProjectionCheckpoint.js"
import type { ModelRefused, ShadowUnsupported } from "./ProjectionErrors.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { StreamId } from "./StreamId.js"
import type { StreamVersion } from "./StreamVersion.js"

export { ModelRefused, ShadowUnsupported } from "./ProjectionErrors.js"

/** What `apply` can fail with. A `HandlerError` names the event; the transaction was rolled back. */
export type ApplyError =
  HandlerError | ShadowUnsupported | ProjectionMoved | LeaseLost | StoreUnavailable | InvalidArgument

/** A step of the checkpoint, as for `advanceProjectionCursors`: both sides hold the streams that were touched. */
export interface ModelStep {
  readonly previous: GlobalProjectionCheckpoint
  readonly current: GlobalProjectionCheckpoint
  /**
   * Of whoever makes the step. The database lets go of its transaction within the lease's `ttl`. None for a step in
   * the transaction of an append, which is compared by the checkpoint alone.
   */
  readonly lease: Lease | undefined
  /**
   * What belongs to the same transaction: a parked event that is taken out when it was handled. Where the
   * model is in another database it runs after the commit.
   */
  readonly also?: Effect.Effect<void, LeaseLost | StoreUnavailable | InvalidArgument> | undefined
}

/** One model of a projection: the live one, or one beside it. */
export interface Model<R> {
  /** Where its checkpoint stands; none when it was never claimed. */
  readonly info: Effect.Effect<Option.Option<ProjectionInfo>, StoreUnavailable>
  /**
   * Where its checkpoint stands, and nobody moves, swaps or empties the model until the transaction ends that this is a part of. Tables
   * are locked before checkpoints, as everywhere. Makes the live model's checkpoint where there is none.
   */
  readonly hold: Effect.Effect<Position, StoreUnavailable>
  /** Takes it over for a lease: lower epochs are refused from here on. Writes the projection's version where none is stored. */
  readonly claim: (epoch: Epoch) => Effect.Effect<ProjectionInfo, LeaseLost | StoreUnavailable>
  /** The stored versions of these streams. */
  readonly cursors: (
    streamIds: ReadonlyArray<StreamId>
  ) => Effect.Effect<ReadonlyMap<StreamId, StreamVersion>, StoreUnavailable>
  /** Handles the events in order and makes the step. With no events, only the step. */
  readonly apply: (
    events: ReadonlyArray<RecordedEvent>,
    step: ModelStep
  ) => Effect.Effect<void, ApplyError, R>
  /** The name that one of the declared tables has here. Throws for one that was not declared. */
  readonly table: (name: string) => string
  /** Rows, of a fold: all of its keys; else of all declared tables together; 0 where the store does not keep them. */
  readonly count: Effect.Effect<number, StoreUnavailable>
  /** The stored rows of these keys, of a fold: the `Row`s, decoded. A key without a row is not in the map. */
  readonly rows: (
    keys: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyMap<string, unknown>, StoreUnavailable>
  /** Runs an effect with what SQL handlers find here: the client of the database that the model is in, if it is in one. */
  readonly provided: <A, E, R2>(effect: Effect.Effect<A, E, R2>) => Effect.Effect<A, E | StoreUnavailable, R2>
}

/** A model beside the live one. */
export interface Generation {
  /** Range: 1 to 2^53 − 1. */
  readonly generation: number
  readonly position: Position
  /** The version of the projection that it was built with. */
  readonly version: Option.Option<number>
}

/** The models beside the live one. */
export interface Generations {
  readonly building: Option.Option<Generation>
  readonly former: Option.Option<Generation>
}

/** What came of a swap. */
export type Swapped =
  | { readonly _tag: "Swapped" }
  /** The live model is ahead: go on to this position at least, and try again. Nothing was changed. */
  | { readonly _tag: "Behind"; readonly live: Position }

/** The service. Ready-made layers: `Memory.layer`, `Sqlite.layer`, `Postgres.layer`, `ProjectionDir.layer`. */
export class ModelStore extends Context.Tag("@millrace/core/ModelStore")<
  ModelStore,
  {
    /** Whether models and checkpoints outlive the process. */
    readonly isDurable: boolean

    /**
     * Runs an effect as one transaction of the store and of the log: a part of the caller's, where that is one of
     * their database. None where the log is in another one, or there are no transactions.
     */
    readonly transaction:
      (<A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StoreUnavailable, R>) | undefined

    /**
     * Opens a model until the scope closes: the live one, or the one of `generation`, which is the former one if that
     * has this generation, else one that counts as being built from here on. Makes its tables where they are missing. Fails with `ModelRefused` (as it says).
     */
    readonly open: <E, R>(
      projection: Projection<E, R>,
      generation?: number | undefined
    ) => Effect.Effect<Model<R>, ModelRefused | StoreUnavailable, Scope.Scope>

    /** The models beside the live one. */
    readonly generations: (
      projection: Projection<unknown, unknown>
    ) => Effect.Effect<Generations, StoreUnavailable>

    /**
     * Puts the model of a generation (one that is built, or the former one) in the live one's place, in one
     * transaction, if its checkpoint is not behind the live one's. With `keepFormer` the live one becomes the
     * former, else it is dropped; an older former one is dropped. `epoch` is the builder's: refused with
     * `LeaseLost` when a greater one has claimed the generation (stop). Waits for statements that read the live
     * model, a second at a time, and fails as transient when it could not get in between (try again).
     */
    readonly swap: (
      projection: Projection<unknown, unknown>,
      generation: number,
      options: { readonly epoch: Epoch; readonly keepFormer: boolean }
    ) => Effect.Effect<Swapped, LeaseLost | StoreUnavailable>

    /** Drops a model beside the live one, with its checkpoint. One that is not there is no fault. */
    readonly discard: (
      projection: Projection<unknown, unknown>,
      generation: number
    ) => Effect.Effect<void, StoreUnavailable>

    /**
     * Empties the live model and its checkpoint in one transaction, for a rebuild in place; the projection's
     * version is written. Handlers elsewhere must do their part themselves.
     */
    readonly empty: (projection: Projection<unknown, unknown>) => Effect.Effect<void, StoreUnavailable>

    /** Forgets a projection: all its models, tables and checkpoints. */
    readonly remove: (projection: Projection<unknown, unknown>) => Effect.Effect<void, StoreUnavailable>

    /** The rows of a fold's live model, as they are now, by key in byte order; behind `after`, 1 to 10 000 of them. */
    readonly list: <Row>(
      projection: FoldProjection<Row>,
      listing: { readonly after?: string | undefined; readonly limit: number }
    ) => Effect.Effect<
      ReadonlyArray<{ readonly key: string; readonly row: Row }>,
      ModelRefused | InvalidArgument | StoreUnavailable
    >

    /** One row of a fold's live model; none where the key has none. */
    readonly get: <Row>(
      projection: FoldProjection<Row>,
      key: string
    ) => Effect.Effect<Option.Option<Row>, ModelRefused | StoreUnavailable>
  }
>() {}

/** The name of a checkpoint of a model beside the live one: `balances~b7` is built, `balances~f4` is the former one. */
export const partName = (projectionName: string, part: "b" | "f", generation: number): string =>
  `${projectionName}~${part}${generation}`

/** Which part of a projection a checkpoint's name means; undefined for a live model's. */
export const partOf = (
  checkpointName: string
): { readonly part: "b" | "f"; readonly generation: number } | undefined => {
  const match = /~([bf])([0-9]+)$/.exec(checkpointName)
  return match === null ? undefined : { part: match[1] as "b" | "f", generation: Number(match[2]) }
}
