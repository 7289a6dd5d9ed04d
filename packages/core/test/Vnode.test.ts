/** The hash that every stored event carries: fixed for ever. */
import { assert, describe, it } from "@effect/vitest"
import { hash32, vnodeCount, vnodeOf } from "@millrace/core/Vnode"
import * as FC from "effect/FastCheck"

/** xxHash32 after its specification, seed 0, straight from the text. */
function xxh32(text: string): number {
  const [p1, p2, p3, p4, p5] = [2654435761, 2246822519, 3266489917, 668265263, 374761393] as const
  const bytes = Buffer.from(text)
  const rotate = (x: number, by: number) => (x << by) | (x >>> (32 - by))
  const round = (acc: number, lane: number) => Math.imul(rotate((acc + Math.imul(lane, p2)) | 0, 13), p1)
  let at = 0
  let hash: number
  if (bytes.length >= 16) {
    const acc: [number, number, number, number] = [(p1 + p2) | 0, p2 | 0, 0, -p1 | 0]
    for (; at <= bytes.length - 16; at += 16) {
      for (const lane of [0, 1, 2, 3] as const) acc[lane] = round(acc[lane], bytes.readInt32LE(at + 4 * lane))
    }
    hash = (rotate(acc[0], 1) + rotate(acc[1], 7) + rotate(acc[2], 12) + rotate(acc[3], 18)) | 0
  } else hash = p5 | 0
  hash = (hash + bytes.length) | 0
  for (; at <= bytes.length - 4; at += 4) {
    hash = Math.imul(rotate((hash + Math.imul(bytes.readInt32LE(at), p3)) | 0, 17), p4)
  }
  for (; at < bytes.length; at++) hash = Math.imul(rotate((hash + Math.imul(bytes[at]!, p5)) | 0, 11), p1)
  hash = Math.imul(hash ^ (hash >>> 15), p2)
  hash = Math.imul(hash ^ (hash >>> 13), p3)
  return (hash ^ (hash >>> 16)) >>> 0
}

describe("vnodes", () => {
  it("the published test vectors of xxHash32", () => {
    const vectors = [
      ["", 0x02cc5d05],
      ["a", 0x550d7456],
      ["abc", 0x32d153ff],
      ["Nobody inspects the spammish repetition", 0xe2293b2f]
    ] as const
    for (const [text, hash] of vectors) {
      assert.strictEqual(xxh32(text), hash, `this test's own, of "${text}"`)
      assert.strictEqual(hash32(text), hash)
      assert.strictEqual(vnodeOf(text), hash % 256)
    }
  })

  it("every text has the hash of its UTF-8 bytes, and the vnode is its last byte", () => {
    FC.assert(
      FC.property(FC.string({ unit: "binary", maxLength: 100 }), (text) => {
        assert.strictEqual(hash32(text), xxh32(text))
        assert.strictEqual(vnodeOf(text), xxh32(text) % vnodeCount)
      }),
      { numRuns: 2_000 }
    )
  })

  it("names like account/1 to account/100000 are spread evenly", () => {
    const counts = new Array<number>(vnodeCount).fill(0)
    const total = 100_000
    for (let i = 1; i <= total; i++) counts[vnodeOf(`account/${i}`)]!++
    // 390 each on average; a fair draw stays within 5 standard deviations (20 each).
    assert.isAbove(Math.min(...counts), 290)
    assert.isBelow(Math.max(...counts), 490)
  })
})
