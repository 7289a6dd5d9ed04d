/**
 * Repeats: a write whose ids are all in the log, each append's in its own stream, contiguous and in order,
 * gives the first result and writes nothing. Any other meeting of ids is a conflict.
 */
import { assert, describe } from "@effect/vitest"
import type { StreamAppend } from "@millrace/core/Append"
import type { NewEvent } from "@millrace/core/Event"
import type { EventId } from "@millrace/core/EventId"
import { start } from "@millrace/core/Position"
import * as Effect from "effect/Effect"
import type { Scene, SuiteIt } from "./Scene.js"
import { happened, numbered, refused, scene, unchanged, version } from "./Scene.js"

const withIds = (ids: ReadonlyArray<EventId>): ReadonlyArray<NewEvent> =>
  ids.map((id, i) => happened("Happened", { id, data: { n: i + 1 } }))

const someIds = ({ id }: Scene, count: number): [EventId, EventId, EventId, EventId] =>
  Array.from({ length: count }, id) as [EventId, EventId, EventId, EventId]

/** Asserts that a write conflicts, by which ids, and that it leaves no trace. */
const idConflict = (
  scene: Scene,
  appends: ReadonlyArray<StreamAppend>,
  inTheLog: ReadonlyArray<EventId>
): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    const streams = appends.map((append) => append.streamId)
    const error = yield* unchanged(scene, streams, refused(scene.store.write(appends), "EventIdConflict"))
    assert.include(inTheLog, error.id, "the id in conflict is one that is in the log")
    const target = appends.find(({ events }) => events.some((event) => event.id === error.id))
    assert.strictEqual(error.streamId, target?.streamId, "the stream that this event was to go to")
  })

