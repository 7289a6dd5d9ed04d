/** Handlers in the database of the store: their statements and the checkpoint are one transaction. */
import { assert, describe } from "@effect/vitest"
import { LeaseLost } from "@millrace/core/LeaseLost"
import type { Projection } from "@millrace/core/Projection"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { AlsoOf, ModelIt } from "./ModelScene.js"
import { counting, feed, modelScene, standing, stepOver, told } from "./ModelScene.js"
import { refused, slowTestMs } from "./Scene.js"

/**
 * How a backend's test makes handlers of place `sql`. They declare one table, `${name}_t`, of streams and sums.
 * Each event adds its {@link Told} `add`, times `sign`, to the row of its stream; when it has `fail`, the handler
 * fails with that *after* it wrote. `fixed` handlers write into `${name}_t` without asking `context.table` for it.
 */
export type SqlTotals<R> = (
  name: string,
  form: {
    readonly strength: "handlers" | "batch" | "fixed"
    readonly sign: 1 | -1
    readonly version: number
  }
) => SqlModel<R>

export interface SqlModel<R> {
  readonly projection: Projection<unknown, R>
  /** The sums by stream, from the table `${name}_t`. */
  readonly read: Effect.Effect<Readonly<Record<string, number>>, unknown, R>
}

export const modelSqlHandlers = <R>(it: ModelIt<R>, sqlTotals: SqlTotals<R>, also: AlsoOf): void => {
  const scene = (strength: "handlers" | "batch" | "fixed" = "handlers") =>
    Effect.map(modelScene, (here) => ({
      ...here,
      log: counting(12),
      old: sqlTotals(here.name(), { strength, sign: 1, version: 1 }),
      next: sqlTotals(here.name(), { strength, sign: -1, version: 2 })
    }))
  /** The sums after so many events of `counting`. */
  const sums = (events: number, sign: 1 | -1 = 1): Readonly<Record<string, number>> => {
    const found: Record<string, number> = {}
    for (const { data, streamId } of counting(events).slice(0, events))
      found[streamId] = (found[streamId] ?? 0) + sign * (data as { readonly add: number }).add
    return found
  }

  describe("handlers in the database", () => {
    for (const strength of ["handlers", "batch"] as const) {
      it.scoped(`${strength}: rows and checkpoint move together`, () =>
        Effect.gen(function* () {
          const { log, old, store } = yield* scene(strength)
          const model = yield* store.open(old.projection)
          yield* feed(model, log, { pageEvents: 5 })
          assert.deepStrictEqual({ ...(yield* old.read) }, sums(12))
          assert.deepStrictEqual(yield* standing(model), { position: 12, revision: 1, epoch: 1 })
          assert.strictEqual(yield* model.count, 3)
        })
      )

      it.scoped(`${strength}: of a page that fails nothing is left`, () =>
        Effect.gen(function* () {
          const { old, store, unchanged } = yield* scene(strength)
          const { projection, read } = old
          const model = yield* store.open(projection)
          const log = told({ add: 1 }, { add: 2 }, { add: 3 }, { fail: "it's broken" }, { add: 5 })
          yield* feed(model, log.slice(0, 2))
          const page = log.slice(2)
          const attempt = refused(model.apply(page, stepOver(page, 2, 1)), "HandlerError")
          const error = yield* unchanged(projection, attempt)
          if (strength === "handlers") assert.strictEqual(error.position, 4)
          assert.deepStrictEqual({ ...(yield* read) }, { "s/1": 1, "s/2": 2 })
          yield* model.apply(page.slice(0, 1), stepOver(page.slice(0, 1), 2, 1))
          assert.deepStrictEqual({ ...(yield* read) }, { "s/1": 1, "s/2": 2, "s/3": 3 })
        })
      )

      it.scoped(`${strength}: a step that is refused leaves nothing of what the handlers wrote`, () =>
        Effect.gen(function* () {
          const { log, old, store, unchanged } = yield* scene(strength)
          const { projection, read } = old
          const model = yield* store.open(projection)
          yield* feed(model, log.slice(0, 4), { epoch: 3 })
          const page = log.slice(4, 8)
          const lost = new LeaseLost({ key: "projection", holder: "v" })
          yield* unchanged(projection, refused(model.apply(page, stepOver(page, 3, 3)), "ProjectionMoved"))
          yield* unchanged(projection, refused(model.apply(page, stepOver(page, 4, 2)), "LeaseLost"))
          if (also === "within") {
            const failing = stepOver(page, 4, 3, Effect.fail(lost))
            yield* unchanged(projection, refused(model.apply(page, failing), "LeaseLost"))
          }
          assert.deepStrictEqual({ ...(yield* read) }, sums(4))
          yield* model.apply(page, stepOver(page, 4, 3))
          assert.deepStrictEqual({ ...(yield* read) }, sums(8))
        })
      )

      it.scoped(`${strength}: a model is built beside the live one, swapped, and swapped back`, () =>
        Effect.gen(function* () {
          const { beside, log, next, old, store, swap } = yield* scene(strength)
          yield* feed(yield* store.open(old.projection), log.slice(0, 8), { epoch: 5 })
          const built = yield* store.open(next.projection, 7)
          yield* feed(built, log.slice(0, 6))
          assert.deepStrictEqual({ ...(yield* old.read) }, sums(8))
          assert.strictEqual(yield* built.count, 3)
          assert.deepStrictEqual(yield* swap(next.projection, 7, { epoch: 1 }), {
            _tag: "Behind",
            live: 8
          } as never)
          yield* feed(built, log.slice(0, 8))
          yield* swap(next.projection, 7, { epoch: 1 })
          assert.deepStrictEqual({ ...(yield* next.read) }, sums(8, -1))
          assert.deepStrictEqual(yield* beside(next.projection), { building: undefined, former: [7, 8, 1] })
          yield* feed(yield* store.open(next.projection), log.slice(0, 10), { epoch: 6 })
          assert.deepStrictEqual({ ...(yield* next.read) }, sums(10, -1))
          yield* feed(yield* store.open(old.projection, 7), log)
          yield* swap(old.projection, 7, { epoch: 1 })
          assert.deepStrictEqual({ ...(yield* old.read) }, sums(12))
        })
      )
    }

    it.scoped("handlers that do not ask for their tables serve, and are not built beside", () =>
      Effect.gen(function* () {
        const { log, next, old, store, unchanged } = yield* scene("fixed")
        yield* feed(yield* store.open(old.projection), log.slice(0, 4))
        assert.deepStrictEqual({ ...(yield* old.read) }, sums(4))
        const built = yield* store.open(next.projection, 7)
        const page = log.slice(0, 4)
        const attempt = refused(built.apply(page, stepOver(page, 0, 1)), "ShadowUnsupported")
        yield* unchanged(old.projection, attempt)
        assert.deepStrictEqual({ ...(yield* old.read) }, sums(4))
      })
    )

    it.scoped("emptied, discarded and removed, the tables begin anew", () =>
      Effect.gen(function* () {
        const { log, old, store } = yield* scene()
        const model = yield* store.open(old.projection)
        yield* feed(model, log)
        yield* store.empty(old.projection)
        assert.deepStrictEqual({ ...(yield* old.read) }, {})
        yield* feed(model, log.slice(0, 5), { epoch: 2 })
        assert.deepStrictEqual({ ...(yield* old.read) }, sums(5))
        yield* feed(yield* store.open(old.projection, 7), log)
        yield* store.discard(old.projection, 7)
        assert.strictEqual(yield* (yield* store.open(old.projection, 7)).count, 0)
        yield* store.remove(old.projection)
        const again = yield* store.open(old.projection)
        assert.isUndefined(yield* standing(again))
        assert.deepStrictEqual({ ...(yield* old.read) }, {})
      })
    )

    it.scoped(
      "a page that is interrupted is there as a whole or not at all",
      () =>
        Effect.gen(function* () {
          const { name, store } = yield* modelScene
          const { projection, read } = sqlTotals(name(), { strength: "handlers", sign: 1, version: 1 })
          const model = yield* store.open(projection)
          const log = counting(120)
          yield* feed(model, [])
          let from = 0
          for (let attempt = 0; from < log.length; attempt++) {
            const page = log.slice(from, from + 10)
            const fiber = yield* Effect.fork(model.apply(page, stepOver(page, from, 1)))
            yield* Effect.sleep(`${attempt % 9} millis`)
            yield* Fiber.interrupt(fiber)
            from = (yield* standing(model))!.position
            assert.deepStrictEqual({ ...(yield* read) }, sums(from))
            if (attempt % 3 !== 2 || from >= log.length) continue
            const next = log.slice(from, from + 10)
            yield* model.apply(next, stepOver(next, from, 1))
            from += next.length
          }
        }),
      slowTestMs
    )
  })
}
