/** Several rebuilt at once: one result each, whatever happens to the others, and one scan of the log for all. */
import { assert, describe } from "@effect/vitest"
import { EventStore } from "@millrace/core/EventStore"
import type { ConcurrentRebuildOptions, RebuildResult } from "@millrace/core/ProjectionRunner"
import type { RebuildProgress } from "@millrace/core/RebuildProgress"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ProjectingIt } from "./ProjectingScene.js"
import { noting, projectingScene, quick, runnerOver, said } from "./ProjectingScene.js"
import { refused } from "./Scene.js"

export const projectingConcurrently = (it: ProjectingIt): void => {
  describe("rebuilding several at once", () => {
    it.effect("each gives a result, in order, and one that fails leaves the others", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        yield* here.fill(60)
        const names = ["_a", "_bad", "_b", "_c"]
        const projections = names.map((suffix) =>
          here.totals({
            name: here.name(suffix),
            ...(suffix === "_bad"
              ? {
                  evolve: () => {
                    throw new Error("broken")
                  }
                }
              : {})
          })
        )
        const told: Array<RebuildProgress> = []
        const results = yield* here.runner.rebuildConcurrent(projections, {
          ...quick,
          onProgress: noting(told)
        })
        assert.deepStrictEqual(
          results.map(({ _tag, projectionName }) => [_tag, projectionName]),
          names.map((suffix) => [suffix === "_bad" ? "Failed" : "Rebuilt", here.name(suffix)])
        )
        assert.strictEqual(errorOf(results[1]!)?._tag, "HandlerError")
        for (const index of [0, 2, 3]) yield* here.isFold(projections[index]!)
        assert.deepStrictEqual(
          told
            .filter(({ done }) => done)
            .map(({ projectionName }) => projectionName)
            .sort(),
          [here.name("_a"), here.name("_b"), here.name("_c")].sort()
        )
      })
    )

    it.effect("those that want the same events read each page once between them", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        yield* here.fill(1_000)
        const projections = ["_a", "_b", "_c", "_d"].map((suffix) => here.totals({ name: here.name(suffix) }))
        const pages = new Map<number, number>()
        const counting = yield* runnerOver({
          log: (log) =>
            EventStore.of({
              ...log,
              readAfter: (query) =>
                Effect.tap(log.readAfter(query), ({ events }) => {
                  const first = events[0]?.position
                  if (first !== undefined && events.length === query.limit)
                    pages.set(first, (pages.get(first) ?? 0) + 1)
                })
            })
        })
        const results = yield* counting.rebuildConcurrent(projections, { ...quick, batchSize: 50 })
        for (const result of results) assert.strictEqual(result._tag, "Rebuilt")
        for (const projection of projections) yield* here.isFold(projection)
        // The last full page may end at the head, and what ends there is not kept.
        const counts = [...pages.values()].slice(0, -1)
        assert.isAtLeast(counts.length, 19)
        assert.deepStrictEqual(
          counts.filter((count) => count !== 1),
          []
        )
      })
    )

    it.effect("one at a time they come to the same", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        yield* here.fill(50)
        const projections = ["_a", "_b"].map((suffix) => here.totals({ name: here.name(suffix) }))
        const results = yield* here.runner.rebuildConcurrent(projections, { concurrency: 1, mode: "inPlace" })
        assert.deepStrictEqual(
          results.map((result) => (result._tag === "Rebuilt" ? result.rebuilt.processed : errorOf(result))),
          [50, 50]
        )
        for (const projection of projections) yield* here.isFold(projection)
        assert.deepStrictEqual(yield* here.runner.rebuildConcurrent([]), [])
      })
    )

    it.effect("a name that is there twice is refused, and so are more at once than 32; nothing is done", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        yield* here.append(here.stream("a"), said(1))
        const totals = here.totals()
        const fieldOf = (given: ReadonlyArray<typeof totals>, options?: ConcurrentRebuildOptions) =>
          Effect.map(
            refused(here.runner.rebuildConcurrent(given, options), "InvalidArgument"),
            ({ field }) => field
          )
        assert.strictEqual(yield* fieldOf([totals, totals]), "projections")
        assert.strictEqual(yield* fieldOf([totals], { concurrency: 33 }), "concurrency")
        assert.strictEqual(yield* fieldOf([totals], { concurrency: 0 }), "concurrency")
        assert.deepStrictEqual(yield* here.rows(totals), [])
        const [result] = yield* here.runner.rebuildConcurrent([totals], { concurrency: 32 })
        assert.strictEqual(result!._tag, "Rebuilt")
      })
    )
  })
}

// ---- internal ----

/** What a rebuild that failed says. */
const errorOf = (result: RebuildResult) =>
  result._tag === "Failed" ? Option.getOrUndefined(Cause.failureOption(result.cause)) : undefined
