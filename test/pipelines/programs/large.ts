/**
 * A process that sends many records through a window with many keys, with a checkpoint every second into files, and
 * says how many results came of it, what they add up to, and how much memory it ever had.
 */
import { NodeContext } from "@effect/platform-node"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as FileCheckpointStore from "@millrace/core/FileCheckpointStore"
import type { Source } from "@millrace/core/Source"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import { forEachBatch } from "@millrace/pipeline/sinks/EffectSink"
import * as Windows from "@millrace/pipeline/Windows"
import { argument, run, say } from "@millrace/testkit/Program"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

export interface LargeArgument {
  readonly records: number
  readonly keys: number
  readonly folder: string
}

/** What it says at the end. */
export interface LargeLine {
  readonly results: number
  readonly sum: number
  readonly checkpoints: number
  /** Unit: bytes. */
  readonly peak: number
}

const { folder, keys, records } = argument<LargeArgument>()

/** Records without end to them but a number: made as they are read. */
const source: Source<number> = {
  name: "numbers",
  isReplayable: true,
  open: ({ "0": offset }) =>
    Effect.sync(() => {
      let at = Number(offset ?? 0)
      return {
        partitions: ["0"],
        next: Effect.sync(() => {
          if (at >= records) return undefined
          const values = Array.from({ length: Math.min(1_000, records - at) }, (_, i) => at + i)
          at += values.length
          return { values, partition: "0", offset: String(at) }
        })
      }
    })
}

let results = 0
let sum = 0
const program = Effect.gen(function* () {
  const sink = forEachBatch("counted", (values: ReadonlyArray<{ readonly value: number }>) =>
    Effect.sync(() => {
      results += values.length
      for (const { value } of values) sum += value
    })
  )
  const pipeline = Pipeline.make(
    "large",
    Pipeline.from(source, { timestamp: (n) => n }).pipe(
      // By a large prime, so that keys come in no order.
      Pipeline.keyBy((n) => `key-${(n * 7_919) % keys}`),
      Pipeline.window(Windows.tumbling(2 ** 40)),
      Pipeline.aggregate(Aggregates.count(), { id: "window" }),
      Pipeline.to(sink)
    )
  )
  const running = yield* Pipeline.start(pipeline, { checkpointEvery: "1 second" })
  yield* running.await
  const { checkpoints } = yield* running.status
  // Linux counts in KiB.
  say({ results, sum, checkpoints, peak: process.resourceUsage().maxRSS * 1_024 } satisfies LargeLine)
}).pipe(
  Effect.scoped,
  Effect.provide(
    Layer.merge(Layer.provide(FileCheckpointStore.layer({ folder }), NodeContext.layer), ActorRegistry.layer)
  )
)

run(Effect.orDie(program))
