/** Appending: what the result says, what the caller may expect of a stream, and that a write is all or nothing. */
import { assert, describe } from "@effect/vitest"
import { isEventId } from "@millrace/core/EventId"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SuiteIt } from "./Scene.js"
import { conflicts, happened, idsOf, numbered, scene, typesOf, version, versionsOf } from "./Scene.js"

export const appends = (it: SuiteIt): void => {
  describe("appends", () => {
    it.effect("the first append of a stream gives versions from 1 and rising positions", () =>
      Effect.gen(function* () {
        const { append, log, store, stream, streamOf } = yield* scene("appends")
        const head = yield* store.head
        const result = yield* append(stream("a"), "One", "Two", "Three")
        const [first] = result.appends
        assert.strictEqual(result.appends.length, 1)
        assert.strictEqual(first?.streamId, stream("a"))
        assert.strictEqual(first?.firstVersion, 1)
        assert.strictEqual(first?.version, 3)
        assert.isAbove(first!.firstPosition, head)
        assert.isAbove(first!.position, first!.firstPosition)
        assert.strictEqual(result.position, first!.position)
        const events = yield* streamOf(stream("a"))
        assert.deepStrictEqual(typesOf(events), ["One", "Two", "Three"])
        assert.deepStrictEqual(versionsOf(events), [1, 2, 3])
        assert.deepStrictEqual(idsOf(events), first!.ids)
        assert.strictEqual(events[0]!.position, first!.firstPosition)
        assert.strictEqual(events[2]!.position, first!.position)
        assert.isTrue(events[0]!.position < events[1]!.position && events[1]!.position < events[2]!.position)
        assert.deepStrictEqual(yield* log(), events)
      })
    )

    it.effect("an append goes on where the stream stands", () =>
      Effect.gen(function* () {
        const { append, store, stream, streamOf } = yield* scene("appends")
        yield* append(stream("a"), "One", "Two")
        const { appends } = yield* append(stream("a"), "Three")
        assert.strictEqual(appends[0]?.firstVersion, 3)
        assert.strictEqual(appends[0]?.version, 3)
        assert.strictEqual(appends[0]?.firstPosition, appends[0]?.position)
        assert.strictEqual(yield* store.streamVersion(stream("a")), 3)
        assert.deepStrictEqual(typesOf(yield* streamOf(stream("a"))), ["One", "Two", "Three"])
      })
    )

    it.effect("a recorded event has every field, and those left out are empty", () =>
      Effect.gen(function* () {
        const { append, stream, streamOf } = yield* scene("appends")
        const before = yield* Clock.currentTimeMillis
        yield* append(stream("a"), { type: "Bare", data: { amount: 5 } })
        const [event] = yield* streamOf(stream("a"))
        assert.strictEqual(event?.streamId, stream("a"))
        assert.strictEqual(event?.type, "Bare")
        assert.deepStrictEqual(event?.data, { amount: 5 })
        assert.deepStrictEqual(event?.metadata, {})
        assert.deepStrictEqual(event?.tags, [])
        assert.isTrue(isEventId(event?.id))
        assert.isTrue(Option.isNone(event!.correlationId))
        assert.isTrue(Option.isNone(event!.causationId))
        assert.isFalse(event!.erased)
        // The store's clock need not be ours, but an hour apart one of the two would be wrong.
        assert.isBelow(Math.abs(DateTime.toEpochMillis(event!.recordedAt) - before), 3_600_000)
      })
    )

    it.effect("correlation and causation ids come back as fields and stay in the metadata", () =>
      Effect.gen(function* () {
        const { append, stream, streamOf } = yield* scene("appends")
        const metadata = { correlationId: "order 7", causationId: "cmd '9'", user: "ada", depth: { n: [1] } }
        yield* append(
          stream("a"),
          happened("E", { metadata }),
          happened("F", { metadata: { correlationId: "" } })
        )
        const [event, empty] = yield* streamOf(stream("a"))
        assert.deepStrictEqual(event?.correlationId, Option.some("order 7"))
        assert.deepStrictEqual(event?.causationId, Option.some("cmd '9'"))
        assert.deepStrictEqual(event?.metadata, metadata)
        assert.deepStrictEqual(empty?.correlationId, Option.some(""))
        assert.isTrue(Option.isNone(empty!.causationId))
      })
    )

    it.effect("ids that the caller gives are kept, others are made and differ", () =>
      Effect.gen(function* () {
        const { append, id, stream, streamOf } = yield* scene("appends")
        const given = id()
        const { appends } = yield* append(stream("a"), happened("A", { id: given }), "B", "C")
        assert.strictEqual(appends[0]?.ids[0], given)
        assert.strictEqual(new Set(appends[0]?.ids).size, 3)
        assert.isTrue(appends[0]?.ids.every(isEventId))
        assert.deepStrictEqual(idsOf(yield* streamOf(stream("a"))), appends[0]?.ids)
      })
    )

    it.effect("tags keep their order and lose their repeats", () =>
      Effect.gen(function* () {
        const { append, stream, streamOf } = yield* scene("appends")
        yield* append(
          stream("a"),
          happened("A", { tags: ["z", "a", "z", "m", "a"] }),
          happened("B", { tags: [] }),
          happened("C", { tags: ["only"] })
        )
        const events = yield* streamOf(stream("a"))
        assert.deepStrictEqual(
          events.map((event) => event.tags),
          [["z", "a", "m"], [], ["only"]]
        )
      })
    )

    // ---- expected ----

    it.effect(`expected "any" takes the stream at whatever version, also when left out`, () =>
      Effect.gen(function* () {
        const { store, stream, write } = yield* scene("expected")
        yield* write({ streamId: stream("a"), events: numbered(1), expected: "any" })
        yield* write({ streamId: stream("a"), events: numbered(2), expected: "any" })
        yield* write({ streamId: stream("a"), events: numbered(1) })
        yield* write({ streamId: stream("a"), events: numbered(1), expected: undefined })
        assert.strictEqual(yield* store.streamVersion(stream("a")), 5)
      })
    )

    it.effect(`expected "empty" holds for a new stream only`, () =>
      Effect.gen(function* () {
        const here = yield* scene("expected")
        const append = { streamId: here.stream("a"), events: numbered(1), expected: "empty" as const }
        const { appends } = yield* here.write(append)
        assert.strictEqual(appends[0]?.version, 1)
        yield* conflicts(here, append, 1)
      })
    )

    it.effect(`expected "exists" holds for a stream with events only`, () =>
      Effect.gen(function* () {
        const here = yield* scene("expected")
        const append = { streamId: here.stream("a"), events: numbered(1), expected: "exists" as const }
        yield* conflicts(here, append, 0)
        yield* here.append(here.stream("a"), "One")
        const { appends } = yield* here.write(append)
        assert.strictEqual(appends[0]?.version, 2)
      })
    )

    it.effect("an expected version holds when the stream stands there, 0 for a new one", () =>
      Effect.gen(function* () {
        const { store, stream, write } = yield* scene("expected")
        yield* write({ streamId: stream("a"), events: numbered(3), expected: version(0) })
        yield* write({ streamId: stream("a"), events: numbered(2), expected: version(3) })
        assert.strictEqual(yield* store.streamVersion(stream("a")), 5)
      })
    )

    it.effect("append with a stale version fails and writes nothing", () =>
      Effect.gen(function* () {
        const here = yield* scene("expected")
        yield* here.append(here.stream("a"), "One", "Two")
        yield* conflicts(here, { streamId: here.stream("a"), events: numbered(1), expected: version(1) }, 2)
        yield* conflicts(here, { streamId: here.stream("a"), events: numbered(1), expected: version(0) }, 2)
      })
    )

    it.effect("append with a version that the stream has not reached fails and writes nothing", () =>
      Effect.gen(function* () {
        const here = yield* scene("expected")
        const events = numbered(1)
        yield* conflicts(here, { streamId: here.stream("new"), events, expected: version(1) }, 0)
        yield* here.append(here.stream("a"), "One")
        yield* conflicts(here, { streamId: here.stream("a"), events, expected: version(2) }, 1)
        const most = version(Number.MAX_SAFE_INTEGER)
        yield* conflicts(here, { streamId: here.stream("a"), events, expected: most }, 1)
        assert.deepStrictEqual(yield* here.streamOf(here.stream("new")), [])
      })
    )
  })
}
