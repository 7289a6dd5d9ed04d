/** A step of a fold: rows and checkpoint together or not at all, from where it stands, by who may. */
import { assert, describe } from "@effect/vitest"
import { Epoch } from "@millrace/core/Lease"
import { LeaseLost } from "@millrace/core/LeaseLost"
import * as Scoped from "@millrace/core/Scoped"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { StreamId } from "@millrace/core/StreamId"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { AlsoOf, ModelIt } from "./ModelScene.js"
import {
  counting,
  feed,
  listed,
  modelScene,
  plainFold,
  standing,
  stepOver,
  told,
  totals
} from "./ModelScene.js"
import { position, range, refused, slowTestMs, version } from "./Scene.js"

/** A fold that has taken the first four of eight events, by epoch 3. */
const scene = Effect.gen(function* () {
  const here = yield* modelScene
  const projection = totals(here.name())
  const log = counting(8)
  const model = yield* here.store.open(projection)
  yield* feed(model, log.slice(0, 4), { epoch: 3 })
  return {
    ...here,
    projection,
    log,
    model,
    rest: log.slice(4),
    expected: (events: number) => listed(plainFold(projection, log.slice(0, events)))
  }
})

export const modelSteps = <R>(it: ModelIt<R>, also: AlsoOf): void => {
  describe("steps", () => {
    it.scoped(
      "a model that nobody claimed has no checkpoint, and a claim writes the projection's version",
      () =>
        Effect.gen(function* () {
          const { name, store } = yield* modelScene
          const model = yield* store.open(totals(name(), { version: 7 }))
          assert.isTrue(Option.isNone(yield* model.info))
          const first = yield* model.claim(Epoch.make(2))
          assert.deepStrictEqual([first.name, Number(first.position)], [name(), 0])
          assert.deepStrictEqual(yield* standing(model), { position: 0, revision: 7, epoch: 2 })
          const newer = yield* store.open(totals(name(), { version: 8 }))
          yield* newer.claim(Epoch.make(3))
          assert.deepStrictEqual(
            yield* standing(newer),
            { position: 0, revision: 7, epoch: 3 },
            "what is stored stays"
          )
        })
    )

    it.scoped("each step leaves position and cursors where it went", () =>
      Effect.gen(function* () {
        const { log, model, rest } = yield* scene
        const cursors = Effect.map(
          model.cursors(["s/1", "s/2", "s/3", "s/4"] as unknown as ReadonlyArray<StreamId>),
          (found) => Object.fromEntries(found) as Record<string, number>
        )
        assert.deepStrictEqual(yield* cursors, { "s/1": 2, "s/2": 1, "s/3": 1 })
        yield* model.apply(rest, stepOver(rest, 4, 3))
        assert.deepStrictEqual(yield* cursors, { "s/1": 3, "s/2": 3, "s/3": 2 })
        assert.deepStrictEqual(yield* standing(model), { position: log.length, revision: 1, epoch: 3 })
      })
    )

    it.scoped("an event on which the fold throws is named, and nothing of its page is written", () =>
      Effect.gen(function* () {
        const { name, rows, store, unchanged } = yield* modelScene
        const projection = totals(name())
        const model = yield* store.open(projection)
        const log = told({ add: 1 }, { add: 2 }, { add: 3 }, { fail: "it's broken" }, { add: 5 })
        yield* feed(model, log.slice(0, 2))
        const page = log.slice(2)
        const error = yield* unchanged(
          projection,
          refused(model.apply(page, stepOver(page, 2, 1)), "HandlerError")
        )
        assert.deepStrictEqual([error.eventType, error.streamId, Number(error.position)], ["Told", "s/1", 4])
        assert.match(String((error.cause as Error).message), /it's broken/)
        const good = page.slice(0, 1)
        yield* model.apply(good, stepOver(good, 2, 1))
        assert.deepStrictEqual(yield* rows(projection), listed(plainFold(projection, log.slice(0, 3))))
      })
    )

    it.scoped("a step from elsewhere is refused, and nothing is written", () =>
      Effect.gen(function* () {
        const { log, model, projection, rest, unchanged } = yield* scene
        const step = stepOver(rest, 4, 3)
        for (const from of [0, 3, 5]) {
          const previous = { ...step.previous, position: position(from) }
          const moved = refused(model.apply(rest, { ...step, previous }), "ProjectionMoved")
          const error = yield* unchanged(projection, moved)
          assert.deepStrictEqual([Number(error.expected), Number(error.actual)], [from, 4])
        }
        const otherCursor = new Map([...step.previous.cursors, ["s/2" as StreamId, version(2)] as const])
        const previous = { ...step.previous, cursors: otherCursor }
        yield* unchanged(projection, refused(model.apply(rest, { ...step, previous }), "ProjectionMoved"))
        const first = log.slice(0, 4)
        yield* unchanged(projection, refused(model.apply(first, stepOver(first, 0, 3)), "ProjectionMoved"))
      })
    )

    it.scoped("a step that goes back is no step", () =>
      Effect.gen(function* () {
        const { model, projection, rest, unchanged } = yield* scene
        const step = stepOver(rest, 4, 3)
        const current = { ...step.current, position: position(3) }
        yield* unchanged(projection, refused(model.apply(rest, { ...step, current }), "InvalidArgument"))
      })
    )

    it.scoped("who was overtaken changes nothing, and who overtook goes on", () =>
      Effect.gen(function* () {
        const { expected, model, projection, rest, rows, unchanged } = yield* scene
        const old = model.apply(rest, stepOver(rest, 4, 2))
        yield* unchanged(projection, refused(old, "LeaseLost"))
        yield* unchanged(projection, refused(model.claim(Epoch.make(2)), "LeaseLost"))
        const taken = yield* model.claim(Epoch.make(10))
        assert.strictEqual(taken.position, 4)
        yield* unchanged(projection, refused(model.apply(rest, stepOver(rest, 4, 9)), "LeaseLost"))
        yield* model.apply(rest, stepOver(rest, 4, 10))
        assert.deepStrictEqual(yield* rows(projection), expected(8))
      })
    )

    it.scoped("a step by a greater epoch takes the model over", () =>
      Effect.gen(function* () {
        const { model, projection, rest, unchanged } = yield* scene
        const [one, two] = [rest.slice(0, 1), rest.slice(1, 2)]
        yield* model.apply(one, stepOver(one, 4, 5))
        yield* unchanged(projection, refused(model.apply(two, stepOver(two, 5, 4)), "LeaseLost"))
        assert.strictEqual((yield* standing(model))?.epoch, 5)
      })
    )

    if (also === "within")
      it.scoped("what is done also is done once with the step, and undoes it when it fails", () =>
        Effect.gen(function* () {
          const { expected, model, projection, rest, rows, unchanged } = yield* scene
          let done = 0
          const lost = new LeaseLost({ key: "projection", holder: "v" })
          const down = new StoreUnavailable({ operation: "also", transient: true, cause: "down" })
          const late = model.apply(rest, stepOver(rest, 4, 3, Effect.fail(lost)))
          assert.strictEqual((yield* unchanged(projection, refused(late, "LeaseLost"))).holder, "v")
          const failing = model.apply(rest, stepOver(rest, 4, 3, Effect.fail(down)))
          assert.strictEqual(
            (yield* unchanged(projection, refused(failing, "StoreUnavailable"))).operation,
            "also"
          )
          const count = Effect.sync(() => void done++)
          yield* model.apply(rest, stepOver(rest, 4, 3, count))
          assert.strictEqual(done, 1)
          assert.deepStrictEqual(yield* rows(projection), expected(8))
          // No events: a parked one that is dropped.
          yield* model.apply([], stepOver([], 8, 3, count))
          assert.strictEqual(done, 2)
        })
      )
    else
      it.scoped("what is done also comes behind the step, which stays when it fails", () =>
        Effect.gen(function* () {
          const { expected, model, projection, rest, rows } = yield* scene
          const lost = new LeaseLost({ key: "projection", holder: "v" })
          const error = yield* refused(
            model.apply(rest, stepOver(rest, 4, 3, Effect.fail(lost))),
            "LeaseLost"
          )
          assert.strictEqual(error.holder, "v")
          assert.deepStrictEqual(yield* rows(projection), expected(8))
          let done = 0
          yield* model.apply(
            [],
            stepOver(
              [],
              8,
              3,
              Effect.sync(() => void done++)
            )
          )
          assert.strictEqual(done, 1)
          // Not for a step that is refused.
          yield* refused(
            model.apply(
              rest,
              stepOver(
                rest,
                4,
                3,
                Effect.sync(() => void done++)
              )
            ),
            "ProjectionMoved"
          )
          assert.strictEqual(done, 1)
        })
      )

    it.scoped("of many who make the same step at once one makes it", () =>
      Effect.gen(function* () {
        const { expected, model, projection, rest, rows } = yield* scene
        const attempts = yield* Effect.forEach(
          range(1, 8),
          () => Effect.either(model.apply(rest, stepOver(rest, 4, 3))),
          { concurrency: "unbounded" }
        )
        const losses = attempts.flatMap((attempt) => (attempt._tag === "Left" ? [attempt.left._tag] : []))
        assert.deepStrictEqual(losses, Array(7).fill("ProjectionMoved"))
        assert.deepStrictEqual(yield* rows(projection), expected(8))
      })
    )

    it.scoped(
      "a step that is interrupted was made or was not",
      () =>
        Effect.gen(function* () {
          const { name, rows, store } = yield* modelScene
          const projection = totals(name())
          const log = counting(600)
          const model = yield* store.open(projection)
          yield* model.claim(Epoch.make(1))
          let from = 0
          for (let attempt = 0; from < log.length; attempt++) {
            const page = log.slice(from, from + 20)
            const fiber = yield* Effect.fork(model.apply(page, stepOver(page, from, 1)))
            if (attempt % 7 > 0) yield* Effect.sleep(`${attempt % 7} millis`)
            yield* Fiber.interrupt(fiber)
            from = (yield* standing(model))!.position
            assert.deepStrictEqual(yield* rows(projection), listed(plainFold(projection, log.slice(0, from))))
            // One that always came too early would never end.
            if (attempt % 3 !== 2 || from >= log.length) continue
            const next = log.slice(from, from + 20)
            yield* model.apply(next, stepOver(next, from, 1))
            from += next.length
          }
        }),
      slowTestMs
    )
  })

  describe("several projections", () => {
    it.scoped("models whose names begin alike do not see one another", () =>
      Effect.gen(function* () {
        const { name, rows, store } = yield* modelScene
        const log = counting(24)
        const projections = ["", "a", "a/b", "A", "ab", "a_b", "a%", "🦄"].map((suffix, n) => ({
          projection: totals(name(suffix), { table: `${name()}_t${n}` }),
          taken: 3 * n + 1
        }))
        yield* Effect.forEach(
          projections,
          ({ projection, taken }) =>
            Effect.flatMap(store.open(projection), (model) =>
              feed(model, log.slice(0, taken), { pageEvents: 2 })
            ),
          { concurrency: "unbounded" }
        )
        for (const { projection, taken } of projections) {
          assert.deepStrictEqual(yield* rows(projection), listed(plainFold(projection, log.slice(0, taken))))
          const model = yield* store.open(projection)
          assert.strictEqual((yield* standing(model))?.position, taken)
        }
        const [first, second, ...others] = projections
        yield* store.remove(first!.projection)
        yield* store.empty(second!.projection)
        for (const { projection, taken } of others)
          assert.deepStrictEqual(yield* rows(projection), listed(plainFold(projection, log.slice(0, taken))))
      })
    )

    it.scoped("a model that is opened again, or twice, is the same model", () =>
      Effect.gen(function* () {
        const { expected, model, projection, rest, rows, store } = yield* scene
        const again = yield* store.open(projection)
        const [one, two] = [rest.slice(0, 2), rest.slice(2)]
        yield* again.apply(one, stepOver(one, 4, 3))
        yield* model.apply(two, stepOver(two, 6, 3))
        assert.deepStrictEqual(yield* standing(again), yield* standing(model))
        assert.deepStrictEqual(yield* rows(projection), expected(8))
        yield* Scoped.scoped(store.open(projection))
        assert.deepStrictEqual(yield* rows(projection), expected(8))
      })
    )
  })
}
