/** What keeping checkpoints of pipelines can fail with, beside what every store can. */
import * as Schema from "effect/Schema"
import { CheckpointId } from "./CheckpointManifest.js"
import { InvalidArgument } from "./InvalidArgument.js"
import { LeaseLost } from "./LeaseLost.js"
import { StoreUnavailable } from "./StoreUnavailable.js"

/**
 * There is a checkpoint of this id already, with other content. Nothing was written. Ids are never used twice:
 * reserve one. If you did, two processes run this pipeline: give each its lease, and write with it as `fence`.
 */
export class CheckpointConflict extends Schema.TaggedError<CheckpointConflict>()("CheckpointConflict", {
  pipeline: Schema.String,
  checkpointId: CheckpointId
}) {
  override get message(): string {
    return `a checkpoint of this id has other content. pipeline=${this.pipeline} checkpointId=${this.checkpointId}`
  }
}

/** There is no checkpoint of this id: it was pruned, or never saved. Nothing was written. `listIds` says which are. */
export class CheckpointNotFound extends Schema.TaggedError<CheckpointNotFound>()("CheckpointNotFound", {
  pipeline: Schema.String,
  checkpointId: CheckpointId
}) {
  override get message(): string {
    return `no checkpoint of this id. pipeline=${this.pipeline} checkpointId=${this.checkpointId}`
  }
}

/** The stored manifest cannot be read. `recoverLatestValidated` goes back to the newest one that can. */
export class Serde extends Schema.TaggedError<Serde>()("Serde", {
  pipeline: Schema.String,
  checkpointId: CheckpointId,
  /** Which field, and what is wrong with it. */
  reason: Schema.String
}) {
  override get message(): string {
    return `the manifest cannot be read. pipeline=${this.pipeline} checkpointId=${this.checkpointId} reason="${this.reason}"`
  }
}

/** Everything that a checkpoint store can fail with. */
export const CheckpointStoreError = Schema.Union(
  CheckpointConflict,
  CheckpointNotFound,
  Serde,
  InvalidArgument,
  LeaseLost,
  StoreUnavailable
)
export type CheckpointStoreError = typeof CheckpointStoreError.Type
