import { assert, describe, it } from "@effect/vitest"
import { Airport } from "../src/Flight.js"
import { EventStore } from "@millrace/core/EventStore"
import * as Page from "@millrace/core/Page"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import * as Databases from "@millrace/testkit/Databases"
import { sized } from "@millrace/testkit/Seeds"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Outcome } from "./program.js"
import {
  expectedAirports,
  expectedRoutes,
  expectedSummary,
  onlyLine,
  rows,
  run,
  seeded,
  succeeded,
  timeout
} from "./program.js"

/** How many flights the run found in the log; the program says so on stderr. */
const presentBefore = (outcome: Outcome): number =>
  Number(/(\d+) were in the log already/.exec(outcome.stderr)?.[1])

describe("flights / summary", () => {
  it.live(
    "with --json stdout is one object whose numbers are those of the file",
    () =>
      Effect.gen(function* () {
        const summary = JSON.parse(onlyLine(yield* run(["--store", "memory", "--json"])))
        assert.deepStrictEqual(summary, expectedSummary("memory"))
        assert.deepStrictEqual(Object.keys(summary), Object.keys(expectedSummary("memory")))
        // The file, and with it what is expected, is the one that the promises are about.
        const { events, streams } = expectedSummary("memory")
        assert.deepStrictEqual({ events, streams }, { events: 20_000, streams: 220 })
        for (const list of [expectedAirports(), expectedRoutes()])
          assert.strictEqual(
            list.reduce((sum, { flights }) => sum + flights, 0),
            20_000
          )
      }),
    timeout
  )

  it.live(
    "without --json stdout is the table and no JSON, and progress goes to stderr",
    () =>
      Effect.gen(function* () {
        const { stderr, stdout } = succeeded(yield* run(["--store", "memory"]))
        assert.match(stdout, /│ Airport +│ Flights │/)
        const [first] = expectedAirports()
        assert.include(stdout, `│ ${first!.airport}`)
        assert.match(stdout, /│ All +│ +20,000 │/)
        assert.notInclude(stdout, "{")
        assert.notInclude(stdout, "Appending")
        assert.include(stdout, `│ ${expectedRoutes()[0]!.route} `)
        assert.match(stderr, /Appending: 100 % of 20000 flights/)
        // Since there are alerts, two pieces of work are shown, each in five lines.
        assert.match(stderr, /Alerting: 100 % of 20000 events/)
        assert.isAtMost(stderr.split("\n").length, 14)
      }),
    timeout
  )
})

