/** Listings of streams, single versions, the head and the hints that it moved. */
import { assert, describe } from "@effect/vitest"
import type { StreamListing } from "@millrace/core/EventQuery"
import { EventStore } from "@millrace/core/EventStore"
import { compareStreamIds } from "@millrace/core/StreamId"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { SuiteIt } from "./Scene.js"
import { happened, numbered, range, scene } from "./Scene.js"

const listed = (listing: StreamListing) =>
  Effect.flatMap(EventStore, (store) =>
    Effect.map(store.listStreams(listing), (streams) => streams.map(({ streamId }) => streamId))
  )

export const listing = (it: SuiteIt): void => {
  describe("listing", () => {
    it.effect("streams are listed in the order of their bytes, whatever a locale or UTF-16 says", () =>
      Effect.gen(function* () {
        const { category, stream, write } = yield* scene("list")
        const ids = ["b", "B", "a", "ä", "aa", "a-", "a/", "A", "_", "0", "10", "9", "~", " ", "é", "e\u0301"]
        const high = ["\ud7ff", "\ue000", "\uffff", "🦄", "\u{10000}", "\u{10ffff}"]
        const names = [...ids, ...high].map(stream)
        yield* write(names.map((streamId) => ({ streamId, events: [happened()] })))
        const expected = names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        assert.deepStrictEqual(yield* listed({ prefix: category, limit: 100 }), expected)
        assert.isTrue(
          expected.indexOf(stream("\uffff")) < expected.indexOf(stream("🦄")),
          "an emoji stands behind U+FFFF"
        )
        assert.deepStrictEqual(names.toSorted(compareStreamIds), expected)
      })
    )

    it.effect("a listing shows each stream with its version", () =>
      Effect.gen(function* () {
        const { append, category, store, stream } = yield* scene("list")
        yield* append(stream("b"), ...numbered(3))
        yield* append(stream("a"), ...numbered(1))
        assert.deepStrictEqual(
          (yield* store.listStreams({ prefix: category, limit: 10 })).map((info) => ({ ...info })),
          [
            {
              streamId: stream("a"),
              version: yield* store.streamVersion(stream("a")),
              tombstoned: false,
              deletedThrough: 0
            },
            {
              streamId: stream("b"),
              version: yield* store.streamVersion(stream("b")),
              tombstoned: false,
              deletedThrough: 0
            }
          ]
        )
      })
    )

    it.effect("pages of a listing by after meet every stream once, also when that one is gone", () =>
      Effect.gen(function* () {
        const { category, store, stream, write } = yield* scene("list")
        const names = range(10, 34).map((n) => stream(`${n}`))
        yield* write(names.map((streamId) => ({ streamId, events: [happened()] })))
        for (const limit of [1, 7, 24, 25, 26, 10_000]) {
          const seen: Array<string> = []
          let after: string | undefined = undefined
          for (;;) {
            const page: ReadonlyArray<string> = yield* listed({ prefix: category, after, limit })
            assert.isAtMost(page.length, limit)
            seen.push(...page)
            if (page.length === 0) break
            after = page[page.length - 1]
          }
          assert.deepStrictEqual(seen, names)
        }
        yield* store.deleteStream(stream("12"))
        assert.deepStrictEqual(yield* listed({ prefix: category, after: stream("12"), limit: 1 }), [
          stream("13")
        ])
        assert.deepStrictEqual(yield* listed({ prefix: category, after: stream("12x"), limit: 1 }), [
          stream("13")
        ])
        assert.deepStrictEqual(yield* listed({ prefix: category, after: stream("34"), limit: 1 }), [])
        assert.deepStrictEqual(yield* listed({ prefix: category, after: stream("0"), limit: 1 }), [names[0]])
        assert.deepStrictEqual(yield* listed({ prefix: category, after: category, limit: 1 }), [names[0]])
      })
    )

    it.effect("the prefix of a listing is literal", () =>
      Effect.gen(function* () {
        const { category, stream, write } = yield* scene("list")
        const names = ["%a", "_a", "xa", "\\a", "🦄", "🦄a", "\u{1f985}"].map(stream)
        const other = `${category}x/a`
        yield* write([...names, other].map((streamId) => ({ streamId, events: [happened()] })))
        for (const text of ["%", "_", "\\", "%a", "xa", "\u{1f985}"]) {
          const expected = names.filter((name) => name.startsWith(stream(text)))
          assert.deepStrictEqual(yield* listed({ prefix: stream(text), limit: 10 }), expected, text)
        }
        assert.deepStrictEqual(yield* listed({ prefix: stream("🦄"), limit: 10 }), [
          stream("🦄"),
          stream("🦄a")
        ])
        assert.deepStrictEqual(yield* listed({ prefix: stream("%%"), limit: 10 }), [])
        assert.strictEqual((yield* listed({ prefix: stream(""), limit: 10 })).length, names.length)
        assert.strictEqual((yield* listed({ prefix: category, limit: 10 })).length, names.length + 1)
      })
    )

    it.effect("a listing without a prefix goes through all streams of the log", () =>
      Effect.gen(function* () {
        const { append, stream } = yield* scene("list")
        yield* append(stream("a"), "A")
        const before = stream("a").slice(0, -1)
        assert.deepStrictEqual(yield* listed({ after: before, limit: 1 }), [stream("a")])
        const first = yield* listed({ limit: 2 })
        assert.deepStrictEqual(first, [...first].sort(compareStreamIds))
      })
    )

    it.effect("deleted streams are left out until written again, tombstoned ones are shown as such", () =>
      Effect.gen(function* () {
        const { append, category, store, stream } = yield* scene("list")
        for (const id of ["deleted", "kept", "dead"]) yield* append(stream(id), "A", "B")
        yield* store.deleteStream(stream("deleted"))
        yield* store.deleteStream(stream("dead"), { tombstone: true })
        yield* store.deleteStream(stream("never"), { tombstone: true })
        yield* store.archiveStream(stream("kept"))
        const list = Effect.map(store.listStreams({ prefix: category, limit: 10 }), (streams) =>
          streams.map(({ streamId, tombstoned, version }) => [streamId, Number(version), tombstoned])
        )
        const dead = [stream("dead"), 2, true]
        const rest = [
          [stream("kept"), 2, false],
          [stream("never"), 0, true]
        ]
        assert.deepStrictEqual(yield* list, [dead, ...rest])
        yield* append(stream("deleted"), "C")
        assert.deepStrictEqual(yield* list, [dead, [stream("deleted"), 3, false], ...rest])
      })
    )

    // ---- head and changes ----

    it.effect("the head comes to every write and stays when nothing is written", () =>
      Effect.gen(function* () {
        const { append, stream, store } = yield* scene("head")
        let head = yield* store.head
        for (const n of range(1, 5)) {
          const { position } = yield* append(stream(`${n % 2}`), ...numbered(n))
          const next = yield* store.head
          assert.isAbove(next, head)
          assert.isAtLeast(next, position)
          head = next
        }
        assert.strictEqual(yield* store.head, head)
      })
    )

    it.effect(
      "changes gives a hint after a commit, to each who listens",
      () =>
        Effect.gen(function* () {
          const { append, store, stream } = yield* scene("changes")
          // The first one of all comes when one begins to listen, to an empty log as well.
          const first = Stream.runHead(Stream.filter(store.changes, (at) => at > 0))
          const listeners = yield* Effect.all([Effect.fork(first), Effect.fork(first)])
          // A hint may be missing while a listener is still being set up, so that one write is not enough.
          const writer = yield* Effect.fork(
            Effect.forever(Effect.zipRight(append(stream("a"), "A"), Effect.sleep("20 millis")))
          )
          const hints = yield* Effect.timeout(Effect.forEach(listeners, Fiber.join), "20 seconds")
          yield* Fiber.interrupt(writer)
          for (const hint of hints) assert.isTrue(hint._tag === "Some" && hint.value > 0)
        }),
      60_000
    )

    it.effect(
      "who waits for changes and reads on from the last event sees every event of a writer",
      () =>
        Effect.gen(function* () {
          const here = yield* scene("changes")
          const { log, store, stream } = here
          const writer = yield* Effect.fork(
            Effect.forEach(range(1, 20), () =>
              Effect.zipRight(
                store.write({ streamId: stream("a"), events: [happened()] }),
                Effect.sleep("5 millis")
              )
            )
          )
          // The hint, or the poll behind it.
          const hint = Stream.merge(store.changes, Stream.tick("250 millis"))
          const seen = hint.pipe(
            Stream.mapEffect(() => log()),
            Stream.filter((events) => events.length === 20),
            Stream.runHead
          )
          const events = yield* Effect.timeout(seen, "20 seconds")
          yield* Fiber.join(writer)
          assert.isTrue(events._tag === "Some")
        }),
      60_000
    )
  })
}
