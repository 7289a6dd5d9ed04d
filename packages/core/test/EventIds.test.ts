/** Where new ids come from: always rising, and the same again for tests that want it. */
import { assert, describe, it } from "@effect/vitest"
import { isEventId } from "@millrace/core/EventId"
import * as EventIds from "@millrace/core/EventIds"
import { EventStore } from "@millrace/core/EventStore"
import * as Memory from "@millrace/core/Memory"
import * as Effect from "effect/Effect"
import * as FC from "effect/FastCheck"
import * as Layer from "effect/Layer"

/** ULID time: the first ten characters, to the base of 32. */
const timeOf = (id: string): number =>
  Array.from(id.slice(0, 10)).reduce((ms, c) => ms * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".indexOf(c), 0)

describe("new event ids", () => {
  it("rise strictly, also when the clock stands still or steps back", () => {
    FC.assert(
      FC.property(
        FC.integer(),
        FC.array(FC.nat({ max: 50 }), { minLength: 1, maxLength: 60 }),
        (seed, times) => {
          const source = EventIds.seeded(seed)
          let last = ""
          for (const ms of times) {
            const id = source.next(ms)
            assert.isTrue(isEventId(id), id)
            assert.isTrue(id > last, `${last} then ${id}`)
            last = id
          }
        }
      )
    )
  })

  it("carry the time they were asked with, or the latest before", () => {
    const source = EventIds.seeded(1)
    assert.strictEqual(timeOf(source.next(1_000)), 1_000)
    assert.strictEqual(timeOf(source.next(999)), 1_000)
    assert.strictEqual(timeOf(source.next(1_001)), 1_001)
    assert.strictEqual(timeOf(source.next(2 ** 48 - 1)), 2 ** 48 - 1)
  })

  it("of one seed and the same times are the same, of another seed they differ", () => {
    const ids = (seed: number) => {
      const source = EventIds.seeded(seed)
      return [5, 5, 3, 9].map((ms) => source.next(ms))
    }
    assert.deepStrictEqual(ids(42), ids(42))
    assert.notDeepEqual(ids(42), ids(43))
  })

  it.effect("of the process rise over all stores, and differ where many are drawn at once", () =>
    Effect.gen(function* () {
      const source = yield* EventIds.EventIds
      const again = yield* EventIds.EventIds
      assert.strictEqual(source, again)
      const ids = Array.from({ length: 20_000 }, (_, i) => (i % 2 === 0 ? source : again).next(i % 7))
      assert.deepStrictEqual(ids, ids.toSorted())
      assert.strictEqual(new Set(ids).size, ids.length)
    })
  )

  it.effect("are made where the test clock begins, at 0", () =>
    Effect.gen(function* () {
      const store = yield* EventStore
      const { appends } = yield* store.write({ streamId: "a/1", events: [{ type: "A", data: 1 }] })
      assert.isTrue(isEventId(appends[0]?.ids[0]))
    }).pipe(Effect.provide(Memory.layer()), Effect.provide(EventIds.layerSeeded(7)))
  )

  it.effect("of a seeded store are the same in every run", () => {
    const ids = Effect.gen(function* () {
      const store = yield* EventStore
      const { appends } = yield* store.write({
        streamId: "a/1",
        events: [
          { type: "A", data: 1 },
          { type: "B", data: 2 }
        ]
      })
      return appends[0]!.ids
    }).pipe(Effect.provide(Layer.provide(Memory.layer(), EventIds.layerSeeded(7))))
    return Effect.gen(function* () {
      const first = yield* ids
      assert.deepStrictEqual(yield* ids, first)
      const source = EventIds.seeded(7)
      assert.deepStrictEqual(first, [source.next(0), source.next(0)])
    })
  })
})
