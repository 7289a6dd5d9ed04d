/** Names of streams: what is one, its two parts, and the order of them. */
import { assert, describe, it } from "@effect/vitest"
import {
  categoryOf,
  compareStreamIds,
  idOf,
  InvalidStreamId,
  parseStreamId,
  StreamId,
  streamIdFault,
  streamIdOf
} from "@millrace/core/StreamId"
import * as Either from "effect/Either"
import * as FC from "effect/FastCheck"
import * as Schema from "effect/Schema"

const bad: ReadonlyArray<readonly [unknown, string]> = [
  ["", "is empty"],
  ["account", "has no '/' between category and id"],
  ["/42", "has no category before the first '/'"],
  ["/", "has no category before the first '/'"],
  ["account/", "has no id after the '/'"],
  ["a/\u0000", "contains NUL"],
  ["a/\ud83e", "contains a lone surrogate"],
  [`a/${"x".repeat(254)}`, "is longer than 255 characters"],
  [`a/${"🦄".repeat(254)}`, "is longer than 255 characters"],
  [undefined, "is not a string"],
  [42, "is not a string"]
]

describe("stream ids", () => {
  it("category/id of 3 to 255 code points is one, whatever the characters", () => {
    for (const id of [
      "a/b",
      "a/b/c",
      "a//",
      "a/ ",
      "%/_",
      "🦄/🦄",
      `a/${"x".repeat(253)}`,
      `a/${"🦄".repeat(253)}`
    ]) {
      assert.strictEqual(streamIdFault(id), undefined)
      assert.strictEqual(StreamId.make(id), id)
      assert.deepStrictEqual(parseStreamId(id), Either.right(StreamId.make(id)))
    }
  })

  it("anything else is refused with the reason", () => {
    for (const [value, reason] of bad) {
      assert.strictEqual(streamIdFault(value), reason)
      assert.isTrue(Either.isLeft(Schema.decodeUnknownEither(StreamId)(value)))
      const parsed = parseStreamId(value)
      assert.isTrue(Either.isLeft(parsed))
      if (Either.isLeft(parsed)) {
        assert.instanceOf(parsed.left, InvalidStreamId)
        assert.strictEqual(parsed.left.reason, reason)
        assert.isAtMost(parsed.left.streamId.length, 80)
      }
    }
  })

  it("parseStreamId refuses an object that has no text", () => {
    assert.isTrue(Either.isLeft(parseStreamId(Object.create(null))))
    assert.isTrue(Either.isLeft(parseStreamId(Symbol("s"))))
  })

  it("a name falls into its parts at the first slash", () => {
    const part = FC.string({ minLength: 1, maxLength: 20, unit: "grapheme-composite" })
    FC.assert(
      FC.property(part, part, (category, id) => {
        FC.pre(!category.includes("/") && !`${category}${id}`.includes("\u0000"))
        const streamId = streamIdOf(category, id)
        assert.strictEqual(streamId, `${category}/${id}`)
        assert.strictEqual(categoryOf(streamId), category)
        assert.strictEqual(idOf(streamId), id)
      })
    )
    assert.strictEqual(categoryOf("a/b/c"), "a")
    assert.strictEqual(idOf("a/b/c"), "b/c")
  })

  it("streamIdOf throws for parts that make no name", () => {
    for (const [category, id] of [
      ["a/b", "c"],
      ["", "c"],
      ["a", ""],
      ["a", "\u0000"],
      ["a", "x".repeat(254)]
    ] as const) {
      assert.throws(() => streamIdOf(category, id))
    }
  })

  it("names are ordered by their bytes", () => {
    const names = ["a/\uffff", "a/🦄", "a/b", "a-/b", "B/b", "a/"]
    assert.deepStrictEqual(
      names.toSorted(compareStreamIds),
      names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    )
  })
})
