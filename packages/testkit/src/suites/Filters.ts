/** Filters: each field alone, together, in lists, and that texts are literal and compared whole. */
import { assert, describe } from "@effect/vitest"
import type { EventFilter } from "@millrace/core/EventFilter"
import * as RoutingKey from "@millrace/core/RoutingKey"
import * as Effect from "effect/Effect"
import type { Scene, SuiteIt } from "./Scene.js"
import { happened, numbered, ofScene, range, refused, scene, typesOf, unchanged } from "./Scene.js"

/** The types of the events that the filters find in the log. */
const found = ({ log }: Scene, ...filters: ReadonlyArray<EventFilter>) =>
  Effect.map(log({ filters }), (events) => typesOf(events))

export const filters = (it: SuiteIt): void => {
  describe("filters", () => {
    it.effect("each field alone finds its events and no others", () =>
      Effect.gen(function* () {
        const here = yield* scene("filters")
        const { append, category, stream } = here
        const [type, tag] = [`${category}!type`, `${category}!tag`]
        yield* append(stream("a"), happened(type), happened("B", { tags: [tag] }))
        yield* append(stream("b"), happened("C", { tags: ["x", tag, "y"] }), happened(type, { tags: ["x"] }))
        yield* append(`${category}2/a`, happened("D"))
        assert.deepStrictEqual(yield* found(here, { type }), [type, type])
        assert.deepStrictEqual(yield* found(here, { tags: [tag] }), ["B", "C"])
        assert.deepStrictEqual(yield* found(here, { tags: [tag, "x"] }), ["C"])
        assert.deepStrictEqual(yield* found(here, { streamId: stream("a") }), [type, "B"])
        assert.deepStrictEqual(yield* found(here, { category }), [type, "B", "C", type])
        assert.deepStrictEqual(yield* found(here, { prefix: category }), [type, "B", "C", type, "D"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("") }), [type, "B", "C", type])
      })
    )

    it.effect("the fields of one filter must all hold", () =>
      Effect.gen(function* () {
        const here = yield* scene("filters")
        const { append, category, stream } = here
        yield* append(stream("a/1"), happened("A", { tags: ["t", "u"] }), happened("B", { tags: ["t"] }), "A")
        yield* append(stream("a/2"), happened("A", { tags: ["t"] }))
        yield* append(`${category}2/a/1`, happened("A", { tags: ["t"] }))
        assert.strictEqual((yield* found(here, { category, type: "A" })).length, 3)
        assert.strictEqual((yield* found(here, { category, type: "A", tags: ["t"] })).length, 2)
        assert.strictEqual((yield* found(here, { category, tags: ["t", "u"] })).length, 1)
        assert.strictEqual(
          (yield* found(here, { streamId: stream("a/1"), type: "A", tags: ["t"] })).length,
          1
        )
        assert.strictEqual((yield* found(here, { prefix: stream("a/"), type: "A", tags: ["t"] })).length, 2)
        assert.strictEqual((yield* found(here, { streamId: stream("a/1"), category })).length, 3)
        assert.strictEqual((yield* found(here, { streamId: stream("a/1"), prefix: category })).length, 3)
        const everything = {
          category,
          streamId: stream("a/1"),
          prefix: stream("a"),
          type: "A",
          tags: ["u", "t"]
        }
        assert.strictEqual((yield* found(here, everything)).length, 1)
        // Fields that contradict one another match nothing.
        assert.deepStrictEqual(yield* found(here, { category: `${category}2`, streamId: stream("a/1") }), [])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("b"), streamId: stream("a/1") }), [])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("a"), category: `${category}2` }), [])
      })
    )

    it.effect("of a list one filter is enough, and an event that several match comes once", () =>
      Effect.gen(function* () {
        const here = yield* scene("filters")
        const { append, category, stream } = here
        yield* append(stream("a"), happened("A", { tags: ["t"] }), "B", happened("C", { tags: ["u"] }))
        yield* append(stream("b"), "A", "D")
        const streamId = stream("a")
        assert.deepStrictEqual(yield* found(here, { category, type: "A" }, { streamId }), [
          "A",
          "B",
          "C",
          "A"
        ])
        assert.deepStrictEqual(yield* found(here, { category, tags: ["t"] }, { category, tags: ["u"] }), [
          "A",
          "C"
        ])
        assert.deepStrictEqual(yield* found(here, { streamId }, { streamId }), ["A", "B", "C"])
        assert.deepStrictEqual(yield* found(here, { streamId }, { streamId: stream("b") }), [
          "A",
          "B",
          "C",
          "A",
          "D"
        ])
        assert.deepStrictEqual(yield* found(here, { streamId, type: "A" }, { streamId, type: "C" }), [
          "A",
          "C"
        ])
        assert.deepStrictEqual(yield* found(here, { category, type: "No" }, { streamId, type: "B" }), ["B"])
        const mixed: ReadonlyArray<EventFilter> = [
          { category, type: "D" },
          { prefix: stream("b"), type: "A" },
          { streamId, tags: ["u"] }
        ]
        assert.deepStrictEqual(yield* found(here, ...mixed), ["C", "A", "D"])
      })
    )

    it.effect("a list may have 100 filters, and a filter 16 tags", () =>
      Effect.gen(function* () {
        const here = yield* scene("filters")
        const { append, category, stream } = here
        const tags = range(1, 16).map((n) => `tag ${n}`)
        yield* append(stream("a"), happened("All", { tags }), happened("Some", { tags: tags.slice(1) }))
        for (const n of range(1, 99)) yield* append(stream(`${n}`), `T${n}`)
        const list = range(1, 99).map((n): EventFilter => ({ category, type: `T${n}` }))
        assert.strictEqual((yield* found(here, { category, tags }, ...list)).length, 100)
      })
    )

    it.effect("fields given as undefined, and an empty list of tags, are as good as left out", () =>
      Effect.gen(function* () {
        const here = yield* scene("filters")
        const { append, category, stream } = here
        yield* append(stream("a"), happened("A", { tags: ["t"] }), "B")
        const blank = { streamId: undefined, prefix: undefined, type: undefined, tags: undefined }
        assert.deepStrictEqual(yield* found(here, { ...blank, category }), ["A", "B"])
        assert.deepStrictEqual(yield* found(here, { ...blank, category, tags: [] }), ["A", "B"])
      })
    )

    it.effect(`category "a" never sees streams of "ab" or "a b", nor ids that look like it`, () =>
      Effect.gen(function* () {
        const here = yield* scene("filters")
        const { append, category, log } = here
        const own = [`${category}/1`, `${category}/1/2`, `${category}//`, `${category}/${category}/1`]
        const others = ["b", "-", "0", " ", "%", "_", "🦄", "é"].map((more) => `${category}${more}/1`)
        for (const streamId of [...others, ...own, `x${category}/1`, `x/${category}/1`])
          yield* append(streamId, "E")
        const events = yield* log({ filters: [{ category }] })
        assert.deepStrictEqual(
          events.map((event): string => event.streamId),
          own
        )
        // A part of the category is another category.
        assert.deepStrictEqual(yield* found(here, { category: category.slice(0, -1) }), [])
      })
    )

    it.effect("texts are compared letter by letter: case, accents and blanks count", () =>
      Effect.gen(function* () {
        const here = yield* scene("filters")
        const { append, category, stream } = here
        const texts = ["E", "e", "é", "e\u0301", "E ", " E", "ﬀ", "ff"]
        for (const text of texts) yield* append(stream(text), happened(text, { tags: [text] }))
        for (const text of texts) {
          assert.deepStrictEqual(yield* found(here, { category, type: text }), [text])
          assert.deepStrictEqual(yield* found(here, { category, tags: [text] }), [text])
          assert.deepStrictEqual(yield* found(here, { streamId: stream(text) }), [text])
        }
      })
    )

    it.effect("a prefix is literal: % and _ and * and backslashes mean themselves", () =>
      Effect.gen(function* () {
        const here = yield* scene("prefix")
        const { append, stream } = here
        for (const id of ["%1", "x1", "_1", "%_", "\\%1", "*1", "[a-z]1", "?1", "'1"])
          yield* append(stream(id), id)
        assert.deepStrictEqual(yield* found(here, { prefix: stream("%") }), ["%1", "%_"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("_") }), ["_1"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("%_") }), ["%_"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("\\") }), ["\\%1"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("\\%") }), ["\\%1"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("*") }), ["*1"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("[") }), ["[a-z]1"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("?") }), ["?1"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("'") }), ["'1"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("%1") }), ["%1"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("%1x") }), [])
      })
    )

    it.effect("a prefix takes whole code points: its neighbours in the order of bytes stay out", () =>
      Effect.gen(function* () {
        const here = yield* scene("prefix")
        const { append, stream } = here
        const edges = ["a", "b", "\u007f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff"]
        const astral = ["\u{10000}", "🦄", "\u{1f985}", "\u{10fffe}", "\u{10ffff}"]
        for (const text of [...edges, ...astral]) yield* append(stream(`${text}1`), text)
        for (const text of [...edges, ...astral]) {
          assert.deepStrictEqual(yield* found(here, { prefix: stream(text) }), [text])
        }
        yield* append(stream("\u{10ffff}\u{10ffff}"), "last")
        assert.deepStrictEqual(yield* found(here, { prefix: stream("\u{10ffff}") }), ["\u{10ffff}", "last"])
      })
    )

    it.effect("a prefix may end within the category, at the slash, within the id or be the whole name", () =>
      Effect.gen(function* () {
        const here = yield* scene("prefix")
        const { append, category, stream } = here
        yield* append(stream("ab"), "1")
        yield* append(stream("abc"), "2")
        yield* append(`${category}x/ab`, "3")
        assert.deepStrictEqual(yield* found(here, { prefix: category.slice(0, -2) }), ["1", "2", "3"])
        assert.deepStrictEqual(yield* found(here, { prefix: category }), ["1", "2", "3"])
        assert.deepStrictEqual(yield* found(here, { prefix: `${category}/` }), ["1", "2"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("ab") }), ["1", "2"])
        assert.deepStrictEqual(yield* found(here, { prefix: stream("abc") }), ["2"])
      })
    )

    // ---- routing keys ----

    it.effect("routing keys: all, those of one key, those without", () =>
      Effect.gen(function* () {
        const here = yield* scene("routing")
        const { log, stream, write } = here
        yield* write({ streamId: stream("a"), events: [happened("A")], routingKey: "north" })
        yield* write({ streamId: stream("b"), events: [happened("B")], routingKey: "north " })
        yield* write({ streamId: stream("c"), events: [happened("C")] })
        const read = (routingKey?: RoutingKey.RoutingKey, filters = ofScene(here)) =>
          Effect.map(log({ filters, routingKey }), typesOf)
        assert.deepStrictEqual(yield* read(), ["A", "B", "C"])
        assert.deepStrictEqual(yield* read(RoutingKey.all), ["A", "B", "C"])
        assert.deepStrictEqual(yield* read(RoutingKey.value("north")), ["A"])
        assert.deepStrictEqual(yield* read(RoutingKey.value("north ")), ["B"])
        assert.deepStrictEqual(yield* read(RoutingKey.value("nort_")), [])
        assert.deepStrictEqual(yield* read(RoutingKey.unkeyed), ["C"])
        assert.deepStrictEqual(yield* read(RoutingKey.value("north"), [{ streamId: stream("b") }]), [])
        assert.deepStrictEqual(yield* read(RoutingKey.value("north"), [{ streamId: stream("a") }]), ["A"])
        assert.deepStrictEqual(yield* read(RoutingKey.unkeyed, [{ streamId: stream("a") }]), [])
      })
    )

    it.effect("a stream keeps the key of its first append, also where later ones name none", () =>
      Effect.gen(function* () {
        const here = yield* scene("routing")
        const { append, log, stream, write } = here
        yield* write([
          { streamId: stream("a"), events: [happened("A1")], routingKey: "north" },
          { streamId: stream("a"), events: [happened("A2")] }
        ])
        yield* append(stream("a"), "A3")
        yield* write({ streamId: stream("a"), events: [happened("A4")], routingKey: "north" })
        const events = yield* log({ filters: ofScene(here), routingKey: RoutingKey.value("north") })
        assert.deepStrictEqual(typesOf(events), ["A1", "A2", "A3", "A4"])
      })
    )

    it.effect(
      "another key later is refused, also on a stream that began without, and nothing is written",
      () =>
        Effect.gen(function* () {
          const here = yield* scene("routing")
          const { append, store, stream, write } = here
          yield* write({ streamId: stream("keyed"), events: numbered(1), routingKey: "north" })
          yield* append(stream("bare"), "B")
          for (const [id, expected] of [["keyed", "north"] as const, ["bare", null] as const]) {
            const rekeyed = store.write([
              { streamId: stream("new"), events: numbered(1) },
              { streamId: stream(id), events: numbered(1), routingKey: "south" }
            ])
            const streams = [stream("new"), stream(id)]
            const error = yield* unchanged(here, streams, refused(rekeyed, "RoutingKeyMismatch"))
            assert.strictEqual(error.streamId, stream(id))
            assert.strictEqual(error.expected, expected)
            assert.strictEqual(error.actual, "south")
          }
          const twice = store.write([
            { streamId: stream("new"), events: numbered(1), routingKey: "north" },
            { streamId: stream("new"), events: numbered(1), routingKey: "south" }
          ])
          yield* unchanged(here, [stream("new")], refused(twice, "RoutingKeyMismatch"))
        })
    )
  })
}
