/** What events carry comes back as it went in: names, texts and JSON of every kind. */
import { assert, describe } from "@effect/vitest"
import * as RoutingKey from "@millrace/core/RoutingKey"
import { categoryOf } from "@millrace/core/StreamId"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { astral, oddTexts } from "./OddTexts.js"
import type { SuiteIt } from "./Scene.js"
import { happened, ofScene, scene, typesOf } from "./Scene.js"

/** A list in a list in a list, `depth` deep. */
const nested = (depth: number): unknown => {
  let value: unknown = "bottom"
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { in: value }
  return value
}

const values: ReadonlyArray<readonly [what: string, value: unknown]> = [
  ["null", null],
  ["true", true],
  ["zero", 0],
  ["an empty text", ""],
  ["an empty list", []],
  ["an empty object", {}],
  ["a fraction", 0.1 + 0.2],
  ["the greatest number", Number.MAX_VALUE],
  ["the smallest number", Number.MIN_VALUE],
  ["the greatest safe integer", Number.MAX_SAFE_INTEGER],
  ["the least safe integer", Number.MIN_SAFE_INTEGER],
  ["an integer past it", 2 ** 64],
  ["U+0000 in a text", "a\u0000b"],
  ["U+0000 in a key", { "a\u0000b": "\u0000" }],
  ["lone surrogates", ["\ud800", "a\udc00", { "\udbff": 1 }]],
  ["a key __proto__", JSON.parse(`{"__proto__":{"polluted":true},"constructor":1,"toString":null}`)],
  ["empty and odd keys", { "": 1, " ": 2, "a.b": 3, $ref: 4, "'": 5, '"': 6, "\\": 7, "🦄": 8 }],
  ["keys that look like numbers", { 2: "b", 1: "a", "01": "c" }],
  ["a list of lists", [[[]], [[], [1, [2, [3]]]]]],
  ["1 000 levels", nested(1_000)],
  ["a long text", "ab🦄'\"\\\n".repeat(5_000)],
  ["every odd text", oddTexts.map(([, text]) => text)],
  ["text that looks like a date", "2001-01-01T00:00:00.000Z"]
]

