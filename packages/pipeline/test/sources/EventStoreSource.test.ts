/** The log as a source. */
import { assert, describe, it, layer } from "@effect/vitest"
import * as EventCodec from "@millrace/core/EventCodec"
import { EventStore } from "@millrace/core/EventStore"
import * as Memory from "@millrace/core/Memory"
import { Position } from "@millrace/core/Position"
import * as RoutingKey from "@millrace/core/RoutingKey"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { vnodeOf } from "@millrace/core/Vnode"
import { fromEvents } from "@millrace/pipeline/sources/EventStoreSource"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { context, read, resumesEverywhere, valuesOf } from "./Reading.js"

const Account = EventCodec.category("account", { Deposited: Schema.Struct({ cents: Schema.Int }) })

/** `count` events, one a write, over five accounts and, each third of them, something else. */
const append = (count: number, from = 0) =>
  Effect.gen(function* () {
    const store = yield* EventStore
    for (let n = from; n < from + count; n++) {
      const streamId = n % 3 === 0 ? `other/${n % 5}` : `account/${n % 5}`
      yield* store.write({
        streamId,
        routingKey: n % 5 < 2 ? "few" : "many",
        events: [{ type: n % 3 === 0 ? "Noise" : "Deposited", data: { cents: n } }]
      })
    }
  })
const memory = Memory.layer()
const fresh = <A, E>(name: string, test: () => Effect.Effect<A, E, EventStore>) =>
  it.effect(name, () => Effect.provide(test(), memory))

