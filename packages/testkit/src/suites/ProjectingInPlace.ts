/** Rebuilding in the live model's place: emptied at once, filled by whoever has the right to. */
import { assert, describe } from "@effect/vitest"
import * as Projection from "@millrace/core/Projection"
import type { RebuildProgress } from "@millrace/core/RebuildProgress"
import * as Scoped from "@millrace/core/Scoped"
import * as Effect from "effect/Effect"
import type { ProjectingIt } from "./ProjectingScene.js"
import { noting, projectingScene, quick, runnerOver, said } from "./ProjectingScene.js"

const inPlace = { ...quick, mode: "inPlace" } as const

export const projectingInPlace = (it: ProjectingIt): void => {
  describe("rebuilding in place", () => {
    it.effect("the model is emptied and filled again, also with another version", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        yield* here.fill(30)
        yield* here.runner.catchUp(here.totals())
        const next = here.totals({ version: 2, evolve: (row) => ({ ...row, events: row.events - 1 }) })
        const told: Array<RebuildProgress> = []
        const rebuilt = yield* here.runner.rebuild(next, {
          ...inPlace,
          batchSize: 7,
          onProgress: noting(told)
        })
        assert.deepStrictEqual([rebuilt.processed, rebuilt.verified], [30, "none"])
        assert.isTrue(told[told.length - 1]!.done)
        yield* here.isFold(next)
        yield* here.fill(3)
        assert.strictEqual(yield* here.runner.catchUp(next), 3)
        yield* here.isFold(next)
      })
    )

    it.effect("handlers elsewhere get everything again, in order", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const seen: Array<number> = []
        const each = Projection.handlers({
          name: here.name(),
          filters: [{ category: here.category }],
          onEvent: (event) => void seen.push(event.version)
        })
        yield* here.append(here.stream("a"), said(1), said(2), said(3))
        yield* here.runner.catchUp(each)
        yield* here.runner.rebuild(each, inPlace)
        assert.deepStrictEqual(seen, [1, 2, 3, 1, 2, 3])
      })
    )

    it.effect("of a projection that runs, here or in another process, it is filled by that one", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(30)
        const other = yield* runnerOver()
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const running = yield* other.run([totals], quick)
            yield* here.runner.waitFor(totals, yield* here.store.head, "20 seconds")
            const head = yield* here.store.head
            const { position } = yield* here.runner.rebuild(totals, inPlace)
            assert.isAtLeast(position, head)
            yield* here.isFold(totals)
            const next = yield* here.append(here.stream("a"), said(1))
            yield* here.runner.waitFor(totals, next.position, "20 seconds")
            assert.strictEqual((yield* running.status)[0]!.phase, "running")
          })
        )
        yield* here.isFold(totals)
      })
    )

    it.effect("of a projection that is paused it is filled all the same, and stays paused", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(30)
        yield* here.runner.catchUp(totals)
        yield* here.runner.pause(totals)
        assert.strictEqual((yield* here.runner.rebuild(totals, inPlace)).processed, 30)
        yield* here.isFold(totals)
        yield* here.fill(1)
        assert.strictEqual(yield* here.runner.catchUp(totals), 0)
      })
    )
  })
}
