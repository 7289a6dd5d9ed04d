/**
 * How far a long piece of work has come, on stderr: a bar with rate and remaining time on a terminal, a few
 * plain lines elsewhere. Nothing ever goes to stdout.
 */
import cliProgress from "cli-progress"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface Progress {
  /** So many more are done. */
  readonly advance: (count: number) => Effect.Effect<void>
}

export interface ProgressOptions {
  /** What is being done, for example `Appending`. */
  readonly label: string
  /** Of what, in the plural: `flights`. */
  readonly unit: string
  /** Number that there is to do. */
  readonly total: number
}

/** Plain lines appear when another fifth is done. */
const plainLines = 5

/** Shows progress until the scope closes. */
export const make = (options: ProgressOptions): Effect.Effect<Progress, never, Scope.Scope> =>
  Effect.suspend(() => (process.stderr.isTTY ? bar(options) : lines(options)))

// ---- internal ----

const bar = ({ label, total, unit }: ProgressOptions): Effect.Effect<Progress, never, Scope.Scope> =>
  Effect.gen(function* () {
    const startedMs = yield* Clock.currentTimeMillis
    const display = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const display = new cliProgress.SingleBar(
          {
            stream: process.stderr,
            // Short enough for 80 columns: what does not fit is cut off, and the time left stands last.
            format: `${label} {bar} {percentage}% {value}/{total} ${unit}, {rate}, {eta_formatted} left`,
            barsize: 16,
            hideCursor: true,
            etaBuffer: 50
          },
          cliProgress.Presets.shades_classic
        )
        display.start(total, 0, { rate: "" })
        return display
      }),
      (display) => Effect.sync(() => display.stop())
    )
    return {
      advance: (count) =>
        Effect.map(Clock.currentTimeMillis, (nowMs) => {
          display.increment(count)
          display.update({ rate: rateText(display.getProgress() * total, nowMs - startedMs) })
        })
    }
  })

const lines = ({ label, total, unit }: ProgressOptions): Effect.Effect<Progress> =>
  Effect.map(Clock.currentTimeMillis, (startedMs) => {
    let done = 0
    let printed = 0
    return {
      advance: (count) =>
        Effect.flatMap(Clock.currentTimeMillis, (nowMs) => {
          done += count
          const reached = Math.floor((done / total) * plainLines)
          if (reached <= printed) return Effect.void
          printed = reached
          const rate = rateText(done, nowMs - startedMs)
          return Console.error(`${label}: ${Math.floor((done / total) * 100)} % of ${total} ${unit}, ${rate}`)
        })
    }
  })

const rateText = (done: number, elapsedMs: number): string =>
  elapsedMs <= 0 ? "" : `${Math.round((done / elapsedMs) * 1000)}/s`
