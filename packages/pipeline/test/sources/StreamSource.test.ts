/** Effect Streams as sources. */
import { assert, describe, it } from "@effect/vitest"
import { fromStream } from "@millrace/pipeline/sources/StreamSource"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { read, resumesEverywhere, valuesOf } from "./Reading.js"

const letters = Array.from("abcdefghijklmnopqrstuvwxyz")

/** Elements behind a letter, in chunks of `size`, each with itself as its offset. */
const lettersAfter = (size: number) => (offset: Option.Option<string>) =>
  Stream.fromIterable(letters.filter((letter) => letter > Option.getOrElse(offset, () => ""))).pipe(
    Stream.map((letter): readonly [string, string] => [letter.toUpperCase(), letter]),
    Stream.rechunk(size)
  )

describe("StreamSource", () => {
  it.effect("batches are the chunks of the stream, cut where they are too long", () =>
    Effect.gen(function* () {
      const pair = (value: string, offset: string) => [value, offset] as const
      const chunks = Stream.fromChunks(
        Chunk.make(pair("a", "1"), pair("b", "2"), pair("c", "3")),
        Chunk.empty(),
        Chunk.make(pair("d", "4"))
      )
      const batches = yield* read(fromStream("chunks", () => chunks, { batchSize: 2, timestamp: () => 7 }))
      assert.deepStrictEqual(batches, [
        { values: ["a", "b"], times: [7, 7], partition: "0", offset: "2" },
        { values: ["c"], times: [7], partition: "0", offset: "3" },
        { values: ["d"], times: [7], partition: "0", offset: "4" }
      ])
    })
  )

  it.effect("resumed behind any batch it gives the rest", () =>
    Effect.gen(function* () {
      const source = fromStream("letters", lettersAfter(5))
      assert.deepStrictEqual(yield* resumesEverywhere(source), { batches: 6, wrong: [] })
      assert.deepStrictEqual(valuesOf(yield* read(source, { "0": "w" })), ["X", "Y", "Z"])
      assert.isFalse(fromStream("live", lettersAfter(5), { isReplayable: false }).isReplayable)
    })
  )

  it.effect("the stream lives as long as the scope, and fails the reader with its own error", () =>
    Effect.gen(function* () {
      let closed = 0
      const broken = lettersAfter(30)(Option.none()).pipe(
        Stream.concat(Stream.fail("broken" as const)),
        Stream.ensuring(Effect.sync(() => closed++))
      )
      const source = fromStream("broken", () => broken)
      assert.strictEqual((yield* read(source, {}, 1)).length, 1)
      assert.strictEqual(closed, 1)
      assert.strictEqual(yield* Effect.flip(read(source)), "broken")
      assert.strictEqual(closed, 2)
    })
  )

  it.effect("what is wrong with the options is told", () =>
    Effect.gen(function* () {
      const wrong = yield* Effect.flip(read(fromStream("n", lettersAfter(1), { batchSize: 1.5 })))
      assert.strictEqual(wrong.field, "batchSize")
    })
  )
})
