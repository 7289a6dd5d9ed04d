/** Projections of many streams. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { ProjectionIt, Versions } from "./ProjectionScene.js"
import { projection } from "./ProjectionScene.js"
import { range, refused, slowTestMs } from "./Scene.js"

/** Streams `s/0` to `s/(count − 1)`, all at one version. */
const streams = (count: number, version: number): Versions =>
  Object.fromEntries(range(0, count - 1).map((n) => [`s/${n}`, version]))

export const projectionLarge = (it: ProjectionIt): void => {
  describe("large", () => {
    it.effect(
      "100 000 streams are saved, loaded, advanced by ten, and reset",
      () =>
        Effect.gen(function* () {
          const { advance, name, reset, save, store, stored } = yield* projection
          const all = streams(100_000, 1)
          yield* save(100_000, all)
          assert.deepStrictEqual(yield* stored, [100_000, all])

          const ids = range(0, 9).map((n) => `s/${n * 9_999}`)
          const before = Object.fromEntries(yield* store.loadProjectionCursors(name, ids)) as Versions
          const after = Object.fromEntries(ids.map((id) => [id, 2]))
          yield* advance([100_000, before], [100_010, after])
          const expected = { ...all, ...after }
          assert.deepStrictEqual(yield* stored, [100_010, expected])

          yield* save(100_020, { ...expected, "s/500": 7, "t/1": 1 })
          assert.deepStrictEqual(yield* stored, [100_020, { ...expected, "s/500": 7, "t/1": 1 }])
          yield* reset()
          assert.deepStrictEqual(yield* stored, [0, {}])
        }),
      slowTestMs
    )

    it.effect(
      "a step and a save of tens of thousands of streams are made whole or not at all",
      () =>
        Effect.gen(function* () {
          const { advance, save, stored, unchanged } = yield* projection
          const [one, two] = [streams(25_000, 1), streams(25_000, 2)]
          yield* advance([0, {}], [10, one])
          assert.deepStrictEqual(yield* stored, [10, one])

          const wrongLast = { ...one, "s/24999": 2 }
          const moved = yield* unchanged(
            refused(advance([10, wrongLast], [20, streams(25_000, 3)]), "ProjectionMoved")
          )
          assert.deepStrictEqual(moved.stream, { streamId: "s/24999", expected: 2, actual: 1 } as never)
          yield* advance([10, one], [20, two])
          assert.deepStrictEqual(yield* stored, [20, two])

          const behindLast = { ...streams(25_000, 3), "s/9999": 1 }
          const behind = yield* unchanged(refused(save(30, behindLast), "CheckpointBehind"))
          assert.deepStrictEqual(behind.stream, { streamId: "s/9999", given: 1, stored: 2 } as never)
          yield* save(40, { "s/7": 9, "s/24999": 9 })
          assert.deepStrictEqual(yield* stored, [40, { "s/7": 9, "s/24999": 9 }], "23 pages less")
        }),
      slowTestMs
    )
  })
}
