/** What a pipeline looks like from outside while it runs. */
import type * as Duration from "effect/Duration"
import type * as Option from "effect/Option"

/** An operator, a source or a sink; of all its instances together. */
export interface OperatorStatus {
  readonly id: string
  /** `map`, `window`, `source`, `sink`, … */
  readonly kind: string
  /** Number of instances. */
  readonly parallelism: number
  /** Records since the run began, or since it last went back to a checkpoint. */
  readonly recordsIn: number
  readonly recordsOut: number
  /** Unit: records a second, over the time since the status before, or since the run began. */
  readonly rateIn: number
  readonly rateOut: number
  /** Batches that wait at its task. Of operators of one task the first has them. */
  readonly queueDepth: number
  /** The least of its instances. None before the first. Unit: milliseconds since 1970. */
  readonly watermark: Option.Option<number>
  /** Keys with state. */
  readonly stateEntries: number
  /** Size of its state in the last checkpoint. */
  readonly stateBytes: number
  /** Records that came too late for every window. */
  readonly lateRecords: number
}

/** A checkpoint that was made. */
export interface CheckpointStatus {
  readonly checkpointId: number
  /** From the barrier until it was durable and committed. */
  readonly duration: Duration.Duration
  /** How much of it was waiting for the barrier to come through. */
  readonly alignment: Duration.Duration
  /** Bytes written for it: what did not change is not written again. */
  readonly bytesWritten: number
}

/** A pipeline. */
export interface PipelineStatus {
  readonly pipeline: string
  readonly operators: ReadonlyArray<OperatorStatus>
  /** The last one that was made in this run. */
  readonly lastCheckpoint: Option.Option<CheckpointStatus>
  /** Number of checkpoints made in this run. */
  readonly checkpoints: number
  /** How often it went back to a checkpoint because something failed. */
  readonly restarts: number
  /** The checkpoint that it began from, now or after the last restart. 0 = from the beginning. */
  readonly startedFrom: number
  /** Whether a run that is killed and started again gives what one gives that was not. */
  readonly isDeterministic: boolean
  /** Why it does not, operator by operator. */
  readonly chances: ReadonlyArray<string>
}
