/**
 * How records of a key are put together: by time, by activity, by number, or all of them. Windows of time begin at
 * 1970-01-01 UTC, moved by `offset`, and take their start but not their end.
 */
import { invalid } from "@millrace/core/InvalidArgument"
import * as Duration from "effect/Duration"
import { endOfTime } from "./Records.js"

/** Which windows a record belongs to. Times in milliseconds. */
export type Window =
  | { readonly _tag: "Tumbling"; readonly sizeMs: number; readonly offsetMs: number }
  | { readonly _tag: "Hopping"; readonly sizeMs: number; readonly hopMs: number; readonly offsetMs: number }
  | { readonly _tag: "Session"; readonly gapMs: number }
  | { readonly _tag: "Global" }
  | { readonly _tag: "Count"; readonly size: number }

/** Part of the time. Unit: milliseconds since 1970; `end` is not in it. */
export interface TimeWindow {
  readonly start: number
  readonly end: number
}

/** The whole of time: what global windows and windows by number are of. */
export const allTime: TimeWindow = { start: -endOfTime, end: endOfTime }

/**
 * One after another, all of one size. Size: from 1 ms.
 *
 * @example
 * ```ts
 * const perHour = Pipeline.window(Windows.tumbling("1 hour"))
 * ```
 */
export const tumbling = (
  size: Duration.DurationInput,
  options?: { readonly offset?: Duration.DurationInput | undefined }
): Window => ({
  _tag: "Tumbling",
  sizeMs: millis("size", size),
  offsetMs: offsetOf(options?.offset)
})

/**
 * A window of `size` begins every `hop`, so that a record is in `size / hop` of them. Hop: 1 ms to the size, of which
 * there may be at most 10 000.
 *
 * @example
 * ```ts
 * const lastHourEveryMinute = Pipeline.window(Windows.hopping("1 hour", "1 minute"))
 * ```
 */
export const hopping = (
  size: Duration.DurationInput,
  hop: Duration.DurationInput,
  options?: { readonly offset?: Duration.DurationInput | undefined }
): Window => {
  const sizeMs = millis("size", size)
  const hopMs = millis("hop", hop)
  if (hopMs > sizeMs || sizeMs / hopMs > hopsMax)
    throw invalid("hop", `1 ms to the size, and at least 1/${hopsMax} of it`, `${hopMs} ms`)
  return { _tag: "Hopping", sizeMs, hopMs, offsetMs: offsetOf(options?.offset) }
}

/**
 * As long as a key's records follow one another within `gap`; one exactly `gap` later still belongs to it. The window
 * ends `gap` after its last record. Gap: from 1 ms.
 *
 * @example
 * ```ts
 * const visits = Pipeline.window(Windows.session("30 minutes"))
 * ```
 */
export const session = (gap: Duration.DurationInput): Window => ({
  _tag: "Session",
  gapMs: millis("gap", gap)
})

/** All records of a key. Gives a result at the end of the input, and when a trigger says so. */
export const global: Window = { _tag: "Global" }

/** Every `size` records of a key, in the order in which they come; what is left gives a result at the end of the input. Size: from 1. */
export const count = (size: number): Window => {
  if (!Number.isSafeInteger(size) || size < 1) throw invalid("size", "a whole number from 1", size)
  return { _tag: "Count", size }
}

/** The start of the window of a grid that a time is in. */
export const startOf = (timeMs: number, stepMs: number, offsetMs: number): number => {
  const into = (timeMs - offsetMs) % stepMs
  return timeMs - (into < 0 ? into + stepMs : into)
}

// ---- internal ----

const hopsMax = 10_000

const millis = (field: string, input: Duration.DurationInput): number => {
  const ms = Duration.toMillis(input)
  if (!Number.isSafeInteger(ms) || ms < 1) throw invalid(field, "whole milliseconds from 1", `${ms} ms`)
  return ms
}

const offsetOf = (input: Duration.DurationInput | undefined): number => {
  const ms = input === undefined ? 0 : Duration.toMillis(input)
  if (!Number.isSafeInteger(ms)) throw invalid("offset", "whole milliseconds", `${ms} ms`)
  return ms
}
