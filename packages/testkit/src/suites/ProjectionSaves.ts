/** Loading, saving and resetting checkpoints. */
import { assert, describe } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ProjectionIt, Versions } from "./ProjectionScene.js"
import { checkpoint, projection, stamped } from "./ProjectionScene.js"
import { refused } from "./Scene.js"

export const projectionSaves = (it: ProjectionIt): void => {
  describe("load, save, reset", () => {
    it.effect("a name that nobody knows has the empty checkpoint", () =>
      Effect.gen(function* () {
        const { info, name, store } = yield* projection
        assert.deepStrictEqual(yield* store.loadProjectionCheckpoint(name), {
          ...checkpoint(0),
          revision: Option.none(),
          epoch: Option.none()
        })
        assert.strictEqual((yield* store.loadProjectionCursors(name, ["a/1"])).size, 0)
        assert.isTrue(Option.isNone(yield* info))
      })
    )

    it.effect("a saved checkpoint comes back whole", () =>
      Effect.gen(function* () {
        const { save, stored } = yield* projection
        yield* save(7, { "a/1": 3, "a/2": 1, "b/1": 4 })
        assert.deepStrictEqual(yield* stored, [7, { "a/1": 3, "a/2": 1, "b/1": 4 }])
      })
    )

    it.effect("the empty checkpoint can be saved, and makes the name known", () =>
      Effect.gen(function* () {
        const { info, save, stored } = yield* projection
        yield* save(0)
        assert.deepStrictEqual(yield* stored, [0, {}])
        assert.isTrue(Option.isSome(yield* info))
      })
    )

    it.effect("numbers may be as large as they go", () =>
      Effect.gen(function* () {
        const { advance, claim, info, name, save, store, stored } = yield* projection
        const most = Number.MAX_SAFE_INTEGER
        yield* claim(most, most)
        yield* save(most - 1, { "a/1": most - 1 })
        yield* advance([most - 1, { "a/1": most - 1 }], [most, { "a/1": most, "a/2": most }])
        assert.deepStrictEqual(yield* stored, [most, { "a/1": most, "a/2": most }])
        const known = Option.getOrThrow(yield* info)
        assert.deepStrictEqual(stamped(known), { position: most, revision: most, epoch: most })
        const cursors = yield* store.loadProjectionCursors(name, ["a/2"])
        assert.deepStrictEqual([...cursors.values()].map(Number), [most])
      })
    )

    it.effect(
      "only the cursors that are asked for come back, each once, and streams without one do not",
      () =>
        Effect.gen(function* () {
          const { name, save, store } = yield* projection
          yield* save(9, { "a/1": 1, "a/2": 2, "a/3": 3 })
          const cursors = (...ids: ReadonlyArray<string>) =>
            Effect.map(store.loadProjectionCursors(name, ids), (found): Versions => Object.fromEntries(found))
          assert.deepStrictEqual(yield* cursors("a/3", "a/1", "a/3", "a/4", "A/1"), { "a/1": 1, "a/3": 3 })
          assert.deepStrictEqual(yield* cursors("a/4"), {})
          assert.deepStrictEqual(yield* cursors(), {})
          assert.deepStrictEqual(
            Object.fromEntries(yield* store.loadProjectionCursors(`${name}x`, ["a/1"])),
            {}
          )
        })
    )

    it.effect("what was loaded does not change when the projection moves on", () =>
      Effect.gen(function* () {
        const { advance, name, save, store } = yield* projection
        yield* save(1, { "a/1": 1 })
        const whole = yield* store.loadProjectionCheckpoint(name)
        const some = yield* store.loadProjectionCursors(name, ["a/1"])
        yield* advance([1, { "a/1": 1 }], [2, { "a/1": 2, "a/2": 1 }])
        yield* save(3, { "a/1": 3 })
        assert.deepStrictEqual([...whole.cursors], [["a/1", 1]])
        assert.deepStrictEqual([...some], [["a/1", 1]])
      })
    )

    it.effect("a checkpoint that the caller changes after saving it stays as it was saved", () =>
      Effect.gen(function* () {
        const { name, store, stored } = yield* projection
        const mine = checkpoint(1, { "a/1": 1 })
        yield* store.saveProjectionCheckpoint(name, mine)
        ;(mine.cursors as ReadonlyMap<string, number> as Map<string, number>).set("a/1", 5).set("a/2", 5)
        assert.deepStrictEqual(yield* stored, [1, { "a/1": 1 }])
      })
    )

    it.effect("saving replaces the whole: streams that are not in it are gone", () =>
      Effect.gen(function* () {
        const { save, stored } = yield* projection
        yield* save(3, { "a/1": 1, "a/2": 2, "a/3": 3 })
        yield* save(5, { "a/2": 2, "a/3": 4, "a/4": 1 })
        assert.deepStrictEqual(yield* stored, [5, { "a/2": 2, "a/3": 4, "a/4": 1 }])
        yield* save(5)
        assert.deepStrictEqual(yield* stored, [5, {}])
      })
    )

    it.effect("a cursor of 0 is the same as none", () =>
      Effect.gen(function* () {
        const { advance, save, stored } = yield* projection
        yield* save(1, { "a/1": 0, "a/2": 1 })
        assert.deepStrictEqual(yield* stored, [1, { "a/2": 1 }])
        yield* advance([1, { "a/1": 0 }], [2, { "a/1": 1, "a/3": 0 }])
        assert.deepStrictEqual(yield* stored, [2, { "a/1": 1, "a/2": 1 }])
      })
    )

    it.effect("saving a lower position is refused by what is stored, and nothing is written", () =>
      Effect.gen(function* () {
        const { name, save, unchanged } = yield* projection
        yield* save(10, { "a/1": 10 })
        const error = yield* unchanged(refused(save(9, { "a/1": 11, "a/2": 1 }), "CheckpointBehind"))
        assert.deepStrictEqual([error.name, error.given, error.stored, error.stream], [
          name,
          9,
          10,
          null
        ] as const)
      })
    )

    it.effect("saving a lower cursor is refused by what is stored, and nothing is written", () =>
      Effect.gen(function* () {
        const { save, unchanged } = yield* projection
        yield* save(10, { "a/1": 5, "a/2": 9, "a/🦄": 9, "a/\uffff": 9 })
        const behind = (versions: Record<string, number>) =>
          Effect.map(unchanged(refused(save(11, versions), "CheckpointBehind")), ({ stream }) => stream)
        assert.deepStrictEqual(yield* behind({ "a/1": 10, "a/2": 8, "a/3": 1 }), {
          streamId: "a/2",
          given: 8,
          stored: 9
        } as never)
        assert.deepStrictEqual(
          yield* behind({ "a/🦄": 1, "a/\uffff": 2 }),
          { streamId: "a/\uffff", given: 2, stored: 9 } as never,
          "the first in byte order"
        )
        assert.deepStrictEqual(yield* behind({ "a/1": 0 }), { streamId: "a/1", given: 0, stored: 5 } as never)
      })
    )

    it.effect("the same checkpoint may be saved again, and 9 and 10 are compared as numbers", () =>
      Effect.gen(function* () {
        const { save, stored } = yield* projection
        yield* save(9, { "a/1": 9 })
        yield* save(9, { "a/1": 9 })
        yield* save(10, { "a/1": 10 })
        assert.deepStrictEqual(yield* stored, [10, { "a/1": 10 }])
      })
    )

    it.effect("a reset goes back to the beginning, from where everything may be saved again", () =>
      Effect.gen(function* () {
        const { advance, reset, save, stored } = yield* projection
        yield* save(10, { "a/1": 5, "a/2": 9 })
        yield* reset()
        assert.deepStrictEqual(yield* stored, [0, {}])
        yield* reset()
        yield* save(3, { "a/2": 1 })
        yield* reset()
        yield* advance([0, {}], [1, { "a/1": 1 }])
        assert.deepStrictEqual(yield* stored, [1, { "a/1": 1 }])
      })
    )

    it.effect("a reset of a name that nobody knows leaves it so", () =>
      Effect.gen(function* () {
        const { info, reset, stored } = yield* projection
        yield* reset({ revision: 1 })
        assert.isTrue(Option.isNone(yield* info))
        assert.deepStrictEqual(yield* stored, [0, {}])
      })
    )

    it.effect("the first revision that is said stays until a reset, which may say another one", () =>
      Effect.gen(function* () {
        const { advance, claim, info, name, reset, save, store } = yield* projection
        const revision = Effect.map(info, (known) => stamped(Option.getOrThrow(known)).revision)
        yield* save(1)
        assert.isUndefined(yield* revision)
        yield* advance([1, {}], [2, {}], { revision: 0 })
        assert.strictEqual(yield* revision, 0)
        yield* save(3, {}, { revision: 2 })
        yield* advance([3, {}], [4, {}], { revision: 3 })
        assert.strictEqual(stamped(yield* claim(1, 4)).revision, 0)
        assert.strictEqual(stamped(yield* store.loadProjectionCheckpoint(name)).revision, 0)
        yield* reset({ revision: 5 })
        assert.strictEqual(yield* revision, 5)
        yield* reset()
        assert.isUndefined(yield* revision)
        assert.strictEqual(stamped(yield* claim(1, 6)).revision, 6)
        yield* reset()
        yield* save(1, {}, { revision: 7 })
        assert.strictEqual(yield* revision, 7)
      })
    )

    it.effect("when a projection last moved is known", () =>
      Effect.gen(function* () {
        const { advance, info, save } = yield* projection
        const at = Effect.map(info, (known) => DateTime.toEpochMillis(Option.getOrThrow(known).updatedAt))
        yield* save(1)
        const first = yield* at
        // Clocks of database and process may be read at other times of the same machine.
        assert.isBelow(Math.abs(first - DateTime.toEpochMillis(yield* DateTime.now)), 60_000)
        yield* Effect.sleep("20 millis")
        yield* advance([1, {}], [2, {}])
        assert.isAbove(yield* at, first)
      })
    )
  })
}
