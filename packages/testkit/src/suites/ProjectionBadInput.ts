/** Arguments that no store accepts: refused by the name of the field, and nothing is written. */
import { assert, describe } from "@effect/vitest"
import type { GlobalProjectionCheckpoint } from "@millrace/core/ProjectionCheckpoint"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { StreamId } from "@millrace/core/StreamId"
import * as Effect from "effect/Effect"
import { badTexts } from "./OddTexts.js"
import type { ProjectionIt } from "./ProjectionScene.js"
import { checkpoint, epoch, projection } from "./ProjectionScene.js"
import { range, refused, wrong } from "./Scene.js"

/** A projection at 5, and an assertion that a call is refused for the field and leaves the projection as it was. */
const scene = Effect.gen(function* () {
  const here = yield* projection
  yield* here.save(5, { "a/1": 5 })
  return {
    ...here,
    good: checkpoint(5, { "a/1": 5 }),
    fails: (field: string, call: Effect.Effect<unknown, { readonly _tag: string }>) =>
      Effect.map(
        here.unchanged(refused(call as Effect.Effect<unknown, InvalidArgument>, "InvalidArgument")),
        (error) => {
          assert.strictEqual(error.field, field)
          assert.isAbove(error.allowed.length, 0)
          assert.isAtMost(error.actual.length, 80)
        }
      )
  }
})

/** What is neither a position nor a version. */
const badCounts: ReadonlyArray<unknown> = [-1, 0.5, NaN, Infinity, 2 ** 53, "1", null, undefined, 5n]

export const projectionBadInput = (it: ProjectionIt): void => {
  describe("bad input", () => {
    it.effect("a wrong name is refused", () =>
      Effect.gen(function* () {
        const { fails, good, store } = yield* scene
        for (const bad of badTexts) {
          const name = wrong<string>(bad)
          yield* fails("name", store.loadProjectionCheckpoint(name))
          yield* fails("name", store.loadProjectionCursors(name, ["a/1"]))
          yield* fails("name", store.getProjection(name))
          yield* fails("name", store.saveProjectionCheckpoint(name, good))
          yield* fails("name", store.advanceProjectionCursors(name, good, good))
          yield* fails("name", store.resetProjectionCheckpoint(name))
          yield* fails("name", store.claimProjection(name, epoch(1)))
        }
      })
    )

    it.effect("a wrong stream is refused", () =>
      Effect.gen(function* () {
        const { fails, good, name, store } = yield* scene
        const inCategory = badTexts.map((text) =>
          typeof text === "string" && text !== "" ? `a/${text}` : text
        )
        for (const bad of [...inCategory, "noslash", "/a", "a/"]) {
          const id = wrong<StreamId>(bad)
          yield* fails("streamIds[1]", store.loadProjectionCursors(name, ["a/1", id]))
          const more = { ...good, cursors: new Map(good.cursors).set(id, wrong(6)) }
          const shown =
            typeof bad === "string" ? JSON.stringify(bad) : bad === null || bad === 5 ? `${bad}` : "object"
          const field = `.cursors[${shown.length > 80 ? `${shown.slice(0, 79)}…` : shown}]`
          yield* fails(`checkpoint${field}`, store.saveProjectionCheckpoint(name, more))
          yield* fails(`current${field}`, store.advanceProjectionCursors(name, good, more))
        }
        const ids = range(0, 999).map((n) => (n === 700 || n === 800 ? "wrong" : `a/${n}`))
        yield* fails("streamIds[700]", store.loadProjectionCursors(name, ids))
      })
    )

    it.effect("a wrong position is refused", () =>
      Effect.gen(function* () {
        const { fails, good, name, store } = yield* scene
        for (const bad of badCounts) {
          const off = { ...good, position: wrong<GlobalProjectionCheckpoint["position"]>(bad) }
          yield* fails("checkpoint.position", store.saveProjectionCheckpoint(name, off))
          yield* fails("previous.position", store.advanceProjectionCursors(name, off, good))
          yield* fails("current.position", store.advanceProjectionCursors(name, good, off))
        }
      })
    )

    it.effect("a wrong version is refused", () =>
      Effect.gen(function* () {
        const { fails, good, name, store } = yield* scene
        for (const bad of badCounts) {
          const off = { ...good, cursors: new Map(good.cursors).set(wrong("a/2"), wrong(bad)) }
          yield* fails(`checkpoint.cursors["a/2"]`, store.saveProjectionCheckpoint(name, off))
          yield* fails(`current.cursors["a/2"]`, store.advanceProjectionCursors(name, good, off))
          // As with every optional thing: what is not there is none.
          if (bad === undefined || bad === null) continue
          const from = store.advanceProjectionCursors(name, off, checkpoint(6, { "a/2": 6 }))
          yield* fails(`previous.cursors["a/2"]`, from)
        }
      })
    )

    it.effect("what is no checkpoint, no map and no list is refused", () =>
      Effect.gen(function* () {
        const { fails, good, name, store } = yield* scene
        for (const bad of [null, undefined, {}, [], "a/1"]) {
          const off = { ...good, cursors: wrong<GlobalProjectionCheckpoint["cursors"]>(bad) }
          yield* fails("checkpoint.cursors", store.saveProjectionCheckpoint(name, off))
          yield* fails("previous.cursors", store.advanceProjectionCursors(name, off, good))
          yield* fails("current.cursors", store.advanceProjectionCursors(name, good, off))
        }
        for (const bad of [null, undefined, 1, "a/1"]) {
          yield* fails("checkpoint", store.saveProjectionCheckpoint(name, wrong(bad)))
          yield* fails("previous", store.advanceProjectionCursors(name, wrong(bad), good))
          yield* fails("current", store.advanceProjectionCursors(name, good, wrong(bad)))
          yield* fails("streamIds", store.loadProjectionCursors(name, wrong(bad)))
          yield* fails("listing", store.listProjections(wrong(bad)))
        }
      })
    )

    it.effect("a wrong revision, a wrong epoch and wrong options are refused", () =>
      Effect.gen(function* () {
        const { advance, claim, fails, name, reset, save, store } = yield* scene
        const writes = (field: string, options: never) =>
          Effect.all([
            fails(field, save(6, {}, options)),
            fails(field, advance([5, {}], [6, {}], options)),
            fails(field, reset(options))
          ])
        for (const bad of [-1, 0.5, NaN, 2 ** 53, "1", null]) {
          yield* writes("options.revision", wrong({ revision: bad }))
          yield* fails("options.revision", claim(1, wrong(bad)))
        }
        for (const bad of [0, -1, 0.5, NaN, 2 ** 53, "1", null]) {
          yield* writes("options.epoch", wrong({ epoch: bad }))
          yield* fails("epoch", store.claimProjection(name, wrong(bad)))
        }
        yield* fails("epoch", store.claimProjection(name, wrong(undefined)))
        for (const bad of [null, 5, "x"]) yield* writes("options", wrong(bad))
      })
    )

    it.effect("a wrong listing is refused", () =>
      Effect.gen(function* () {
        const { fails, store } = yield* scene
        for (const bad of [0, -1, 0.5, NaN, 10_001, "1", null, undefined])
          yield* fails("limit", store.listProjections({ limit: wrong(bad) }))
        for (const bad of badTexts) {
          yield* fails("prefix", store.listProjections({ prefix: wrong(bad), limit: 1 }))
          yield* fails("after", store.listProjections({ after: wrong(bad), limit: 1 }))
        }
      })
    )
  })
}
