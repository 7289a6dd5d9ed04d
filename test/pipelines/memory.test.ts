/** What a pipeline keeps in memory: its state, and what is under way, and nothing else. */
import { assert, describe, it } from "@effect/vitest"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Memory from "@millrace/core/Memory"
import type { Source } from "@millrace/core/Source"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import { forEachBatch } from "@millrace/pipeline/sinks/EffectSink"
import * as Children from "@millrace/testkit/Children"
import * as Databases from "@millrace/testkit/Databases"
import { sized } from "@millrace/testkit/Seeds"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { LargeArgument, LargeLine } from "./programs/large.js"

const program = new URL("./programs/large.ts", import.meta.url)

describe("memory of pipelines", () => {
  const records = sized(1_000_000, 10_000_000)
  const keys = sized(100_000, 1_000_000)
  it.scopedLive(
    `${records} records, ${keys} keys, a checkpoint every second: every key is there, in less than 2 GB`,
    () =>
      Effect.gen(function* () {
        const folder = yield* Databases.folder
        const child = yield* Children.start(program, { records, keys, folder } satisfies LargeArgument)
        yield* child.ended
        const [{ checkpoints, peak, results, sum }] = child.lines as readonly [LargeLine]
        assert.deepStrictEqual({ results, sum }, { results: keys, sum: records })
        assert.isAtLeast(checkpoints, 1)
        assert.isBelow(peak, 2_000_000_000)
        yield* Effect.logDebug(`peak ${Math.round(peak / 1_048_576)} MiB, ${checkpoints} checkpoints`)
      }),
    sized(120_000, 300_000)
  )

  it.live("a slow sink slows down the source: no more is read than the channels hold", () =>
    Effect.gen(function* () {
      let read = 0
      let written = 0
      let ahead = 0
      const source: Source<number> = {
        name: "fast",
        isReplayable: true,
        open: () =>
          Effect.succeed({
            partitions: ["0"],
            next: Effect.sync(() => {
              if (read === 200) return undefined
              read++
              ahead = Math.max(ahead, read - written)
              return {
                values: Array.from({ length: 1_000 }, (_, n) => n),
                partition: "0",
                offset: String(read)
              }
            })
          })
      }
      const sink = forEachBatch("slow", (values: ReadonlyArray<number>) =>
        Effect.map(Effect.sleep("2 millis"), () => void (written += values.length / 1_000))
      )
      const flow = Pipeline.from(source).pipe(
        Pipeline.map((n) => n + 1),
        Pipeline.async((n) => Effect.succeed(n)),
        Pipeline.map((n) => n + 1)
      )
      yield* Pipeline.run(Pipeline.make("slow", Pipeline.to(sink)(flow)), { channelCapacity: 2 })
      assert.strictEqual(written, 200)
      // Four read ahead, four in hand of the source, two in each of three channels, and one that each task has not sent yet.
      assert.isAtMost(ahead, 4 + 4 + 3 * 2 + 4)
    }).pipe(Effect.provide(Layer.merge(Memory.layer(), ActorRegistry.layer)))
  )
})
