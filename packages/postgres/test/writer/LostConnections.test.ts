/**
 * Connections that break at the worst moments. Whatever a caller was told must be true: what succeeded is in
 * the log once, at the place that was named; what failed is not there.
 */
import { assert, describe } from "@effect/vitest"
import type { ExpectedVersion, StreamAppend, WriteResult } from "@millrace/core/Append"
import type { WriteError } from "@millrace/core/WriteError"
import * as Databases from "@millrace/testkit/Databases"
import * as PostgresServer from "@millrace/testkit/PostgresServer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type { Chance, Opened, Row } from "./Fixtures.js"
import {
  appendTo,
  ask,
  checkLog,
  checkResults,
  connection,
  database,
  eventId,
  happened,
  open,
  query,
  range,
  seed,
  sized,
  test,
  unbounded,
  version
} from "./Fixtures.js"
import * as TcpProxy from "./TcpProxy.js"

interface Told {
  /** Stands in the data of every event of the write. */
  readonly mark: string
  readonly appends: ReadonlyArray<StreamAppend>
  readonly outcome: Either.Either<WriteResult, WriteError>
  readonly ms: number
}

/**
 * Callers that each write again and again: to a stream of their own, of which they know the version, and to
 * streams that they share. Some name their ids, some write several streams at once.
 */
const load = (
  opened: ReadonlyArray<Opened>,
  chance: Chance,
  options: { readonly callers: number; readonly writes: number; readonly name: string }
) =>
  Effect.map(
    Effect.forEach(
      range(1, options.callers),
      (caller) =>
        Effect.gen(function* () {
          const { store } = opened[caller % opened.length]!
          const own = `own/${options.name}-${caller}`
          const told: Array<Told> = []
          let at = 0
          for (const n of range(1, options.writes)) {
            const mark = `${options.name} ${caller} ${n}`
            const named = chance.percent(40)
            const events = (streamId: string) =>
              range(1, 1 + chance.int(3)).map((k) =>
                happened({ data: { mark, k }, ...(named ? { id: eventId(seed, mark, streamId, k) } : {}) })
              )
            const exact: ExpectedVersion = chance.percent(80) ? version(at) : at === 0 ? "empty" : "exists"
            const mine: StreamAppend = { streamId: own, events: events(own), expected: exact }
            const shared = chance.some(range(1, 5), chance.int(3)).map((k): StreamAppend => {
              const streamId = `shared/${k}`
              return { streamId, events: events(streamId) }
            })
            const appends = chance.percent(15) ? [...shared, mine] : chance.shuffle([mine, ...shared])
            const since = performance.now()
            const outcome = yield* Effect.either(store.write(appends))
            told.push({ mark, appends, outcome, ms: performance.now() - since })
            at = yield* outcome._tag === "Right"
              ? Effect.succeed(at + mine.events.length)
              : versionOf(opened, own)
          }
          return told
        }),
      unbounded
    ),
    (told) => told.flat()
  )

const versionOf = ([first]: ReadonlyArray<Opened>, streamId: string) =>
  Effect.orElseSucceed(first!.store.streamVersion(streamId), () => version(0))

const markOf = (row: Row): string => (row.data as { readonly mark?: string }).mark ?? ""

const isTransientFailure = ({ outcome }: Told): boolean =>
  outcome._tag === "Left" && outcome.left._tag === "StoreUnavailable" && outcome.left.transient

/** Holds the log against what was told. `mayFail`: whether some may have been told to try again. */
const checkTold = (url: string, told: ReadonlyArray<Told>, mayFail: boolean) =>
  Effect.gen(function* () {
    const rows = yield* checkLog(url)
    checkResults(
      rows,
      told.flatMap(({ outcome }) => (outcome._tag === "Right" ? [outcome.right] : []))
    )
    const counts = new Map<string, number>()
    for (const row of rows) counts.set(markOf(row), (counts.get(markOf(row)) ?? 0) + 1)
    for (const one of told) {
      const there = counts.get(one.mark) ?? 0
      const size = one.appends.reduce((sum, append) => sum + append.events.length, 0)
      if (one.outcome._tag === "Right") {
        assert.strictEqual(there, size, `events of the acknowledged write ${one.mark}`)
        continue
      }
      const error = one.outcome.left
      assert.isTrue(mayFail, `${one.mark} failed: ${error._tag} ${error.message}`)
      assert.isTrue(isTransientFailure(one), `${one.mark} failed: ${error._tag} ${error.message}`)
      // As StoreUnavailable documents it: lost while committing, and the database stayed away.
      assert.include([0, size], there, `events of the failed write ${one.mark}: ${error.message}`)
    }
    return rows
  })

