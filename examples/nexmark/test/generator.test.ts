import { assert, describe, it } from "@effect/vitest"
import type { SourceBatch } from "@millrace/core/Source"
import * as Effect from "effect/Effect"
import type { Event } from "../src/Event.js"
import { isAuction, isBid, isPerson } from "../src/Event.js"
import * as Generator from "../src/Generator.js"

const context = { pipeline: "test", vnodes: { from: 0, to: 255 } }

const read = (options: Generator.GeneratorOptions, offset?: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const reader = yield* Generator.source(options).open(
        offset === undefined ? {} : { "0": offset },
        context
      )
      const batches: Array<SourceBatch<Event>> = []
      for (let batch = yield* reader.next; batch !== undefined; batch = yield* reader.next)
        batches.push(batch)
      return batches
    })
  )

const valuesOf = (batches: ReadonlyArray<SourceBatch<Event>>): ReadonlyArray<Event> =>
  batches.flatMap(({ values }) => values)

describe("nexmark / generator", () => {
  it.effect("opened at any offset it goes on with the same events, times and offsets", () =>
    Effect.gen(function* () {
      for (const outOfOrdernessMs of [0, 300]) {
        const options = { events: 2_345, seed: 5, outOfOrdernessMs, batchSize: 100 }
        const all = yield* read(options)
        for (const from of [0, 1, 7, 23]) {
          const rest = yield* read(options, all[from]!.offset)
          assert.deepStrictEqual(rest, all.slice(from + 1))
        }
        const odd = valuesOf(yield* read(options, "123"))
        assert.deepStrictEqual(odd, valuesOf(all).slice(123))
        assert.deepStrictEqual(yield* read(options, "2345"), [])
      }
    })
  )

  it.effect("an offset behind the end, or none at all, and a wrong size of batches are refused", () =>
    Effect.gen(function* () {
      for (const offset of ["11", "-1", "x", "1.5"]) {
        const error = yield* Effect.flip(read({ events: 10 }, offset))
        assert.strictEqual(error._tag, "InvalidArgument")
      }
      for (const batchSize of [0, 10_001, 1.5])
        assert.strictEqual((yield* Effect.flip(read({ events: 10, batchSize })))._tag, "InvalidArgument")
    })
  )

  it("the batches made at once are those of the source, and other seeds give others", () => {
    const of = (seed: number) => Generator.batches({ events: 3_000, seed })
    assert.deepStrictEqual(of(1), of(1))
    assert.notDeepEqual(of(1), of(2))
    assert.deepStrictEqual(
      of(1).map(({ offset }) => offset),
      ["1000", "2000", "3000"]
    )
    assert.deepStrictEqual(Generator.eventAt(2_500, { seed: 1 }), of(1)[2]!.values[500])
    // Past 2^32 events every one is still another.
    const far = Array.from({ length: 100 }, (_, i) => JSON.stringify(Generator.eventAt(2 ** 33 + i * 50 + 4)))
    assert.strictEqual(new Set(far).size, 100)
  })

  it("of 50 events one is a person, three are auctions, and 46 are bids", () => {
    const events = valuesOf(Generator.batches({ events: 50_000 }))
    assert.strictEqual(events.filter(isPerson).length, 1_000)
    assert.strictEqual(events.filter(isAuction).length, 3_000)
    assert.strictEqual(events.filter(isBid).length, 46_000)
  })

  it("sellers, bidders and auctions that are bid on came before, and the hot ones are busiest", () => {
    for (let seed = 0; seed < 3; seed++) {
      const persons = new Set<number>()
      const auctions = new Set<number>()
      const bids = new Map<number, number>()
      let hotBids = 0
      let hotSales = 0
      for (const event of valuesOf(Generator.batches({ events: 100_000, seed }))) {
        if (event.kind === "person") persons.add(event.id)
        else if (event.kind === "auction") {
          if (!persons.has(event.seller)) assert.fail(`nobody: ${event.seller} seed=${seed}`)
          if (event.expires <= event.at || event.reserve < event.initialBid)
            assert.fail(JSON.stringify(event))
          auctions.add(event.id)
          if ((event.seller - Generator.firstId) % Generator.hotEvery === 0) hotSales++
        } else {
          if (!persons.has(event.bidder)) assert.fail(`nobody: ${event.bidder} seed=${seed}`)
          if (!auctions.has(event.auction)) assert.fail(`nothing: ${event.auction} seed=${seed}`)
          if (!Number.isInteger(event.price) || event.price < 100) assert.fail(JSON.stringify(event))
          bids.set(event.auction, (bids.get(event.auction) ?? 0) + 1)
          if ((event.auction - Generator.firstId) % Generator.hotEvery === 0) hotBids++
        }
      }
      assert.strictEqual(persons.size, 2_000)
      assert.strictEqual(auctions.size, 6_000)
      // One of two bids, three of four auctions; and what falls on them by chance.
      assert.closeTo(hotBids / 92_000, 0.505, 0.01)
      assert.closeTo(hotSales / 6_000, 0.7525, 0.02)
    }
  })

  it("times advance at the rate, and lie behind by no more than is allowed", () => {
    const options = { events: 20_000, seed: 3, eventsPerSecond: 1_000 }
    const inOrder = valuesOf(Generator.batches(options))
    assert.deepStrictEqual(
      inOrder.map(({ at }) => at - Generator.beginMs),
      inOrder.map((_, i) => i)
    )
    const late = valuesOf(Generator.batches({ ...options, outOfOrdernessMs: 250 }))
    let newest = -Infinity
    let behindMax = 0
    for (const { at } of late) {
      newest = Math.max(newest, at)
      behindMax = Math.max(behindMax, newest - at)
    }
    assert.isAtMost(behindMax, 250)
    assert.isAbove(behindMax, 200)
    // The events are the same but for their times.
    const timeless = (events: ReadonlyArray<Event>) =>
      events.map((event) => ({ ...event, at: 0, expires: 0 }))
    assert.deepStrictEqual(timeless(late), timeless(inOrder))
  })

  it("events of one kind have their fields in one order", () => {
    const shapes = new Set(
      valuesOf(Generator.batches({ events: 1_000 })).map((event) => Object.keys(event).join())
    )
    assert.strictEqual(shapes.size, 3)
  })
})
