/** Versions and positions stay in step, whatever the order in which transactions began, elsewhere or here. */
import { assert, describe, it } from "@effect/vitest"
import * as Databases from "@millrace/testkit/Databases"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Line, Url } from "./support/PgLog.js"
import {
  append,
  brokenVersions,
  compare,
  hold,
  noDifference,
  open,
  reached,
  select,
  table,
  tail
} from "./support/PgLog.js"
import { sized, withChance } from "@millrace/testkit/Seeds"

/** The table in the order of transaction ids, as logs read it that store them. */
const byTransaction = (url: Url): Effect.Effect<ReadonlyArray<Line>> =>
  select<Line>(
    url,
    `SELECT position::float8 AS position, stream_id AS "streamId", version::float8 AS version, id
     FROM millrace.events ORDER BY xmin::text::bigint, position`
  )

describe("a writer with an older transaction id", () => {
  it.scopedLive("that wrote elsewhere first appends later, and versions and positions stay in step", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      const log = yield* open(url)
      yield* log.sql`CREATE TABLE elsewhere (n integer)`
      const wroteElsewhere = yield* Deferred.make<void>()
      const mayAppend = yield* Deferred.make<void>()
      const older = yield* Effect.fork(
        hold(
          log,
          Effect.gen(function* () {
            yield* log.sql`INSERT INTO elsewhere VALUES (1)`
            yield* Deferred.succeed(wroteElsewhere, undefined)
            yield* Deferred.await(mayAppend)
            return yield* log.store.write([append("order/1"), append("order/2")])
          })
        )
      )
      yield* Deferred.await(wroteElsewhere)
      const newer = yield* log.store.write(append("order/1", 2))
      yield* Deferred.succeed(mayAppend, undefined)
      const { commit, value } = yield* Fiber.join(older)
      const last = yield* Effect.fork(log.store.write(append("order/1")))
      yield* commit
      const after = yield* Fiber.join(last)

      const written = [newer, value, after].map(({ appends: [append] }) => append!)
      assert.deepStrictEqual(
        written.map(({ version }) => Number(version)),
        [2, 3, 4]
      )
      assert.isTrue(newer.position < value.position && value.position < after.position)
      const there = yield* table(url)
      assert.deepStrictEqual(brokenVersions(there), [])
      // The case is what its name says: the later event has the older transaction id.
      assert.isAbove(brokenVersions(yield* byTransaction(url)).length, 0)
      const reader = tail(log.store)
      yield* reached(log.store, after.position)
      yield* reader.drain
      assert.deepStrictEqual(reader.seen, there)
    })
  )

  it.scopedLive(
    "and many of them on few streams: positions follow versions, where transaction ids do not",
    () =>
      withChance(({ int, pick }) =>
        Effect.gen(function* () {
          const { url } = yield* Databases.postgres
          const log = yield* open(url, { maxConnections: 16 })
          const { sql, store } = log
          yield* sql`CREATE TABLE elsewhere (n integer)`
          const streams = Array.from({ length: 5 }, (_, i) => `order/${i}`)
          const joined = Effect.suspend(() => {
            const count = int(1, 3)
            return sql.withTransaction(
              Effect.gen(function* () {
                yield* sql`INSERT INTO elsewhere VALUES (${count})`
                yield* Effect.sleep(int(0, 15))
                yield* store.write(append(pick(streams), count))
                yield* Effect.sleep(int(0, 3))
              })
            )
          })
          const plain = Effect.suspend(() => store.write(append(pick(streams), int(1, 3))))
          const reader = tail(store)
          const reading = yield* Effect.fork(Effect.forever(reader.drain))
          yield* Effect.forEach(
            Array.from({ length: sized(400, 3_000) }, (_, i) => i % 2 === 0),
            (isJoined) => Effect.asVoid(isJoined ? joined : plain),
            { concurrency: 12, discard: true }
          )
          yield* Fiber.interrupt(reading)
          const there = yield* table(url)
          yield* reached(store, there.at(-1)!.position)
          yield* reader.drain
          assert.deepStrictEqual(brokenVersions(there), [])
          assert.deepStrictEqual(compare(reader.seen, there), noDifference)
          // The control: by transaction id the same events are out of stream order.
          assert.isAbove(brokenVersions(yield* byTransaction(url)).length, 0)
        })
      ),
    sized(60_000, 200_000)
  )
})
