/** Deleting streams: what goes, what stays, and how tombstones differ. */
import { assert, describe } from "@effect/vitest"
import { SnapshotStore } from "@millrace/core/SnapshotStore"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { SuiteIt } from "./Scene.js"
import {
  happened,
  idsOf,
  numbered,
  positionsOf,
  refused,
  scene,
  typesOf,
  unchanged,
  version,
  versionsOf
} from "./Scene.js"

export const deletion = (it: SuiteIt): void => {
  describe("deletion", () => {
    it.effect("a deleted stream is gone from log and stream, other events keep their positions", () =>
      Effect.gen(function* () {
        const { append, log, store, stream, streamOf } = yield* scene("deleted")
        yield* append(stream("a"), "A1")
        yield* append(stream("b"), "B1")
        yield* append(stream("a"), "A2", "A3")
        yield* append(stream("b"), "B2")
        const before = yield* log()
        assert.strictEqual(yield* store.deleteStream(stream("a")), 3)
        const after = yield* log({ includeArchived: true })
        assert.deepStrictEqual(
          after,
          before.filter((event) => event.streamId === stream("b"))
        )
        assert.deepStrictEqual(yield* streamOf(stream("a")), [])
        assert.strictEqual(yield* store.streamVersion(stream("b")), 2)
      })
    )

    it.effect("a deleted stream goes on with its versions when it is written again", () =>
      Effect.gen(function* () {
        const { append, log, store, stream, streamOf } = yield* scene("deleted")
        yield* append(stream("a"), "One", "Two", "Three")
        yield* store.deleteStream(stream("a"))
        assert.strictEqual(yield* store.streamVersion(stream("a")), 3)
        const { appends } = yield* append(stream("a"), "Four", "Five")
        assert.strictEqual(appends[0]?.firstVersion, 4)
        assert.deepStrictEqual(versionsOf(yield* streamOf(stream("a"))), [4, 5])
        assert.deepStrictEqual(typesOf(yield* log()), ["Four", "Five"])
        assert.strictEqual(yield* store.deleteStream(stream("a")), 2)
        assert.strictEqual(yield* store.streamVersion(stream("a")), 5)
      })
    )

    it.effect("of a deleted stream the empty expectation holds, and that of its last version", () =>
      Effect.gen(function* () {
        const here = yield* scene("deleted")
        const { append, store, stream, write } = here
        for (const id of ["a", "b"]) {
          yield* append(stream(id), "One", "Two")
          yield* store.deleteStream(stream(id))
          for (const expected of ["exists", version(0), version(1)] as const) {
            const late = store.write({ streamId: stream(id), events: numbered(1), expected })
            const error = yield* unchanged(here, [stream(id)], refused(late, "InvalidOriginalVersion"))
            assert.strictEqual(error.actual, 2)
          }
        }
        const a = yield* write({ streamId: stream("a"), events: numbered(1), expected: "empty" })
        const b = yield* write({ streamId: stream("b"), events: numbered(1), expected: version(2) })
        assert.deepStrictEqual([a.appends[0]?.version, b.appends[0]?.version], [version(3), version(3)])
      })
    )

    it.effect("the ids of deleted events are free again", () =>
      Effect.gen(function* () {
        const { id, store, stream, streamOf, write } = yield* scene("deleted")
        const ids = [id(), id()]
        const events = ids.map((id) => happened("E", { id }))
        yield* write({ streamId: stream("a"), events })
        yield* store.deleteStream(stream("a"))
        yield* write({ streamId: stream("b"), events: events.toReversed() })
        assert.deepStrictEqual(idsOf(yield* streamOf(stream("b"))), ids.toReversed())
      })
    )

    it.effect("a deletion with an expectation that does not hold fails and removes nothing", () =>
      Effect.gen(function* () {
        const here = yield* scene("deleted")
        const { append, store, stream } = here
        yield* append(stream("a"), "One", "Two")
        for (const expected of [version(0), version(1), version(3), "empty"] as const) {
          const deletion = store.deleteStream(stream("a"), { expected, tombstone: true })
          const error = yield* unchanged(here, [stream("a")], refused(deletion, "InvalidOriginalVersion"))
          assert.strictEqual(error.streamId, stream("a"))
          assert.strictEqual(error.expected, expected)
          assert.strictEqual(error.actual, 2)
        }
        const absent = store.deleteStream(stream("none"), { expected: "exists" })
        assert.strictEqual((yield* refused(absent, "InvalidOriginalVersion")).actual, 0)
        yield* append(stream("a"), "Three")
        assert.strictEqual(yield* store.deleteStream(stream("a"), { expected: version(3) }), 3)
        yield* append(stream("a"), "Four")
        assert.strictEqual(yield* store.deleteStream(stream("a"), { expected: "exists" }), 1)
        assert.strictEqual(yield* store.deleteStream(stream("a"), { expected: "empty" }), 0)
        assert.strictEqual(yield* store.deleteStream(stream("a"), { expected: "any" }), 0)
      })
    )

    it.effect("deleting what is not there removes nothing, also twice", () =>
      Effect.gen(function* () {
        const here = yield* scene("deleted")
        const { append, store, stream } = here
        assert.strictEqual(yield* unchanged(here, [stream("none")], store.deleteStream(stream("none"))), 0)
        yield* append(stream("a"), "One")
        yield* store.deleteStream(stream("a"))
        assert.strictEqual(yield* unchanged(here, [stream("a")], store.deleteStream(stream("a"))), 0)
      })
    )

    it.effect("the head does not fall when the newest events are deleted", () =>
      Effect.gen(function* () {
        const { append, store, stream } = yield* scene("deleted")
        yield* append(stream("b"), "B")
        const { position } = yield* append(stream("a"), "A1", "A2")
        yield* store.deleteStream(stream("a"))
        assert.isAtLeast(yield* store.head, position)
        const next = yield* append(stream("b"), "B2")
        assert.isAbove(next.appends[0]!.firstPosition, position)
        assert.isAtLeast(yield* store.head, next.position)
      })
    )

    it.effect("a tombstoned stream refuses every write, and a write that names it writes nothing", () =>
      Effect.gen(function* () {
        const here = yield* scene("tombstone")
        const { append, store, stream } = here
        yield* append(stream("a"), "One")
        assert.strictEqual(yield* store.deleteStream(stream("a"), { tombstone: true }), 1)
        for (const expected of [undefined, "any", "empty", "exists", version(0), version(1)] as const) {
          const write = store.write([
            { streamId: stream("b"), events: numbered(1) },
            { streamId: stream("a"), events: numbered(1), expected }
          ])
          const streams = [stream("a"), stream("b")]
          const error = yield* unchanged(here, streams, refused(write, "StreamDeleted"))
          assert.strictEqual(error.streamId, stream("a"))
        }
        assert.strictEqual(yield* store.streamVersion(stream("a")), 1)
      })
    )

    it.effect("a stream without events can be tombstoned, before its first event and after a deletion", () =>
      Effect.gen(function* () {
        const here = yield* scene("tombstone")
        const { append, store, stream } = here
        assert.strictEqual(yield* store.deleteStream(stream("new"), { tombstone: true }), 0)
        yield* append(stream("old"), "One")
        yield* store.deleteStream(stream("old"))
        assert.strictEqual(yield* store.deleteStream(stream("old"), { tombstone: true }), 0)
        for (const id of ["new", "old"]) {
          yield* refused(store.write({ streamId: stream(id), events: numbered(1) }), "StreamDeleted")
        }
        // A tombstone stays, whatever is asked later.
        assert.strictEqual(yield* store.deleteStream(stream("new")), 0)
        assert.strictEqual(yield* store.deleteStream(stream("old"), { tombstone: false }), 0)
        for (const id of ["new", "old"]) {
          yield* refused(store.write({ streamId: stream(id), events: numbered(1) }), "StreamDeleted")
        }
      })
    )

    it.effect("a deletion removes the snapshots of its stream and of no other", () =>
      Effect.gen(function* () {
        const { append, store, stream } = yield* scene("snapshots")
        const snapshots = yield* SnapshotStore
        const schema = Schema.Number
        const saved = { revision: 1, schema, version: version(1), state: 42 }
        for (const id of ["a", "a/b", "ab"]) {
          yield* append(stream(id), "One")
          for (const name of ["x", "y"])
            yield* snapshots.saveSnapshot({ ...saved, name, streamId: stream(id) })
        }
        yield* store.deleteStream(stream("a"))
        for (const name of ["x", "y"]) {
          const get = (id: string) =>
            snapshots.getSnapshot({ name, revision: 1, schema, streamId: stream(id) })
          assert.isTrue(Option.isNone(yield* get("a")))
          assert.isTrue(Option.isSome(yield* get("a/b")))
          assert.isTrue(Option.isSome(yield* get("ab")))
        }
      })
    )

    it.effect("archived and erased events are deleted with their stream", () =>
      Effect.gen(function* () {
        const { append, log, store, stream } = yield* scene("deleted")
        yield* append(stream("a"), "One", "Two")
        yield* store.archiveStream(stream("a"))
        yield* append(stream("a"), "Three")
        yield* store.eraseEvents({ streamId: stream("a") }, null)
        assert.strictEqual(yield* store.deleteStream(stream("a")), 3)
        assert.deepStrictEqual(positionsOf(yield* log({ includeArchived: true })), [])
      })
    )
  })
}