describe("EventStoreSource", () => {
  layer(memory)("of a log that stands still", (it) => {
    it.effect("gives every event up to the head, in the order of the log, as of when it was recorded", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(1_000)
        yield* append(50)
        const source = fromEvents({ name: "log", until: "head", pageSize: 8 })
        const batches = yield* read(source)
        const events = valuesOf(batches)
        assert.deepStrictEqual(
          events.map(({ data }) => data),
          Array.from({ length: 50 }, (_, cents) => ({ cents }))
        )
        assert.deepStrictEqual(batches[0]!.times, new Array(8).fill(1_000))
        assert.deepStrictEqual(
          batches.map(({ offset, partition, values }) => [partition, offset, values.at(-1)!.position]),
          batches.map(({ values }) => ["log", String(values.at(-1)!.position), values.at(-1)!.position])
        )
        assert.deepStrictEqual(yield* resumesEverywhere(source), { batches: 7, wrong: [] })
      })
    )

    it.effect(
      "with a codec: facts, of the codec's own filters, or of others, without what it does not know",
      () =>
        Effect.gen(function* () {
          const source = fromEvents({
            name: "accounts",
            codec: Account,
            until: "head",
            pageSize: 10,
            timestamp: ({ data }) => data.cents
          })
          const batches = yield* read(source)
          const expected = Array.from({ length: 50 }, (_, n) => n).filter((n) => n % 3 !== 0)
          assert.deepStrictEqual(
            valuesOf(batches).map(({ data, type }) => [type, data.cents]),
            expected.map((cents) => ["Deposited", cents])
          )
          assert.deepStrictEqual(
            batches.flatMap(({ times }) => times ?? []),
            expected
          )
          assert.deepStrictEqual((yield* resumesEverywhere(source)).wrong, [])
          const all = yield* read(
            fromEvents({ name: "all", codec: Account, filters: [], until: "head", pageSize: 10 })
          )
          assert.strictEqual(valuesOf(all).length, expected.length)
          assert.strictEqual(all.length, 5)
          const none = yield* read(fromEvents({ name: "none", filters: [{ type: "Never" }], until: "head" }))
          assert.deepStrictEqual(
            none.map(({ offset, values }) => [offset, values.length]),
            [[String(yield* (yield* EventStore).head), 0]]
          )
        })
    )

    it.effect(
      "an instance reads the streams of its vnodes, and all instances together read each event once",
      () =>
        Effect.gen(function* () {
          const source = fromEvents({ name: "log", until: "head", pageSize: 7 })
          const read1 = yield* read(source, {}, Infinity, { ...context, vnodes: { from: 0, to: 127 } })
          const read2 = yield* read(source, {}, Infinity, { ...context, vnodes: { from: 128, to: 255 } })
          assert.isTrue(valuesOf(read1).every(({ streamId }) => vnodeOf(streamId) < 128))
          assert.isTrue(valuesOf(read2).every(({ streamId }) => vnodeOf(streamId) >= 128))
          assert.strictEqual(valuesOf(read1).length + valuesOf(read2).length, 50)
          assert.strictEqual(read1.at(-1)!.offset, read2.at(-1)!.offset)
        })
    )

    it.effect("filters and routing keys are the reader's", () =>
      Effect.gen(function* () {
        const options = { name: "log", until: "head" } as const
        const few = yield* read(fromEvents({ ...options, routingKey: RoutingKey.value("few") }))
        assert.strictEqual(valuesOf(few).length, 20)
        const one = yield* read(fromEvents({ ...options, filters: [{ streamId: "account/1" }] }))
        assert.strictEqual(valuesOf(one).length, 7)
      })
    )

    it.effect("up to a position, itself included, and no further", () =>
      Effect.gen(function* () {
        const all = valuesOf(yield* read(fromEvents({ name: "log", until: "head" })))
        for (const at of [0, 16, 49]) {
          const until = all[at]!.position
          const some = yield* read(fromEvents({ name: "log", until, pageSize: 8 }))
          assert.strictEqual(valuesOf(some).at(-1)!.position, until)
          assert.strictEqual(valuesOf(some).length, at + 1)
          assert.deepStrictEqual(yield* read(fromEvents({ name: "log", until }), { log: String(until) }), [])
        }
      })
    )

    it.effect("a cursor ahead of the log fails, whatever it is to read", () =>
      Effect.gen(function* () {
        const ahead = String((yield* (yield* EventStore).head) + 1)
        for (const until of ["head", "forever", Position.make(3)] as const) {
          const error = yield* Effect.flip(read(fromEvents({ name: "log", until }), { log: ahead }))
          assert.strictEqual(error._tag, "CursorAheadOfLog")
        }
      })
    )

    it.effect("what is wrong with the options or the offset is told", () =>
      Effect.gen(function* () {
        const fields: Array<string> = []
        for (const [options, offset] of [
          [{ name: "" }, "0"],
          [{ name: "n", pageSize: 10_001 }, "0"],
          [{ name: "n", pollInterval: 0 }, "0"],
          [{ name: "n", until: -1 as Position }, "0"],
          [{ name: "n", until: "tail" as never }, "0"],
          [{ name: "n", filters: [{ type: "" }] }, "0"],
          [{ name: "n" }, "x"]
        ] as const) {
          const error = yield* Effect.flip(read(fromEvents(options), { log: offset }))
          fields.push(error._tag === "InvalidArgument" ? error.field : error._tag)
        }
        assert.deepStrictEqual(fields, [
          "name",
          "pageSize",
          "pollInterval",
          "until",
          "until",
          "filters[0].type",
          `offsets["log"]`
        ])
      })
    )
  })

  fresh("an event that does not decode fails, behind all before it", () =>
    Effect.gen(function* () {
      const store = yield* EventStore
      const deposit = (cents: unknown) => ({ type: "Deposited", data: { cents } })
      yield* store.write({
        streamId: "account/1",
        events: [deposit(1), deposit(2), deposit("3"), deposit(4)]
      })
      const source = fromEvents({ name: "accounts", codec: Account, until: "head" })
      const [first] = yield* read(source, {}, 1)
      assert.deepStrictEqual(
        first!.values.map(({ data }) => data.cents),
        [1, 2]
      )
      for (const offsets of [{}, { log: first!.offset }])
        assert.strictEqual((yield* Effect.flip(read(source, offsets)))._tag, "SerializationError")
    })
  )

  fresh("forever: it waits at the head for a hint, or for the poll", () =>
    Effect.gen(function* () {
      const store = yield* EventStore
      yield* append(3)
      const source = fromEvents({ name: "log", pollInterval: "1 second" })
      // Three there, two that are hinted at, each in a batch of its own.
      const hinted = yield* Effect.fork(read(source, {}, 3))
      yield* TestClock.adjust("1 millis")
      yield* append(1, 3)
      yield* TestClock.adjust("1 millis")
      yield* append(1, 4)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(
        (yield* Fiber.join(hinted)).map(({ values }) => values.length),
        [3, 1, 1]
      )
      // A store that gives no hints.
      const quiet = EventStore.of({ ...store, changes: Stream.never })
      const polled = yield* Effect.fork(
        Effect.provideService(read(source, { log: String(yield* store.head) }, 1), EventStore, quiet)
      )
      yield* TestClock.adjust("1 millis")
      yield* append(1, 5)
      yield* TestClock.adjust("900 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(polled)))
      yield* TestClock.adjust("200 millis")
      assert.strictEqual(valuesOf(yield* Fiber.join(polled)).length, 1)
    })
  )

  fresh("up to a position that the log has not reached: it waits for it, and then ends", () =>
    Effect.gen(function* () {
      const store = yield* EventStore
      yield* append(2)
      const until = Position.make((yield* store.head) + 2)
      const reading = yield* Effect.fork(read(fromEvents({ name: "log", until })))
      yield* TestClock.adjust("1 millis")
      yield* append(10, 2)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(valuesOf(yield* Fiber.join(reading)).at(-1)!.position, until)
    })
  )

  fresh("storage that is away for a moment is waited for; one that needs repair is not", () =>
    Effect.gen(function* () {
      const store = yield* EventStore
      yield* append(3)
      let failures = 2
      const away = (transient: boolean) =>
        new StoreUnavailable({ operation: "read", transient, cause: "away" })
      const source = fromEvents({ name: "log", until: "head" })
      const flaky = EventStore.of({
        ...store,
        readAfter: (query) => Effect.suspend(() => (failures-- > 0 ? away(true) : store.readAfter(query)))
      })
      const reading = yield* Effect.fork(Effect.provideService(read(source), EventStore, flaky))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(valuesOf(yield* Fiber.join(reading)).length, 3)
      const broken = EventStore.of({ ...store, readAfter: () => away(false) })
      const error = yield* Effect.flip(Effect.provideService(read(source), EventStore, broken))
      assert.strictEqual(error._tag, "StoreUnavailable")
    })
  )
})
