/** Versions of a projection: a new one is built while the old one is read, an older one stands back, and one can go back. */
import { assert, describe } from "@effect/vitest"
import * as Scoped from "@millrace/core/Scoped"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ProjectingIt, ProjectingScene } from "./ProjectingScene.js"
import {
  inPhase,
  projectingScene,
  quick,
  runnerOver,
  said,
  saidOf,
  steppingThrough
} from "./ProjectingScene.js"
import { refused } from "./Scene.js"

export const projectingVersions = (it: ProjectingIt): void => {
  describe("versions", () => {
    it.effect("run notices a new one and builds it in the background, while the old model is read", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const { newer, older } = versions(here)
        yield* here.fill(20)
        yield* here.runner.catchUp(older)
        const before = yield* here.rows(older)
        const go = yield* Deferred.make<void>()
        const gated = yield* runnerOver({
          models: steppingThrough((apply) => Effect.zipRight(Deferred.await(go), apply))
        })
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const running = yield* gated.run([newer], { ...quick, ttl: "20 seconds" })
            yield* inPhase(running.status, "rebuilding")
            assert.deepStrictEqual(yield* here.rows(older), before)
            yield* Deferred.succeed(go, undefined)
            yield* inPhase(running.status, "running")
            yield* here.isFold(newer)
            const [status] = yield* running.status
            assert.isTrue(Option.getOrThrow(status!.rebuild).done)
            const { position } = yield* here.append(here.stream("a"), said(1))
            yield* here.runner.waitFor(newer, position, "20 seconds")
          })
        )
        yield* here.isFold(newer)
      })
    )

    it.effect("of two processes with the new version one builds it, and both come to run it", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const { newer, older } = versions(here)
        yield* here.fill(200)
        yield* here.runner.catchUp(older)
        const [one, two] = [yield* runnerOver(), yield* runnerOver()]
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const running = [yield* one.run([newer], quick), yield* two.run([newer], quick)]
            const { position } = yield* here.append(here.stream("a"), said(1))
            yield* here.runner.waitFor(newer, position, "20 seconds")
            yield* Effect.raceFirst(
              inPhase(running[0]!.status, "running"),
              inPhase(running[1]!.status, "running")
            )
            const phases = (yield* Effect.forEach(running, ({ status }) => status)).map(
              ([status]) => status!.failure
            )
            assert.deepStrictEqual(phases, [Option.none(), Option.none()])
          })
        )
        yield* here.isFold(newer)
      })
    )

    it.effect("a process of an older version is superseded while it runs, and handles nothing any more", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const { newer, older } = versions(here)
        yield* here.fill(20)
        const old = yield* runnerOver()
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const running = yield* old.run([older], quick)
            yield* here.runner.waitFor(older, yield* here.store.head, "20 seconds")
            yield* here.runner.rebuild(newer, quick)
            yield* inPhase(running.status, "superseded")
            const { position } = yield* here.append(here.stream("a"), said(1))
            yield* refused(here.runner.waitFor(newer, position, "200 millis"), "ProjectionBehind")
            yield* here.runner.catchUp(newer)
          })
        )
        yield* here.isFold(newer)
        const error = yield* refused(here.runner.catchUp(older), "ProjectionSuperseded")
        assert.deepStrictEqual([error.version, error.stored], [1, 2])
      })
    )

    it.effect(
      "a catch-up does not move a model of an older version, and run does not when it is told to fail",
      () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          const { newer, older } = versions(here)
          yield* here.fill(20)
          yield* here.runner.catchUp(older)
          const error = yield* refused(here.runner.catchUp(newer), "ProjectionOutdated")
          assert.deepStrictEqual([error.version, error.stored], [2, 1])
          yield* Scoped.scoped(
            Effect.gen(function* () {
              const running = yield* here.runner.run([newer], { ...quick, onNewVersion: "fail" })
              yield* inPhase(running.status, "failed")
              const failure = Option.getOrThrow((yield* running.status)[0]!.failure)
              assert.strictEqual((failure.cause as { readonly _tag: string })._tag, "ProjectionOutdated")
            })
          )
          yield* here.isFold(older)
        })
    )

    it.effect("the former model is kept, and going back brings it up to date", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const { newer, older } = versions(here)
        yield* here.fill(20)
        yield* here.runner.catchUp(older)
        yield* here.runner.rebuild(newer)
        yield* here.isFold(newer)
        yield* here.fill(5)
        const back = yield* here.runner.rollBack(older)
        assert.strictEqual(back.processed, 5)
        yield* here.isFold(older)
        assert.strictEqual(yield* here.runner.catchUp(older), 0)
        // And forth again: now the newer one is the former.
        yield* here.fill(5)
        yield* here.runner.catchUp(older)
        yield* here.runner.rollBack(newer)
        yield* here.isFold(newer)
      })
    )

    for (const dies of ["in the middle", "before the swap", "behind the swap"] as const)
      it.effect(`going back, when it died ${dies}, is gone on with by the next call`, () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          const { newer, older } = versions(here)
          yield* here.fill(20)
          yield* here.runner.catchUp(older)
          yield* here.runner.rebuild(newer)
          yield* here.fill(40)
          yield* here.runner.catchUp(newer)
          let steps = 0
          const dying = yield* runnerOver({
            models: (models) => ({
              ...steppingThrough((apply) =>
                Effect.suspend(() => (dies === "in the middle" && steps++ === 2 ? died : apply))
              )(models),
              swap: (projection, generation, options) => {
                const swap = models.swap(projection, generation, options)
                if (dies === "before the swap") return died
                return dies === "behind the swap" ? Effect.zipRight(swap, died) : swap
              }
            })
          })
          yield* refused(dying.rollBack(older, { ...quick, batchSize: 10 }), "StoreUnavailable")
          const rest = yield* here.runner.rollBack(older, quick)
          assert.strictEqual(rest.processed, dies === "in the middle" ? 20 : 0)
          yield* here.isFold(older)
          yield* here.fill(5)
          assert.strictEqual(yield* here.runner.catchUp(older), 5)
          yield* here.isFold(older)
          // What was live is the former one now, and there is nothing else.
          const { building, former } = yield* here.models.generations(older)
          assert.deepStrictEqual(building, Option.none())
          assert.deepStrictEqual(Option.getOrThrow(former).version, Option.some(2))
        })
      )

    it.effect(
      "where no former model is kept, or one of another version, there is nothing to go back to",
      () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          const { newer, older } = versions(here)
          yield* here.fill(20)
          yield* refused(here.runner.rollBack(older), "NoFormerModel")
          yield* here.runner.catchUp(older)
          yield* here.runner.rebuild(newer, { keepFormer: false })
          yield* refused(here.runner.rollBack(older), "NoFormerModel")
          assert.isFalse(yield* here.runner.dropFormer(newer))
          yield* here.runner.rebuild(newer)
          yield* refused(here.runner.rollBack(older), "NoFormerModel")
          assert.isTrue(yield* here.runner.dropFormer(newer))
          yield* refused(here.runner.rollBack(newer), "NoFormerModel")
          yield* here.isFold(newer)
        })
    )
  })
}

// ---- internal ----

/** The process that does it is gone. */
const died = Effect.fail(
  new StoreUnavailable({ operation: "swap", transient: false, cause: "a fault of the test" })
) as Effect.Effect<never, never>

const versions = (here: ProjectingScene) => ({
  older: here.totals(),
  newer: here.totals({
    version: 2,
    evolve: (row, event) => ({ ...row, events: row.events + 1, total: row.total - saidOf(event).n })
  })
})
