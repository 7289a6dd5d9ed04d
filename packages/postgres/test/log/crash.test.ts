/**
 * The server crashes after positions were drawn and rolled back. The sequence may then give them out again:
 * a reader whose cursor is kept elsewhere must not have gone past events that there were not.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Databases from "@millrace/testkit/Databases"
import * as PostgresServer from "@millrace/testkit/PostgresServer"
import * as Effect from "effect/Effect"
import {
  append,
  brokenVersions,
  compare,
  connect,
  noDifference,
  open,
  reached,
  select,
  table,
  tail
} from "./support/PgLog.js"
import { sized, withChance } from "@millrace/testkit/Seeds"

/** Write-ahead log that no commit asks for stays in memory, so that a crash forgets it. */
const forgetful = { wal_writer_delay: "10s", wal_writer_flush_after: "1GB", autovacuum: "off" }

describe("a crash of the server", () => {
  it.scopedLive(
    "after positions were drawn and rolled back skips nothing for a reader with a cursor of its own",
    () =>
      withChance(({ int, is }) =>
        Effect.gen(function* () {
          const server = yield* PostgresServer.start({ settings: forgetful })
          const { url } = yield* Databases.postgresAt(server.url)
          const log = yield* open(url)
          const reader = tail(log.store)
          const lastValue = Effect.map(
            select<{ readonly last: number }>(
              url,
              "SELECT last_value::float8 AS last FROM millrace.positions"
            ),
            ([row]) => row!.last
          )
          const written: Array<string> = []
          const write = Effect.suspend(() => log.store.write(append(`a/${int(1, 5)}`, int(1, 4)))).pipe(
            Effect.tap(({ appends }) => Effect.sync(() => written.push(...appends.flatMap(({ ids }) => ids))))
          )
          let fallen = 0
          /** What a reader would miss that takes the sequence's last value for the head. */
          let missedByNaive = 0

          for (let round = 0; round < sized(3, 12); round++) {
            for (let i = int(1, 5); i > 0; i--) yield* write
            yield* reader.drain
            // Drawn and rolled back, by a failure and by a transaction that is open in the crash.
            const open_ = yield* connect(url)
            if (is(0.5)) {
              yield* open_.rows("BEGIN")
              yield* open_.rows(
                `INSERT INTO millrace.events (stream_id, version, type, id, data, vnode)
                 SELECT 'gone/' || n, 1, 'Gone', 'gone-${round}-' || n, '{}', 0 FROM generate_series(1, 100) n`
              )
            }
            for (let i = int(1, 3); i > 0; i--) {
              yield* Effect.exit(
                log.sql.withTransaction(
                  Effect.zipRight(log.store.write(append("gone/0", int(50, 300))), Effect.fail("no"))
                )
              )
            }
            const naive = yield* lastValue
            yield* reader.drain
            yield* server.restart({ mode: "kill" })

            if ((yield* lastValue) < naive) fallen++
            let position = 0
            for (let i = int(1, 5); i > 0; i--) position = (yield* write).position
            missedByNaive += (yield* table(url)).filter(
              (line) => line.position > reader.cursor() && line.position <= naive
            ).length
            yield* reached(log.store, position)
            yield* reader.drain
          }

          const there = yield* table(url)
          assert.deepStrictEqual(reader.seen, there)
          assert.deepStrictEqual(compare(reader.seen, there), noDifference)
          assert.deepStrictEqual(brokenVersions(there), [])
          assert.deepStrictEqual(
            new Set(there.map(({ id }) => id)),
            new Set(written),
            "acknowledged before and after the crashes"
          )
          assert.isAbove(fallen, 0, "the sequence never fell back, so this run proves nothing")
          assert.isAbove(missedByNaive, 0, "a naive reader would have missed nothing")
        })
      ),
    sized(60_000, 120_000)
  )
})
