/** How far a rebuild has come: counted with every commit, told a few times a second. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Position } from "./Position.js"

/** How far a rebuild has come. */
export interface RebuildProgress {
  readonly projectionName: string
  /** Events handled since this call began. */
  readonly processed: number
  /** Events that there will have been, as far as can be told from how many there were so far. */
  readonly total: number
  /** Events a second since this call began. */
  readonly rate: number
  /** What is left at this rate; none before there is one. */
  readonly eta: Option.Option<Duration.Duration>
  readonly position: Position
  readonly head: Position
  /** Whether the model has taken the live one's place. */
  readonly done: boolean
  /** Why it ended without. */
  readonly error: Option.Option<unknown>
}

/** Tells of progress. */
export type OnProgress = (progress: RebuildProgress) => Effect.Effect<void>

/** Counts. */
export interface Counting {
  /** So many more events, up to a position. */
  readonly count: (events: number, position: Position) => void
  /** A new end. */
  readonly towards: (head: Position) => void
  /** Tells of it until interrupted: every 100 ms, when something happened. */
  readonly telling: Effect.Effect<never>
  /** Tells of the end. */
  readonly tell: (end: { readonly done: boolean; readonly error?: unknown }) => Effect.Effect<void>
  readonly processed: () => number
}

/** Begins to count at a position. */
export const make = (
  projectionName: string,
  from: Position,
  onProgress: OnProgress
): Effect.Effect<Counting> =>
  Effect.map(Clock.currentTimeMillis, (startedMs) => {
    let processed = 0
    let position = from
    let head = from
    let changed = true
    const progress = (nowMs: number, done: boolean, error: Option.Option<unknown>): RebuildProgress => {
      const seconds = (nowMs - startedMs) / 1000
      const passed = position - from
      const left = Math.max(0, head - position)
      return {
        projectionName,
        processed,
        total:
          done || passed === 0
            ? Math.max(processed, passed === 0 ? left : 0)
            : processed + Math.round((processed / passed) * left),
        rate: seconds > 0 ? processed / seconds : 0,
        eta:
          passed > 0 && seconds > 0
            ? Option.some(Duration.seconds((left * seconds) / passed))
            : Option.none(),
        position,
        head,
        done,
        error
      }
    }
    const tell: Counting["tell"] = ({ done, error }) =>
      Effect.flatMap(Clock.currentTimeMillis, (nowMs) =>
        onProgress(progress(nowMs, done, Option.fromNullable(error)))
      )
    return {
      count: (events, reached) => {
        processed += events
        position = reached
        changed = true
      },
      towards: (end) => {
        head = end
        changed = true
      },
      telling: Effect.forever(
        Effect.zipRight(
          Effect.sleep(tellEvery),
          Effect.suspend(() => {
            if (!changed) return Effect.void
            changed = false
            return tell({ done: false })
          })
        )
      ),
      tell,
      processed: () => processed
    }
  })

// ---- internal ----

const tellEvery = Duration.millis(100)
