/** Events that cannot be handled: tried again as told, then the projection stops before them or goes on without. */
import { assert, describe } from "@effect/vitest"
import * as Projection from "@millrace/core/Projection"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { ProjectingIt } from "./ProjectingScene.js"
import { projectingScene, quick, said, saidOf } from "./ProjectingScene.js"
import { refused } from "./Scene.js"

export const projectingPoison = (it: ProjectingIt): void => {
  describe("an event that fails", () => {
    it.effect(
      "stop: what stands before it is committed, and once it is mended the projection goes on with it",
      () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          let mended = false
          const totals = here.totals({
            evolve: (row, event) => {
              if (event.version === 4 && !mended) throw new Error("broken")
              return { ...row, events: row.events + 1, trail: row.trail * 3 + saidOf(event).n }
            }
          })
          yield* here.append(here.stream("a"), said(1), said(2), said(3))
          const bad = yield* here.append(here.stream("a"), said(4))
          yield* here.append(here.stream("a"), said(5), said(6))
          const error = yield* refused(here.runner.catchUp(totals, quick), "HandlerError")
          assert.deepStrictEqual([error.position, error.streamId], [bad.position, here.stream("a")])
          assert.deepStrictEqual(
            (yield* here.rows(totals)).map(({ row }) => row.events),
            [3]
          )
          assert.isBelow(yield* here.position(totals), bad.position)
          mended = true
          assert.strictEqual(yield* here.runner.catchUp(totals, quick), 3)
          yield* here.isFold(totals)
        })
    )

    it.effect("skip: the model is the fold of all others, whatever the size of a page", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        yield* here.fill(30, 3)
        const events = yield* here.log()
        const bad = new Set([0, 7, 8, 29].map((index) => events[index]!.position as number))
        for (const [index, batchSize] of [1, 7, 500].entries()) {
          const totals = here.totals({ name: here.name(`_${index}`) })
          const failing = here.totals({
            name: totals.name,
            evolve: (row, event, key) => {
              if (bad.has(event.position)) throw new Error("broken")
              return totals.strength.evolve(row, event, key)
            }
          })
          yield* here.runner.catchUp(failing, { ...quick, onPoison: "skip", batchSize })
          yield* here.isFold(totals, bad)
          assert.isAtLeast(yield* here.position(totals), events[29]!.position)
          // A rebuild with the same policy comes to the same model.
          yield* here.runner.rebuild(failing, { ...quick, onPoison: "skip", batchSize })
          yield* here.isFold(totals, bad)
        }
      })
    )

    it.effect("it is tried as often as the schedule says, and those before it are not handled again", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const tries: Array<number> = []
        const each = Projection.handlers({
          name: here.name(),
          filters: [{ category: here.category }],
          onEvent: (event) =>
            Effect.suspend(() => {
              tries.push(event.version)
              return event.version === 3 && tries.filter((one) => one === 3).length < 4
                ? Effect.fail("not yet")
                : Effect.void
            })
        })
        yield* here.append(here.stream("a"), said(1), said(2), said(3), said(4))
        yield* refused(here.runner.catchUp(each, { retry: Schedule.recurs(2) }), "HandlerError")
        assert.deepStrictEqual(tries, [1, 2, 3, 3, 3])
        yield* here.runner.catchUp(each, { retry: Schedule.recurs(2) })
        assert.deepStrictEqual(tries, [1, 2, 3, 3, 3, 3, 4])
      })
    )

    it.effect("between two tries it waits as long as the schedule says", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        let tries = 0
        const each = Projection.handlers({
          name: here.name(),
          filters: [{ category: here.category }],
          onEvent: () => Effect.suspend(() => (tries++ < 2 ? Effect.fail("not yet") : Effect.void))
        })
        yield* here.append(here.stream("a"), said(1), said(2))
        const [took] = yield* Effect.timed(
          here.runner.catchUp(each, {
            retry: Schedule.intersect(Schedule.spaced("150 millis"), Schedule.recurs(2))
          })
        )
        assert.isAtLeast(Duration.toMillis(took), 290)
        assert.strictEqual(tries, 4)
      })
    )

    it.effect("a handler that interrupts itself has failed, and is not handed the event for ever", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        let tries = 0
        const each = Projection.handlers({
          name: here.name(),
          filters: [{ category: here.category }],
          onEvent: (event) => (event.version === 2 ? (tries++, Effect.interrupt) : Effect.void)
        })
        yield* here.append(here.stream("a"), said(1), said(2), said(3))
        const error = yield* Effect.flip(
          Effect.timeout(here.runner.catchUp(each, { retry: Schedule.recurs(2) }), "20 seconds")
        )
        assert.strictEqual(error._tag, "HandlerError")
        assert.strictEqual(tries, 3)
      })
    )

    it.effect("a batch that fails is cut until the event is alone", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const done = new Set<number>()
        const paged = Projection.batch({
          name: here.name(),
          filters: [{ category: here.category }],
          onBatch: (events) => {
            if (events.some((event) => event.version === 5)) return Effect.fail("broken")
            return Effect.sync(() => events.forEach((event) => done.add(event.version)))
          }
        })
        yield* here.append(here.stream("a"), ...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => said(n)))
        yield* here.runner.catchUp(paged, { ...quick, onPoison: "skip" })
        assert.deepStrictEqual([...done].sort(), [1, 2, 3, 4, 6, 7, 8])
      })
    )
  })
}
