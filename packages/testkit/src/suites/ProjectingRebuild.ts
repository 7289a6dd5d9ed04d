/** Rebuilding beside the live model: readers see the old one, then the new one, and both are what the log says. */
import { assert, describe } from "@effect/vitest"
import type { ModelStore } from "@millrace/core/ModelStore"
import * as Projection from "@millrace/core/Projection"
import type { RebuildProgress } from "@millrace/core/RebuildProgress"
import * as Scoped from "@millrace/core/Scoped"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { ProjectingIt, ProjectingScene } from "./ProjectingScene.js"
import {
  inPhase,
  noting,
  projectingScene,
  quick,
  runnerOver,
  said,
  saidOf,
  steppingThrough,
  until
} from "./ProjectingScene.js"
import { refused } from "./Scene.js"

export const projectingRebuild = (it: ProjectingIt): void => {
  describe("rebuilding in the shadow", () => {
    it.effect("the new model is the fold of the log, and the live one goes on where it stands", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(50)
        yield* here.runner.catchUp(totals)
        const rebuilt = yield* here.runner.rebuild(totals, { batchSize: 7 })
        assert.strictEqual(rebuilt.projectionName, totals.name)
        assert.strictEqual(rebuilt.processed, 50)
        assert.strictEqual(rebuilt.verified, "fold")
        assert.strictEqual(rebuilt.position, yield* here.position(totals))
        yield* here.isFold(totals)
        yield* here.fill(10)
        assert.strictEqual(yield* here.runner.catchUp(totals), 10)
        yield* here.isFold(totals)
      })
    )

    it.effect("a model that never was, and a log without a wanted event, are rebuilt too", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        const none = yield* here.runner.rebuild(totals)
        assert.strictEqual(none.processed, 0)
        assert.deepStrictEqual(yield* here.rows(totals), [])
        yield* here.fill(5)
        const other = here.totals({ name: here.name("_other") })
        assert.strictEqual((yield* here.runner.rebuild(other)).processed, 5)
        yield* here.isFold(other)
      })
    )

    it.effect(
      "while events come and others read: no reader ever sees less than before, and in the end all is there",
      () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          const totals = here.totals()
          yield* here.fill(2_000, 50)
          yield* Scoped.scoped(
            Effect.gen(function* () {
              const running = yield* here.runner.run([totals], quick)
              yield* here.runner.waitFor(totals, yield* here.store.head, "20 seconds")
              let most = 0
              let looks = 0
              const reader = yield* Effect.fork(
                Effect.forever(
                  Effect.zipRight(
                    Effect.map(here.rows(totals), (rows) => {
                      const events = rows.reduce((sum, { row }) => sum + row.events, 0)
                      assert.isAtLeast(events, most)
                      most = events
                      looks++
                    }),
                    Effect.sleep("2 millis")
                  )
                )
              )
              const writer = yield* Effect.fork(
                Effect.forever(Effect.zipRight(here.fill(5, 50), Effect.sleep("2 millis")))
              )
              for (let i = 0; i < 3; i++) {
                const before = looks
                yield* here.runner.rebuild(totals, { ...quick, batchSize: 100 })
                yield* until(Effect.sync(() => looks > before))
              }
              yield* Fiber.interrupt(writer)
              const head = yield* here.store.head
              yield* here.runner.waitFor(totals, head, "20 seconds")
              assert.strictEqual((yield* Fiber.poll(reader))._tag, "None", "the reader is still at it")
              yield* Fiber.interrupt(reader)
              assert.isAtLeast(looks, 3)
              assert.isAtLeast(most, 2_000)
              // The last swap took its lease away, and it may have been at the head already: it waits a moment.
              yield* inPhase(running.status, "running")
            })
          )
          yield* here.isFold(totals)
        })
    )

    it.effect("progress is told, never goes back, and ends with done", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(300)
        const told: Array<RebuildProgress> = []
        const slow = yield* runnerOver({
          models: steppingThrough((apply) => Effect.zipRight(Effect.sleep("40 millis"), apply))
        })
        yield* slow.rebuild(totals, { batchSize: 25, onProgress: noting(told) })
        assert.isAtLeast(told.length, 3)
        told.slice(1).forEach((progress, index) => {
          assert.isAtLeast(progress.processed, told[index]!.processed)
          assert.isAtLeast(progress.position, told[index]!.position)
          assert.isAtLeast(progress.total, progress.processed)
          assert.strictEqual(progress.projectionName, totals.name)
        })
        const middle = told.find(({ processed }) => processed > 0 && processed < 300)!
        assert.isAbove(middle.rate, 0)
        assert.isTrue(Option.isSome(middle.eta))
        assert.deepStrictEqual(
          told.map(({ done }) => done),
          told.map((_, index) => index === told.length - 1)
        )
        const last = told[told.length - 1]!
        assert.deepStrictEqual([last.processed, last.total], [300, 300])
        assert.deepStrictEqual(last.error, Option.none())
      })
    )

    it.effect("progress ends with the error when it fails", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        yield* here.fill(5)
        const bad = here.totals({
          evolve: () => {
            throw new Error("broken")
          }
        })
        const told: Array<RebuildProgress> = []
        const error = yield* refused(
          here.runner.rebuild(bad, { ...quick, onProgress: noting(told) }),
          "HandlerError"
        )
        const last = told[told.length - 1]!
        assert.isFalse(last.done)
        assert.deepStrictEqual(Option.getOrThrow(last.error), error)
      })
    )

    it.effect("a fold that is not pure is found out, thrown away, and the live model stays as it was", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        yield* here.fill(20)
        const pure = here.totals()
        yield* here.runner.catchUp(pure)
        const before = yield* here.rows(pure)
        let calls = 0
        const impure = here.totals({ evolve: (row) => ({ ...row, events: row.events + 1, total: ++calls }) })
        yield* refused(here.runner.rebuild(impure), "VerificationFailed")
        assert.deepStrictEqual(yield* here.rows(pure), before)
        assert.deepStrictEqual((yield* here.models.generations(pure)).building, Option.none())
        yield* here.runner.rebuild(pure)
        yield* here.isFold(pure)
      })
    )

    it.effect("a check of one's own sees the built tables and decides", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(20, 4)
        yield* here.runner.catchUp(totals)
        const seen: Array<number> = []
        const wrong = yield* refused(
          here.runner.rebuild(totals, { verify: ({ count }) => Effect.succeed(`${count} are too few`) }),
          "VerificationFailed"
        )
        assert.strictEqual(wrong.reason, "4 are too few")
        yield* refused(
          here.runner.rebuild(totals, { verify: () => Effect.fail("no answer") }),
          "VerificationFailed"
        )
        yield* refused(
          here.runner.rebuild(totals, {
            verify: () => {
              throw new Error("broken")
            }
          }),
          "VerificationFailed"
        )
        yield* here.isFold(totals)
        const rebuilt = yield* here.runner.rebuild(totals, {
          verify: ({ count }) => Effect.sync(() => void seen.push(count)) as Effect.Effect<undefined>
        })
        assert.strictEqual(rebuilt.verified, "check")
        assert.deepStrictEqual(seen, [4])
      })
    )

    it.effect(
      "interrupted, the live model is untouched, and the next rebuild goes on; fresh begins anew",
      () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          const totals = here.totals()
          yield* here.fill(100)
          yield* here.runner.catchUp(totals)
          const before = yield* here.rows(totals)
          for (const fresh of [false, true]) {
            yield* interruptedAfter(here, totals, 4)
            assert.deepStrictEqual(yield* here.rows(totals), before)
            const { building } = yield* here.models.generations(totals)
            assert.isAbove(Option.getOrThrow(building).position as number, 0)
            const { processed, verified } = yield* here.runner.rebuild(totals, { ...quick, fresh })
            assert.strictEqual(processed, fresh ? 100 : 60)
            assert.strictEqual(verified, "fold")
            assert.deepStrictEqual((yield* here.models.generations(totals)).building, Option.none())
            yield* here.isFold(totals)
          }
        })
    )

    it.effect("what a rebuild of another version has left is thrown away", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        yield* here.fill(100)
        yield* interruptedAfter(here, here.totals(), 4)
        const next = here.totals({
          version: 2,
          evolve: (row, event) => ({ ...row, total: row.total - saidOf(event).n })
        })
        assert.strictEqual((yield* here.runner.rebuild(next, quick)).processed, 100)
        yield* here.isFold(next)
      })
    )

    it.effect("while one is building, another is refused", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(20)
        const atIt = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const slow = yield* runnerOver({
          models: steppingThrough((apply) =>
            Effect.zipRight(Deferred.succeed(atIt, undefined), Effect.zipRight(Deferred.await(go), apply))
          )
        })
        const first = yield* Effect.fork(slow.rebuild(totals, { ttl: "20 seconds" }))
        yield* Deferred.await(atIt)
        yield* refused(here.runner.rebuild(totals), "LeaseHeld")
        yield* Deferred.succeed(go, undefined)
        assert.strictEqual((yield* Fiber.join(first)).processed, 20)
        yield* here.isFold(totals)
      })
    )

    it.effect("models that are kept elsewhere cannot be built beside the live one", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const each = Projection.handlers({
          name: here.name(),
          filters: [{ category: here.category }],
          onEvent: () => assert.fail("no event may be handled")
        })
        yield* here.fill(2)
        yield* refused(here.runner.rebuild(each), "ShadowUnsupported")
      })
    )

    it.effect("it ends although the live model is always ahead", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(20)
        const behind: Array<string> = []
        // Before every swap something new is written, and handled by the live model.
        const chased = yield* runnerOver({
          models: (models): ModelStore["Type"] => ({
            ...models,
            swap: (projection, generation, options) =>
              Effect.gen(function* () {
                const { position } = yield* here.append(here.stream("a"), said(1))
                yield* Effect.ignore(here.runner.waitFor(totals, position, "300 millis"))
                const swapped = yield* models.swap(projection, generation, options)
                behind.push(swapped._tag)
                return swapped
              }).pipe(Effect.orDie)
          })
        })
        yield* Scoped.scoped(
          Effect.gen(function* () {
            yield* here.runner.run([totals], { ...quick, ttl: "10 seconds" })
            yield* here.runner.waitFor(totals, yield* here.store.head, "20 seconds")
            yield* Effect.timeout(chased.rebuild(totals, quick), "30 seconds")
            yield* here.runner.waitFor(totals, yield* here.store.head, "20 seconds")
          })
        )
        assert.isAbove(behind.length, 1)
        assert.strictEqual(behind[behind.length - 1], "Swapped")
        yield* here.isFold(totals)
      })
    )
  })
}

// ---- internal ----

/** Rebuilds in pages of ten and is interrupted after some of them. */
const interruptedAfter = (
  here: ProjectingScene,
  totals: ReturnType<ProjectingScene["totals"]>,
  pages: number
) =>
  Effect.gen(function* () {
    const enough = yield* Deferred.make<void>()
    let steps = 0
    const stopping = yield* runnerOver({
      models: steppingThrough((apply) =>
        Effect.suspend(() =>
          steps++ === pages ? Effect.zipRight(Deferred.succeed(enough, undefined), Effect.never) : apply
        )
      )
    })
    const rebuilding = yield* Effect.fork(stopping.rebuild(totals, { ...quick, batchSize: 10 }))
    yield* Deferred.await(enough)
    yield* Fiber.interrupt(rebuilding)
  })
