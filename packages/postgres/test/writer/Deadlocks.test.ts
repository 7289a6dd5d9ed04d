/**
 * Writes that need the same rows in opposite order. A single write takes its rows in one order whatever the
 * caller's, so that none ever waits in a circle; several writes in one transaction of the caller may, and then
 * one of them is told so.
 */
import { assert, describe } from "@effect/vitest"
import type { StreamAppend, WriteResult } from "@millrace/core/Append"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import {
  appendTo,
  ask,
  checkLog,
  checkResults,
  codeIn,
  eventId,
  happened,
  open,
  position,
  range,
  sized,
  stores,
  test,
  unbounded,
  database
} from "./Fixtures.js"

/** Deadlocks that the server has broken up in this database; its backends report them when they end. */
const deadlocksOf = (url: string) =>
  Effect.map(
    ask<{ readonly deadlocks: string }>(
      url,
      "SELECT deadlocks::text FROM pg_stat_database WHERE datname = current_database()"
    ),
    ([row]) => Number(row!.deadlocks)
  )

describe("deadlocks", () => {
  test(
    "writes of many streams in random order from three pools, old streams and new, all succeed and never deadlock",
    sized(60, 300),
    (chance) =>
      Effect.gen(function* () {
        const url = yield* database
        const results: Array<WriteResult> = []
        yield* Effect.scoped(
          Effect.gen(function* () {
            const opened = yield* Effect.forEach([1, 2, 3], () => open(url))
            const old = range(1, 16).map((n) => `old/${n}`)
            yield* opened[0]!.store.write(old.map((streamId) => appendTo(streamId)))
            const rounds = sized(12, 120)
            yield* Effect.forEach(
              range(1, rounds),
              (round) =>
                // The new streams of a round are new to all writers of it.
                Effect.forEach(
                  range(0, 29),
                  (writer) => {
                    const { store } = opened[writer % 3]!
                    const fresh = range(1, 8).map((n) => `new ${round}/${n}`)
                    const streams = chance.some([...old, ...fresh], writer % 5 === 0 ? 1 : 1 + chance.int(14))
                    const appends: Array<StreamAppend> = streams.map((streamId) => ({
                      streamId,
                      events: range(1, 1 + chance.int(3)).map((n) =>
                        // Some with named ids, which go through the general form.
                        happened(writer % 4 === 0 ? { id: eventId(url, round, writer, streamId, n) } : {})
                      )
                    }))
                    if (chance.percent(20)) appends.push(appendTo(appends[0]!.streamId as string))
                    return Effect.map(store.write(appends), (result) => void results.push(result))
                  },
                  unbounded
                ),
              { concurrency: 2, discard: true }
            )
          })
        )
        const rows = yield* checkLog(url)
        checkResults(rows, results)
        assert.strictEqual(results.length, sized(12, 120) * 30)
        assert.strictEqual(yield* deadlocksOf(url), 0)
      })
  )

  test("single writes, joined to callers' transactions in opposite order, all succeed", 40, (chance) =>
    Effect.gen(function* () {
      const url = yield* database
      yield* Effect.scoped(
        Effect.gen(function* () {
          const opened = yield* Effect.forEach([1, 2], () => open(url))
          for (const round of range(1, sized(15, 150))) {
            const names = range(1, 8).map((n) => `${n % 2 === 0 ? "joined" : `joined ${round}`}/${n}`)
            yield* Effect.forEach(
              range(0, 11),
              (writer) => {
                const { sql, store } = opened[writer % 2]!
                const write = store.write(chance.some(names, 6).map((streamId) => appendTo(streamId)))
                return writer % 3 === 0 ? write : sql.withTransaction(write)
              },
              unbounded
            )
          }
        })
      )
      const rows = yield* checkLog(url)
      assert.strictEqual(rows.length, sized(15, 150) * 12 * 6)
      assert.strictEqual(yield* deadlocksOf(url), 0)
    })
  )

  test("conditions over several buckets in opposite order never deadlock", 40, (chance) =>
    Effect.gen(function* () {
      const url = yield* database
      let outcomes = 0
      yield* Effect.scoped(
        Effect.gen(function* () {
          const opened = yield* Effect.forEach([1, 2, 3], () => open(url))
          for (const round of range(1, sized(10, 100))) {
            const tags = range(1, 6).map((n) => `round ${round} ${n}`)
            yield* Effect.forEach(
              range(0, 17),
              (writer) => {
                const filters = chance.some(tags, 3).map((tag) => ({ tags: [tag] }))
                const appends = chance
                  .some(range(1, 5), 3)
                  .map((n) => appendTo(`bucket/${n}`, { tags: chance.some(tags, 2) }))
                const write = opened[writer % 3]!.store.write(
                  appends,
                  writer % 2 === 0 ? { condition: { filters, after: position(0) } } : {}
                )
                return Effect.map(Effect.either(write), (outcome) => {
                  outcomes++
                  if (outcome._tag === "Left")
                    assert.strictEqual(outcome.left._tag, "AppendConditionFailed", outcome.left.message)
                })
              },
              unbounded
            )
          }
        })
      )
      assert.strictEqual(outcomes, sized(10, 100) * 18)
      yield* checkLog(url)
      assert.strictEqual(yield* deadlocksOf(url), 0)
    })
  )

  test(
    "two transactions that write two streams in opposite order: one is told to try again, the other commits",
    30,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(2)
        yield* opened[0]!.store.write([appendTo("swap/a"), appendTo("swap/b")])
        const first = [yield* Deferred.make<void>(), yield* Deferred.make<void>()] as const
        const transaction = (i: 0 | 1, streams: readonly [string, string]) => {
          const { sql, store } = opened[i]!
          return Effect.gen(function* () {
            yield* store.write(appendTo(streams[0], { type: `By${i}` }))
            yield* Deferred.succeed(first[i], undefined)
            yield* Deferred.await(first[i === 0 ? 1 : 0])
            yield* store.write(appendTo(streams[1], { type: `By${i}` }))
          }).pipe(sql.withTransaction, Effect.either)
        }
        const outcomes = yield* Effect.all(
          [transaction(0, ["swap/a", "swap/b"]), transaction(1, ["swap/b", "swap/a"])],
          unbounded
        )
        const lost = outcomes.filter((outcome) => outcome._tag === "Left")
        assert.strictEqual(lost.length, 1)
        const error = lost[0]!._tag === "Left" ? lost[0]!.left : undefined
        if (error?._tag !== "StoreUnavailable") return assert.fail(String(error))
        assert.isTrue(error.transient)
        assert.strictEqual(codeIn(error), "40P01")
        const winner = outcomes[0]!._tag === "Right" ? "By0" : "By1"
        const rows = yield* checkLog(url)
        assert.deepStrictEqual(
          rows.filter((row) => row.type !== "Happened").map((row) => [row.type, row.streamId]),
          (winner === "By0" ? ["swap/a", "swap/b"] : ["swap/b", "swap/a"]).map((streamId) => [
            winner,
            streamId
          ])
        )
        // The loser tries again, as it was told.
        yield* opened[0]!.sql.withTransaction(
          opened[0]!.store.write([appendTo("swap/a"), appendTo("swap/b")])
        )
      })
  )
})
