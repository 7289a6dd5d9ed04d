import { assert, describe, it } from "@effect/vitest"
import * as SqlClient from "@effect/sql/SqlClient"
import { ModelStore } from "@millrace/core/ModelStore"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import * as Databases from "@millrace/testkit/Databases"
import { isFull } from "@millrace/testkit/Seeds"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { join } from "node:path"
import * as Projections from "../src/Projections.js"
import { expectedSummary, finishedFolder, onlyLine, rows, run, seeded, timeout } from "./program.js"

const args = (folder: string) => ["--data", folder, "--json"]
const rebuilding = (folder: string) => [...args(folder), "--rebuild"]

const finished = finishedFolder()

/** `npm run test:faults` kills at many more moments. */
const kills = isFull ? 20 : 2

describe("flights / projections", () => {
  it.scopedLive(
    "the rows of both models are those of a plain fold of the file, to the minute",
    () =>
      Effect.gen(function* () {
        const folder = yield* Databases.folder
        yield* finished.copyTo(folder)
        const models = yield* readModels(folder)
        const airports: Record<string, { departures: number; delayMinutes: number; over60: number }> = {}
        const routes: Record<string, { flights: number; delayMinutes: number }> = {}
        for (const { delay, destination, origin } of rows()) {
          const airport = (airports[origin] ??= { departures: 0, delayMinutes: 0, over60: 0 })
          airport.departures++
          airport.delayMinutes += delay
          if (delay > 60) airport.over60++
          const route = (routes[`${origin}-${destination}`] ??= { flights: 0, delayMinutes: 0 })
          route.flights++
          route.delayMinutes += delay
        }
        assert.deepStrictEqual(models, { airports, routes })
      }),
    timeout
  )

  it.scopedLive(
    "routes are the busiest twenty, the most flights first and among equals by code",
    () =>
      Effect.gen(function* () {
        // In memory each rebuild is of an empty model, and ends with the same.
        const outcome = yield* run(["--store", "memory", "--json", "--rebuild"])
        const { routes, ...rest } = JSON.parse(onlyLine(outcome))
        assert.deepStrictEqual({ ...rest, routes }, expectedSummary("memory"))
        assert.strictEqual(routes.length, 20)
        let ties = 0
        for (const [index, route] of routes.slice(1).entries()) {
          const before = routes[index]
          assert.isAtMost(route.flights, before.flights)
          if (route.flights !== before.flights) continue
          ties++
          assert.isTrue(before.route < route.route, `${before.route} before ${route.route}`)
        }
        assert.isAbove(ties, 0)
      }),
    timeout
  )

  const seed = 20010103
  it.scopedLive(
    `killed while the models catch up and run again, the summary is the same (seed ${seed})`,
    () =>
      Effect.gen(function* () {
        const random = seeded(seed)
        const parent = yield* Databases.folder
        for (let index = 0; index < kills; index++) {
          const folder = join(parent, `killed-${index}`)
          const kill = { text: "Alerting: 100 %", afterMs: random(400) }
          yield* run(args(folder), { kill })
          const summary = JSON.parse(onlyLine(yield* run(args(folder))))
          assert.deepStrictEqual(summary, expectedSummary("sqlite"), `index=${index} ${kill.afterMs} ms`)
        }
      }),
    timeout * (isFull ? 10 : 1)
  )
})

describe("flights / --rebuild", () => {
  it.scopedLive(
    "prints the same line as a run without it, on a fresh folder too, and however often",
    () =>
      Effect.gen(function* () {
        const folder = yield* Databases.folder
        for (let turn = 0; turn < 2; turn++) {
          const outcome = yield* run(rebuilding(folder))
          assert.deepStrictEqual(JSON.parse(onlyLine(outcome)), expectedSummary("sqlite"))
          for (const { name } of Projections.all)
            assert.include(outcome.stderr, `Rebuilding ${name}: 100 % of 20000 flights`)
        }
        const without = yield* run(args(folder))
        assert.deepStrictEqual(JSON.parse(onlyLine(without)), expectedSummary("sqlite"))
        assert.notInclude(without.stderr, "Rebuilding")
      }),
    timeout
  )

  it.scopedLive(
    "puts a model right that somebody has spoilt, which the summary shows until then",
    () =>
      Effect.gen(function* () {
        const folder = yield* Databases.folder
        yield* finished.copyTo(folder)
        yield* onFile(
          folder,
          Effect.flatMap(SqlClient.SqlClient, (sql) => sql`DELETE FROM flights_by_airport WHERE "key" < 'B'`)
        )
        const spoilt = JSON.parse(onlyLine(yield* run(args(folder))))
        assert.isBelow(spoilt.events, 20_000)
        const rebuilt = JSON.parse(onlyLine(yield* run(rebuilding(folder))))
        assert.deepStrictEqual(rebuilt, expectedSummary("sqlite"))
      }),
    timeout
  )

  const seed = 20010104
  it.scopedLive(
    `killed in the midst and run again, with it or without, it prints the same (seed ${seed})`,
    () =>
      Effect.gen(function* () {
        const random = seeded(seed)
        const folder = yield* Databases.folder
        yield* finished.copyTo(folder)
        for (let index = 0; index < kills; index++) {
          const kill = { text: "Rebuilding flights-by-airport and", afterMs: random(500) }
          yield* run(rebuilding(folder), { kill })
          const again = yield* run(index % 2 === 0 ? args(folder) : rebuilding(folder))
          const told = `seed=${seed} index=${index} ${kill.afterMs} ms`
          assert.deepStrictEqual(JSON.parse(onlyLine(again)), expectedSummary("sqlite"), told)
        }
      }),
    timeout * (isFull ? 10 : 1)
  )

  it.scopedLive(
    "on Postgres it prints the same line as the run before it",
    () =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const env = { MILLRACE_URL: Redacted.value(url) }
        const first = onlyLine(yield* run(["--store", "postgres", "--json"], { env }))
        const killed = { text: "Rebuilding flights-by-airport and", afterMs: 50 }
        yield* run(["--store", "postgres", "--json", "--rebuild"], { env, kill: killed })
        const rebuilt = yield* run(["--store", "postgres", "--json", "--rebuild"], { env })
        assert.strictEqual(onlyLine(rebuilt), first)
      }),
    timeout
  )
})

const onFile = <A, E>(folder: string, effect: Effect.Effect<A, E, ModelStore | SqlClient.SqlClient>) =>
  Effect.provide(effect, Sqlite.layer({ filename: join(folder, "flights.db") }))

/** Both live models, row by key. */
const readModels = (folder: string) =>
  onFile(
    folder,
    Effect.gen(function* () {
      const models = yield* ModelStore
      const [airports, routes] = [
        yield* models.list(Projections.airports, { limit: 10_000 }),
        yield* models.list(Projections.routes, { limit: 10_000 })
      ]
      return {
        airports: Object.fromEntries(airports.map(({ key, row }) => [key, { ...row }])),
        routes: Object.fromEntries(routes.map(({ key, row }) => [key, { ...row }]))
      }
    })
  )
