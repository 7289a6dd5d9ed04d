import { assert, describe, it } from "@effect/vitest"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Memory from "@millrace/core/Memory"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { byHand, inOrder } from "../src/ByHand.js"
import { countingSink } from "../src/CountingSink.js"
import * as Digest from "../src/Digest.js"
import * as Generator from "../src/Generator.js"
import { eventsOf, queries, queryNames } from "../src/Queries.js"
import type { QueryName } from "../src/Queries.js"

/** A minute of event time: six tumbling windows and thirty hops. */
const generated = { events: 60_000, eventsPerSecond: 1_000 }

const sorted = (rows: ReadonlyArray<object>): ReadonlyArray<string> =>
  rows.map((row) => JSON.stringify(row)).sort()

const rowsByHand = (query: QueryName, options: typeof generated & Generator.GeneratorOptions) => {
  const rows: Array<object> = []
  byHand[query](inOrder(Generator.batches(options).map(({ values }) => values)), (more) => {
    assert.isAbove(more.length, 0)
    for (const row of more) rows.push(row)
  })
  return rows
}

const rowsOfPipeline = (
  query: QueryName,
  options: Generator.GeneratorOptions,
  run: { readonly parallelism?: number } = {}
) => Pipeline.collect(queries[query](eventsOf(Generator.source(options), options.outOfOrdernessMs)), run)

/** Rows of each query that a run has at least, so that nothing is compared with nothing. */
const least: { readonly [name in QueryName]: number } = {
  q1: 55_200,
  q2: 100,
  q3: 50,
  q5: 30,
  q7: 6,
  q8: 2_000
}

describe("nexmark / queries", () => {
  for (const query of queryNames) {
    it.live(`${query} gives the rows of the plain loop, for events in order`, () =>
      Effect.gen(function* () {
        for (const seed of [0, 1, 17]) {
          const rows = yield* rowsOfPipeline(query, { ...generated, seed })
          assert.isAtLeast(rows.length, least[query])
          assert.deepStrictEqual(
            sorted(rows),
            sorted(rowsByHand(query, { ...generated, seed })),
            `seed=${seed}`
          )
        }
      }).pipe(Effect.provide(ActorRegistry.layer))
    )

    it.live(`${query} gives the rows of the plain loop over sorted events, for events out of order`, () =>
      Effect.gen(function* () {
        for (const [seed, outOfOrdernessMs] of [
          [2, 40],
          [3, 3_000],
          [4, 15_000]
        ] as const) {
          const options = { ...generated, seed, outOfOrdernessMs }
          const rows = yield* rowsOfPipeline(query, options)
          assert.deepStrictEqual(sorted(rows), sorted(rowsByHand(query, options)), `seed=${seed}`)
        }
      }).pipe(Effect.provide(ActorRegistry.layer))
    )

    it.live(`${query} gives the same rows on two shares of the keys, and in batches of any size`, () =>
      Effect.gen(function* () {
        const options = { ...generated, seed: 9, outOfOrdernessMs: 500 }
        const expected = sorted(yield* rowsOfPipeline(query, options))
        assert.deepStrictEqual(sorted(yield* rowsOfPipeline(query, options, { parallelism: 2 })), expected)
        assert.deepStrictEqual(sorted(yield* rowsOfPipeline(query, { ...options, batchSize: 333 })), expected)
      }).pipe(Effect.provide(ActorRegistry.layer))
    )
  }

  it.live("run with checkpoints into a sink that counts, the digest is that of the plain loop", () =>
    Effect.gen(function* () {
      for (const query of queryNames) {
        const digest = Digest.make()
        const flow = queries[query](eventsOf(Generator.source({ ...generated, seed: 6 })))
        const pipeline = Pipeline.make(
          `nexmark-${query}`,
          Pipeline.to(countingSink("rows", digest.add))(flow)
        )
        yield* Pipeline.run(pipeline, { checkpointEvery: "10 millis" })
        const expected = Digest.make()
        expected.add(rowsByHand(query, { ...generated, seed: 6 }))
        assert.deepStrictEqual([digest.rows, digest.hex()], [expected.rows, expected.hex()], query)
      }
    }).pipe(Effect.provide(Layer.merge(Memory.layer(), ActorRegistry.layer)))
  )

  it.live("a silence longer than every window leaves none of them out and makes none up", () =>
    Effect.gen(function* () {
      // One event every three seconds: most windows have but a few, and hops between two events have none.
      for (const eventsPerSecond of [1 / 3, 1 / 11, 1 / 47]) {
        const options = { events: 3_000, eventsPerSecond, seed: 8 }
        for (const query of queryNames)
          assert.deepStrictEqual(
            sorted(yield* rowsOfPipeline(query, options)),
            sorted(rowsByHand(query, options)),
            `${query} ${eventsPerSecond}`
          )
      }
    }).pipe(Effect.provide(ActorRegistry.layer))
  )
})

describe("nexmark / digest", () => {
  it("does not depend on the order of rows or on how they come, and tells other rows and repeated ones", () => {
    const of = (...batches: ReadonlyArray<ReadonlyArray<object>>) => {
      const digest = Digest.make()
      for (const rows of batches) digest.add(rows)
      return digest.hex()
    }
    const [a, b] = [{ n: 1 }, { n: 2 }]
    assert.strictEqual(of([a, b]), of([b], [a]))
    assert.notStrictEqual(of([a, b]), of([a, { n: 3 }]))
    assert.notStrictEqual(of([a, a, b]), of([a, b, b]))
    assert.match(of([a]), /^[0-9a-f]{16}$/)
  })
})
