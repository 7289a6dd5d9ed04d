/** A process that rebuilds the fold beside the live one, and tells of its progress and of the way to the swap. */
import { ModelStore } from "@millrace/core/ModelStore"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import { argument, run, say } from "@millrace/testkit/Program"
import * as Effect from "effect/Effect"
import type { StoreAddress } from "../../consumers/Stores.js"
import { folded, processLayer } from "../Projections.js"

export interface RebuildingArgument {
  readonly store: StoreAddress
  readonly ttlMs: number
  readonly batchSize: number
  /** Where it kills itself with SIGKILL; the swap is begun, or was made, when it dies. Undefined: nowhere. */
  readonly diesAt: "beforeSwap" | "inSwap" | "afterSwap" | undefined
  /** How long after the swap was begun it dies in it. */
  readonly diesAfterMs: number
  /** The version of the fold that it builds. */
  readonly version: number
}

export type RebuildingLine = { readonly processed: number } | { readonly done: number }

const options = argument<RebuildingArgument>()
const die = Effect.sync(() => void process.kill(process.pid, "SIGKILL"))

const program = Effect.gen(function* () {
  const models = yield* ModelStore
  const dying: ModelStore["Type"] = {
    ...models,
    swap: (projection, generation, given) => {
      const swap = models.swap(projection, generation, given)
      if (options.diesAt === "beforeSwap") return Effect.zipRight(die, Effect.never)
      // Its statements are under way when the signal comes.
      if (options.diesAt === "inSwap")
        return Effect.zipLeft(swap, Effect.never).pipe(
          Effect.raceFirst(
            Effect.zipRight(Effect.sleep(options.diesAfterMs), Effect.zipRight(die, Effect.never))
          )
        )
      if (options.diesAt === "afterSwap") return Effect.zipRight(swap, Effect.zipRight(die, Effect.never))
      return swap
    }
  }
  const runner = yield* Effect.provideService(
    Effect.provide(ProjectionRunner, ProjectionRunner.layer),
    ModelStore,
    dying
  )
  say({ processed: 0 } satisfies RebuildingLine)
  const { processed } = yield* runner.rebuild(folded(options.version), {
    ttl: options.ttlMs,
    batchSize: options.batchSize,
    // What was killed before has its lease for a while.
    leaseWait: "5 seconds",
    onProgress: (progress) =>
      Effect.sync(() => say({ processed: progress.processed } satisfies RebuildingLine))
  })
  say({ done: processed } satisfies RebuildingLine)
})

run(program.pipe(Effect.provide(processLayer(options.store)), Effect.orDie))
