/**
 * How event time is told from what a source gives. The watermark W says that everything that happened before W has
 * come; whatever comes with an earlier time is late. Each partition of a source has one, and that of the source is the
 * least of them.
 *
 * It advances with each record, not with each batch: whether a record is late does not depend on how many the source
 * gave at once, so that a run that was killed and goes on decides as one that was not.
 */
import * as Duration from "effect/Duration"

/** A strategy. */
export interface WatermarkStrategy {
  /** How far a record may lie behind the newest one of its partition. Unit: milliseconds. */
  readonly outOfOrdernessMs: number
  /** A partition that gave nothing for so long holds the others back no more. Unit: milliseconds. None: it always does. */
  readonly idleMs: number | undefined
}

/** Times never go back within a partition. The default. */
export const monotonic: WatermarkStrategy = { outOfOrdernessMs: 0, idleMs: undefined }

/**
 * A record may come up to `bound` later than newer ones. Larger loses fewer records to lateness and gives every result
 * as much later.
 *
 * @example
 * ```ts
 * const flow = Pipeline.from(clicks, { watermarks: Watermarks.bounded("5 seconds") })
 * ```
 */
export const bounded = (bound: Duration.DurationInput): WatermarkStrategy => ({
  outOfOrdernessMs: Duration.toMillis(bound),
  idleMs: undefined
})

/**
 * Lets go of partitions that have been silent for a time of the machine's clock. What the result is then depends on
 * that clock: a pipeline with it is not deterministic, and its status says so.
 */
export const idleAfter =
  (timeout: Duration.DurationInput) =>
  (strategy: WatermarkStrategy): WatermarkStrategy => ({ ...strategy, idleMs: Duration.toMillis(timeout) })
