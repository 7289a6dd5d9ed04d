/** Results in memory. */
import { assert, describe, it } from "@effect/vitest"
import type { Sink, SinkWriter } from "@millrace/core/Sink"
import { collect } from "@millrace/pipeline/sinks/CollectSink"
import * as Effect from "effect/Effect"

const open = <A, E, R>(sink: Sink<A, E, R>, checkpointId: number) =>
  sink.open({ pipeline: "p", checkpointId })

/** Writes values and commits them as a checkpoint. */
const epoch = <A, E, R>(writer: SinkWriter<A, E, R>, id: number, ...values: ReadonlyArray<A>) =>
  Effect.gen(function* () {
    yield* writer.write(values)
    yield* writer.commit(id, yield* writer.prepare(id))
  })

describe("CollectSink", () => {
  it.scoped("shows what is committed, in order, and each checkpoint once", () =>
    Effect.gen(function* () {
      const { sink, values } = yield* collect<number>()
      const writer = yield* open(sink, 0)
      yield* writer.write([1, 2])
      yield* writer.write([3])
      const first = yield* writer.prepare(1)
      yield* writer.write([4])
      const second = yield* writer.prepare(2)
      assert.deepStrictEqual([first, second], [{ values: 3 }, { values: 1 }])
      assert.isUndefined(yield* writer.prepare(3))
      yield* writer.commit(2, second)
      assert.deepStrictEqual(yield* values, [4])
      yield* writer.commit(1, first)
      yield* writer.commit(1, first)
      yield* writer.commit(3, undefined)
      assert.deepStrictEqual(yield* values, [1, 2, 3, 4])
    })
  )

  it.scoped(
    "a crash between prepare and commit: committed when it is opened there, gone when it is not",
    () =>
      Effect.gen(function* () {
        for (const [checkpointId, expected] of [
          [2, [1, 2]],
          [1, [1]]
        ] as const) {
          const { sink, values } = yield* collect<number>()
          const writer = yield* open(sink, 0)
          yield* epoch(writer, 1, 1)
          yield* writer.write([2])
          const prepared = yield* writer.prepare(2)
          yield* writer.write([99])
          const again = yield* open(sink, checkpointId)
          yield* again.commit(2, prepared)
          assert.deepStrictEqual(yield* values, expected)
          yield* epoch(again, 3, 3)
          assert.deepStrictEqual(yield* values, [...expected, 3])
        }
      })
  )

  it.scoped("going back takes back what was committed later", () =>
    Effect.gen(function* () {
      const { sink, values } = yield* collect<number>()
      const writer = yield* open(sink, 0)
      for (const id of [1, 2, 3]) yield* epoch(writer, id, id)
      const again = yield* open(sink, 1)
      assert.deepStrictEqual(yield* values, [1])
      yield* epoch(again, 4, 2, 3)
      assert.deepStrictEqual(yield* values, [1, 2, 3])
    })
  )

  it.scoped("a name that is none is told", () =>
    Effect.gen(function* () {
      const { sink } = yield* collect<number>("")
      assert.strictEqual((yield* Effect.flip(open(sink, 0))).field, "name")
    })
  )
})
