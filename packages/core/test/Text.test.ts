/** Lengths, order and prefixes of texts agree with the UTF-8 that the databases keep. */
import { assert, describe, it } from "@effect/vitest"
import { afterPrefix, compareUtf8, countCodePoints, textFault, utf8Bytes } from "@millrace/core/Text"
import * as FC from "effect/FastCheck"

/** Texts of every plane, with many from where UTF-8 and UTF-16 differ in order. */
const edges = [
  "a",
  "\u007f",
  "\u0080",
  "\u07ff",
  "\u0800",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "\u{10000}",
  "🦄",
  "\u{10ffff}"
]
const text = FC.oneof(
  FC.string({ unit: "binary" }),
  FC.array(FC.constantFrom(...edges), { maxLength: 6 }).map((parts) => parts.join(""))
)

describe("texts", () => {
  it("compareUtf8 orders as the bytes do", () => {
    FC.assert(
      FC.property(text, text, (a, b) => {
        assert.strictEqual(compareUtf8(a, b), Buffer.compare(Buffer.from(a), Buffer.from(b)))
      }),
      { numRuns: 2_000 }
    )
  })

  it("compareUtf8 orders every pair of edges of the planes, alone and after a common start", () => {
    for (const a of edges) {
      for (const b of edges) {
        const expected = Buffer.compare(Buffer.from(a), Buffer.from(b))
        assert.strictEqual(compareUtf8(a, b), expected)
        assert.strictEqual(
          compareUtf8(`🦄${a}x`, `🦄${b}`),
          Buffer.compare(Buffer.from(`${a}x`), Buffer.from(b))
        )
      }
    }
    assert.strictEqual(compareUtf8("", ""), 0)
    assert.strictEqual(compareUtf8("a", "ab"), -1)
    assert.strictEqual(compareUtf8("ab", "a"), 1)
    assert.strictEqual(compareUtf8("\uffff", "🦄"), -1)
  })

  it("utf8Bytes counts the bytes", () => {
    FC.assert(
      FC.property(text, (value) => {
        assert.strictEqual(utf8Bytes(value), Buffer.byteLength(value))
      }),
      { numRuns: 2_000 }
    )
  })

  it("countCodePoints counts an emoji once, and each half of none", () => {
    FC.assert(
      FC.property(text, (value) => {
        assert.strictEqual(countCodePoints(value), Array.from(value).length)
      })
    )
    for (const value of ["\ud83e", "\udd84\ud83e", "a\ud83e", "\ud83e🦄", "🦄\udd84", ""]) {
      assert.strictEqual(countCodePoints(value), Array.from(value).length)
    }
  })

  it("afterPrefix: what starts with the prefix lies in the range, and nothing else does", () => {
    FC.assert(
      FC.property(text, text, (prefix, value) => {
        const after = afterPrefix(prefix)
        const inRange = (text: string) =>
          compareUtf8(prefix, text) <= 0 && (after === undefined || compareUtf8(text, after) < 0)
        assert.strictEqual(inRange(value), value.startsWith(prefix))
        assert.isTrue(inRange(prefix + value))
        if (after !== undefined) {
          assert.isTrue(after.isWellFormed())
          assert.isFalse(after.startsWith(prefix))
        }
      }),
      { numRuns: 5_000 }
    )
  })

  it("afterPrefix steps over the surrogates, and the greatest texts have none after them", () => {
    assert.strictEqual(afterPrefix("a"), "b")
    assert.strictEqual(afterPrefix("a\ud7ff"), "a\ue000")
    assert.strictEqual(afterPrefix("a\uffff"), "a\u{10000}")
    assert.strictEqual(afterPrefix("a\u{10ffff}\u{10ffff}"), "b")
    assert.strictEqual(afterPrefix("\u{10ffff}"), undefined)
    assert.strictEqual(afterPrefix(""), undefined)
  })

  it("textFault says why a text may not be stored", () => {
    assert.strictEqual(textFault("x", 1), undefined)
    assert.strictEqual(textFault("🦄🦄", 2), undefined)
    assert.strictEqual(textFault("🦄🦄🦄", 2), "is longer than 2 characters")
    assert.strictEqual(textFault("", 1), "is empty")
    assert.strictEqual(textFault("a\u0000", 5), "contains NUL")
    assert.strictEqual(textFault("\ud83e", 5), "contains a lone surrogate")
    assert.strictEqual(textFault("\udd84\ud83e", 5), "contains a lone surrogate")
    for (const value of [undefined, null, 5, {}, ["a"]])
      assert.strictEqual(textFault(value, 5), "is not a string")
  })
})
