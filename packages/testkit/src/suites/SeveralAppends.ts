/** Several appends in one write: all of them or none, in the order given. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { SuiteIt } from "./Scene.js"
import {
  happened,
  numbered,
  positionsOf,
  refused,
  scene,
  typesOf,
  unchanged,
  version,
  versionsOf
} from "./Scene.js"

export const severalAppends = (it: SuiteIt): void => {
  describe("several appends in one write", () => {
    it.effect("a write to several streams appends to each, in the caller's order", () =>
      Effect.gen(function* () {
        const { append, log, stream, write } = yield* scene("several")
        yield* append(stream("b"), "Zero")
        const result = yield* write([
          { streamId: stream("c"), events: [happened("C1"), happened("C2")], expected: "empty" },
          { streamId: stream("b"), events: [happened("B1")], expected: version(1) },
          { streamId: stream("a"), events: [happened("A1")] }
        ])
        assert.deepStrictEqual(
          result.appends.map(({ firstVersion, streamId, version }) => [streamId, firstVersion, version]),
          [
            [stream("c"), 1, 2],
            [stream("b"), 2, 2],
            [stream("a"), 1, 1]
          ]
        )
        const events = yield* log()
        assert.deepStrictEqual(typesOf(events), ["Zero", "C1", "C2", "B1", "A1"])
        assert.strictEqual(result.position, events[4]!.position)
        assert.deepStrictEqual(
          result.appends.map(({ firstPosition, position }) => [firstPosition, position]),
          [
            [events[1]!.position, events[2]!.position],
            [events[3]!.position, events[3]!.position],
            [events[4]!.position, events[4]!.position]
          ]
        )
      })
    )

    it.effect("one stream twice in a write is appended to twice, and the second sees the first", () =>
      Effect.gen(function* () {
        const { stream, streamOf, write } = yield* scene("twice")
        const result = yield* write([
          { streamId: stream("a"), events: [happened("A1"), happened("A2")], expected: "empty" },
          { streamId: stream("b"), events: [happened("B1")], expected: version(0) },
          { streamId: stream("a"), events: [happened("A3")], expected: version(2) },
          { streamId: stream("a"), events: [happened("A4")], expected: "exists" }
        ])
        assert.deepStrictEqual(
          result.appends.map(({ firstVersion, version }) => [firstVersion, version]),
          [
            [1, 2],
            [1, 1],
            [3, 3],
            [4, 4]
          ]
        )
        const events = yield* streamOf(stream("a"))
        assert.deepStrictEqual(typesOf(events), ["A1", "A2", "A3", "A4"])
        assert.deepStrictEqual(versionsOf(events), [1, 2, 3, 4])
        assert.deepStrictEqual(
          positionsOf(events),
          [...positionsOf(events)].sort((a, b) => a - b)
        )
      })
    )

    it.effect("one stream twice in a write: a second append that no longer holds fails the whole write", () =>
      Effect.gen(function* () {
        const here = yield* scene("twice")
        const { store, stream } = here
        for (const expected of ["empty", version(0), version(2)] as const) {
          const write = store.write([
            { streamId: stream("a"), events: numbered(1), expected: "empty" },
            { streamId: stream("a"), events: numbered(1), expected }
          ])
          const error = yield* unchanged(here, [stream("a")], refused(write, "InvalidOriginalVersion"))
          assert.strictEqual(error.expected, expected)
          assert.strictEqual(error.actual, 1)
        }
      })
    )

    it.effect("when a later append of a write conflicts, nothing of the earlier ones is written", () =>
      Effect.gen(function* () {
        const here = yield* scene("nothing")
        const { append, store, stream } = here
        yield* append(stream("b"), "One")
        const write = store.write([
          { streamId: stream("a"), events: numbered(2), expected: "empty" },
          { streamId: stream("c"), events: numbered(1) },
          { streamId: stream("b"), events: numbered(1), expected: version(0) }
        ])
        const streams = [stream("a"), stream("b"), stream("c")]
        const error = yield* unchanged(here, streams, refused(write, "InvalidOriginalVersion"))
        assert.strictEqual(error.streamId, stream("b"))
        // The streams are as free as before.
        const again = yield* here.write({ streamId: stream("a"), events: numbered(1), expected: "empty" })
        assert.strictEqual(again.appends[0]?.version, 1)
      })
    )

    it.effect("the first append that does not hold is the one reported", () =>
      Effect.gen(function* () {
        const here = yield* scene("first")
        const { store, stream } = here
        const write = store.write([
          { streamId: stream("z"), events: numbered(1), expected: version(7) },
          { streamId: stream("a"), events: numbered(1), expected: "exists" }
        ])
        const error = yield* unchanged(here, [], refused(write, "InvalidOriginalVersion"))
        assert.strictEqual(error.streamId, stream("z"))
      })
    )
  })
}
