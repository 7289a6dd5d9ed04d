/** Records in memory. */
import { assert, describe, it } from "@effect/vitest"
import { fromIterable } from "@millrace/pipeline/sources/IterableSource"
import * as Effect from "effect/Effect"
import { read, resumesEverywhere, valuesOf } from "./Reading.js"

const numbers = Array.from({ length: 25 }, (_, n) => n)

function* counting() {
  for (const n of numbers) yield n
}

describe("IterableSource", () => {
  it.effect("gives all records, in batches, with their times and where they leave off", () =>
    Effect.gen(function* () {
      const source = fromIterable("numbers", numbers, { batchSize: 10, timestamp: (n) => n * 1_000 })
      const batches = yield* read(source)
      assert.deepStrictEqual(
        batches.map(({ offset, partition, values }) => [partition, offset, values.length]),
        [
          ["0", "10", 10],
          ["0", "20", 10],
          ["0", "25", 5]
        ]
      )
      assert.deepStrictEqual(valuesOf(batches), numbers)
      assert.deepStrictEqual(
        batches.flatMap(({ times }) => times ?? []),
        numbers.map((n) => n * 1_000)
      )
      assert.isUndefined((yield* read(fromIterable("numbers", numbers)))[0]!.times)
    })
  )

  for (const [kind, records] of [
    ["an array", numbers],
    ["a set", new Set(numbers)],
    ["a function that gives a generator", counting],
    ["a function that gives an array", () => numbers]
  ] as const)
    it.effect(`${kind}: resumed behind any batch it gives the rest, in the same batches`, () =>
      Effect.gen(function* () {
        const source = fromIterable<number>("numbers", records, { batchSize: 4 })
        assert.isTrue(source.isReplayable)
        assert.deepStrictEqual(yield* resumesEverywhere(source), { batches: 7, wrong: [] })
        assert.deepStrictEqual(valuesOf(yield* read(source, { "0": "7" })), numbers.slice(7))
      })
    )

  it("a generator that was called can be read only once, and says so", () => {
    assert.isFalse(fromIterable("once", counting()).isReplayable)
  })

  it.effect("an iterator is told when no more is wanted of it", () =>
    Effect.gen(function* () {
      let closed = 0
      const source = fromIterable("endless", function* () {
        try {
          for (let n = 0; ; n++) yield n
        } finally {
          closed++
        }
      })
      assert.strictEqual(valuesOf(yield* read(source, { "0": "25000" }, 1))[0], 25_000)
      assert.strictEqual(closed, 1)
    })
  )

  it.effect("what is wrong with the options or the offset is told", () =>
    Effect.gen(function* () {
      const fields: Array<string> = []
      for (const [source, offset] of [
        [fromIterable("", numbers), "0"],
        [fromIterable("n", numbers, { batchSize: 0 }), "0"],
        [fromIterable("n", numbers, { batchSize: 10_001 }), "0"],
        [fromIterable("n", numbers), "1.5"],
        [fromIterable("n", numbers), "007"],
        [fromIterable("n", numbers), "26"],
        [fromIterable("n", counting), "26"]
      ] as const)
        fields.push((yield* Effect.flip(read(source, { "0": offset }))).field)
      assert.deepStrictEqual(fields, [
        "name",
        "batchSize",
        "batchSize",
        `offsets["0"]`,
        `offsets["0"]`,
        `offsets["0"]`,
        `offsets["0"]`
      ])
    })
  )
})
