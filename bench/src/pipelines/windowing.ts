/** Millrace's contestants of the window cases: the pipeline as an application would write it. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import type { CheckpointStorage } from "@millrace/core/CheckpointStore"
import * as FileCheckpointStore from "@millrace/core/FileCheckpointStore"
import type { Source } from "@millrace/core/Source"
import * as Memory from "@millrace/core/Memory"
import { countingSink } from "@millrace/example-nexmark/CountingSink"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as Windows from "@millrace/pipeline/Windows"
import { Effect, Layer, ManagedRuntime } from "effect"
import type { Contestant, Place, Role } from "../contestant.js"
import { driveCalls } from "../drive.js"
import {
  batchSource,
  check,
  counts,
  doubled,
  expectedOf,
  readings,
  recordCount,
  spanMs,
  windowMs
} from "./records.js"
import type { Reading, Seen } from "./records.js"

/** With what there is without asking: a checkpoint every ten seconds, kept in memory, and one at the end. */
export const windowing: ReadonlyArray<Contestant> = [
  contestant({
    name: "ours",
    role: "ours",
    passes: () => 1,
    storage: async () => Memory.layer()
  })
]

/** Checkpoints every second in files, and none but the last. The records come several times, so that it takes seconds. */
export const windowingWithCheckpoints: ReadonlyArray<Contestant> = [
  contestant({ name: "ours", role: "ours", passes, storage: files, checkpointEvery: "1 second" }),
  contestant({ name: "without", role: "reference", passes, storage: files, checkpointEvery: "1 day" })
]

/** Runs the pipeline to its end. */
export const rowsByPipeline = (name: string, source: Source<Reading>, options: Pipeline.RunOptions = {}) =>
  Effect.suspend(() => {
    const seen: Seen = { rows: 0, sum: 0 }
    const sink = countingSink("rows", (rows: ReadonlyArray<{ readonly value: number }>) => {
      for (const { value } of rows) {
        seen.rows++
        seen.sum += value
      }
    })
    const flow = Pipeline.from(source).pipe(
      Pipeline.map((reading) => ({ key: reading.key, value: doubled(reading) })),
      Pipeline.filter(({ value }) => counts(value)),
      Pipeline.keyBy(({ key }) => key),
      Pipeline.window(Windows.tumbling(windowMs)),
      Pipeline.aggregate(Aggregates.sum(({ value }: { readonly value: number }) => value))
    )
    return Effect.as(Pipeline.run(Pipeline.make(name, Pipeline.to(sink)(flow)), options), seen)
  })

/** Checkpoints in files in a folder that goes with the case. */
export async function files(place: Place): Promise<Layer.Layer<CheckpointStorage>> {
  return FileCheckpointStore.layer({ folder: await place.folder() }).pipe(Layer.provide(NodeContext.layer))
}

// ---- internal ----

interface Windowing {
  readonly name: string
  readonly role: Role
  /** How often the records come. */
  readonly passes: (quick: boolean) => number
  readonly storage: (place: Place) => Promise<Layer.Layer<CheckpointStorage, unknown>>
  readonly checkpointEvery?: "1 second" | "1 day"
}

function passes(quick: boolean): number {
  return quick ? 30 : 6
}

function contestant({ checkpointEvery, name, passes, role, storage }: Windowing): Contestant {
  return {
    name,
    role,
    open: async (place) => {
      const count = recordCount(place.quick)
      const times = passes(place.quick)
      const expected = expectedOf(count, times)
      const { batches } = readings(count)
      const runtime = ManagedRuntime.make(Layer.merge(await storage(place), ActorRegistry.layer))
      let runs = 0
      return {
        drive: driveCalls(
          async () => {
            const source = batchSource(batches, { passes: times, spanMs: spanMs(count) })
            // A name of its own each time: a pipeline that has ended goes on from its end.
            const rows = rowsByPipeline(`window-${runs++}`, source, { checkpointEvery })
            check(name, await runtime.runPromise(rows), expected)
            return count * times
          },
          { callers: 1 }
        ),
        close: () => runtime.dispose()
      }
    }
  }
}