export const idempotence = (it: SuiteIt): void => {
  describe("idempotence", () => {
    it.effect("the same write again gives the first result and writes nothing", () =>
      Effect.gen(function* () {
        const here = yield* scene("repeat")
        const { store, stream, write } = here
        const append = { streamId: stream("a"), events: withIds(someIds(here, 3)) }
        const first = yield* write(append)
        yield* here.append(stream("a"), "Later")
        const again = yield* unchanged(here, [stream("a")], store.write(append))
        assert.deepStrictEqual(again, first)
      })
    )

    it.effect("a repeat is recognised before the condition and the expected version are looked at", () =>
      Effect.gen(function* () {
        const here = yield* scene("repeat")
        const { store, stream, write } = here
        const append = { streamId: stream("a"), events: withIds(someIds(here, 2)) }
        const condition = { filters: [{ category: here.category }], after: yield* store.head }
        const first = yield* write({ ...append, expected: "empty" }, { condition })
        for (const expected of ["empty", version(0), version(7)] as const) {
          const again = store.write({ ...append, expected }, { condition })
          assert.deepStrictEqual(yield* unchanged(here, [stream("a")], again), first)
        }
      })
    )

    it.effect("a repeat is recognised by its ids alone: the events stay as they were written first", () =>
      Effect.gen(function* () {
        const here = yield* scene("repeat")
        const { store, stream, write } = here
        const id = here.id()
        const first = yield* write({
          streamId: stream("a"),
          events: [happened("First", { id, data: 1, tags: ["t"] })],
          routingKey: "north"
        })
        const other = {
          streamId: stream("a"),
          events: [happened("Other", { id, data: 2 })],
          routingKey: "south"
        }
        assert.deepStrictEqual(yield* unchanged(here, [stream("a")], store.write(other)), first)
      })
    )

    it.effect("a write of several appends is repeated as a whole", () =>
      Effect.gen(function* () {
        const here = yield* scene("repeat")
        const { store, stream, write } = here
        const [a, b, c, d] = someIds(here, 4)
        const appends = [
          { streamId: stream("a"), events: withIds([a, b]), expected: "empty" as const },
          { streamId: stream("b"), events: withIds([c]), expected: "empty" as const },
          { streamId: stream("a"), events: withIds([d]), expected: version(2) }
        ]
        const first = yield* write(appends)
        assert.deepStrictEqual(yield* unchanged(here, [stream("a")], store.write(appends)), first)
      })
    )

    it.effect("writes repeated together, apart or in another order of appends give their first places", () =>
      Effect.gen(function* () {
        const here = yield* scene("repeat")
        const { store, stream, write } = here
        const [a, b, c, d] = someIds(here, 4)
        const appendAB = { streamId: stream("a"), events: withIds([a, b]) }
        const appendC = { streamId: stream("b"), events: withIds([c]) }
        const appendD = { streamId: stream("a"), events: withIds([d]) }
        const [first, second] = (yield* write([appendAB, appendC])).appends
        const [later] = (yield* write(appendD)).appends
        const again = (...appends: ReadonlyArray<StreamAppend>) =>
          Effect.map(unchanged(here, [stream("a")], store.write(appends)), (result) => result.appends)
        assert.deepStrictEqual(yield* again(appendAB, appendC, appendD), [first!, second!, later!])
        assert.deepStrictEqual(yield* again(appendC), [second!])
        assert.deepStrictEqual(yield* again(appendD, appendC, appendAB), [later!, second!, first!])
        const [whole] = yield* again({ streamId: stream("a"), events: withIds([a, b, d]) })
        assert.strictEqual(whole?.firstVersion, 1)
        assert.strictEqual(whole?.version, 3)
        assert.strictEqual(whole?.firstPosition, first?.firstPosition)
        assert.strictEqual(whole?.position, later?.position)
      })
    )

    it.effect("a contiguous part of an earlier append is a repeat and gives the place of that part", () =>
      Effect.gen(function* () {
        const here = yield* scene("part")
        const { store, stream, streamOf, write } = here
        const [a, b, c, d] = someIds(here, 4)
        yield* write({ streamId: stream("a"), events: withIds([a, b, c, d]) })
        const events = yield* streamOf(stream("a"))
        const part = store.write({ streamId: stream("a"), events: withIds([b, c]) })
        const result = yield* unchanged(here, [stream("a")], part)
        assert.deepStrictEqual(result, {
          appends: [
            {
              streamId: events[1]!.streamId,
              firstVersion: version(2),
              version: version(3),
              firstPosition: events[1]!.position,
              position: events[2]!.position,
              ids: [b, c]
            }
          ],
          position: events[2]!.position
        })
      })
    )

    it.effect("known ids beside new ones are a conflict, wherever the new ones stand", () =>
      Effect.gen(function* () {
        const here = yield* scene("conflict")
        const { stream, write } = here
        const [a, b] = someIds(here, 2)
        yield* write({ streamId: stream("a"), events: withIds([a, b]) })
        const to = (...ids: ReadonlyArray<EventId>) => [{ streamId: stream("a"), events: withIds(ids) }]
        yield* idConflict(here, to(a, b, here.id()), [a, b])
        yield* idConflict(here, to(here.id(), a, b), [a, b])
        yield* idConflict(here, to(here.id(), a), [a])
        yield* idConflict(here, to(a, here.id(), b), [a, b])
        yield* idConflict(here, [{ streamId: stream("a"), events: [...withIds([a]), happened()] }], [a])
        yield* idConflict(here, [{ streamId: stream("a"), events: [happened(), ...withIds([b])] }], [b])
      })
    )

    it.effect("an append that is a repeat beside one that is new is a conflict", () =>
      Effect.gen(function* () {
        const here = yield* scene("conflict")
        const { stream, write } = here
        const [a] = someIds(here, 1)
        const repeat = { streamId: stream("a"), events: withIds([a]) }
        yield* write(repeat)
        const fresh = { streamId: stream("b"), events: withIds([here.id()]) }
        yield* idConflict(here, [repeat, fresh], [a])
        yield* idConflict(here, [fresh, repeat], [a])
        yield* idConflict(here, [{ streamId: stream("b"), events: numbered(2) }, repeat], [a])
      })
    )

    it.effect("known ids in another order are a conflict", () =>
      Effect.gen(function* () {
        const here = yield* scene("conflict")
        const { stream, write } = here
        const [a, b, c] = someIds(here, 3)
        yield* write({ streamId: stream("a"), events: withIds([a, b, c]) })
        const to = (...ids: ReadonlyArray<EventId>) => [{ streamId: stream("a"), events: withIds(ids) }]
        yield* idConflict(here, to(b, a), [a, b])
        yield* idConflict(here, to(a, c, b), [a, b, c])
        yield* idConflict(here, to(c, b, a), [a, b, c])
      })
    )

    it.effect("known ids with others between them are a conflict", () =>
      Effect.gen(function* () {
        const here = yield* scene("conflict")
        const { stream, write } = here
        const [a, b, c] = someIds(here, 3)
        yield* write({ streamId: stream("a"), events: withIds([a, b, c]) })
        yield* idConflict(here, [{ streamId: stream("a"), events: withIds([a, c]) }], [a, c])
      })
    )

    it.effect("a known id in another stream is a conflict", () =>
      Effect.gen(function* () {
        const here = yield* scene("conflict")
        const { stream, write } = here
        const [a, b] = someIds(here, 2)
        yield* write([
          { streamId: stream("a"), events: withIds([a]) },
          { streamId: stream("b"), events: withIds([b]) }
        ])
        yield* idConflict(here, [{ streamId: stream("other"), events: withIds([a]) }], [a])
        yield* idConflict(here, [{ streamId: stream("a"), events: withIds([a, b]) }], [a, b])
        yield* idConflict(
          here,
          [
            { streamId: stream("b"), events: withIds([a]) },
            { streamId: stream("a"), events: withIds([b]) }
          ],
          [a, b]
        )
      })
    )

    it.effect("a conflict of ids is found before the condition and the expected version are looked at", () =>
      Effect.gen(function* () {
        const here = yield* scene("conflict")
        const { store, stream, write } = here
        const id = here.id()
        yield* write({ streamId: stream("a"), events: withIds([id]) })
        const condition = { filters: [{ category: here.category }], after: start }
        const append = { streamId: stream("b"), events: withIds([id]), expected: version(9) }
        yield* refused(store.write(append, { condition }), "EventIdConflict")
      })
    )

    it.effect("a repeat of archived and of erased events is a repeat all the same", () =>
      Effect.gen(function* () {
        const here = yield* scene("repeat")
        const { store, stream, write } = here
        const append = { streamId: stream("a"), events: withIds(someIds(here, 2)) }
        const first = yield* write(append)
        yield* store.archiveStream(stream("a"))
        assert.deepStrictEqual(yield* unchanged(here, [stream("a")], store.write(append)), first)
        yield* store.eraseEvents({ streamId: stream("a") }, null)
        assert.deepStrictEqual(yield* unchanged(here, [stream("a")], store.write(append)), first)
      })
    )

    it.effect("the same write from 16 fibers at once is written once, and all get the same result", () =>
      Effect.gen(function* () {
        const here = yield* scene("repeat")
        const { store, stream, streamOf } = here
        const append = {
          streamId: stream("a"),
          events: withIds(someIds(here, 3)),
          expected: "empty" as const
        }
        const results = yield* Effect.all(
          Array.from({ length: 16 }, () => store.write(append)),
          { concurrency: "unbounded" }
        )
        yield* here.reached(results[0]!.position)
        for (const result of results) assert.deepStrictEqual(result, results[0])
        assert.strictEqual((yield* streamOf(stream("a"))).length, 3)
      })
    )

    it.effect("one id in two writes at once goes to one stream only", () =>
      Effect.gen(function* () {
        const here = yield* scene("conflict")
        const { log, store, stream } = here
        for (let round = 0; round < 10; round++) {
          const id = here.id()
          const results = yield* Effect.all(
            Array.from({ length: 8 }, (_, i) =>
              Effect.either(store.write({ streamId: stream(`${round}-${i}`), events: withIds([id]) }))
            ),
            { concurrency: "unbounded" }
          )
          const won = results.flatMap((result) => (result._tag === "Right" ? [result.right] : []))
          assert.strictEqual(won.length, 1)
          yield* here.reached(won[0]!.position)
          for (const result of results) {
            if (result._tag === "Left") assert.strictEqual(result.left._tag, "EventIdConflict")
          }
        }
        assert.strictEqual((yield* log()).length, 10)
      })
    )
  })
}
