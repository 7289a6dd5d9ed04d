/** Reading the log and single streams, as pages and as streams: order, bounds, partitions. */
import { assert, describe } from "@effect/vitest"
import type { ReadQuery } from "@millrace/core/EventQuery"
import { EventStore } from "@millrace/core/EventStore"
import * as Page from "@millrace/core/Page"
import * as RoutingKey from "@millrace/core/RoutingKey"
import { vnodeOf } from "@millrace/core/Vnode"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { SuiteIt } from "./Scene.js"
import {
  happened,
  idsOf,
  numbered,
  ofScene,
  position,
  positionsOf,
  range,
  refused,
  scene,
  typesOf,
  version,
  versionsOf
} from "./Scene.js"

const streamed = (query: ReadQuery) =>
  Effect.flatMap(EventStore, (store) =>
    Effect.map(Stream.runCollect(store.stream(query)), Chunk.toReadonlyArray)
  )

export const reads = (it: SuiteIt): void => {
  describe("reads", () => {
    it.effect("the log gives the events of all streams in the order in which they were appended", () =>
      Effect.gen(function* () {
        const { append, log, stream } = yield* scene("order")
        yield* append(stream("z"), "1")
        yield* append(stream("a"), "2", "3")
        yield* append(stream("z"), "4")
        yield* append(stream("m"), "5")
        const events = yield* log()
        assert.deepStrictEqual(typesOf(events), ["1", "2", "3", "4", "5"])
        assert.deepStrictEqual(versionsOf(events), [1, 1, 2, 2, 1])
        const positions = positionsOf(events)
        for (let i = 1; i < positions.length; i++) assert.isAbove(positions[i]!, positions[i - 1]!)
      })
    )

    it.effect("events are read by their ids, whichever there are, in the order of the log", () =>
      Effect.gen(function* () {
        const { append, log, store, stream } = yield* scene("ids")
        yield* append(stream("a"), "1", "2")
        yield* append(stream("b"), "3", "4")
        yield* append(stream("c"), "5")
        const events = yield* log()
        yield* store.archiveStream(stream("b"))
        yield* store.deleteStream(stream("c"))
        const ids = idsOf(events)
        const asked = [ids[3]!, ids[0]!, ids[4]!, "00000000000000000000000000", ids[0]!]
        assert.deepStrictEqual(yield* store.readByIds(asked), [events[0]!, events[3]!])
        assert.deepStrictEqual(yield* store.readByIds([]), [])
        for (const [wrong, field] of [
          [["x"], "ids[0]"],
          [[ids[0]!, "x".repeat(26)], "ids[1]"],
          [Array.from({ length: 10_001 }, () => ids[0]!), "ids"]
        ] as const) {
          const error = yield* refused(store.readByIds(wrong), "InvalidArgument")
          assert.strictEqual(error.field, field)
        }
      })
    )

    it.effect("a read without a query gives the first 40 of the log", () =>
      Effect.gen(function* () {
        const { append, store, stream } = yield* scene("default")
        yield* append(stream("a"), ...numbered(41))
        const page = yield* store.read()
        assert.strictEqual(page.edges.length, 40)
        assert.isTrue(page.pageInfo.hasNextPage)
        assert.isFalse(page.pageInfo.hasPreviousPage)
        assert.deepStrictEqual(yield* store.read({}), page)
        assert.deepStrictEqual(yield* store.read({ filters: [] }), page)
        assert.deepStrictEqual(yield* store.read({ filters: [{}] }), page)
        assert.deepStrictEqual(yield* store.read({ page: Page.forward({ first: 40 }) }), page)
      })
    )

    it.effect("the newest event of the log stands at the head", () =>
      Effect.gen(function* () {
        const { append, store, stream } = yield* scene("newest")
        const { position } = yield* append(stream("a"), "Newest")
        const page = yield* store.read({ page: Page.backward({ last: 1 }), upTo: position })
        assert.deepStrictEqual(typesOf(Page.nodes(page)), ["Newest"])
        assert.strictEqual(page.edges[0]?.cursor, position)
      })
    )

    it.effect("a stream that was never written is empty", () =>
      Effect.gen(function* () {
        const { store, stream, streamOf } = yield* scene("absent")
        assert.deepStrictEqual(yield* streamOf(stream("nobody")), [])
        assert.deepStrictEqual(yield* streamed({ filters: [{ streamId: stream("nobody") }] }), [])
        assert.strictEqual(yield* store.streamVersion(stream("nobody")), 0)
        assert.strictEqual(yield* store.archiveStream(stream("nobody")), 0)
      })
    )

    it.effect("a read of a stream sees a write as soon as it returns", () =>
      Effect.gen(function* () {
        const { store, stream, streamOf } = yield* scene("own")
        for (const n of range(1, 20)) {
          yield* store.write({ streamId: stream("a"), events: [happened()] })
          assert.strictEqual((yield* streamOf(stream("a"))).length, n)
          assert.strictEqual(yield* store.streamVersion(stream("a")), n)
        }
      })
    )

    it.effect("afterVersion gives the rest of a stream, forward and backward", () =>
      Effect.gen(function* () {
        const { append, store, stream } = yield* scene("rest")
        yield* append(stream("a"), ...numbered(5))
        yield* append(stream("b"), ...numbered(5))
        const filters = [{ streamId: stream("a") }]
        const versions = (query: ReadQuery) =>
          Effect.map(store.read({ filters, ...query }), (page) => versionsOf(Page.nodes(page)))
        assert.deepStrictEqual(yield* versions({ afterVersion: version(0) }), [1, 2, 3, 4, 5])
        assert.deepStrictEqual(yield* versions({ afterVersion: version(3) }), [4, 5])
        assert.deepStrictEqual(yield* versions({ afterVersion: version(5) }), [])
        assert.deepStrictEqual(yield* versions({ afterVersion: version(Number.MAX_SAFE_INTEGER) }), [])
        const page = Page.backward({ last: 2 })
        assert.deepStrictEqual(yield* versions({ afterVersion: version(2), page }), [4, 5])
        const { pageInfo } = yield* store.read({ filters, afterVersion: version(3), page })
        assert.isFalse(pageInfo.hasPreviousPage)
        const rest = yield* streamed({ filters, afterVersion: version(3) })
        assert.deepStrictEqual(versionsOf(rest), [4, 5])
        const several = [...filters, { streamId: stream("a"), type: "Nothing" }]
        const page4 = yield* store.read({ filters: several, afterVersion: version(3) })
        assert.deepStrictEqual(versionsOf(Page.nodes(page4)), [4, 5])
      })
    )

    it.effect("afterVersion in a read of the log is refused, and the field is named", () =>
      Effect.gen(function* () {
        const { store, stream } = yield* scene("rest")
        for (const filters of [
          [],
          [{ prefix: stream("a") }],
          [{ streamId: stream("a") }, { streamId: stream("b") }],
          [{ streamId: stream("a") }, { type: "A" }]
        ]) {
          const error = yield* refused(store.read({ filters, afterVersion: version(1) }), "InvalidArgument")
          assert.strictEqual(error.field, "afterVersion")
          const query = { filters, afterVersion: version(1) }
          assert.strictEqual((yield* refused(streamed(query), "InvalidArgument")).field, "afterVersion")
        }
      })
    )

    // ---- stream() ----

    it.effect("a stream of the log gives what the query matches, whatever the size of its pages", () =>
      Effect.gen(function* () {
        const here = yield* scene("stream")
        const { append, log, stream } = here
        for (const n of range(1, 7)) yield* append(stream(`${n % 3}`), ...numbered(3, `T${n % 2}`))
        const expected = yield* log()
        const filters = ofScene(here)
        for (const first of [1, 2, 20, 21, 22, 10_000]) {
          assert.deepStrictEqual(yield* streamed({ filters, page: Page.forward({ first }) }), expected)
          const backward = yield* streamed({ filters, page: Page.backward({ last: first }) })
          assert.deepStrictEqual(backward, expected.toReversed())
        }
        assert.deepStrictEqual(yield* streamed({ filters }), expected)
        const typed = filters.map((filter) => ({ ...filter, type: "T1" }))
        const ofType = expected.filter((event) => event.type === "T1")
        assert.deepStrictEqual(yield* streamed({ filters: typed, page: Page.forward({ first: 4 }) }), ofType)
      })
    )

    it.effect("a stream begins behind after or before, ends at upTo, and the consumer may stop early", () =>
      Effect.gen(function* () {
        const here = yield* scene("stream")
        const { append, log, store, stream } = here
        yield* append(stream("a"), ...numbered(9))
        const events = yield* log()
        const at = (n: number) => position(events[n - 1]!.position)
        const filters = ofScene(here)
        const versions = (query: ReadQuery) => Effect.map(streamed({ filters, ...query }), versionsOf)
        const after = Page.forward({ first: 2, after: at(3) })
        assert.deepStrictEqual(yield* versions({ page: after }), [4, 5, 6, 7, 8, 9])
        assert.deepStrictEqual(yield* versions({ page: after, upTo: at(6) }), [4, 5, 6])
        assert.deepStrictEqual(yield* versions({ page: after, upTo: at(2) }), [])
        const before = Page.backward({ last: 2, before: at(6) })
        assert.deepStrictEqual(yield* versions({ page: before }), [5, 4, 3, 2, 1])
        assert.deepStrictEqual(yield* versions({ page: before, upTo: at(3) }), [3, 2, 1])
        const taken = yield* Stream.runCollect(Stream.take(store.stream({ filters, page: after }), 3))
        assert.deepStrictEqual(versionsOf(Chunk.toReadonlyArray(taken)), [4, 5, 6])
      })
    )

    it.effect("a stream of the log ends at the head as it was at its start, also while others append", () =>
      Effect.gen(function* () {
        const here = yield* scene("ends")
        const { append, store, stream } = here
        yield* append(stream("a"), ...numbered(10))
        const query = { filters: ofScene(here), page: Page.forward({ first: 1 }) }
        const seen = yield* store.stream(query).pipe(
          Stream.tap(() => append(stream("b"), "Meanwhile")),
          Stream.runCollect
        )
        assert.deepStrictEqual(versionsOf(Chunk.toReadonlyArray(seen)), range(1, 10))
        assert.strictEqual(yield* store.streamVersion(stream("b")), 10)
      })
    )

    // ---- vnodes ----

    it.effect("ranges of vnodes divide the log: every event is in exactly one, that of its stream", () =>
      Effect.gen(function* () {
        const here = yield* scene("vnodes")
        const { append, log, stream } = here
        for (const n of range(1, 40)) yield* append(stream(`${n} 🦄`), "E", "F")
        const all = yield* log()
        for (const bounds of [
          [0, 256],
          [0, 128, 256],
          [0, 1, 100, 101, 255, 256]
        ]) {
          const parts: Array<string> = []
          for (let i = 1; i < bounds.length; i++) {
            const vnodes = { from: bounds[i - 1]!, to: bounds[i]! - 1 }
            const part = yield* log({ filters: ofScene(here), vnodes })
            for (const { streamId } of part) {
              assert.isAtLeast(vnodeOf(streamId), vnodes.from)
              assert.isAtMost(vnodeOf(streamId), vnodes.to)
            }
            assert.deepStrictEqual(yield* streamed({ filters: ofScene(here), vnodes }), part)
            parts.push(...idsOf(part))
          }
          assert.deepStrictEqual(parts.toSorted(), [...idsOf(all)].toSorted())
        }
        const vnode = vnodeOf(all[0]!.streamId)
        const own = yield* log({ filters: ofScene(here), vnodes: { from: vnode, to: vnode } })
        assert.include(idsOf(own), all[0]!.id)
      })
    )

    it.effect(
      "a query without filters goes by routing key, vnodes and archive alone, in every combination",
      () =>
        Effect.gen(function* () {
          const { append, store, stream, streamOf, write } = yield* scene("bare")
          const after = yield* store.head
          for (const n of range(1, 12)) {
            const events = [happened(`${n}`)]
            yield* write({
              streamId: stream(`${n}`),
              events,
              ...(n % 3 === 0 ? {} : { routingKey: `key ${n % 3}` })
            })
          }
          for (const n of [3, 4, 8]) yield* store.archiveStream(stream(`${n}`))
          const { position: upTo } = yield* append(stream("12"), "13")
          const all = (yield* Effect.forEach(range(1, 12), (n) => streamOf(stream(`${n}`)))).flat()
          const half = { from: 0, to: 127 }
          for (const routingKey of [
            RoutingKey.all,
            RoutingKey.value("key 1"),
            RoutingKey.value("key 2"),
            RoutingKey.unkeyed
          ]) {
            for (const vnodes of [undefined, half, { from: 128, to: 255 }]) {
              for (const includeArchived of [false, true]) {
                const wanted = all.filter(({ streamId }) => {
                  const n = Number(streamId.slice(stream("").length))
                  const vnode = vnodeOf(streamId)
                  const key = RoutingKey.match(routingKey, {
                    All: () => true,
                    Value: ({ key }) => n % 3 !== 0 && key === `key ${n % 3}`,
                    Unkeyed: () => n % 3 === 0
                  })
                  const inRange = vnodes === undefined || (vnode >= vnodes.from && vnode <= vnodes.to)
                  return key && inRange && (includeArchived || ![3, 4, 8].includes(n))
                })
                const query = { routingKey, vnodes, includeArchived }
                const forward = yield* store.read({ ...query, page: Page.forward({ first: 100, after }) })
                assert.deepStrictEqual(idsOf(Page.nodes(forward)), idsOf(wanted))
                if (wanted.length === 0) continue
                const last = Page.backward({ last: wanted.length, before: position(upTo + 1) })
                const backward = yield* store.read({ ...query, page: last })
                assert.deepStrictEqual(idsOf(Page.nodes(backward)), idsOf(wanted))
                const bounded = yield* streamed({ ...query, page: Page.forward({ after }), upTo })
                assert.deepStrictEqual(idsOf(bounded), idsOf(wanted))
              }
            }
          }
        })
    )

    it.effect("vnodes hold for a read of one stream too", () =>
      Effect.gen(function* () {
        const { append, log, stream } = yield* scene("vnodes")
        yield* append(stream("a"), "E")
        const filters = [{ streamId: stream("a") }]
        const vnode = vnodeOf(stream("a"))
        assert.strictEqual((yield* log({ filters, vnodes: { from: vnode, to: vnode } })).length, 1)
        const other = vnode === 0 ? { from: 1, to: 255 } : { from: 0, to: vnode - 1 }
        assert.strictEqual((yield* log({ filters, vnodes: other })).length, 0)
      })
    )
  })
}
