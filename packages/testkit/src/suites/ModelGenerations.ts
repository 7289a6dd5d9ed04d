/** Models beside the live one: built, put in place, kept, and dropped. */
import { assert, describe } from "@effect/vitest"
import { Epoch } from "@millrace/core/Lease"
import * as Scoped from "@millrace/core/Scoped"
import type { StreamId } from "@millrace/core/StreamId"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { ModelIt } from "./ModelScene.js"
import { counting, feed, listed, modelScene, plainFold, standing, stepOver, totals } from "./ModelScene.js"
import { range, refused, slowTestMs } from "./Scene.js"

/** A live fold of version 1 that epoch 5 brought to event 8 of 20, and one of version 2 to build beside it. */
const scene = Effect.gen(function* () {
  const here = yield* modelScene
  const log = counting(20)
  const old = totals(here.name())
  // Another version counts backwards, so that one sees whose rows they are.
  const { strength } = old
  const projection = {
    ...old,
    version: 2,
    strength: {
      ...strength,
      evolve: (row, event, key) => {
        const next = strength.evolve(row, event, key)
        return next === undefined ? undefined : { ...next, n: row.n - (next.n - row.n) }
      }
    }
  } satisfies typeof old
  const live = yield* here.store.open(old)
  yield* feed(live, log.slice(0, 8), { epoch: 5 })
  return {
    ...here,
    log,
    old,
    projection,
    live,
    /** Opens a generation and brings it to an event, by epoch 1. */
    build: (generation: number, events: number, epoch = 1) =>
      Effect.tap(here.store.open(projection, generation), (model) =>
        feed(model, log.slice(0, events), { epoch })
      ),
    oldRows: (events: number) => listed(plainFold(old, log.slice(0, events))),
    newRows: (events: number) => listed(plainFold(projection, log.slice(0, events)))
  }
})

