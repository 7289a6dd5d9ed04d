/** Archiving: events out of the log, not out of their stream. */
import { assert, describe } from "@effect/vitest"
import * as Page from "@millrace/core/Page"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { SuiteIt } from "./Scene.js"
import { happened, numbered, ofScene, scene, typesOf, version, versionsOf } from "./Scene.js"

export const archiving = (it: SuiteIt): void => {
  describe("archiving", () => {
    it.effect("archived events leave the log, and come back to who asks for them", () =>
      Effect.gen(function* () {
        const here = yield* scene("archived")
        const { append, log, store, stream } = here
        yield* append(stream("a"), "A1")
        yield* append(stream("b"), "B1")
        yield* append(stream("a"), "A2")
        const before = yield* log()
        assert.strictEqual(yield* store.archiveStream(stream("a")), 2)
        assert.deepStrictEqual(typesOf(yield* log()), ["B1"])
        assert.deepStrictEqual(typesOf(yield* log({ includeArchived: false })), ["B1"])
        assert.deepStrictEqual(yield* log({ includeArchived: true }), before)
        const filters = ofScene(here)
        const streamed = yield* Stream.runCollect(store.stream({ filters, includeArchived: true }))
        assert.deepStrictEqual(typesOf(Array.from(streamed)), ["A1", "B1", "A2"])
        assert.deepStrictEqual(typesOf(Array.from(yield* Stream.runCollect(store.stream({ filters })))), [
          "B1"
        ])
      })
    )

    it.effect("a read of the stream gives archived and later events alike", () =>
      Effect.gen(function* () {
        const { append, category, log, store, stream, streamOf } = yield* scene("archived")
        yield* append(stream("a"), "A1", "A2")
        yield* store.archiveStream(stream("a"))
        const { appends } = yield* append(stream("a"), "A3")
        assert.strictEqual(appends[0]?.firstVersion, 3)
        assert.strictEqual(yield* store.streamVersion(stream("a")), 3)
        assert.deepStrictEqual(versionsOf(yield* streamOf(stream("a"))), [1, 2, 3])
        assert.deepStrictEqual(typesOf(yield* log()), ["A3"])
        const filters = [{ streamId: stream("a"), category }]
        assert.deepStrictEqual(versionsOf(yield* log({ filters, includeArchived: false })), [1, 2, 3])
        assert.deepStrictEqual(versionsOf(yield* log({ filters, afterVersion: version(1) })), [2, 3])
        // Filters that name two streams are a read of the log.
        const two = [{ streamId: stream("a") }, { streamId: stream("b") }]
        assert.deepStrictEqual(versionsOf(yield* log({ filters: two })), [3])
      })
    )

    it.effect("archiving counts what is newly archived", () =>
      Effect.gen(function* () {
        const { append, log, store, stream } = yield* scene("archived")
        yield* append(stream("a"), "A1", "A2")
        assert.strictEqual(yield* store.archiveStream(stream("a")), 2)
        assert.strictEqual(yield* store.archiveStream(stream("a")), 0)
        yield* append(stream("a"), "A3")
        assert.strictEqual(yield* store.archiveStream(stream("a")), 1)
        assert.deepStrictEqual(yield* log(), [])
        assert.strictEqual(yield* store.archiveStream(stream("none")), 0)
      })
    )

    it.effect("every filter leaves archived events out, and pages count without them", () =>
      Effect.gen(function* () {
        const { append, category, log, store, stream } = yield* scene("archived")
        const event = happened("A", { tags: ["t"] })
        yield* append(stream("gone"), event)
        yield* append(stream("kept"), event, event)
        yield* append(stream("gone"), event)
        yield* store.archiveStream(stream("gone"))
        const all = [{ category }, { prefix: category }, { category, type: "A" }, { category, tags: ["t"] }]
        for (const filter of all) {
          assert.strictEqual((yield* log({ filters: [filter] })).length, 2)
          assert.strictEqual((yield* log({ filters: [filter], includeArchived: true })).length, 4)
          const page = yield* store.read({ filters: [filter], page: Page.forward({ first: 2 }) })
          assert.isFalse(page.pageInfo.hasNextPage)
          const after = page.edges[0]!.cursor
          const second = yield* store.read({ filters: [filter], page: Page.forward({ first: 1, after }) })
          assert.isFalse(second.pageInfo.hasNextPage)
          assert.isTrue(second.pageInfo.hasPreviousPage)
          const last = yield* store.read({ filters: [filter], page: Page.backward({ last: 2 }) })
          assert.isFalse(last.pageInfo.hasPreviousPage)
        }
      })
    )

    it.effect("archiving touches no other stream, neither versions nor what may be appended", () =>
      Effect.gen(function* () {
        const { append, log, store, stream, write } = yield* scene("archived")
        for (const id of ["a", "a/b", "ab"]) yield* append(stream(id), id)
        yield* store.archiveStream(stream("a"))
        assert.deepStrictEqual(typesOf(yield* log()), ["a/b", "ab"])
        yield* write({ streamId: stream("a"), events: numbered(1), expected: "exists" })
        yield* write({ streamId: stream("a"), events: numbered(1), expected: version(2) })
        const streams = yield* store.listStreams({ prefix: stream(""), limit: 10 })
        assert.deepStrictEqual(
          streams.map(({ version }) => Number(version)),
          [3, 1, 1]
        )
      })
    )
  })
}
