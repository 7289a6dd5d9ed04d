/** What running a pipeline can fail with, beside what its sources, sinks and effects fail with. */
import { CheckpointStoreError } from "@millrace/core/CheckpointErrors"
import { InvalidArgument } from "@millrace/core/InvalidArgument"
import { describe } from "@millrace/core/InvalidArgument"
import * as Schema from "effect/Schema"

/**
 * A function of an operator threw. The pipeline went back to its last checkpoint and tried again as often as its
 * supervision allows. Mend the function, or filter out what it cannot take, and run it again: nothing is lost.
 */
export class OperatorFailed extends Schema.TaggedError<OperatorFailed>()("OperatorFailed", {
  pipeline: Schema.String,
  operator: Schema.String,
  cause: Schema.Defect
}) {
  override get message(): string {
    const reason = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `operator failed. pipeline=${this.pipeline} operator=${this.operator} reason=${describe(reason)}`
  }
}

/**
 * The state of an operator in the checkpoint is not of the form that the operator has now. Nothing was processed.
 * Raise the `version` of the state and give a `migrate` for the version before, or give the operator another id and
 * let the old state go with `dropState`.
 */
export class StateIncompatible extends Schema.TaggedError<StateIncompatible>()("StateIncompatible", {
  pipeline: Schema.String,
  operator: Schema.String,
  checkpointId: Schema.Number,
  reason: Schema.String
}) {
  override get message(): string {
    return `state does not fit the operator. pipeline=${this.pipeline} operator=${this.operator} checkpointId=${this.checkpointId} reason="${this.reason}"`
  }
}

/**
 * The checkpoint has state of an operator, or a place of a source, that the pipeline does not have. Nothing was
 * processed. Give the operator its id back, or say with `dropState` that its state may go.
 */
export class OperatorMissing extends Schema.TaggedError<OperatorMissing>()("OperatorMissing", {
  pipeline: Schema.String,
  operator: Schema.String,
  checkpointId: Schema.Number
}) {
  override get message(): string {
    return `the checkpoint has state of an operator that the pipeline does not have. pipeline=${this.pipeline} operator=${this.operator} checkpointId=${this.checkpointId}`
  }
}

/**
 * The pipeline would go back to a checkpoint before results that this sink has made visible, and the sink can
 * neither take them back nor take them again. Nothing was processed. Mend the newer checkpoint, or, if the results
 * may be there twice, run with `allowRepeats`.
 */
export class SinkCannotRewind extends Schema.TaggedError<SinkCannotRewind>()("SinkCannotRewind", {
  pipeline: Schema.String,
  sink: Schema.String,
  /** The checkpoint that it would go back to; 0 = the beginning. */
  checkpointId: Schema.Number,
  /** The newest checkpoint whose results are visible. */
  committedId: Schema.Number
}) {
  override get message(): string {
    return `sink cannot go back. pipeline=${this.pipeline} sink=${this.sink} checkpointId=${this.checkpointId} committedId=${this.committedId}`
  }
}

/**
 * The input of the pipeline had ended and every window was closed; now there is more. It would be late for windows that
 * it belongs to. Nothing of it was processed. Run it with `atEnd: "keep"` where input comes in portions; to go on from
 * here, begin from a savepoint before the end, or under another name.
 */
export class InputHadEnded extends Schema.TaggedError<InputHadEnded>()("InputHadEnded", {
  pipeline: Schema.String,
  source: Schema.String
}) {
  override get message(): string {
    return `the input had ended, and now there is more. pipeline=${this.pipeline} source=${this.source}`
  }
}

/**
 * A barrier did not come through in time: something has stood still for so long, a sink, an effect, or an operator that
 * was paused. The pipeline went back to its last checkpoint as often as its supervision allows. See what waits by the
 * queue depths of the status, or allow more by `alignmentTimeout`.
 */
export class BarrierLost extends Schema.TaggedError<BarrierLost>()("BarrierLost", {
  pipeline: Schema.String,
  checkpointId: Schema.Number,
  timeoutMs: Schema.Number
}) {
  override get message(): string {
    return `a barrier did not come through in time. pipeline=${this.pipeline} checkpointId=${this.checkpointId} timeoutMs=${this.timeoutMs}`
  }
}

/** There is no savepoint of this name. Nothing was processed. `CheckpointStore.list` has the names. */
export class SavepointNotFound extends Schema.TaggedError<SavepointNotFound>()("SavepointNotFound", {
  pipeline: Schema.String,
  savepoint: Schema.String
}) {
  override get message(): string {
    return `no savepoint of this name. pipeline=${this.pipeline} savepoint=${describe(this.savepoint)}`
  }
}

/** Everything that running a pipeline can fail with by itself. */
export const PipelineError = Schema.Union(
  OperatorFailed,
  StateIncompatible,
  OperatorMissing,
  SinkCannotRewind,
  SavepointNotFound,
  InputHadEnded,
  BarrierLost,
  InvalidArgument,
  ...CheckpointStoreError.members
)
export type PipelineError = typeof PipelineError.Type
