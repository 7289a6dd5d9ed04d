/** What the pipeline has written, row by row, against what one would count by hand. */
import { assert, describe, it } from "@effect/vitest"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import * as Databases from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import { join } from "node:path"
import { expectedHours, expectedSessions, finishedFolder, timeout } from "./program.js"

const finished = finishedFolder()

const byText = (rows: ReadonlyArray<object>): ReadonlyArray<string> =>
  rows.map((row) => JSON.stringify(row)).sort()

describe("flights / the pipeline", () => {
  it.scopedLive(
    "every hour of every airport and every session of every route is there, once",
    () =>
      Effect.gen(function* () {
        const folder = join(yield* Databases.folder, "copy")
        yield* finished.copyTo(folder)
        const { hours, sessions } = yield* Effect.provide(
          tables,
          Sqlite.layer({ filename: join(folder, "flights.db") })
        )
        assert.deepStrictEqual(byText(hours), byText(expectedHours()))
        assert.deepStrictEqual(byText(sessions), byText(expectedSessions()))
      }),
    timeout
  )
})

const tables = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const hours = yield* sql<object>`
    SELECT airport, window_start AS start, flights, average_delay AS "averageDelay", max_delay AS "maxDelay"
    FROM flights_hourly`
  const sessions = yield* sql<object>`
    SELECT route, session_start AS start, session_end AS "end", flights FROM flights_sessions`
  return { hours, sessions }
})
