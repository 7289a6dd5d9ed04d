/** Epochs: who was overtaken writes nothing any more. */
import { assert, describe } from "@effect/vitest"
import type { LeaseLost } from "@millrace/core/LeaseLost"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { ProjectionIt } from "./ProjectionScene.js"
import { epoch, projection, stamped } from "./ProjectionScene.js"
import { range, refused } from "./Scene.js"

export const projectionFences = (it: ProjectionIt): void => {
  describe("fences", () => {
    it.effect("a claim gives what the former holder left behind", () =>
      Effect.gen(function* () {
        const { claim, info, name, save } = yield* projection
        const first = yield* claim(3, 1)
        assert.strictEqual(first.name, name)
        assert.deepStrictEqual(stamped(first), { position: 0, revision: 1, epoch: 3 })
        yield* save(7, { "a/1": 2 }, { epoch: epoch(3) })
        const second = yield* claim(4, 2)
        assert.deepStrictEqual(stamped(second), { position: 7, revision: 1, epoch: 4 })
        assert.deepStrictEqual(yield* info, Option.some(second))
      })
    )

    it.effect("the same epoch may claim again, a lower one is refused and changes nothing", () =>
      Effect.gen(function* () {
        const { claim, name, unchanged } = yield* projection
        yield* claim(9)
        yield* claim(9)
        const error = yield* unchanged(refused(claim(8, 1), "LeaseLost"))
        assert.deepStrictEqual([error.key, error.holder], [name, ""])
        yield* claim(10)
        yield* unchanged(refused(claim(9), "LeaseLost"))
      })
    )

    it.effect("of many who claim at once the greatest epoch stays", () =>
      Effect.gen(function* () {
        const { claim, info } = yield* projection
        const epochs = range(1, 24).map((n) => ((n * 7) % 24) + 1)
        yield* Effect.forEach(epochs, (value) => Effect.ignore(claim(value)), { concurrency: "unbounded" })
        assert.strictEqual(stamped(Option.getOrThrow(yield* info)).epoch, 24)
      })
    )

    it.effect("an overtaken writer is refused whatever it writes, and nothing is written", () =>
      Effect.gen(function* () {
        const { advance, claim, name, reset, save, unchanged } = yield* projection
        yield* save(5, { "a/1": 2 })
        yield* claim(4)
        const old = { epoch: epoch(3), revision: 1 }
        const attempts: ReadonlyArray<Effect.Effect<void, { readonly _tag: string }>> = [
          save(6, { "a/1": 3 }, old),
          advance([5, { "a/1": 2 }], [6, { "a/1": 3 }], old),
          advance([5, {}], [5, {}], old),
          reset(old)
        ]
        for (const attempt of attempts) {
          const error = yield* unchanged(refused(attempt as Effect.Effect<void, LeaseLost>, "LeaseLost"))
          assert.strictEqual(error.key, name)
        }
      })
    )

    it.effect("that a writer was overtaken is said before anything else is", () =>
      Effect.gen(function* () {
        const { advance, claim, save, unchanged } = yield* projection
        yield* save(5, { "a/1": 2 })
        yield* claim(4)
        const old = { epoch: epoch(3) }
        yield* unchanged(refused(save(4, {}, old), "LeaseLost"))
        yield* unchanged(refused(save(5, { "a/1": 1 }, old), "LeaseLost"))
        yield* unchanged(refused(advance([4, {}], [6, {}], old), "LeaseLost"))
        yield* unchanged(refused(advance([5, {}], [6, { "a/1": 3 }], old), "LeaseLost"))
      })
    )

    it.effect("the holder writes, and so does who names no epoch", () =>
      Effect.gen(function* () {
        const { advance, claim, reset, save, stored } = yield* projection
        yield* claim(4)
        yield* save(5, { "a/1": 2 }, { epoch: epoch(4) })
        yield* advance([5, { "a/1": 2 }], [6, { "a/1": 3 }], { epoch: epoch(4) })
        yield* advance([6, {}], [7, {}])
        yield* save(8, { "a/1": 3 })
        assert.deepStrictEqual(yield* stored, [8, { "a/1": 3 }])
        yield* reset({ epoch: epoch(4) })
        assert.deepStrictEqual(yield* stored, [0, {}])
      })
    )

    it.effect("a greater epoch that writes is taken down, as if it had claimed", () =>
      Effect.gen(function* () {
        const { advance, info, reset, save } = yield* projection
        const fence = Effect.map(info, (known) => stamped(Option.getOrThrow(known)).epoch)
        yield* advance([0, {}], [1, {}], { epoch: epoch(2) })
        assert.strictEqual(yield* fence, 2)
        yield* advance([1, {}], [2, {}], { epoch: epoch(3) })
        yield* refused(advance([2, {}], [3, {}], { epoch: epoch(2) }), "LeaseLost")
        yield* save(3, {}, { epoch: epoch(5) })
        yield* refused(save(4, {}, { epoch: epoch(4) }), "LeaseLost")
        yield* reset({ epoch: epoch(10) })
        yield* refused(reset({ epoch: epoch(9) }), "LeaseLost")
        assert.strictEqual(yield* fence, 10, "9 and 10 are compared as numbers")
      })
    )

    it.effect("a reset keeps the epoch", () =>
      Effect.gen(function* () {
        const { advance, claim, reset } = yield* projection
        yield* claim(4)
        yield* reset()
        yield* refused(advance([0, {}], [1, {}], { epoch: epoch(3) }), "LeaseLost")
        yield* advance([0, {}], [1, {}], { epoch: epoch(4) })
      })
    )

    it.effect("once a newcomer has claimed, nothing of the former holder comes after", () =>
      Effect.gen(function* () {
        const { advance, claim, info, stored } = yield* projection
        yield* claim(1)
        const stream = (at: number) => `a/${at}`
        const step = (at: number): Effect.Effect<number, { readonly _tag: string }> =>
          Effect.as(advance([at, {}], [at + 1, { [stream(at)]: 1 }], { epoch: epoch(1) }), at + 1)
        const endless = Effect.iterate(0, { while: () => true, body: (at) => Effect.delay(step(at), 0) })
        const old = yield* Effect.fork(Effect.flip(endless))
        yield* Effect.sleep("30 millis")
        const { position } = yield* claim(2)
        const [at, versions] = yield* stored
        assert.strictEqual(at, position)
        assert.strictEqual((yield* Fiber.join(old))._tag, "LeaseLost")
        assert.deepStrictEqual(yield* stored, [at, versions])
        assert.strictEqual(stamped(Option.getOrThrow(yield* info)).epoch, 2)
      })
    )
  })
}