describe("lost connections", () => {
  test(
    "cut at every moment of a write: each is in the log once, where its caller was told, and none fails",
    sized(60, 400),
    (chance) =>
      Effect.gen(function* () {
        const url = yield* database
        const proxy = yield* TcpProxy.make(url, chance)
        const opened = yield* Effect.forEach([1, 2], () => open(proxy.url, { writeTimeout: "40 seconds" }))
        proxy.strike(12)
        const told = yield* load(opened, chance, { callers: 16, writes: sized(40, 300), name: "cut" })
        proxy.strike(0)
        yield* checkTold(url, told, false)
        for (const fault of TcpProxy.faults) assert.isAbove(proxy.struck().get(fault) ?? 0, 0, fault)

        // Written again with the same ids, nothing is added, and the answer is the first one.
        const named = told.filter(({ appends }) => appends.every(({ events }) => events[0]!.id !== undefined))
        const before = yield* ask(url, "SELECT count(*)::int AS n FROM millrace.events")
        yield* Effect.forEach(
          named,
          ({ appends, outcome }) =>
            Effect.map(opened[0]!.store.write(appends), (result) =>
              assert.deepStrictEqual(result, outcome._tag === "Right" ? outcome.right : undefined)
            ),
          { concurrency: 8 }
        )
        assert.isAbove(named.length, 0)
        assert.deepStrictEqual(yield* ask(url, "SELECT count(*)::int AS n FROM millrace.events"), before)
      })
  )

  for (const fault of TcpProxy.faults) {
    test(`one write after another through "${fault}": all succeed, none is doubled`, 60, (chance) =>
      Effect.gen(function* () {
        const url = yield* database
        const proxy = yield* TcpProxy.make(url, chance)
        const opened = [yield* open(proxy.url)]
        proxy.strike(60, [fault])
        const told = yield* load(opened, chance, { callers: 2, writes: sized(8, 80), name: "one" })
        proxy.strike(0)
        yield* checkTold(url, told, false)
        assert.isAbove(proxy.struck().get(fault) ?? 0, 3)
      })
    )
  }

  test(
    "conditional appends through cut connections: exactly one of each race wins, and the winner is told so",
    sized(40, 200),
    (chance) =>
      Effect.gen(function* () {
        const url = yield* database
        const proxy = yield* TcpProxy.make(url, chance)
        const opened = yield* Effect.forEach([1, 2], () => open(proxy.url, { writeTimeout: "30 seconds" }))
        proxy.strike(25)
        for (const round of range(1, sized(30, 300))) {
          const tags = [`cut ${round}`]
          const outcomes = yield* Effect.forEach(
            range(1, 8),
            (n) =>
              Effect.either(
                opened[n % 2]!.store.write(appendTo(`seat/${round}-${n}`, { tags }), {
                  condition: { filters: [{ tags }], after: 0 as never }
                })
              ),
            unbounded
          )
          const tags_ = outcomes.map((outcome) => (outcome._tag === "Right" ? "Written" : outcome.left._tag))
          assert.deepStrictEqual(
            tags_.toSorted(),
            [...range(1, 7).map(() => "AppendConditionFailed"), "Written"],
            `round ${round}`
          )
        }
        proxy.strike(0)
        assert.strictEqual((yield* checkLog(url)).length, sized(30, 300))
      })
  )

  test(
    "connections terminated at random under 64 callers: nothing acknowledged is lost, nothing is there twice",
    sized(60, 400),
    (chance) =>
      Effect.gen(function* () {
        const url = yield* database
        const opened = yield* Effect.forEach([1, 2], () =>
          open(url, { listen: true, writeTimeout: "40 seconds", applicationName: "victim" })
        )
        const beside = yield* connection(url)
        let kills = 0
        const killer = yield* Effect.fork(
          Effect.forever(
            // Drawn anew each time: at a steady 5 ms nobody would ever get as far as a statement.
            Effect.suspend(() =>
              Effect.zipRight(
                Effect.flatMap(
                  query(
                    beside,
                    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name LIKE 'victim%' AND (state = 'active' OR random() < 0.2)
                   ORDER BY random() LIMIT $1`,
                    [1 + chance.int(3)]
                  ),
                  (rows) => Effect.sync(() => void (kills += rows.length))
                ),
                Effect.sleep(10 + chance.int(60))
              )
            )
          )
        )
        const told = yield* load(opened, chance, { callers: 64, writes: sized(30, 200), name: "killed" })
        yield* Fiber.interrupt(killer)
        yield* checkTold(url, told, false)
        assert.isAbove(kills, 10)
      })
  )

  test(
    "the server is killed and comes back under load: every caller ends in time, and the log is what they were told",
    sized(70, 200),
    (chance) =>
      Effect.gen(function* () {
        const server = yield* PostgresServer.start()
        const { url } = yield* Databases.postgresAt(server.url)
        const opened = yield* Effect.forEach([1, 2], () =>
          open(Redacted.value(url), { writeTimeout: "25 seconds" })
        )
        const loading = yield* Effect.fork(
          load(opened, chance, { callers: 32, writes: sized(40, 300), name: "crash" })
        )
        for (const _ of range(1, sized(2, 8))) {
          yield* Effect.sleep(200 + chance.int(400))
          yield* server.restart({ mode: "kill" })
        }
        const told = yield* Fiber.join(loading)
        const rows = yield* checkTold(Redacted.value(url), told, true)
        const slowest = Math.max(...told.map(({ ms }) => ms))
        assert.isBelow(slowest, 27_000, "the slowest write took longer than its timeout")
        // The server was away for a few seconds of 25: nobody had to be told to try again.
        assert.deepStrictEqual(told.filter(isTransientFailure).length, 0)
        assert.isAbove(rows.length, 0)
      })
  )

  test("while the server is gone a write fails at its timeout, typed, and works again afterwards", 60, () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.start()
      const database = yield* Databases.postgresAt(server.url)
      const url = Redacted.value(database.url)
      const { store } = yield* open(url, { writeTimeout: "2 seconds" })
      yield* store.write(appendTo("gone/0"))
      yield* server.stop({ mode: "kill" })
      const since = performance.now()
      const outcomes = yield* Effect.forEach(
        range(1, 20),
        (n) => Effect.either(store.write(appendTo(`gone/${n}`))),
        unbounded
      )
      assert.isBelow(performance.now() - since, 6_000)
      for (const outcome of outcomes) {
        if (outcome._tag !== "Left" || outcome.left._tag !== "StoreUnavailable")
          return assert.fail("the server is gone")
        assert.isTrue(outcome.left.transient)
      }
      yield* server.restart()
      yield* store.write(appendTo("gone/0"))
      assert.deepStrictEqual(
        (yield* checkLog(url)).map((row) => row.streamId),
        ["gone/0", "gone/0"]
      )
    })
  )

  test(
    "a network that swallows everything: writes end at their timeout, and the next ones go through",
    40,
    (chance) =>
      Effect.gen(function* () {
        const url = yield* database
        const proxy = yield* TcpProxy.make(url, chance)
        const { store } = yield* open(proxy.url, { writeTimeout: "1 second", connectTimeout: "1 second" })
        // All connections of the pool are up, so that it is not the making of one that fails.
        yield* Effect.forEach(range(1, 40), () => store.streamVersion("swallowed/1"), unbounded)
        proxy.swallow(true)
        const outcomes = yield* Effect.timeoutOption(
          Effect.forEach(
            range(1, 12),
            (n) => Effect.either(store.write(appendTo(`swallowed/${n}`))),
            unbounded
          ),
          "6 seconds"
        )
        proxy.swallow(false)
        proxy.cut()
        if (outcomes._tag === "None") return assert.fail("no answer 6 s after writes with a timeout of 1 s")
        for (const outcome of outcomes.value) {
          if (outcome._tag !== "Left" || outcome.left._tag !== "StoreUnavailable")
            return assert.fail("nothing went through")
          assert.isTrue(outcome.left.transient)
        }
        yield* store.write(appendTo("swallowed/0"))
        assert.deepStrictEqual(
          (yield* checkLog(url)).map((row) => row.streamId),
          ["swallowed/0"]
        )
      })
  )

  test("a network that swallows everything does not keep the store from closing", 40, (chance) =>
    Effect.gen(function* () {
      const url = yield* database
      const proxy = yield* TcpProxy.make(url, chance)
      const scope = yield* Scope.make()
      const { store } = yield* Scope.extend(
        open(proxy.url, { writeTimeout: "1 second", connectTimeout: "1 second" }),
        scope
      )
      yield* store.write(appendTo("swallowed/1"))
      proxy.swallow(true)
      const writing = yield* Effect.forkDaemon(Effect.either(store.write(appendTo("swallowed/1"))))
      yield* Effect.sleep("50 millis")
      const closing = yield* Effect.forkDaemon(Scope.close(scope, Exit.void))
      const closed = yield* Effect.timeoutOption(Fiber.join(closing), "8 seconds")
      proxy.swallow(false)
      proxy.cut()
      yield* Fiber.join(closing)
      yield* Fiber.join(writing)
      assert.strictEqual(closed._tag, "Some", "not closed after 8 s with a write timeout of 1 s")
    })
  )
})