export const content = (it: SuiteIt): void => {
  describe("content", () => {
    it.effect("data of every JSON kind comes back as it went in", () =>
      Effect.gen(function* () {
        const { append, stream, streamOf } = yield* scene("data")
        yield* append(
          stream("a"),
          ...values.map(([what, data]) => happened("E", { data, metadata: { what } }))
        )
        const events = yield* streamOf(stream("a"))
        assert.strictEqual(events.length, values.length)
        for (let i = 0; i < values.length; i++) {
          assert.strictEqual(JSON.stringify(events[i]!.data), JSON.stringify(values[i]![1]), values[i]![0])
          assert.deepStrictEqual(events[i]!.data, values[i]![1], values[i]![0])
        }
        assert.isUndefined(({} as { polluted?: boolean }).polluted)
      })
    )

    it.effect("metadata of every JSON kind comes back as it went in", () =>
      Effect.gen(function* () {
        const { append, stream, streamOf } = yield* scene("metadata")
        yield* append(stream("a"), ...values.map(([, value]) => happened("E", { metadata: { value } })))
        const events = yield* streamOf(stream("a"))
        for (let i = 0; i < values.length; i++) {
          assert.deepStrictEqual(events[i]!.metadata, { value: values[i]![1] }, values[i]![0])
        }
        const proto = JSON.parse(`{"__proto__":{"correlationId":"not mine"}}`)
        yield* append(stream("b"), happened("E", { metadata: proto }))
        const [event] = yield* streamOf(stream("b"))
        assert.deepStrictEqual(event?.metadata, proto)
        assert.isTrue(Option.isNone(event!.correlationId))
      })
    )

    it.effect("data is kept as JSON has it: what has no place in JSON is left out", () =>
      Effect.gen(function* () {
        const { append, stream, streamOf } = yield* scene("data")
        const data = { kept: 1, gone: undefined, time: new Date(0), list: [undefined, NaN], minus: -0 }
        yield* append(stream("a"), happened("E", { data, metadata: { gone: undefined } }))
        const [event] = yield* streamOf(stream("a"))
        assert.deepStrictEqual(event?.data, {
          kept: 1,
          time: "1970-01-01T00:00:00.000Z",
          list: [null, null],
          minus: 0
        })
        assert.deepStrictEqual(event?.metadata, {})
      })
    )

    it.effect("changing the objects handed in, or those given back, changes nothing in the log", () =>
      Effect.gen(function* () {
        const { append, stream, streamOf } = yield* scene("copies")
        const data = { list: [1] }
        const metadata = { note: ["x"] }
        const tags = ["t", "u"]
        yield* append(stream("a"), happened("E", { data, metadata, tags }))
        data.list.push(2)
        metadata.note.push("y")
        tags.push("v")
        const [event] = yield* streamOf(stream("a"))
        ;(event!.data as { list: Array<number> }).list.push(3)
        const [again] = yield* streamOf(stream("a"))
        assert.deepStrictEqual(again?.data, { list: [1] })
        assert.deepStrictEqual(again?.metadata, { note: ["x"] })
        assert.deepStrictEqual(again?.tags, ["t", "u"])
      })
    )

    it.effect("odd texts as stream names are names like any other, and no two are taken for one", () =>
      Effect.gen(function* () {
        const { append, category, log, store, stream, streamOf } = yield* scene("names")
        const names = oddTexts.flatMap(([, text]) => [
          stream(text),
          ...(text.includes("/") ? [] : [`${category}${text}/1`])
        ])
        for (const name of names) yield* append(name, happened("E", { data: name }))
        for (const name of names) {
          const events = yield* streamOf(name)
          assert.strictEqual(events.length, 1, name)
          assert.strictEqual(events[0]!.streamId, name)
          assert.strictEqual(events[0]!.data, name)
          assert.strictEqual(yield* store.streamVersion(name), 1)
        }
        assert.deepStrictEqual(
          (yield* log()).map((event) => event.streamId as string),
          names
        )
      })
    )

    it.effect("odd texts as types, tags, routing keys and metadata come back, and filters find them", () =>
      Effect.gen(function* () {
        const here = yield* scene("texts")
        const { log, stream, streamOf, write } = here
        for (const [index, [, text]] of oddTexts.entries()) {
          yield* write({
            streamId: stream(`${index}`),
            events: [
              { type: text, data: text, tags: [text, "all"], metadata: { correlationId: text, [text]: 1 } }
            ],
            routingKey: text
          })
        }
        for (const [index, [what, text]] of oddTexts.entries()) {
          const [event] = yield* streamOf(stream(`${index}`))
          assert.strictEqual(event?.type, text, what)
          assert.strictEqual(event?.data, text, what)
          assert.deepStrictEqual(event?.tags, [text, "all"], what)
          assert.deepStrictEqual(event?.correlationId, Option.some(text), what)
          assert.deepStrictEqual(event?.metadata, { correlationId: text, [text]: 1 }, what)
          const filter = { category: here.category }
          const byType = yield* log({ filters: [{ ...filter, type: text }] })
          const byTag = yield* log({ filters: [{ ...filter, tags: [text] }] })
          const byKey = yield* log({ filters: ofScene(here), routingKey: RoutingKey.value(text) })
          for (const found of [byType, byTag, byKey]) assert.deepStrictEqual(typesOf(found), [text], what)
        }
      })
    )

    it.effect("names, types, tags and routing keys may be 255 code points long, also of two units each", () =>
      Effect.gen(function* () {
        const here = yield* scene("long")
        const { category, log, store, stream, streamOf, write } = here
        for (const fill of ["x", "é", "🦄"]) {
          const text = fill.repeat(255)
          const longId = stream("") + fill.repeat(255 - stream("").length)
          const longCategory = `${category}${fill.repeat(253 - category.length)}/1`
          for (const name of [longId, longCategory]) {
            yield* write({ streamId: name, events: [happened(text, { tags: [text] })], routingKey: text })
            const [event] = yield* streamOf(name)
            assert.strictEqual(event?.streamId, name)
            assert.strictEqual(event?.type, text)
            assert.deepStrictEqual(event?.tags, [text])
            assert.strictEqual(yield* store.streamVersion(name), 1)
            const filters = [{ prefix: name, category: categoryOf(name), type: text, tags: [text] }]
            assert.strictEqual((yield* log({ filters, routingKey: RoutingKey.value(text) })).length, 1)
          }
        }
      })
    )

    it.effect("an event may have 64 tags of full length", () =>
      Effect.gen(function* () {
        const { append, category, log, stream } = yield* scene("tags")
        const tags = Array.from({ length: 64 }, (_, i) => `${i}`.padStart(2, "0") + astral(253))
        yield* append(stream("a"), happened("E", { tags }))
        const found = yield* log({ filters: [{ category, tags: tags.slice(48) }] })
        assert.deepStrictEqual(
          found.map((event) => event.tags),
          [tags]
        )
      })
    )
  })
}
