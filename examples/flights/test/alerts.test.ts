import { assert, describe, it } from "@effect/vitest"
import { deriveEventId } from "@millrace/core/EventId"
import { EventStore } from "@millrace/core/EventStore"
import * as Page from "@millrace/core/Page"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import * as Databases from "@millrace/testkit/Databases"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as SqlClient from "@effect/sql/SqlClient"
import { join } from "node:path"
import { Airport, Alert } from "../src/Flight.js"
import {
  alertLine,
  expectedAlerts,
  expectedSummary,
  finishedFolder,
  onlyLine,
  rows,
  run,
  seeded,
  timeout
} from "./program.js"

const args = (folder: string) => ["--data", folder, "--json"]

const finished = finishedFolder()

describe("flights / alerts", () => {
  it.scopedLive(
    "each flight of more than two hours late is alerted once, in its airport's alert stream, and no other",
    () =>
      Effect.gen(function* () {
        const folder = yield* Databases.folder
        yield* finished.copyTo(folder)
        const { alerts, flights } = yield* readLog(folder)
        assert.deepStrictEqual(lines(alerts), expectedAlerts())
        // Two hours to the minute is not more than two hours, and the file has such flights.
        assert.isAbove(rows().filter(({ delay }) => delay === 120).length, 0)
        for (const { data, event } of alerts) {
          assert.strictEqual(event.streamId, `alert/${data.origin}`)
          assert.strictEqual(event.id, deriveEventId("DelayAlerted", data.flight))
          const flight = flights.get(data.flight)
          assert.isDefined(flight)
          assert.isAbove(event.position, flight!.event.position)
          assert.deepStrictEqual(lines([flight!]), lines([{ data }]))
        }
      }),
    timeout
  )

  it.scopedLive(
    "run again, also after the subscriber forgot where it was, nothing is alerted twice",
    () =>
      Effect.gen(function* () {
        const folder = yield* Databases.folder
        yield* finished.copyTo(folder)
        const again = yield* run(args(folder))
        assert.deepStrictEqual(JSON.parse(onlyLine(again)), expectedSummary("sqlite"))
        assert.notInclude(again.stderr, "Alerting")
        // As after a restore from a backup that is older than the log: every flight comes again.
        yield* onFile(
          folder,
          Effect.flatMap(SqlClient.SqlClient, (sql) => sql`UPDATE millrace_cursors SET position = 0`)
        )
        const anew = yield* run(args(folder))
        assert.include(anew.stderr, "Alerting: 100 %")
        assert.deepStrictEqual(JSON.parse(onlyLine(anew)), expectedSummary("sqlite"))
        assert.deepStrictEqual(lines((yield* readLog(folder)).alerts), expectedAlerts())
      }),
    timeout
  )

  const seed = 20010102
  it.scopedLive(
    `killed in the midst of alerting, again and again, the alerts are the right ones in the end (seed ${seed})`,
    () =>
      Effect.gen(function* () {
        const random = seeded(seed)
        const folder = yield* Databases.folder
        const all = expectedAlerts()
        const counts: Array<number> = []
        for (const text of ["Alerting: 20 %", "Alerting: 20 %", "Alerting: 40 %"]) {
          const kill = { text, afterMs: random(20) }
          yield* run(args(folder), { kill })
          const there = lines((yield* readLog(folder)).alerts)
          // Whatever is there is right, and none of it is there twice.
          const missing = [...all]
          for (const line of there) {
            assert.include(missing, line)
            missing.splice(missing.indexOf(line), 1)
          }
          assert.isAtLeast(there.length, counts.at(-1) ?? 1)
          counts.push(there.length)
        }
        assert.isTrue(
          counts.some((count) => count < all.length),
          `none of the kills came before the end. alerts=${counts.join()}`
        )
        const last = yield* run(args(folder))
        assert.deepStrictEqual(JSON.parse(onlyLine(last)), expectedSummary("sqlite"))
        assert.deepStrictEqual(lines((yield* readLog(folder)).alerts), all)
      }),
    timeout
  )
})

const onFile = <A, E>(folder: string, effect: Effect.Effect<A, E, EventStore | SqlClient.SqlClient>) =>
  Effect.provide(effect, Sqlite.layer({ filename: join(folder, "flights.db") }))

/** The alerts in log order, and the flights by the id of their event. */
const readLog = (folder: string) =>
  onFile(
    folder,
    Effect.gen(function* () {
      const store = yield* EventStore
      const alerts = yield* store.read({ filters: Alert.filters(), page: Page.forward({ first: 10_000 }) })
      const flights = new Map<string, typeof Airport.Event>()
      let after = 0
      for (;;) {
        const page = yield* store.read({
          filters: Airport.filters(),
          page: Page.forward({ first: 10_000, after: after as never })
        })
        for (const flight of yield* Airport.decodeAll(Page.nodes(page))) {
          flights.set(flight.event.id, flight)
          after = flight.event.position
        }
        if (!page.pageInfo.hasNextPage) return { alerts: yield* Alert.decodeAll(Page.nodes(alerts)), flights }
      }
    })
  )

/** As the file would have them, sorted. */
const lines = (
  events: ReadonlyArray<{ readonly data: Omit<typeof Alert.Event.data, "flight"> }>
): ReadonlyArray<string> =>
  events
    .map(({ data }) =>
      alertLine({
        ...data,
        date: DateTime.formatIso(data.date).slice(0, 16).replaceAll("-", "/").replace("T", " ")
      })
    )
    .sort()
