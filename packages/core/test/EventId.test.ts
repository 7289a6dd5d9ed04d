/** Ids of events: their form, and those that are derived from data. */
import { assert, describe, it } from "@effect/vitest"
import { deriveEventId, EventId, isEventId } from "@millrace/core/EventId"
import * as Either from "effect/Either"
import * as FC from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"

/** The first 128 bits of the hash as a number, written with 26 digits to the base of 32. */
const derived = (parts: ReadonlyArray<string>): string => {
  const hash = createHash("sha256")
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part)
  let value = BigInt(`0x${hash.digest("hex").slice(0, 32)}`)
  let text = ""
  for (let i = 0; i < 26; i++) {
    text = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[Number(value % 32n)]! + text
    value /= 32n
  }
  return text
}

describe("event ids", () => {
  it("a derived id is the start of the SHA-256 of its parts, each with its length", () => {
    FC.assert(
      FC.property(FC.array(FC.string({ unit: "binary" }), { maxLength: 5 }), (parts) => {
        const id = deriveEventId(...parts)
        assert.strictEqual(id, derived(parts))
        assert.isTrue(isEventId(id))
      }),
      { numRuns: 500 }
    )
  })

  it("the ids of a few facts, as they were at the first release: they may never change", () => {
    assert.strictEqual(deriveEventId(), "73P324567W3GA9NYZMS2CPZE94")
    assert.strictEqual(deriveEventId("flights-2001", "0"), "4GYV2PAM9E0KTZCT39RX7B27AV")
    assert.strictEqual(deriveEventId("é🦄", ""), "070Y066YZP9NBNAN44JB7F194B")
  })

  it("parts are kept apart: what is cut elsewhere is another fact", () => {
    const ids = [
      deriveEventId("ab", "c"),
      deriveEventId("a", "bc"),
      deriveEventId("abc"),
      deriveEventId("abc", "")
    ]
    assert.strictEqual(new Set(ids).size, ids.length)
    assert.notStrictEqual(deriveEventId("1:a"), deriveEventId("a"))
    assert.strictEqual(deriveEventId("a", "b"), deriveEventId("a", "b"))
  })

  it("26 characters of Crockford's base 32 in upper case are an id, anything else is none", () => {
    const good = ["0".repeat(26), `7${"Z".repeat(25)}`, "01ARZ3NDEKTSV4RRFFQ69G5FAV"]
    const bad = [
      "",
      "0".repeat(25),
      "0".repeat(27),
      `8${"0".repeat(25)}`,
      "01arz3ndektsv4rrffq69g5fav",
      ...["I", "L", "O", "U", "-", " ", "\n", "é"].map((letter) => "0".repeat(25) + letter),
      `${"0".repeat(26)}\n`,
      undefined,
      null,
      5
    ]
    for (const id of good) assert.isTrue(isEventId(id), id)
    for (const id of bad) assert.isFalse(isEventId(id), String(id))
    for (const id of good) assert.strictEqual(Schema.decodeUnknownSync(EventId)(id), id)
    for (const id of bad) assert.isTrue(Either.isLeft(Schema.decodeUnknownEither(EventId)(id)))
  })
})