export const modelGenerations = <R>(it: ModelIt<R>): void => {
  describe("generations", () => {
    it.scoped("a model is built beside the live one, which goes on undisturbed", () =>
      Effect.gen(function* () {
        const { beside, build, live, log, old, oldRows, projection, rows, store } = yield* scene
        assert.deepStrictEqual(yield* beside(projection), { building: undefined, former: undefined })
        yield* store.open(projection, 7)
        assert.deepStrictEqual(yield* beside(projection), { building: [7, 0, 2], former: undefined })
        const built = yield* build(7, 6)
        assert.deepStrictEqual(yield* beside(projection), { building: [7, 6, 2], former: undefined })
        assert.deepStrictEqual(yield* standing(built), { position: 6, revision: 2, epoch: 1 })
        assert.strictEqual(yield* built.count, 3)
        assert.deepStrictEqual(yield* rows(old), oldRows(8))
        yield* feed(live, log, { epoch: 5 })
        assert.deepStrictEqual(yield* rows(old), oldRows(20))
        assert.deepStrictEqual((yield* built.rows(["s/1"])).get("s/1"), { n: -5, last: "s/1 2" })
      })
    )

    it.scoped("tables have their own names in the live model, and others beside it", () =>
      Effect.gen(function* () {
        const { live, name, projection, store, swap } = yield* scene
        const { table } = projection.strength
        const built = yield* store.open(projection, 7)
        assert.strictEqual(live.table(table), table)
        if (store.isDurable) assert.notStrictEqual(built.table(table), table)
        for (const model of [live, built]) assert.throws(() => model.table(name("x")))
        yield* feed(built, counting(8))
        yield* swap(projection, 7, { epoch: 1 })
        const former = yield* store.open(projection, 7)
        if (store.isDurable) assert.notStrictEqual(former.table(table), table)
      })
    )

    it.scoped("a builder that comes back finds what it built", () =>
      Effect.gen(function* () {
        const { beside, build, log, newRows, projection, rows, store, swap } = yield* scene
        yield* Scoped.scoped(build(7, 6))
        const again = yield* store.open(projection, 7)
        assert.strictEqual((yield* again.claim(Epoch.make(2))).position, 6)
        yield* feed(again, log, { epoch: 2 })
        assert.deepStrictEqual(yield* beside(projection), { building: [7, 20, 2], former: undefined })
        yield* swap(projection, 7, { epoch: 2 })
        assert.deepStrictEqual(yield* rows(projection), newRows(20))
      })
    )

    it.scoped("a model that is behind the live one is not put in its place", () =>
      Effect.gen(function* () {
        const { build, log, newRows, projection, rows, swap, unchanged } = yield* scene
        const built = yield* build(7, 7)
        const early = yield* unchanged(projection, swap(projection, 7, { epoch: 1 }))
        assert.deepStrictEqual(early, { _tag: "Behind", live: 8 } as never)
        yield* feed(built, log.slice(0, 8))
        assert.deepStrictEqual(yield* swap(projection, 7, { epoch: 1 }), { _tag: "Swapped" })
        assert.deepStrictEqual(yield* rows(projection), newRows(8))
      })
    )

    it.scoped("a swap puts rows, position, cursors and version in place, and keeps the former model", () =>
      Effect.gen(function* () {
        const { beside, build, live, newRows, projection, rows, store, swap } = yield* scene
        yield* build(7, 11)
        yield* swap(projection, 7, { epoch: 1 })
        assert.deepStrictEqual(yield* rows(projection), newRows(11))
        assert.deepStrictEqual(yield* store.get(projection, "s/3"), Option.some(newRows(11)[2]!.row))
        assert.deepStrictEqual(yield* beside(projection), { building: undefined, former: [7, 8, 1] })
        const now = yield* store.open(projection)
        for (const model of [now, live]) {
          assert.deepStrictEqual(yield* standing(model), { position: 11, revision: 2, epoch: 6 })
          assert.strictEqual(yield* model.count, 3)
          const cursors = yield* model.cursors(["s/1", "s/2", "s/3"] as unknown as ReadonlyArray<StreamId>)
          assert.deepStrictEqual([...cursors].sort(), [
            ["s/1", 4],
            ["s/2", 4],
            ["s/3", 3]
          ] as never)
        }
      })
    )

    it.scoped("after a swap no former epoch moves the live model, and a new one does", () =>
      Effect.gen(function* () {
        const { build, live, log, newRows, projection, rows, swap, unchanged } = yield* scene
        yield* build(7, 8)
        yield* swap(projection, 7, { epoch: 1 })
        const page = log.slice(8, 10)
        yield* unchanged(projection, refused(live.apply(page, stepOver(page, 8, 5)), "LeaseLost"))
        yield* unchanged(projection, refused(live.apply(page, stepOver(page, 8, 1)), "LeaseLost"))
        yield* unchanged(projection, refused(live.claim(Epoch.make(5)), "LeaseLost"))
        assert.strictEqual((yield* live.claim(Epoch.make(6))).position, 8)
        // The worker that goes on has the code of the new version.
        const { store } = yield* modelScene
        const now = yield* store.open(projection)
        yield* now.apply(page, stepOver(page, 8, 6))
        assert.deepStrictEqual(yield* rows(projection), newRows(10))
      })
    )

    it.scoped("the former model is brought up to date and swapped back", () =>
      Effect.gen(function* () {
        const { beside, build, log, old, oldRows, projection, rows, store, swap, unchanged } = yield* scene
        yield* build(7, 12)
        yield* swap(projection, 7, { epoch: 1 })
        assert.deepStrictEqual(yield* unchanged(old, swap(old, 7, { epoch: 1 })), {
          _tag: "Behind",
          live: 12
        } as never)
        const former = yield* store.open(old, 7)
        assert.strictEqual((yield* former.claim(Epoch.make(1))).position, 8)
        yield* feed(former, log.slice(0, 15))
        assert.deepStrictEqual(yield* beside(old), { building: undefined, former: [7, 15, 1] })
        yield* swap(old, 7, { epoch: 1 })
        assert.deepStrictEqual(yield* rows(old), oldRows(15))
        assert.deepStrictEqual(yield* beside(old), { building: undefined, former: [7, 12, 2] })
        assert.deepStrictEqual(yield* standing(yield* store.open(old)), {
          position: 15,
          revision: 1,
          epoch: 7
        })
      })
    )

    it.scoped(
      "a former model that is not behind is swapped back as it is, and a build goes on beside it",
      () =>
        Effect.gen(function* () {
          const { beside, build, log, old, oldRows, projection, rows, swap } = yield* scene
          yield* build(7, 8)
          yield* swap(projection, 7, { epoch: 1 })
          const next = yield* build(9, 3)
          assert.deepStrictEqual(yield* beside(projection), { building: [9, 3, 2], former: [7, 8, 1] })
          yield* swap(old, 7, { epoch: 1 })
          assert.deepStrictEqual(yield* rows(old), oldRows(8))
          assert.deepStrictEqual(yield* beside(projection), { building: [9, 3, 2], former: [7, 8, 2] })
          yield* feed(next, log.slice(0, 8))
          yield* swap(projection, 9, { epoch: 1 })
          assert.deepStrictEqual(yield* beside(projection), { building: undefined, former: [9, 8, 1] })
        })
    )

    it.scoped("without keeping the former one, it is gone", () =>
      Effect.gen(function* () {
        const { beside, build, newRows, projection, rows, store, swap } = yield* scene
        yield* build(7, 8)
        yield* swap(projection, 7, { epoch: 1, keepFormer: false })
        assert.deepStrictEqual(yield* beside(projection), { building: undefined, former: undefined })
        assert.deepStrictEqual(yield* rows(projection), newRows(8))
        const fresh = yield* store.open(projection, 7)
        assert.deepStrictEqual(yield* standing(fresh), { position: 0, revision: 2, epoch: undefined })
        assert.strictEqual(yield* fresh.count, 0)
      })
    )

    it.scoped("an older former model makes place for a newer one", () =>
      Effect.gen(function* () {
        const { beside, build, newRows, projection, rows, store, swap } = yield* scene
        yield* build(3, 8)
        yield* swap(projection, 3, { epoch: 1 })
        yield* build(8, 9)
        yield* swap(projection, 8, { epoch: 1 })
        assert.deepStrictEqual(yield* beside(projection), { building: undefined, former: [8, 8, 2] })
        yield* build(12, 10)
        yield* swap(projection, 12, { epoch: 1, keepFormer: false })
        assert.deepStrictEqual(yield* beside(projection), { building: undefined, former: undefined })
        assert.deepStrictEqual(yield* rows(projection), newRows(10))
        for (const generation of [3, 8]) {
          assert.strictEqual(yield* (yield* store.open(projection, generation)).count, 0)
          yield* store.discard(projection, generation)
        }
      })
    )

    it.scoped("a builder that was overtaken cannot swap, and the one that overtook it can", () =>
      Effect.gen(function* () {
        const { build, log, projection, rows, newRows, swap, unchanged } = yield* scene
        const built = yield* build(7, 8, 2)
        yield* built.claim(Epoch.make(4))
        yield* unchanged(projection, refused(swap(projection, 7, { epoch: 2 }), "LeaseLost"))
        yield* unchanged(projection, refused(swap(projection, 7, { epoch: 3 }), "LeaseLost"))
        const page = log.slice(8, 10)
        yield* unchanged(projection, refused(built.apply(page, stepOver(page, 8, 3)), "LeaseLost"))
        assert.deepStrictEqual(yield* swap(projection, 7, { epoch: 4 }), { _tag: "Swapped" })
        assert.deepStrictEqual(yield* rows(projection), newRows(8))
      })
    )

    it.scoped("a builder that goes on after the swap changes nothing", () =>
      Effect.gen(function* () {
        const { build, log, projection, swap, unchanged } = yield* scene
        const built = yield* build(7, 8)
        yield* swap(projection, 7, { epoch: 1 })
        const page = log.slice(8, 10)
        const late = Effect.exit(built.apply(page, stepOver(page, 8, 1)))
        assert.isTrue(Exit.isFailure(yield* unchanged(projection, late)))
      })
    )

    it.scoped("a generation that is not there cannot be swapped", () =>
      Effect.gen(function* () {
        const { projection, swap, unchanged } = yield* scene
        const attempt = Effect.exit(swap(projection, 7, { epoch: 100 }))
        assert.isTrue(Exit.isFailure(yield* unchanged(projection, attempt)))
      })
    )

    it.scoped("a first model may be built beside none", () =>
      Effect.gen(function* () {
        const { beside, log, newRows, projection, rows, store, swap } = yield* scene
        yield* store.remove(projection)
        const first = yield* store.open(projection, 1)
        yield* feed(first, log.slice(0, 5))
        yield* swap(projection, 1, { epoch: 1, keepFormer: false })
        assert.deepStrictEqual(yield* rows(projection), newRows(5))
        assert.deepStrictEqual(yield* beside(projection), { building: undefined, former: undefined })
        const live = yield* store.open(projection)
        yield* feed(live, log, { epoch: 1 })
        assert.deepStrictEqual(yield* rows(projection), newRows(20))
      })
    )

    it.scoped(
      "readers see the model of before or the one of after",
      () =>
        Effect.gen(function* () {
          const { build, newRows, old, oldRows, projection, rows, swap } = yield* scene
          const seen = new Set<string>()
          const reader = yield* Effect.fork(
            Effect.forever(
              Effect.tap(rows(projection), (found) => Effect.sync(() => seen.add(JSON.stringify(found))))
            )
          )
          for (const n of range(1, 6)) {
            yield* build(n, 8)
            yield* swap(projection, n, { epoch: 1 })
            yield* Effect.sleep("5 millis")
            yield* swap(old, n, { epoch: 1 })
            yield* Effect.sleep("5 millis")
          }
          assert.isTrue(Option.isNone(yield* Fiber.poll(reader)), "no reader failed")
          yield* Fiber.interrupt(reader)
          const allowed = [oldRows(8), newRows(8)].map((each) => JSON.stringify(each))
          for (const each of seen) assert.include(allowed, each)
        }),
      slowTestMs
    )
  })

  describe("dropping", () => {
    it.scoped("what is discarded begins anew, and the live model does not notice", () =>
      Effect.gen(function* () {
        const { beside, build, old, oldRows, projection, rows, store, swap } = yield* scene
        yield* build(7, 6)
        yield* store.discard(projection, 7)
        yield* store.discard(projection, 7)
        yield* store.discard(projection, 99)
        assert.deepStrictEqual(yield* beside(projection), { building: undefined, former: undefined })
        assert.deepStrictEqual(yield* rows(old), oldRows(8))
        const again = yield* store.open(projection, 7)
        assert.deepStrictEqual(yield* standing(again), { position: 0, revision: 2, epoch: undefined })
        assert.strictEqual(yield* again.count, 0)
        yield* build(7, 8)
        yield* swap(projection, 7, { epoch: 1 })
        yield* store.discard(projection, 7)
        assert.deepStrictEqual(yield* beside(projection), { building: undefined, former: undefined })
      })
    )

    it.scoped("an emptied model begins anew, in its new version, and only a new epoch moves it", () =>
      Effect.gen(function* () {
        const { beside, build, live, log, newRows, projection, rows, store, unchanged } = yield* scene
        yield* build(7, 6)
        yield* store.empty(projection)
        assert.deepStrictEqual(yield* rows(projection), [])
        assert.strictEqual(yield* live.count, 0)
        assert.deepStrictEqual(yield* standing(live), { position: 0, revision: 2, epoch: 6 })
        assert.strictEqual((yield* live.cursors(["s/1"] as unknown as ReadonlyArray<StreamId>)).size, 0)
        assert.deepStrictEqual(yield* beside(projection), { building: [7, 6, 2], former: undefined })
        const page = log.slice(0, 2)
        yield* unchanged(projection, refused(live.apply(page, stepOver(page, 0, 5)), "LeaseLost"))
        yield* unchanged(projection, refused(live.claim(Epoch.make(5)), "LeaseLost"))
        yield* feed(yield* store.open(projection), log, { epoch: 6 })
        assert.deepStrictEqual(yield* rows(projection), newRows(20))
      })
    )

    it.scoped("a removed projection is unknown, with all of its models", () =>
      Effect.gen(function* () {
        const { beside, build, log, name, oldRows, old, projection, rows, store, swap } = yield* scene
        const other = totals(name("b"))
        yield* feed(yield* store.open(other), log)
        yield* build(7, 8)
        yield* swap(projection, 7, { epoch: 1 })
        yield* build(9, 3)
        yield* store.remove(projection)
        yield* store.remove(projection)
        assert.deepStrictEqual(yield* rows(projection), [])
        assert.deepStrictEqual(yield* beside(projection), { building: undefined, former: undefined })
        const again = yield* store.open(old)
        assert.isUndefined(yield* standing(again))
        for (const generation of [7, 9]) {
          assert.strictEqual(yield* (yield* store.open(projection, generation)).count, 0)
          yield* store.discard(projection, generation)
        }
        yield* feed(again, log.slice(0, 3), { epoch: 1 })
        assert.deepStrictEqual(yield* rows(old), oldRows(3))
        assert.deepStrictEqual(yield* rows(other), listed(plainFold(other, log)))
      })
    )
  })
}
