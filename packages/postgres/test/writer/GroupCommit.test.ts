/**
 * Writes of many callers in one commit: each must be as if it were alone. Bad rows are made by a CHECK that
 * the tests add to the events, since everything that could be known beforehand is refused beforehand.
 */
import { assert, describe } from "@effect/vitest"
import type { StreamAppend, WriteResult } from "@millrace/core/Append"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import {
  appendTo,
  ask,
  checkLog,
  checkResults,
  codeIn,
  connection,
  database,
  eventId,
  happened,
  logOf,
  open,
  position,
  query,
  range,
  sized,
  stores,
  tagOf,
  test,
  unbounded,
  until,
  untilBlocked,
  version
} from "./Fixtures.js"

/** How many transactions wrote the events: those of one commit have one xmin. */
const commitsOf = (url: string) =>
  Effect.map(
    ask<{ readonly commits: number }>(
      url,
      "SELECT count(DISTINCT xmin::text)::int AS commits FROM millrace.events"
    ),
    ([row]) => row!.commits
  )

/** From now on the server refuses events of type `Bad`. */
const refuseBad = (url: string) =>
  ask(url, "ALTER TABLE millrace.events ADD CONSTRAINT no_bad CHECK (type <> 'Bad')")

describe("group commit", () => {
  test("256 concurrent writes share few commits, and each gets its own result", 30, (chance) =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(1)
      const { store } = opened[0]!
      const results = yield* Effect.forEach(
        range(1, 256),
        (n) =>
          store.write({
            streamId: `caller/${n}`,
            events: range(1, 1 + chance.int(4)).map((k) => happened({ data: { n, k } }))
          }),
        unbounded
      )
      const rows = yield* checkLog(url)
      checkResults(rows, results)
      results.forEach((result, i) => {
        const own = rows.filter((row) => row.streamId === `caller/${i + 1}`)
        assert.deepStrictEqual(
          own.map((row) => row.id),
          [...result.appends[0]!.ids]
        )
        assert.deepStrictEqual(
          own.map((row) => row.data),
          own.map((_, k) => ({ n: i + 1, k: k + 1 }))
        )
      })
      assert.isAtMost(yield* commitsOf(url), 8)
    })
  )

  test("1 000 fibers that append to one stream give versions 1 to 1 000, each caller its own", 30, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(1)
      const results = yield* Effect.forEach(
        range(1, 1_000),
        () => opened[0]!.store.write(appendTo("one/stream")),
        unbounded
      )
      const rows = yield* checkLog(url)
      checkResults(rows, results)
      assert.deepStrictEqual(
        results.map((result) => Number(result.appends[0]!.version)).toSorted((a, b) => a - b),
        range(1, 1_000)
      )
    })
  )

  test("1 000 fibers over three pools that append to one stream give versions 1 to 1 000", 40, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(3)
      const results = yield* Effect.forEach(
        range(1, 1_000),
        (n) => opened[n % 3]!.store.write(appendTo("one/stream")),
        unbounded
      )
      checkResults(yield* checkLog(url), results)
      assert.strictEqual((yield* logOf(url)).length, 1_000)
    })
  )

  test("appends to one stream in one batch are applied in the order of the calls", 30, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(1)
      const { store } = opened[0]!
      // Each expects what the one before leaves behind: out of order, some would be refused.
      const results = yield* Effect.forEach(
        range(0, 99),
        (n) => store.write({ streamId: "ordered/1", events: [happened({ data: n })], expected: version(n) }),
        unbounded
      )
      const rows = yield* checkLog(url)
      checkResults(rows, results)
      assert.deepStrictEqual(
        rows.map((row) => row.data),
        range(0, 99)
      )
      // A batch takes half of those that wait, and the stream lets one batch go at a time: log2(100) of them.
      assert.isAtMost(yield* commitsOf(url), 10)
    })
  )

  test("one conflict among 200 writes of a batch fails alone", 30, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(1)
      const { store } = opened[0]!
      yield* store.deleteStream("dead/1", { tombstone: true })
      yield* store.write({ streamId: "keyed/1", events: [happened()], routingKey: "red" })
      yield* store.write(appendTo("ids/1", { id: eventId("known") }))
      const wrong: ReadonlyArray<readonly [string, StreamAppend]> = [
        ["InvalidOriginalVersion", { streamId: "batch/1", events: [happened()], expected: version(7) }],
        ["InvalidOriginalVersion", { streamId: "absent/1", events: [happened()], expected: "exists" }],
        ["StreamDeleted", appendTo("dead/1")],
        ["RoutingKeyMismatch", { streamId: "keyed/1", events: [happened()], routingKey: "blue" }],
        ["EventIdConflict", appendTo("ids/2", { id: eventId("known") })]
      ]
      for (const [tag, append] of wrong) {
        const outcomes = yield* Effect.forEach(
          range(0, 199),
          (n) => Effect.either(store.write(n === 100 ? append : appendTo(`batch/${n % 50}`))),
          unbounded
        )
        assert.deepStrictEqual(
          outcomes.map(tagOf),
          range(0, 199).map((n) => (n === 100 ? tag : "Written"))
        )
      }
      const rows = yield* checkLog(url)
      assert.strictEqual(rows.length, 5 * 199 + 2)
      assert.strictEqual(yield* store.streamVersion("absent/1"), 0)
    })
  )

  for (const bad of ["a row that a CHECK refuses", "JSON nested deeper than the server parses"] as const) {
    test(`${bad} fails only its own caller, among 200 and beside others to its stream`, 40, () =>
      Effect.gen(function* () {
        const url = yield* database
        // Nested this deep, JSON is refused by a server with little stack, and known to be so by nobody else.
        yield* ask(url, `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET max_stack_depth = '100kB'`)
        const { store } = yield* open(url, { writeTimeout: "10 seconds" })
        yield* refuseBad(url)
        const event =
          bad === "a row that a CHECK refuses" ? happened({ type: "Bad" }) : happened({ data: nested })
        for (const form of ["simple", "several", "named"] as const) {
          const append = (streamId: string): StreamAppend =>
            form === "named"
              ? { streamId, events: [{ ...event, id: eventId(bad, form) }] }
              : { streamId, events: [event] }
          const write =
            form === "several" ? [appendTo(`bad/${form}`), append(`bad/${form}-2`)] : append(`bad/${form}`)
          const outcomes = yield* Effect.forEach(
            range(0, 199),
            (n) =>
              Effect.either(
                store.write(n === 77 ? write : appendTo(n % 20 === 0 ? `bad/${form}` : `good/${form}-${n}`))
              ),
            unbounded
          )
          assert.deepStrictEqual(
            outcomes.map(tagOf),
            range(0, 199).map((n) => (n === 77 ? "StoreUnavailable" : "Written")),
            form
          )
          const refused = outcomes[77]!
          if (refused._tag === "Left" && refused.left._tag === "StoreUnavailable") {
            assert.isFalse(refused.left.transient, "trying the same again does not help")
            assert.strictEqual(codeIn(refused.left), bad === "a row that a CHECK refuses" ? "23514" : "54001")
          }
          checkResults(
            yield* checkLog(url),
            outcomes.flatMap((outcome) => (outcome._tag === "Right" ? [outcome.right] : []))
          )
        }
        const rows = yield* checkLog(url)
        assert.strictEqual(rows.length, 3 * 199)
      })
    )
  }

  test(
    "interrupted callers neither hang nor harm: what was written is whole, and the others get theirs",
    40,
    (chance) =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1)
        const { store } = opened[0]!
        const results: Array<WriteResult> = []
        for (const round of range(1, sized(15, 150))) {
          const fibers = yield* Effect.forEach(range(1, 60), (n) =>
            Effect.fork(
              Effect.tap(
                store.write([
                  appendTo(`shared/${n % 3}`, { data: { write: `${round} ${n}` } }),
                  appendTo(`own/${round}-${n}`, { data: { write: `${round} ${n}` } })
                ]),
                (result) => Effect.sync(() => void results.push(result))
              )
            )
          )
          if (chance.percent(70)) yield* Effect.sleep(chance.int(6))
          const [gone, stay] = [fibers.filter((_, n) => n % 2 === 0), fibers.filter((_, n) => n % 2 === 1)]
          yield* Fiber.interruptAll(gone)
          yield* Effect.forEach(stay, Fiber.join)
        }
        // The last interrupted batch may still be on its way; a write behind it in its stream is not.
        yield* store.write(range(0, 2).map((n) => appendTo(`shared/${n}`)))
        yield* Effect.forEach(range(0, 2), (n) => store.write(appendTo(`shared/${n}`)))
        const rows = yield* checkLog(url)
        checkResults(rows, results)
        const parts = new Map<string, number>()
        for (const { data } of rows) {
          const { write } = data as { readonly write?: string }
          if (write !== undefined) parts.set(write, (parts.get(write) ?? 0) + 1)
        }
        for (const [write, count] of parts) assert.strictEqual(count, 2, `half a write: ${write}`)
      })
  )

  test(
    "a caller that is interrupted while its stream is held has written nothing, and the stream is free",
    30,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1)
        const { store } = opened[0]!
        yield* store.write(appendTo("held/1"))
        const beside = yield* connection(url)
        yield* query(beside, "BEGIN")
        yield* query(beside, "SELECT FROM millrace.streams WHERE stream_id = 'held/1' FOR UPDATE")
        const fiber = yield* Effect.fork(store.write(appendTo("held/1", { type: "Interrupted" })))
        yield* untilBlocked(url)
        yield* Fiber.interrupt(fiber)
        yield* query(beside, "ROLLBACK")
        yield* store.write(appendTo("held/1", { type: "Next" }))
        const types = (yield* checkLog(url)).map((row) => row.type)
        // It may have been at the server when it was interrupted; then it is there as a whole, before the next.
        assert.include(
          [["Happened", "Next"].join(), ["Happened", "Interrupted", "Next"].join()],
          types.join()
        )
      })
  )

  test("one write with named ids from two stores at once is stored once, and both get its result", 40, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(2)
      for (const round of range(1, sized(40, 400))) {
        const appends = range(1, 1 + (round % 3)).map((k): StreamAppend => {
          const streamId = `twice/${round % 2 === 0 ? "old" : round}-${k}`
          return { streamId, events: [1, 2].map((n) => happened({ id: eventId(url, round, streamId, n) })) }
        })
        const results = yield* Effect.forEach(
          range(0, 5),
          (n) => opened[n % 2]!.store.write(n === 3 ? appends.toReversed() : appends),
          unbounded
        )
        for (const n of [1, 2, 4, 5]) assert.deepStrictEqual(results[n], results[0], `round ${round}`)
        assert.deepStrictEqual(results[3]!.appends.toReversed(), results[0]!.appends)
        checkResults(yield* logOf(url), results)
      }
      yield* checkLog(url)
    })
  )

  test("one named id to different streams at once: exactly one wins, the others are in conflict", 40, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(2)
      const rounds = sized(40, 400)
      for (const round of range(1, rounds)) {
        const id = eventId(url, round)
        const outcomes = yield* Effect.forEach(
          range(0, 5),
          (n) => Effect.either(opened[n % 2]!.store.write(appendTo(`many/${round}-${n}`, { id }))),
          unbounded
        )
        assert.deepStrictEqual(
          outcomes.map(tagOf).toSorted(),
          [...range(1, 5).map(() => "EventIdConflict"), "Written"],
          `round ${round}`
        )
        for (const [n, outcome] of outcomes.entries()) {
          if (outcome._tag === "Right" || outcome.left._tag !== "EventIdConflict") continue
          assert.strictEqual(outcome.left.id, id)
          assert.strictEqual(outcome.left.streamId, `many/${round}-${n}`)
        }
      }
      assert.strictEqual((yield* checkLog(url)).length, rounds)
    })
  )

  test(
    "of two writes that cross in their ids over different streams one wins whole, and both end soon",
    30,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(2)
        const rounds = sized(20, 200)
        for (const round of range(1, rounds)) {
          const [one, other] = [eventId(url, round, 1), eventId(url, round, 2)]
          const since = performance.now()
          const outcomes = yield* Effect.all(
            [
              [appendTo(`cross/${round}-a`, { id: one }), appendTo(`cross/${round}-b`, { id: other })],
              [appendTo(`cross/${round}-c`, { id: other }), appendTo(`cross/${round}-d`, { id: one })]
            ].map((appends, n) => Effect.either(opened[n]!.store.write(appends))),
            unbounded
          )
          assert.isBelow(performance.now() - since, 5_000)
          assert.deepStrictEqual(
            outcomes.map(tagOf).toSorted(),
            ["EventIdConflict", "Written"],
            `round ${round}`
          )
          // The conflict names an id of the write and the stream that id was to go to.
          const lost = outcomes.findIndex((outcome) => outcome._tag === "Left")
          const error = outcomes[lost]!
          if (error._tag === "Left" && error.left._tag === "EventIdConflict") {
            const streams = lost === 0 ? { [one]: "a", [other]: "b" } : { [other]: "c", [one]: "d" }
            assert.strictEqual(error.left.streamId, `cross/${round}-${streams[error.left.id]}`)
          }
        }
        assert.strictEqual((yield* checkLog(url)).length, rounds * 2)
      })
  )

  test(
    "a stream that somebody's transaction holds delays its own writers and nobody else of the batch",
    40,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1)
        const { store } = opened[0]!
        yield* Effect.forEach(range(0, 63), (n) => store.write(appendTo(`batch/${n}`)), unbounded)
        const beside = yield* connection(url)
        yield* query(beside, "BEGIN")
        yield* query(beside, "SELECT FROM millrace.streams WHERE stream_id = 'batch/7' FOR UPDATE")
        const since = performance.now()
        const fibers = yield* Effect.forEach(range(0, 63), (n) =>
          Effect.fork(store.write(appendTo(`batch/${n}`)))
        )
        yield* Effect.forEach(
          fibers.filter((_, n) => n !== 7),
          Fiber.join
        )
        assert.isBelow(performance.now() - since, 5_000)
        assert.strictEqual(fibers[7]!.unsafePoll(), null)
        yield* query(beside, "ROLLBACK")
        yield* Fiber.join(fibers[7]!)
        yield* checkLog(url)
      })
  )

  test(
    "writes that met a condition together are not kept back by the one among them whose stream is held",
    40,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(2, { writeTimeout: "20 seconds" })
        const [one, other] = opened
        const { store } = one!
        yield* Effect.forEach(range(0, 31), (n) => store.write(appendTo(`met/${n}`)), unbounded)
        const beside = yield* connection(url)
        yield* query(beside, "BEGIN")
        yield* query(beside, "SELECT FROM millrace.streams WHERE stream_id = 'met/7' FOR UPDATE")
        // A condition on the category stands in the way of the whole batch for a moment.
        const met = yield* Deferred.make<void>()
        const holding = yield* Effect.fork(
          other!.sql.withTransaction(
            Effect.zipRight(
              other!.store.write(appendTo("elsewhere/1"), {
                condition: {
                  filters: [
                    { category: "met", type: "Never" },
                    { category: "met", tags: ["never"] },
                    { category: "met", prefix: "met/none" }
                  ],
                  after: position(0)
                }
              }),
              Deferred.await(met)
            )
          )
        )
        yield* until(
          url,
          `EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.granted)`
        )
        const fibers = yield* Effect.forEach(range(0, 31), (n) =>
          Effect.fork(store.write(appendTo(`met/${n}`)))
        )
        yield* untilBlocked(url)
        yield* Deferred.succeed(met, undefined)
        yield* Fiber.join(holding)
        const done = yield* Effect.timeoutOption(
          Effect.forEach(
            fibers.filter((_, n) => n !== 7),
            Fiber.join
          ),
          "5 seconds"
        )
        const waiting = fibers.filter((fiber) => fiber.unsafePoll() === null).length
        yield* query(beside, "ROLLBACK")
        yield* Effect.forEach(fibers, (fiber) => Effect.either(Fiber.join(fiber)))
        assert.strictEqual(
          done._tag,
          "Some",
          `${waiting} of 32 writes still wait, 5 s after the condition ended`
        )
        yield* checkLog(url)
      })
  )

  for (const count of [4, 64]) {
    test(`${count} held streams delay neither the batches nor the conditions of others`, 60, () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1, { writeTimeout: "8 seconds" })
        const { store } = opened[0]!
        const held = range(1, count).map((n) => `held/${n}`)
        yield* store.write(held.map((streamId) => appendTo(streamId)))
        const beside = yield* connection(url)
        yield* query(beside, "BEGIN")
        yield* query(beside, "SELECT FROM millrace.streams WHERE stream_id LIKE 'held/%' FOR UPDATE")
        const fibers = yield* Effect.forEach(held, (streamId) =>
          Effect.fork(Effect.either(store.write(appendTo(streamId))))
        )
        yield* untilBlocked(url, Math.min(count, 3))
        const times: Array<number> = []
        for (const n of range(1, 3)) {
          const since = performance.now()
          yield* store.write(appendTo(`free/${n}`))
          const between = performance.now()
          yield* store.write(appendTo(`bound/${n}`, { type: "Bound", tags: [`bound ${n}`] }), {
            condition: { filters: [{ tags: [`bound ${n}`] }], after: position(0) }
          })
          times.push(between - since, performance.now() - between)
        }
        yield* query(beside, "ROLLBACK")
        yield* Effect.forEach(fibers, Fiber.join)
        yield* checkLog(url)
        assert.isBelow(
          Math.max(...times),
          1_000,
          `ms of a write and of a conditional write, in turn: ${times.map(Math.round).join(" ")}`
        )
      })
    )
  }

  test(
    "who waits for one held stream does not wait for another one that a neighbour in the lane needs too",
    40,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1, { writeTimeout: "20 seconds" })
        const { store } = opened[0]!
        yield* store.write([appendTo("lane/a"), appendTo("lane/b")])
        const hold = (streamId: string) =>
          Effect.gen(function* () {
            const beside = yield* connection(url)
            yield* query(beside, "BEGIN")
            yield* query(beside, "SELECT FROM millrace.streams WHERE stream_id = $1 FOR UPDATE", [streamId])
            return query(beside, "ROLLBACK")
          })
        const freeA = yield* hold("lane/a")
        const freeB = yield* hold("lane/b")
        const first = yield* Effect.fork(store.write(appendTo("lane/a")))
        yield* untilBlocked(url)
        const both = yield* Effect.fork(store.write([appendTo("lane/a"), appendTo("lane/b")]))
        const second = yield* Effect.fork(store.write(appendTo("lane/a")))
        yield* Effect.sleep("50 millis")
        yield* freeA
        const done = yield* Effect.timeoutOption(
          Effect.zipRight(Fiber.join(first), Fiber.join(second)),
          "4 seconds"
        )
        yield* freeB
        yield* Effect.forEach([first, both, second], (fiber) => Effect.either(Fiber.join(fiber)))
        yield* checkLog(url)
        assert.strictEqual(
          done._tag,
          "Some",
          "4 s after their stream was free, two writes still waited for the other's"
        )
      })
  )

  test("a condition on a held stream delays the appends that it is about for moments only", 40, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(1, { writeTimeout: "20 seconds" })
      const { store } = opened[0]!
      yield* store.write(appendTo("held/1"))
      const beside = yield* connection(url)
      yield* query(beside, "BEGIN")
      yield* query(beside, "SELECT FROM millrace.streams WHERE stream_id = 'held/1' FOR UPDATE")
      const bound = yield* Effect.fork(
        Effect.either(
          store.write(appendTo("held/1", { tags: ["about"] }), {
            condition: { filters: [{ tags: ["about"] }], after: position(0) }
          })
        )
      )
      yield* untilBlocked(url)
      const since = performance.now()
      for (const n of range(1, 10)) yield* store.write(appendTo(`free/${n}`, { tags: ["about"] }))
      const ms = performance.now() - since
      yield* query(beside, "ROLLBACK")
      assert.strictEqual(tagOf(yield* Fiber.join(bound)), "AppendConditionFailed")
      assert.strictEqual((yield* checkLog(url)).length, 11)
      assert.isBelow(ms, 3_000, "ms for ten writes, one after another")
    })
  )

  test("every write to a held stream ends by its deadline, however many streams are held", 60, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(1, { writeTimeout: "1 second" })
      const { store } = opened[0]!
      const held = range(1, 200).map((n) => `held/${n}`)
      yield* store.write(held.map((streamId) => appendTo(streamId)))
      const beside = yield* connection(url)
      yield* query(beside, "BEGIN")
      yield* query(beside, "SELECT FROM millrace.streams WHERE stream_id LIKE 'held/%' FOR UPDATE")
      const since = performance.now()
      const outcomes = yield* Effect.forEach(
        held,
        (streamId) =>
          Effect.map(Effect.either(store.write(appendTo(streamId))), (outcome) => ({
            outcome,
            ms: performance.now() - since
          })),
        unbounded
      )
      yield* query(beside, "ROLLBACK")
      for (const { outcome } of outcomes) {
        if (outcome._tag !== "Left" || outcome.left._tag !== "StoreUnavailable")
          return assert.fail("its stream was held")
        assert.isTrue(outcome.left.transient)
      }
      assert.strictEqual((yield* checkLog(url)).length, 200)
      const slowest = Math.max(...outcomes.map(({ ms }) => ms))
      assert.isBelow(slowest, 2_500, "ms until the last of them ended, with a write timeout of 1 s")
    })
  )

  test(
    "while somebody has the whole table to himself a write ends at its timeout, and works again afterwards",
    30,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1, { writeTimeout: "1 second" })
        const { store } = opened[0]!
        yield* store.write(appendTo("locked/1"))
        const beside = yield* connection(url)
        yield* query(beside, "BEGIN")
        yield* query(beside, "LOCK TABLE millrace.events IN ACCESS EXCLUSIVE MODE")
        const since = performance.now()
        const outcomes = yield* Effect.forEach(
          range(1, 30),
          (n) => Effect.either(store.write(appendTo(`locked/${n}`))),
          unbounded
        )
        const ms = performance.now() - since
        yield* query(beside, "ROLLBACK")
        for (const outcome of outcomes) {
          if (outcome._tag !== "Left" || outcome.left._tag !== "StoreUnavailable")
            return assert.fail("it was locked")
          assert.isTrue(outcome.left.transient)
        }
        yield* store.write(appendTo("locked/1"))
        assert.strictEqual((yield* checkLog(url)).length, 2)
        assert.isBelow(ms, 4_000, "ms until 30 writes with a timeout of 1 s had ended")
      })
  )
})

/** Lists in lists, deeper than a server with the smallest `max_stack_depth` goes. */
const nested = (() => {
  let value: ReadonlyArray<unknown> = []
  for (let depth = 1; depth < 2_000; depth++) value = [value]
  return value
})()