describe("flights / on SQLite", () => {
  it.scopedLive(
    "a second run on the same folder appends nothing and prints the identical line",
    () =>
      Effect.gen(function* () {
        const folder = join(yield* Databases.folder, "not", "there", "yet")
        const first = yield* run(["--data", folder, "--json"])
        const second = yield* run(["--data", folder, "--json"])
        assert.strictEqual(onlyLine(second), onlyLine(first))
        assert.strictEqual(presentBefore(first), 0)
        assert.strictEqual(presentBefore(second), 20_000)
        assert.deepStrictEqual(JSON.parse(onlyLine(first)), expectedSummary("sqlite"))
      }),
    timeout
  )

  it.scopedLive(
    "without options the log is in .millrace/flights below the current folder",
    () =>
      Effect.gen(function* () {
        const cwd = yield* Databases.folder
        succeeded(yield* run([], { cwd }))
        assert.isAbove(statSync(join(cwd, ".millrace/flights/flights.db")).size, 1_000_000)
      }),
    timeout
  )

  it.scopedLive(
    "every stream holds its airport's flights in the order of the file, and the log is near time order",
    () =>
      Effect.gen(function* () {
        const folder = yield* Databases.folder
        succeeded(yield* run(["--data", folder, "--json"]))
        const { nearest, streams } = yield* readLog(join(folder, "flights.db"))
        const expected = new Map<string, Array<string>>()
        for (const { date, delay, destination, distance, origin } of rows()) {
          const list = expected.get(`airport/${origin}`) ?? []
          list.push([date, delay, distance, origin, destination].join())
          expected.set(`airport/${origin}`, list)
        }
        assert.deepStrictEqual(Object.fromEntries(streams), Object.fromEntries(expected))
        assert.isBelow(nearest, 36 * 3_600_000)
      }),
    timeout
  )

  const seed = 20010101
  const killsCount = sized(2, 6)
  it.scopedLive(
    `killed at any of ${killsCount} moments and run again, it ends as if undisturbed (seed ${seed})`,
    () =>
      Effect.gen(function* () {
        const random = seeded(seed)
        const parent = yield* Databases.folder
        const undisturbed = onlyLine(yield* run(["--data", join(parent, "undisturbed"), "--json"]))
        // The first dies while it starts, or migrates; the others in the midst of appending.
        const kills = [
          { text: "", afterMs: 300 + random(1_500) },
          ...Array.from({ length: killsCount - 1 }, () => ({
            text: `${20 + 20 * random(4)} %`,
            afterMs: random(60)
          }))
        ]
        for (const [index, kill] of kills.entries()) {
          const folder = join(parent, `killed-${index}`)
          const killed = yield* run(["--data", folder, "--json"], { kill })
          const again = yield* run(["--data", folder, "--json"])
          const told = `seed=${seed} index=${index} kill=${JSON.stringify(kill)}`
          assert.strictEqual(onlyLine(again), undisturbed, told)
          if (kill.text === "") continue
          assert.strictEqual(killed.signal, "SIGKILL", told)
          // What had been reported as appended was there.
          assert.isAtLeast(presentBefore(again), Number.parseInt(kill.text, 10) * 200, told)
        }
      }),
    timeout
  )

  it.scopedLive(
    "killed again and again on one folder, it still ends as if undisturbed",
    () =>
      Effect.gen(function* () {
        const folder = yield* Databases.folder
        for (const text of ["20 %", "40 %", "60 %", "80 %"])
          yield* run(["--data", folder, "--json"], { kill: { text, afterMs: 10 } })
        const summary = JSON.parse(onlyLine(yield* run(["--data", folder, "--json"])))
        assert.deepStrictEqual(summary, expectedSummary("sqlite"))
      }),
    timeout
  )

  it.scopedLive(
    "two runs at once on one folder append each flight once",
    () =>
      Effect.gen(function* () {
        const folder = yield* Databases.folder
        const both = yield* Effect.all(
          [1, 2].map(() => run(["--data", folder, "--json"])),
          {
            concurrency: 2
          }
        )
        for (const outcome of both) assert.strictEqual(JSON.parse(onlyLine(outcome)).events, 20_000)
        assert.strictEqual(onlyLine(both[0]!), onlyLine(both[1]!))
      }),
    timeout
  )
})

describe("flights / on Postgres", () => {
  /** As expected, but for positions: the log may have gaps, so that only their order is known. */
  const assertSummary = (line: string): void => {
    const { head, projections, ...rest } = JSON.parse(line)
    const { head: least, projections: models, ...expected } = expectedSummary("postgres")
    assert.deepStrictEqual(rest, expected)
    assert.isAtLeast(head, least)
    assert.deepStrictEqual(
      projections,
      models.map((model) => ({ ...model, position: head }))
    )
  }

  it.scopedLive(
    "gives the same summary, and the identical line again on the second run",
    () =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const env = { MILLRACE_URL: Redacted.value(url) }
        const first = yield* run(["--store", "postgres", "--json"], { env })
        // An option goes before the environment.
        const second = yield* run(["--store", "postgres", "--json", "--url", Redacted.value(url)], {
          env: { MILLRACE_URL: "postgres://nobody@127.0.0.1:1/nowhere" }
        })
        assertSummary(onlyLine(first))
        assert.strictEqual(onlyLine(second), onlyLine(first))
        assert.strictEqual(presentBefore(second), 20_000)
      }),
    timeout
  )

  it.scopedLive(
    "killed and run again, every flight is there once",
    () =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const env = { MILLRACE_URL: Redacted.value(url) }
        const killed = yield* run(["--store", "postgres", "--json"], {
          env,
          kill: { text: "40 %", afterMs: 15 }
        })
        assert.strictEqual(killed.signal, "SIGKILL")
        const again = yield* run(["--store", "postgres", "--json"], { env })
        assertSummary(onlyLine(again))
        assert.isAtLeast(presentBefore(again), 8_000)
      }),
    timeout
  )
})

