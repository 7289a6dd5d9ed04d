/** Reading the rows of a live model: by page, and one at a time. */
import { assert, describe } from "@effect/vitest"
import type * as Projection from "@millrace/core/Projection"
import { compareUtf8 } from "@millrace/core/Text"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ModelIt, TotalRow } from "./ModelScene.js"
import { feed, modelScene, told, totals } from "./ModelScene.js"
import { oddTexts } from "./OddTexts.js"
import { refused, wrong } from "./Scene.js"

export const modelListing = <R>(it: ModelIt<R>): void => {
  describe("listing", () => {
    it.scoped("pages of any size list every row once, by key in byte order", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        const keys = [...oddTexts.map(([, text]) => text), "a", "A", "B", "aa", "a!", "10", "9", "\uffff🦄"]
        const projection = totals(name())
        yield* feed(yield* store.open(projection), told(...keys.map((keys) => ({ keys, add: 1 }))))
        for (const limit of [1, 2, 7, keys.length, 10_000]) {
          const found: Array<string> = []
          for (;;) {
            const page = yield* store.list(projection, { limit, after: found[found.length - 1] })
            assert.isAtMost(page.length, limit)
            found.push(...page.map(({ key }) => key))
            if (page.length < limit) break
          }
          assert.deepStrictEqual(found, [...keys].sort(compareUtf8), `limit ${limit}`)
        }
      })
    )

    it.scoped("a page begins behind a key that need not exist", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        const projection = totals(name())
        yield* feed(yield* store.open(projection), told({ keys: ["a", "b", "c"], add: 1 }))
        const behind = (after: string) =>
          Effect.map(store.list(projection, { limit: 10, after }), (page) => page.map(({ key }) => key))
        assert.deepStrictEqual(yield* behind("a"), ["b", "c"])
        assert.deepStrictEqual(yield* behind("aa"), ["b", "c"])
        assert.deepStrictEqual(yield* behind("c"), [])
        assert.deepStrictEqual(yield* behind("B"), ["a", "b", "c"])
      })
    )

    it.scoped("a limit that is none is refused by its name", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        const projection = totals(name())
        yield* store.open(projection)
        for (const bad of [0, -1, 1.5, NaN, 10_001, "1", null, undefined]) {
          const limit = wrong<number>(bad)
          const error = yield* refused(store.list(projection, { limit }), "InvalidArgument")
          assert.strictEqual(error.field, "limit")
        }
        assert.deepStrictEqual(yield* store.list(projection, { limit: 10_000 }), [])
      })
    )

    it.scoped("a key has one row or none", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        const projection = totals(name())
        const model = yield* store.open(projection)
        yield* feed(model, told({ keys: ["a"], add: 3 }, { keys: ["b"], add: 1 }, { keys: "b", drop: true }))
        assert.deepStrictEqual(yield* store.get(projection, "a"), Option.some({ n: 3, last: "s/1 1" }))
        for (const key of ["b", "c", "A", "", "a ", "%", "x".repeat(300)])
          assert.isTrue(Option.isNone(yield* store.get(projection, key)), key)
        assert.deepStrictEqual([...(yield* model.rows(["b", "a", "a", "c"])).keys()], ["a"])
        assert.strictEqual((yield* model.rows([])).size, 0)
      })
    )

    it.effect("a projection that never ran has no rows", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        const projection = totals(name())
        assert.deepStrictEqual(yield* store.list(projection, { limit: 5 }), [])
        assert.isTrue(Option.isNone(yield* store.get(projection, "a")))
        const { building, former } = yield* store.generations(projection)
        assert.isTrue(Option.isNone(building) && Option.isNone(former))
      })
    )

    it.effect("rows are read of folds alone", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        const { strength: _, ...common } = totals(name())
        const handlers = wrong<Projection.FoldProjection<TotalRow>>({
          ...common,
          strength: { _tag: "Handlers", place: "elsewhere", handlerOf: () => undefined, tables: {} }
        })
        yield* refused(store.list(handlers, { limit: 5 }), "ModelRefused")
        yield* refused(store.get(handlers, "a"), "ModelRefused")
      })
    )
  })
}
