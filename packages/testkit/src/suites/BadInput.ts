/** Wrong arguments: each is refused by a typed error that names the field, and nothing is written. */
import { assert, describe } from "@effect/vitest"
import type { AppendCondition } from "@millrace/core/Append"
import type { WriteError } from "@millrace/core/WriteError"
import * as Effect from "effect/Effect"
import { astral, badTexts } from "./OddTexts.js"
import type { SuiteIt } from "./Scene.js"
import { happened, invalidAppends, numbered, refused, scene, unchanged, version, wrong } from "./Scene.js"

export const badInput = (it: SuiteIt): void => {
  describe("bad input", () => {
    it.effect("a write without appends, or an append without events, is missing its data", () =>
      Effect.gen(function* () {
        const here = yield* scene("missing")
        const { store, stream } = here
        const good = { streamId: stream("good"), events: numbered(1) }
        const missing = (appends: unknown, field: string) =>
          Effect.gen(function* () {
            const write = refused(store.write(wrong(appends)), "MissingData")
            const error = yield* unchanged(here, [stream("good"), stream("a")], write)
            assert.strictEqual(error.field, field)
          })
        yield* missing([], "appends")
        yield* missing({ streamId: stream("a"), events: [] }, "appends[0].events")
        yield* missing([good, { streamId: stream("a"), events: [] }], "appends[1].events")
        yield* missing([good, { streamId: stream("a") }], "appends[1].events")
        yield* missing([good, { streamId: stream("a"), events: null }], "appends[1].events")
        yield* missing([good, { streamId: stream("a"), events: "x" }], "appends[1].events")
        const blank = { streamId: stream("a"), events: [happened(), happened("")] }
        yield* missing([good, blank], "appends[1].events[1].type")
        const untyped = { streamId: stream("a"), events: [happened(), { data: 1 }] }
        yield* missing([good, untyped], "appends[1].events[1].type")
      })
    )

    it.effect("what is no append at all is refused by its place", () =>
      Effect.gen(function* () {
        const here = yield* scene("append")
        yield* invalidAppends(
          here,
          [null, undefined, "a/b", 5].map((append) => ["appends[1]", append])
        )
        const error = yield* refused(here.store.write(wrong(undefined)), "InvalidArgument")
        assert.strictEqual(error.field, "appends[0]")
      })
    )

    it.effect("a name that is no stream id is refused everywhere, with the reason", () =>
      Effect.gen(function* () {
        const here = yield* scene("names")
        const { store, stream } = here
        const names: ReadonlyArray<unknown> = [
          ...badTexts.map((text) => (typeof text === "string" ? stream(text) : text)),
          "",
          "/",
          "noslash",
          "/noCategory",
          stream("x".repeat(256 - stream("").length)),
          stream(astral(256 - stream("").length)),
          undefined
        ]
        const good = { streamId: stream("good"), events: numbered(1) }
        const attempts = Effect.forEach(names, (name) => {
          const id = wrong<string>(name)
          return Effect.forEach(
            [
              () => Effect.asVoid(store.write([good, { streamId: id, events: numbered(1) }])),
              () => Effect.asVoid(store.streamVersion(id)),
              () => Effect.asVoid(store.deleteStream(id)),
              () => Effect.asVoid(store.deleteStream(id, { tombstone: true })),
              () => Effect.asVoid(store.archiveStream(id))
            ],
            (call) =>
              Effect.map(
                refused(Effect.suspend<void, WriteError, never>(call), "InvalidStreamId"),
                (error) => {
                  assert.isAbove(error.reason.length, 0)
                  assert.isAtMost(error.streamId.length, 80)
                }
              )
          )
        })
        yield* unchanged(here, [stream("good")], attempts)
      })
    )

    it.effect("an expected version that is none is refused, when writing and when deleting", () =>
      Effect.gen(function* () {
        const here = yield* scene("expected")
        const { store, stream } = here
        yield* here.append(stream("bad"), "A")
        const versions = [-1, 0.5, NaN, Infinity, 2 ** 53, "1", "none", "", 1n, {}, true]
        yield* invalidAppends(
          here,
          [...versions, null].map((expected) => [
            "appends[1].expected",
            { streamId: stream("bad"), events: numbered(1), expected }
          ])
        )
        const deletions = Effect.forEach(versions, (expected) =>
          Effect.map(
            refused(store.deleteStream(stream("bad"), { expected: wrong(expected) }), "InvalidArgument"),
            (error) => assert.strictEqual(error.field, "expected")
          )
        )
        yield* unchanged(here, [stream("bad")], deletions)
      })
    )

    it.effect("a routing key that no store keeps is refused", () =>
      Effect.gen(function* () {
        const here = yield* scene("routing")
        yield* invalidAppends(
          here,
          badTexts.map((routingKey) => [
            "appends[1].routingKey",
            { streamId: here.stream("bad"), events: numbered(1), routingKey }
          ])
        )
      })
    )

    it.effect("more than 1 000 appends or 10 000 events in a write are refused", () =>
      Effect.gen(function* () {
        const here = yield* scene("many")
        const { store, stream } = here
        const one = { streamId: stream("a"), events: numbered(1) }
        for (const appends of [
          Array.from({ length: 1_001 }, () => one),
          [
            { streamId: stream("a"), events: numbered(5_000) },
            { streamId: stream("b"), events: numbered(5_001) }
          ]
        ]) {
          const error = yield* unchanged(
            here,
            [stream("a")],
            refused(store.write(appends), "InvalidArgument")
          )
          assert.strictEqual(error.field, "appends")
        }
        const long = { streamId: stream("a"), events: numbered(10_001) }
        const error = yield* unchanged(here, [stream("a")], refused(store.write(long), "InvalidArgument"))
        assert.strictEqual(error.field, "appends[0].events")
      })
    )

    it.effect("a condition with a wrong field is refused by the path of the field", () =>
      Effect.gen(function* () {
        const here = yield* scene("condition")
        const append = { streamId: here.stream("bad"), events: numbered(1) }
        const filters = [{ type: "E" }]
        const cases: ReadonlyArray<readonly [string, unknown]> = [
          ["condition", null],
          ["condition", "E"],
          ["condition.filters", {}],
          ["condition.filters", { after: 0 }],
          ["condition.filters", { filters: [], after: 0 }],
          ["condition.filters", { filters: "E", after: 0 }],
          ["condition.filters", { filters: { type: "E" }, after: 0 }],
          ["condition.filters", { filters: Array.from({ length: 101 }, () => ({ type: "E" })), after: 0 }],
          ["condition.filters[1]", { filters: [{ type: "E" }, null], after: 0 }],
          ["condition.filters[0].typ", { filters: [{ typ: "E" }], after: 0 }],
          ["condition.filters[0].type", { filters: [{ type: "" }], after: 0 }],
          ["condition.filters[0].category", { filters: [{ category: "a/b" }], after: 0 }],
          ["condition.filters[0].tags", { filters: [{ tags: "t" }], after: 0 }],
          ["condition.after", { filters }],
          ["condition.after", { filters, after: -1 }],
          ["condition.after", { filters, after: 0.5 }],
          ["condition.after", { filters, after: "0" }],
          ["condition.after", { filters, after: null }],
          ["condition.after", { filters, after: 2 ** 53 }]
        ]
        yield* invalidAppends(
          here,
          cases.map(([field, condition]) => [field, append, { condition: wrong<AppendCondition>(condition) }])
        )
      })
    )

    it.effect("the first wrong argument of a write is the one that is named", () =>
      Effect.gen(function* () {
        const here = yield* scene("first")
        const write = here.store.write(
          [
            { streamId: here.stream("a"), events: [happened("E", { tags: [""] })] },
            { streamId: "bad", events: [], expected: version(0) }
          ],
          { condition: wrong({}) }
        )
        assert.strictEqual((yield* refused(write, "InvalidArgument")).field, "appends[0].events[0].tags[0]")
      })
    )

    it.effect("no message of a refusal has lines or lengths without end", () =>
      Effect.gen(function* () {
        const { store, stream } = yield* scene("message")
        const long = "secret\n".repeat(1_000)
        const write = store.write({ streamId: stream("a"), events: [{ type: long, data: 1 }] })
        const error = yield* refused(write, "InvalidArgument")
        assert.isAtMost(error.message.length, 500)
        assert.notInclude(error.message, "\n")
        const named = yield* refused(store.streamVersion(long), "InvalidStreamId")
        assert.isAtMost(named.message.length, 500)
        assert.notInclude(named.message, "\n")
      })
    )
  })
}
