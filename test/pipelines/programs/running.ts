/**
 * A process that runs a pipeline to its end, and kills itself at the step of a checkpoint that it is told: between
 * sidecar and manifest, manifest and pointer, decision and commit of the sinks, and so on.
 */
import type { CheckpointStep } from "@millrace/core/CheckpointStoreBackend"
import { CheckpointSteps } from "@millrace/core/CheckpointStoreBackend"
import { argument, orders, run, say } from "@millrace/testkit/Program"
import * as Effect from "effect/Effect"
import type { Work } from "../Works.js"
import * as Works from "../Works.js"

export interface RunningArgument {
  readonly work: Work
  readonly parallelism: number
  /** At which step of which of its checkpoints, counted from 0, it kills itself. */
  readonly killAt?:
    | { readonly at: "before" | "after"; readonly step: CheckpointStep; readonly checkpoint: number }
    | undefined
}

/** What it says: that it is up, and that it has ended. */
export type RunningLine = { readonly up: true } | { readonly ended: true }

const { killAt, parallelism, work } = argument<RunningArgument>()
orders(() => undefined)
const tell = (line: RunningLine): void => say(line)

/** Checkpoints that it has come to. */
let checkpoint = -1
let began = false

const program = Effect.gen(function* () {
  tell({ up: true })
  yield* Works.run(work, { checkpointEvery: "15 millis", parallelism })
  tell({ ended: true })
}).pipe(
  Effect.provideService(CheckpointSteps, (at, step) =>
    Effect.sync(() => {
      // The first step of each: a sidecar is written only where something has changed.
      const isFirst = at === "before" && (step === "sidecar" || (step === "manifest" && !began))
      if (isFirst) checkpoint++
      began = step === "sidecar"
      if (killAt === undefined || killAt.step !== step || killAt.at !== at || checkpoint < killAt.checkpoint)
        return
      process.kill(process.pid, "SIGKILL")
    })
  )
)

run(Effect.orDie(program))
