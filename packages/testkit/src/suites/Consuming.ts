/** Reading as a consumer does: on from where it has come, past everything that it does not want. */
import { assert, describe } from "@effect/vitest"
import type { RecordedEvent } from "@millrace/core/Event"
import type { LogQuery } from "@millrace/core/EventQuery"
import { Position } from "@millrace/core/Position"
import * as RoutingKey from "@millrace/core/RoutingKey"
import { vnodeOf } from "@millrace/core/Vnode"
import * as Effect from "effect/Effect"
import type { Scene, SuiteIt } from "./Scene.js"
import { ofScene, scene, typesOf } from "./Scene.js"

export const consuming = (it: SuiteIt): void => {
  describe("reads of a consumer", () => {
    it.effect("page after page gives each event once and in order, and ends at the head", () =>
      Effect.gen(function* () {
        const here = yield* scene("consumed")
        const { append, store, stream } = here
        const before = yield* store.head
        for (let i = 0; i < 7; i++) yield* append(stream(`s${i % 3}`), `E${i}`)
        for (const limit of [1, 2, 3, 7, 8, 100]) {
          const seen = yield* consume(here, before, { filters: ofScene(here) }, limit)
          assert.deepStrictEqual(typesOf(seen), ["E0", "E1", "E2", "E3", "E4", "E5", "E6"], `limit ${limit}`)
        }
      })
    )

    it.effect("what is not wanted is passed: through comes to the head without a single event", () =>
      Effect.gen(function* () {
        const { append, category, store, stream } = yield* scene("consumed")
        const before = yield* store.head
        const { position } = yield* append(stream("a"), "A", "B", "C")
        const page = yield* store.readAfter({
          after: before,
          limit: 10,
          filters: [{ category, type: "Never" }]
        })
        assert.deepStrictEqual(page.events, [])
        assert.strictEqual(page.through, page.head)
        assert.isAtLeast(page.through, position)
        // And there is nothing left to look at.
        const next = yield* store.readAfter({
          after: page.through,
          limit: 10,
          filters: [{ category, type: "Never" }]
        })
        assert.isAtLeast(next.through, page.through)
      })
    )

    it.effect("a full page goes through to its last event and no further", () =>
      Effect.gen(function* () {
        const here = yield* scene("consumed")
        const { append, store, stream } = here
        const before = yield* store.head
        const { appends } = yield* append(stream("a"), "A", "B", "C")
        const page = yield* store.readAfter({ after: before, limit: 2, filters: ofScene(here) })
        assert.deepStrictEqual(typesOf(page.events), ["A", "B"])
        assert.strictEqual(page.through, page.events[1]?.position)
        assert.isBelow(page.through, appends[0]!.position)
      })
    )

    it.effect("with a head that is known nothing past it is given", () =>
      Effect.gen(function* () {
        const here = yield* scene("consumed")
        const { append, store, stream } = here
        const before = yield* store.head
        const { position } = yield* append(stream("a"), "A")
        yield* append(stream("a"), "B")
        const query = { after: before, limit: 10, filters: ofScene(here) }
        const known = yield* store.readAfter({ ...query, head: position })
        assert.deepStrictEqual(typesOf(known.events), ["A"])
        assert.strictEqual(known.through, position)
        assert.strictEqual(known.head, position)
        // A head that was reached is asked for anew.
        const rest = yield* store.readAfter({ ...query, after: position, head: position })
        assert.deepStrictEqual(typesOf(rest.events), ["B"])
      })
    )

    it.effect(
      "a stream's consumer reads the log: it stops at the head and is not given archived events",
      () =>
        Effect.gen(function* () {
          const { append, store, stream } = yield* scene("consumed")
          const before = yield* store.head
          yield* append(stream("a"), "A")
          yield* store.archiveStream(stream("a"))
          yield* append(stream("a"), "B")
          const page = yield* store.readAfter({
            after: before,
            limit: 10,
            filters: [{ streamId: stream("a") }]
          })
          assert.deepStrictEqual(typesOf(page.events), ["B"])
          assert.isAtMost(page.through, page.head)
        })
    )

    it.effect("vnodes divide the log: together they give everything, each stream to one of them", () =>
      Effect.gen(function* () {
        const here = yield* scene("consumed")
        const { append, store, stream } = here
        const before = yield* store.head
        for (let i = 0; i < 20; i++) yield* append(stream(`s${i}`), `E${i}`)
        const parts: Array<RecordedEvent> = []
        for (const [from, to] of [
          [0, 63],
          [64, 127],
          [128, 255]
        ] as const) {
          const part = yield* consume(here, before, { filters: ofScene(here), vnodes: { from, to } }, 3)
          for (const event of part) {
            assert.isAtLeast(vnodeOf(event.streamId), from)
            assert.isAtMost(vnodeOf(event.streamId), to)
          }
          parts.push(...part)
        }
        assert.strictEqual(parts.length, 20)
        assert.strictEqual(new Set(parts.map((event) => event.position)).size, 20)
      })
    )

    it.effect("routing keys choose as in every read", () =>
      Effect.gen(function* () {
        const here = yield* scene("consumed")
        const { store, stream, write } = here
        const before = yield* store.head
        yield* write({ streamId: stream("k"), events: [{ type: "Keyed", data: 1 }], routingKey: "tenant-1" })
        yield* write({ streamId: stream("u"), events: [{ type: "Unkeyed", data: 1 }] })
        const of = (routingKey: RoutingKey.RoutingKey) =>
          Effect.map(consume(here, before, { filters: ofScene(here), routingKey }, 5), typesOf)
        assert.deepStrictEqual(yield* of(RoutingKey.value("tenant-1")), ["Keyed"])
        assert.deepStrictEqual(yield* of(RoutingKey.unkeyed), ["Unkeyed"])
        assert.deepStrictEqual(yield* of(RoutingKey.all), ["Keyed", "Unkeyed"])
      })
    )

    it.effect("a cursor past the head is refused by name", () =>
      Effect.gen(function* () {
        const { store } = yield* scene("consumed")
        const cursor = Position.make((yield* store.head) + 1_000_000)
        const error = yield* Effect.flip(store.readAfter({ after: cursor, limit: 1 }))
        assert.strictEqual(error._tag, "CursorAheadOfLog")
        if (error._tag === "CursorAheadOfLog") {
          assert.strictEqual(error.cursor, cursor)
          assert.isBelow(error.head, cursor)
        }
      })
    )

    it.effect("wrong arguments are refused by the name of the field", () =>
      Effect.gen(function* () {
        const { store } = yield* scene("consumed")
        const wrong: ReadonlyArray<readonly [field: string, query: unknown]> = [
          ["after", { after: -1, limit: 1 }],
          ["after", { after: 1.5, limit: 1 }],
          ["after", { limit: 1 }],
          ["limit", { after: 0, limit: 0 }],
          ["limit", { after: 0, limit: 10_001 }],
          ["head", { after: 0, limit: 1, head: -1 }],
          ["filters", { after: 0, limit: 1, filters: "account" }],
          ["vnodes", { after: 0, limit: 1, vnodes: { from: 3, to: 2 } }],
          ["routingKey", { after: 0, limit: 1, routingKey: "tenant-1" }]
        ]
        for (const [field, query] of wrong) {
          const error = yield* Effect.flip(store.readAfter(query as LogQuery))
          assert.strictEqual(error._tag === "InvalidArgument" ? error.field : error._tag, field)
        }
      })
    )
  })
}

/** Everything from a position to the head, as a consumer gets it. */
const consume = ({ store }: Scene, from: Position, query: Omit<LogQuery, "after" | "limit">, limit: number) =>
  Effect.gen(function* () {
    const events: Array<RecordedEvent> = []
    let page = yield* store.readAfter({ ...query, after: from, limit })
    for (;;) {
      events.push(...page.events)
      assert.isAtMost(page.through, page.head)
      if (page.through >= page.head) return events
      page = yield* store.readAfter({ ...query, after: page.through, limit, head: page.head })
    }
  })
