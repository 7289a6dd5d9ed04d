/**
 * A process with projections in a folder: it runs the live model until it is told to stop, or rebuilds it again and
 * again, each time of a version more, and kills itself at a point of one of the swaps.
 */
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import type { SwapPoint } from "@millrace/sqlite/ProjectionDirStore"
import * as Program from "@millrace/testkit/Program"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { layer, quick, totals } from "./Totals.js"
import type { Place, Services } from "./Totals.js"

export interface ProjectorArgument extends Place {
  /** The version of the first rebuild, or of what is run. */
  readonly version: number
  /** Rebuilds, and dies at this point of the swap of this turn. Without it, it runs. */
  readonly dies?: { readonly point: SwapPoint; readonly turn: number } | undefined
  readonly rebuilds?: boolean | undefined
}

const { dies, rebuilds, version, ...place } = Program.argument<ProjectorArgument>()

let turn = 0
const at = (point: SwapPoint): Effect.Effect<void> =>
  Effect.sync(() => {
    if (point === dies?.point && turn === dies.turn) process.kill(process.pid, "SIGKILL")
  })

const rebuilding = Effect.gen(function* () {
  const runner = yield* ProjectionRunner
  for (;;) {
    turn++
    // On a busy machine a short lease may end before it is renewed.
    yield* Effect.retry(runner.rebuild(totals(version + turn - 1), quick), {
      schedule: Schedule.spaced("50 millis"),
      while: ({ _tag }) => _tag === "LeaseLost" || _tag === "LeaseHeld"
    })
    Program.say({ turn })
  }
})

const running = Effect.scoped(
  Effect.gen(function* () {
    const runner = yield* ProjectionRunner
    yield* runner.run([totals(version)], { ...quick, ttl: "2 seconds" })
    yield* runner.waitFor(totals(version), 1 as never, "20 seconds")
    Program.say("runs")
    yield* Effect.async<void>((resume) =>
      Program.orders((order) => (order === "stop" ? resume(Effect.void) : undefined))
    )
    Program.say({ status: (yield* runner.status).map(({ phase }) => phase) })
  })
)

const main: Effect.Effect<void, unknown, Services> =
  rebuilds === true || dies !== undefined ? rebuilding : running

Program.run(Effect.provide(main, layer(place, at)))