describe("flights / called wrongly", () => {
  const refused = (outcome: Outcome, code: number, ...told: ReadonlyArray<string>): void => {
    assert.strictEqual(outcome.code, code, outcome.stderr)
    assert.strictEqual(outcome.stdout, "")
    for (const text of told) assert.include(outcome.stderr, text)
  }

  it.live(
    "unknown stores, options and arguments end with 2 and name what is wrong",
    () =>
      Effect.gen(function* () {
        refused(yield* run(["--store", "mysql"]), 2, "memory, sqlite, postgres")
        refused(yield* run(["--stor", "memory"]), 2, "--stor")
        refused(yield* run(["extra"]), 2, "extra")
      }),
    timeout
  )

  it.live(
    "Postgres without a url, or with something else in its place, ends with 2 and does not repeat it",
    () =>
      Effect.gen(function* () {
        refused(yield* run(["--store", "postgres"]), 2, "--url", "MILLRACE_URL")
        const outcome = yield* run(["--store", "postgres", "--url", "u:hush-hush@host/db"])
        refused(outcome, 2, "postgres://user:password@host:5432/name")
        assert.notInclude(outcome.stderr, "hush")
      }),
    timeout
  )

  it.live(
    "a server that is not there ends with 1, says what to do, and never shows the password",
    () =>
      Effect.gen(function* () {
        const url = "postgres://someone:hush-hush@127.0.0.1:1/nowhere"
        const outcome = yield* run(["--store", "postgres", "--url", url])
        refused(outcome, 1, "did not open", "Check that the server runs")
        assert.notInclude(outcome.stderr, "hush")
      }),
    timeout
  )

  it.scopedLive(
    "a data folder that is a file, or below one, ends with 1 and leaves the file alone",
    () =>
      Effect.gen(function* () {
        const file = join(yield* Databases.folder, "file")
        writeFileSync(file, "mine")
        refused(yield* run(["--data", file]), 1, file, "it is a file", "--data DIR")
        refused(yield* run(["--data", join(file, "below")]), 1, "a part of the path is a file")
        assert.strictEqual(statSync(file).size, 4)
      }),
    timeout
  )

  it.scopedLive(
    "a file that is no database ends with 1 and says what to do",
    () =>
      Effect.gen(function* () {
        const folder = yield* Databases.folder
        mkdirSync(folder, { recursive: true })
        writeFileSync(
          join(folder, "flights.db"),
          "this is no database, it is a letter to my aunt".repeat(100)
        )
        refused(yield* run(["--data", folder]), 1, "did not open", "--data DIR")
        assert.include(readdirSync(folder), "flights.db")
      }),
    timeout
  )

  it.live(
    "--help names every option and ends with 0",
    () =>
      Effect.gen(function* () {
        const { stdout } = succeeded(yield* run(["--help"]))
        for (const option of ["--store", "--data", "--url", "--json", "--rebuild", "MILLRACE_URL", "sqlite"])
          assert.include(stdout, option)
      }),
    timeout
  )
})

/** Every stream as lines of the file, and by how much the log departs from time order, in milliseconds. */
const readLog = (filename: string) =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const streams = new Map<string, Array<string>>()
    let nearest = 0
    let latest = 0
    let after = 0
    for (;;) {
      // Alerts are in the log as well, and no flights.
      const page = yield* store.read({
        filters: Airport.filters(),
        page: Page.forward({ first: 10_000, after: after as never })
      })
      for (const { data, event } of yield* Airport.decodeAll(Page.nodes(page))) {
        const timeMs = DateTime.toEpochMillis(data.date)
        latest = Math.max(latest, timeMs)
        nearest = Math.max(nearest, latest - timeMs)
        const list = streams.get(event.streamId) ?? []
        const date = DateTime.formatIso(data.date).slice(0, 16).replaceAll("-", "/").replace("T", " ")
        list.push([date, data.delay, data.distance, data.origin, data.destination].join())
        streams.set(event.streamId, list)
        after = event.position
      }
      if (!page.pageInfo.hasNextPage) return { streams, nearest }
    }
  }).pipe(Effect.provide(Sqlite.layer({ filename })))
