/** Projections that run: kept up to date, paused and resumed, taken over from a process that ends, waited for. */
import { assert, describe } from "@effect/vitest"
import type { ProjectionFailed } from "@millrace/core/EngineError"
import * as Projection from "@millrace/core/Projection"
import * as Scoped from "@millrace/core/Scoped"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { ProjectingIt } from "./ProjectingScene.js"
import { inPhase, projectingScene, quick, runnerOver, said, until } from "./ProjectingScene.js"
import { position, refused } from "./Scene.js"

export const projectingLive = (it: ProjectingIt): void => {
  describe("running", () => {
    it.effect("what is appended is in the model at once, not at the next poll", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(5)
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const running = yield* here.runner.run([totals], { pollInterval: "1 hour" })
            for (let i = 0; i < 5; i++) {
              const written = yield* here.append(here.stream("a"), said(i))
              yield* here.runner.waitFor(totals, written.position, "20 seconds")
              yield* here.isFold(totals)
            }
            const [status] = yield* running.status
            assert.strictEqual(status!.phase, "running")
            assert.strictEqual(status!.handled, 10)
            assert.strictEqual(status!.guarantee, "exactly-once")
            assert.deepStrictEqual(
              (yield* here.runner.status).filter(({ name }) => name === totals.name),
              [status!]
            )
          })
        )
        assert.deepStrictEqual(
          (yield* here.runner.status).filter(({ name }) => name === totals.name),
          []
        )
      })
    )

    it.effect("one that fails says why in its status, and the others run on", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const good = here.totals({ name: here.name("_good") })
        const bad = here.totals({
          name: here.name("_bad"),
          evolve: (row, event) => {
            if (event.version === 2) throw new Error("broken")
            return row
          }
        })
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const running = yield* here.runner.run([bad, good], quick)
            const first = yield* here.append(here.stream("a"), said(1))
            yield* here.append(here.stream("a"), said(2))
            yield* inPhase(running.status, "failed")
            const last = yield* here.append(here.stream("a"), said(3))
            yield* here.runner.waitFor(good, last.position, "20 seconds")
            yield* here.isFold(good)
            const [failed, runs] = yield* running.status
            const failure: ProjectionFailed = Option.getOrThrow(failed!.failure)
            assert.strictEqual(failure.projectionName, bad.name)
            assert.strictEqual((failure.cause as { readonly _tag: string })._tag, "HandlerError")
            assert.isAtLeast(failed!.position, first.position)
            assert.isBelow(failed!.position, last.position)
            assert.strictEqual(runs!.phase, "running")
            assert.deepStrictEqual(runs!.failure, Option.none())
          })
        )
      })
    )

    it.effect("it ends when all of them have failed", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const bad = Projection.handlers({
          name: here.name(),
          filters: [{ category: here.category }],
          onEvent: () => Effect.fail("broken")
        })
        yield* here.fill(1)
        yield* Scoped.scoped(Effect.flatMap(here.runner.run([bad], quick), ({ ended }) => ended))
      })
    )

    it.effect("paused it handles nothing, here and after a restart of the runner; resumed it goes on", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        assert.isFalse(yield* here.runner.pause(totals))
        yield* here.fill(3)
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const running = yield* here.runner.run([totals], quick)
            yield* until(Effect.map(here.rows(totals), (rows) => rows.length === 3))
            assert.isTrue(yield* here.runner.pause(totals))
            yield* inPhase(running.status, "paused")
          })
        )
        const paused = yield* here.rows(totals)
        yield* here.fill(3)
        const again = yield* runnerOver()
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const running = yield* again.run([totals], quick)
            yield* inPhase(running.status, "paused")
            // A catch-up leaves it as it is, too.
            assert.strictEqual(yield* again.catchUp(totals), 0)
            assert.deepStrictEqual(yield* here.rows(totals), paused)
            assert.isTrue(yield* again.resume(totals))
            yield* again.waitFor(totals, yield* here.store.head, "20 seconds")
            assert.strictEqual((yield* running.status)[0]!.phase, "running")
          })
        )
        yield* here.isFold(totals)
      })
    )

    it.effect("of two runners one works and the other waits, and takes over when the first is closed", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        const [one, two] = [yield* runnerOver(), yield* runnerOver()]
        const scope = yield* Scope.make()
        const first = yield* Scope.extend(one.run([totals], { ...quick, ttl: "20 seconds" }), scope)
        yield* inPhase(first.status, "running")
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const second = yield* two.run([totals], quick)
            const written = yield* here.append(here.stream("a"), said(1))
            yield* two.waitFor(totals, written.position, "20 seconds")
            assert.strictEqual((yield* second.status)[0]!.phase, "waiting")
            assert.strictEqual((yield* second.status)[0]!.handled, 0)
            yield* refused(two.catchUp(totals), "LeaseHeld")
            yield* Scope.close(scope, Exit.void)
            yield* inPhase(second.status, "running")
            const next = yield* here.append(here.stream("a"), said(2))
            yield* two.waitFor(totals, next.position, "20 seconds")
            assert.strictEqual((yield* second.status)[0]!.handled, 1)
          })
        )
        yield* here.isFold(totals)
      })
    )

    it.effect("waitFor returns when the model is there, and else says how far it is", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        const { position: first } = yield* here.append(here.stream("a"), said(1))
        const none = yield* refused(here.runner.waitFor(totals, first, 0), "ProjectionBehind")
        assert.deepStrictEqual([none.wanted, none.reached], [first, position(0)])
        yield* here.runner.catchUp(totals)
        yield* here.runner.waitFor(totals, first, 0)
        const { position: second } = yield* here.append(here.stream("a"), said(2))
        const late = yield* refused(here.runner.waitFor(totals, second, "50 millis"), "ProjectionBehind")
        assert.strictEqual(late.projectionName, totals.name)
        assert.strictEqual(late.wanted, second)
        assert.isAtLeast(late.reached, first)
        assert.isBelow(late.reached, second)
        // It waits for what another process does.
        const other = yield* runnerOver()
        const waiting = yield* Effect.fork(here.runner.waitFor(totals, second, "20 seconds"))
        yield* other.catchUp(totals)
        yield* waiting
        yield* here.isFold(totals)
        const wrongTime = yield* refused(
          here.runner.waitFor(totals, second, "forever" as never),
          "InvalidArgument"
        )
        assert.strictEqual(wrongTime.field, "timeout")
      })
    )
  })
}
