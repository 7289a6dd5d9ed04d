/** How a pipeline is run: what callers may say, checked and with defaults filled in. */
import type { CheckpointWriteOptions } from "@millrace/core/CheckpointStore"
import { invalid } from "@millrace/core/InvalidArgument"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { vnodeCount } from "@millrace/core/Vnode"
import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"

/** How a pipeline is run. */
export interface RunOptions extends CheckpointWriteOptions {
  /**
   * Time between two checkpoints. Range: 10 ms to 1 day. Default: 10 seconds. Shorter repeats less after a crash and
   * shows results sooner (exactly-once sinks show them with a checkpoint); longer writes less.
   */
  readonly checkpointEvery?: Duration.DurationInput | undefined
  /** Shares that keys are spread over. Range: 1 to 256. Default: 1. May change from run to run. */
  readonly parallelism?: number | undefined
  /** Checkpoints that are kept, beside savepoints. Range: 1 to 1 000. Default: 3. */
  readonly retain?: number | undefined
  /** Begin from this savepoint, and not from the newest checkpoint. */
  readonly savepoint?: string | undefined
  /** Ids of operators whose state in the checkpoint may be forgotten. */
  readonly dropState?: ReadonlyArray<string> | undefined
  /** Whether a sink that can neither take results back nor take them again may get them again. Default: false. */
  readonly allowRepeats?: boolean | undefined
  /**
   * When and how often to go back to the last checkpoint after a failure. Begins anew after each checkpoint that was
   * made. Default: after 100 ms, doubled each time up to 30 seconds, ten times.
   */
  readonly supervision?: Schedule.Schedule<unknown, unknown> | undefined
  /** Batches under way between two tasks. Range: 1 to 1 000. Default: 4. */
  readonly channelCapacity?: number | undefined
  /**
   * What happens when the input has ended. `flush` (default): event time comes to its end, so that every window gives
   * its result, and nothing can follow. `keep`: windows stay open in the last checkpoint, and a later run goes on when
   * the sources have more: for input that comes in portions, such as the log up to its head, every night.
   */
  readonly atEnd?: "flush" | "keep" | undefined
  /** How long a barrier may take to come through. Range: 1 second to 1 day. Default: 10 minutes. Then it is a failure. */
  readonly alignmentTimeout?: Duration.DurationInput | undefined
}

/** The same with everything filled in. */
export interface RunSettings {
  readonly checkpointEveryMs: number
  readonly parallelism: number
  readonly retain: number
  readonly savepoint: string | undefined
  readonly dropState: ReadonlySet<string>
  readonly allowRepeats: boolean
  readonly supervision: Schedule.Schedule<unknown, unknown>
  readonly channelCapacity: number
  readonly alignmentTimeoutMs: number
  readonly atEnd: "flush" | "keep"
  readonly write: CheckpointWriteOptions
}

/** Settings, or what is wrong with the options. */
export const settingsOf = (options: RunOptions): RunSettings | InvalidArgument => {
  const { channelCapacity = 4, parallelism = 1, retain = 3 } = options
  const checkpointEveryMs = Duration.toMillis(options.checkpointEvery ?? "10 seconds")
  const alignmentTimeoutMs = Duration.toMillis(options.alignmentTimeout ?? "10 minutes")
  if (!isWhole(parallelism, 1, vnodeCount))
    return invalid("parallelism", `a whole number of 1 to ${vnodeCount}`, parallelism)
  if (!isWhole(retain, 1, 1_000)) return invalid("retain", "a whole number of 1 to 1 000", retain)
  if (!isWhole(channelCapacity, 1, 1_000))
    return invalid("channelCapacity", "a whole number of 1 to 1 000", channelCapacity)
  if (!(checkpointEveryMs >= 10 && checkpointEveryMs <= dayMs))
    return invalid("checkpointEvery", "10 ms to 1 day", `${checkpointEveryMs} ms`)
  if (!(alignmentTimeoutMs >= 1_000 && alignmentTimeoutMs <= dayMs))
    return invalid("alignmentTimeout", "1 second to 1 day", `${alignmentTimeoutMs} ms`)
  return {
    checkpointEveryMs,
    parallelism,
    retain,
    savepoint: options.savepoint,
    dropState: new Set(options.dropState),
    allowRepeats: options.allowRepeats ?? false,
    supervision: options.supervision ?? supervisionDefault,
    channelCapacity,
    alignmentTimeoutMs,
    atEnd: options.atEnd ?? "flush",
    write: { fence: options.fence }
  }
}

// ---- internal ----

const dayMs = 86_400_000

const supervisionDefault = Schedule.intersect(
  Schedule.union(Schedule.exponential("100 millis"), Schedule.spaced("30 seconds")),
  Schedule.recurs(10)
)

const isWhole = (value: unknown, min: number, max: number): boolean =>
  Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
