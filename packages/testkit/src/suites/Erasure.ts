/** Erasure, the right to be forgotten: the data goes for good, the place in the log stays. */
import { assert, describe } from "@effect/vitest"
import type { EventFilter } from "@millrace/core/EventFilter"
import { SnapshotStore } from "@millrace/core/SnapshotStore"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { SuiteIt } from "./Scene.js"
import { happened, refused, scene, typesOf, unchanged, version, wrong } from "./Scene.js"

export const erasure = (it: SuiteIt): void => {
  describe("erasure", () => {
    it.effect("data is replaced and the event marked; everything else stays", () =>
      Effect.gen(function* () {
        const { append, log, store, stream, streamOf } = yield* scene("erased")
        const more = { tags: ["t"], metadata: { correlationId: "c", causationId: "d", n: 1 } }
        yield* append(stream("a"), happened("Secret", { data: { name: "Ada" }, ...more }), "Other")
        yield* append(stream("b"), happened("Secret", { data: { name: "Bob" } }))
        const before = yield* log()
        assert.strictEqual(
          yield* store.eraseEvents({ streamId: stream("a"), type: "Secret" }, { gone: true }),
          1
        )
        const after = yield* log()
        assert.deepStrictEqual(after[0], { ...before[0]!, data: { gone: true }, erased: true })
        assert.deepStrictEqual(after.slice(1), before.slice(1))
        assert.deepStrictEqual(yield* streamOf(stream("a")), after.slice(0, 2))
        assert.strictEqual(yield* store.streamVersion(stream("a")), 2)
        const { appends } = yield* append(stream("a"), "Next")
        assert.strictEqual(appends[0]?.version, 3)
      })
    )

    it.effect("every field of a filter chooses the events, and their number is given back", () =>
      Effect.gen(function* () {
        const { append, category, log, store, stream } = yield* scene("erased")
        yield* append(stream("a/1"), happened("A", { tags: ["t", "u"] }), happened("B", { tags: ["t"] }))
        yield* append(stream("a/2"), happened("A", { tags: ["u"] }), "C")
        yield* append(`${category}2/a/1`, "A")
        const cases: ReadonlyArray<readonly [EventFilter, number]> = [
          [{ category, type: "A" }, 2],
          [{ category, tags: ["t"] }, 2],
          [{ category, tags: ["u", "t"] }, 1],
          [{ streamId: stream("a/2") }, 2],
          [{ prefix: stream("a/") }, 4],
          [{ prefix: stream("%") }, 0],
          [{ category }, 4],
          [{ category: `${category}3` }, 0],
          [{ prefix: category }, 5]
        ]
        for (const [index, [filter, count]] of cases.entries()) {
          assert.strictEqual(yield* store.eraseEvents(filter, index), count, JSON.stringify(filter))
          const found = (yield* log()).filter((event) => event.erased && event.data === index)
          assert.strictEqual(found.length, count, JSON.stringify(filter))
          assert.deepStrictEqual(typesOf(found), typesOf(yield* log({ filters: [filter] })))
        }
      })
    )

    it.effect("any JSON value may stand in place of the data, also of an event that was erased before", () =>
      Effect.gen(function* () {
        const { append, store, stream, streamOf } = yield* scene("erased")
        yield* append(stream("a"), happened("A", { data: { name: "Ada" } }))
        for (const value of [null, {}, [], "", 0, false, "it's \u0000 🦄", { deep: [{ list: [1] }] }]) {
          assert.strictEqual(yield* store.eraseEvents({ streamId: stream("a") }, value), 1)
          const [event] = yield* streamOf(stream("a"))
          assert.deepStrictEqual(event?.data, value)
          assert.isTrue(event?.erased)
        }
      })
    )

    it.effect("archived events are erased too, and stay archived", () =>
      Effect.gen(function* () {
        const { append, category, log, store, stream, streamOf } = yield* scene("erased")
        yield* append(stream("a"), "A1")
        yield* store.archiveStream(stream("a"))
        yield* append(stream("a"), "A2")
        assert.strictEqual(yield* store.eraseEvents({ category }, "gone"), 2)
        assert.deepStrictEqual(
          (yield* streamOf(stream("a"))).map((event) => [event.data, event.erased]),
          [
            ["gone", true],
            ["gone", true]
          ]
        )
        assert.deepStrictEqual(typesOf(yield* log()), ["A2"])
      })
    )

    it.effect("events appended later are not erased", () =>
      Effect.gen(function* () {
        const { append, category, log, store, stream } = yield* scene("erased")
        yield* append(stream("a"), "A1")
        yield* store.eraseEvents({ category }, null)
        yield* append(stream("a"), happened("A2", { data: 2 }))
        assert.deepStrictEqual(
          (yield* log()).map((event) => event.erased),
          [true, false]
        )
      })
    )

    it.effect("the snapshots of the streams concerned are gone, those of others stay", () =>
      Effect.gen(function* () {
        const { append, category, store, stream } = yield* scene("erased")
        const snapshots = yield* SnapshotStore
        const schema = Schema.Struct({ name: Schema.String })
        const key = { revision: 1, schema }
        for (const id of ["a", "b", "c"]) {
          yield* append(stream(id), happened(id === "c" ? "Other" : "Secret"))
          for (const name of ["x", "y"]) {
            const saved = { ...key, name, streamId: stream(id), version: version(1), state: { name: "Ada" } }
            yield* snapshots.saveSnapshot(saved)
          }
        }
        yield* store.eraseEvents({ category, type: "Secret" }, null)
        for (const name of ["x", "y"]) {
          const get = (id: string) => snapshots.getSnapshot({ ...key, name, streamId: stream(id) })
          assert.isTrue(Option.isNone(yield* get("a")))
          assert.isTrue(Option.isNone(yield* get("b")))
          assert.isTrue(Option.isSome(yield* get("c")))
        }
      })
    )

    it.effect("a filter without a field is refused, and nothing is erased", () =>
      Effect.gen(function* () {
        const here = yield* scene("erased")
        const { append, category, store, stream } = here
        yield* append(stream("a"), "A")
        for (const filter of [{}, { tags: [] }, { category: undefined, tags: undefined }]) {
          const error = yield* unchanged(
            here,
            [],
            refused(store.eraseEvents(filter, null), "InvalidArgument")
          )
          assert.strictEqual(error.field, "filter")
        }
        for (const filter of [null, undefined, "all", 5, []]) {
          const error = yield* unchanged(
            here,
            [],
            refused(store.eraseEvents(wrong(filter), null), "InvalidArgument")
          )
          assert.strictEqual(error.field, "filter")
        }
        const misspelt = store.eraseEvents(wrong({ category, typ: "A" }), null)
        const error = yield* unchanged(here, [], refused(misspelt, "InvalidArgument"))
        assert.strictEqual(error.field, "filter.typ")
      })
    )

    it.effect("a replacement that is no JSON value is refused, and nothing is erased", () =>
      Effect.gen(function* () {
        const here = yield* scene("erased")
        const { append, category, store, stream } = here
        yield* append(stream("a"), "A")
        const cycle: Record<string, unknown> = {}
        cycle["self"] = cycle
        for (const replacement of [undefined, 1n, () => 1, Symbol("s"), cycle, { deep: 1n }]) {
          const erased = store.eraseEvents({ category }, replacement)
          const error = yield* unchanged(here, [], refused(erased, "InvalidArgument"))
          assert.strictEqual(error.field, "replacement")
        }
      })
    )
  })
}
