/** The second look at the log's promise: what is missing in a stream stops the projection, unless it is missing for a reason. */
import { assert, describe } from "@effect/vitest"
import type { StreamGap } from "@millrace/core/EngineError"
import { EventStore } from "@millrace/core/EventStore"
import * as Memory from "@millrace/core/Memory"
import * as Scoped from "@millrace/core/Scoped"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ProjectingIt } from "./ProjectingScene.js"
import { inPhase, projectingScene, quick, runnerOver, said } from "./ProjectingScene.js"
import { refused } from "./Scene.js"

export const projectingGaps = (it: ProjectingIt): void => {
  describe("holes in a stream", () => {
    it.effect(
      "a log that leaves an event out stops the projection, which writes nothing of what comes behind it",
      () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          const totals = here.totals()
          yield* here.append(here.stream("a"), said(1), said(2))
          yield* here.runner.catchUp(totals)
          const lost = yield* here.append(here.stream("a"), said(3))
          yield* here.append(here.stream("a"), said(4))
          const forgetful = yield* runnerOver({ log: leavingOut(lost.position) })
          const gap = yield* refused(forgetful.catchUp(totals, quick), "StreamGap")
          assert.deepStrictEqual([gap.streamId, gap.expected, gap.actual] as ReadonlyArray<unknown>, [
            here.stream("a"),
            3,
            4
          ])
          assert.isBelow(yield* here.position(totals), lost.position)
          yield* Scoped.scoped(
            Effect.gen(function* () {
              const running = yield* forgetful.run([totals], quick)
              yield* inPhase(running.status, "failed")
              const failure = Option.getOrThrow((yield* running.status)[0]!.failure)
              assert.strictEqual((failure.cause as StreamGap)._tag, "StreamGap")
            })
          )
          yield* refused(forgetful.rebuild(totals, quick), "StreamGap")
          yield* here.runner.catchUp(totals)
          yield* here.isFold(totals)
        })
    )

    it.effect("also when it is the first event of a stream, and on the border of two pages", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const lost = yield* here.append(here.stream("a"), said(1))
        yield* here.append(here.stream("a"), said(2), said(3))
        const forgetful = yield* runnerOver({ log: leavingOut(lost.position) })
        const totals = here.totals()
        const first = yield* refused(forgetful.catchUp(totals, { ...quick, batchSize: 1 }), "StreamGap")
        assert.deepStrictEqual([first.expected, first.actual] as ReadonlyArray<number>, [1, 2])
        assert.deepStrictEqual(yield* here.rows(totals), [])
      })
    )

    it.effect("a filter that leaves events of a stream out allows holes", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        yield* here.append(here.stream("a"), said(1), said(2, { type: "Other" }), said(3))
        const lost = yield* here.append(here.stream("a"), said(4))
        yield* here.append(here.stream("a"), said(5))
        const byType = here.totals({ filters: [{ category: here.category, type: "Said" }] })
        const forgetful = yield* runnerOver({ log: leavingOut(lost.position) })
        assert.strictEqual(yield* forgetful.catchUp(byType), 3)
        yield* here.isFold(byType, new Set([lost.position]))
      })
    )

    it.effect(
      "a stream that was deleted and written again has no hole, read from the beginning or gone on with",
      () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          const known = here.totals({ name: here.name("_known") })
          const late = here.totals({ name: here.name("_late") })
          yield* here.append(here.stream("a"), said(1), said(2))
          const before = yield* here.log()
          yield* here.runner.catchUp(known)
          yield* here.append(here.stream("a"), said(3))
          yield* here.store.deleteStream(here.stream("a"))
          const again = yield* here.append(here.stream("a"), said(4), said(5))
          assert.strictEqual(again.appends[0]!.version, 5)
          assert.strictEqual(yield* here.runner.catchUp(known), 2)
          assert.strictEqual(yield* here.runner.catchUp(late), 2)
          yield* here.isFold(late)
          const rows = yield* here.rows(known)
          assert.strictEqual(rows[0]!.row.events, before.length + 2)
          // Behind the deletion a hole is one.
          const lost = yield* here.append(here.stream("a"), said(6))
          yield* here.append(here.stream("a"), said(7))
          const forgetful = yield* runnerOver({ log: leavingOut(lost.position) })
          yield* refused(forgetful.catchUp(late, quick), "StreamGap")
        })
    )

    it.effect("a stream that was archived and goes on has no hole", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.append(here.stream("a"), said(1))
        yield* here.append(here.stream("b"), said(10))
        yield* here.runner.catchUp(totals)
        yield* here.append(here.stream("a"), said(2), said(3))
        yield* here.store.archiveStream(here.stream("a"))
        yield* here.append(here.stream("a"), said(4))
        yield* here.runner.catchUp(totals, quick)
        const events = yield* here.wanted(totals)
        assert.strictEqual(yield* here.position(totals), (yield* here.store.head) as number)
        const rows = yield* here.rows(totals)
        const a = events.filter((event) => event.streamId === here.stream("a")).length
        assert.strictEqual(rows[0]!.row.events, a + 1)
      })
    )
  })

  describe("another log", () => {
    it.effect("a checkpoint that is ahead of the log is not taken for the end of it", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(3)
        yield* here.runner.catchUp(totals)
        const other = yield* Effect.provide(EventStore, Memory.layer())
        const restored = yield* runnerOver({ log: () => other })
        yield* refused(restored.catchUp(totals, quick), "CursorAheadOfLog")
        yield* refused(restored.catchUpPersistent(totals, quick), "CursorAheadOfLog")
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const running = yield* restored.run([totals], quick)
            yield* inPhase(running.status, "failed")
            const failure = Option.getOrThrow((yield* running.status)[0]!.failure)
            assert.strictEqual((failure.cause as { readonly _tag: string })._tag, "CursorAheadOfLog")
          })
        )
        yield* here.isFold(totals)
      })
    )
  })
}

// ---- internal ----

/** A log whose consumers never get the event of one position. */
const leavingOut =
  (position: number) =>
  (log: EventStore["Type"]): EventStore["Type"] =>
    EventStore.of({
      ...log,
      readAfter: (query) =>
        Effect.map(log.readAfter(query), (page) => ({
          ...page,
          events: page.events.filter((event) => event.position !== position)
        }))
    })
