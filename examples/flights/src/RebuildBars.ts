/**
 * How far several rebuilds have come, on stderr: a bar for each with rate and remaining time on a terminal, a few
 * plain lines elsewhere. The numbers are the framework's, which tells of them ten times a second.
 */
import type { Projection } from "@millrace/core/Projection"
import type { OnProgress, RebuildProgress } from "@millrace/core/RebuildProgress"
import cliProgress from "cli-progress"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"

/** What to hand to `rebuildConcurrent`; bars are shown until the scope closes. */
export const make = (
  projections: ReadonlyArray<Pick<Projection, "name">>
): Effect.Effect<OnProgress, never, Scope.Scope> =>
  Effect.suspend(() => (process.stderr.isTTY ? bars(projections.map(({ name }) => name)) : lines))

// ---- internal ----

/** Plain lines appear when another fifth is done. */
const plainLines = 5

const bars = (names: ReadonlyArray<string>): Effect.Effect<OnProgress, never, Scope.Scope> =>
  Effect.gen(function* () {
    const widest = Math.max(...names.map((name) => name.length))
    const display = yield* Effect.acquireRelease(
      Effect.sync(
        () =>
          new cliProgress.MultiBar(
            {
              stream: process.stderr,
              // As for the one bar: short enough for 80 columns, the time left last.
              format: "{name} {bar} {percentage}% {value}/{total}, {rate}, {left}",
              barsize: 16,
              hideCursor: true
            },
            cliProgress.Presets.shades_classic
          )
      ),
      (display) => Effect.sync(() => display.stop())
    )
    const byName = new Map(
      names.map((name) => [name, display.create(0, 0, { name: name.padEnd(widest), rate: "", left: "" })])
    )
    return (progress) =>
      Effect.sync(() => {
        const bar = byName.get(progress.projectionName)
        bar?.setTotal(progress.total)
        bar?.update(progress.processed, { rate: rateText(progress), left: leftText(progress) })
      })
  })

const lines: Effect.Effect<OnProgress> = Effect.sync(() => {
  const printed = new Map<string, number>()
  return (progress) => {
    const { done, processed, projectionName, total } = progress
    const reached = done ? plainLines : Math.floor((processed / Math.max(1, total)) * plainLines)
    if (reached <= (printed.get(projectionName) ?? 0)) return Effect.void
    printed.set(projectionName, reached)
    const percentage = done ? 100 : Math.floor((processed / total) * 100)
    return Console.error(
      `Rebuilding ${projectionName}: ${percentage} % of ${total} flights, ${rateText(progress)}`
    )
  }
})

const rateText = ({ rate }: RebuildProgress): string => `${Math.round(rate)}/s`

const leftText = ({ done, eta }: RebuildProgress): string =>
  done
    ? "done"
    : Option.match(eta, {
        onNone: () => "",
        onSome: (left) => `${Math.ceil(Duration.toSeconds(left))}s left`
      })
