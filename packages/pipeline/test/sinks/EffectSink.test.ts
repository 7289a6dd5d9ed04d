/** Effects as sinks. */
import { assert, describe, it } from "@effect/vitest"
import { forEachBatch } from "@millrace/pipeline/sinks/EffectSink"
import * as Effect from "effect/Effect"

const context = { pipeline: "p", checkpointId: 0 }

describe("EffectSink", () => {
  it.scoped("runs for each batch that is not empty, at once", () =>
    Effect.gen(function* () {
      const seen: Array<ReadonlyArray<number>> = []
      const sink = forEachBatch("seen", (values: ReadonlyArray<number>) =>
        Effect.sync(() => seen.push(values))
      )
      const writer = yield* sink.open(context)
      yield* writer.write([1, 2])
      yield* writer.write([])
      yield* writer.write([3])
      assert.deepStrictEqual(seen, [[1, 2], [3]])
      assert.isUndefined(yield* writer.prepare(1))
      yield* writer.commit(1, undefined)
      assert.strictEqual(seen.length, 2)
    })
  )

  it("says what it can promise", () => {
    const nothing = () => Effect.void
    const plain = forEachBatch("plain", nothing)
    const idempotent = forEachBatch("same", nothing, { idempotent: true })
    assert.deepStrictEqual([plain.delivery, plain.rewind], ["at-least-once", "none"])
    assert.deepStrictEqual([idempotent.delivery, idempotent.rewind], ["at-least-once", "idempotent"])
  })

  it.scoped("its failure is the writer's", () =>
    Effect.gen(function* () {
      const writer = yield* forEachBatch("broken", () => Effect.fail("no" as const)).open(context)
      assert.strictEqual(yield* Effect.flip(writer.write([1])), "no")
      const unnamed = yield* Effect.flip(forEachBatch("", () => Effect.void).open(context))
      assert.strictEqual(unnamed.field, "name")
    })
  )
})
