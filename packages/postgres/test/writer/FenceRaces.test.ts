/**
 * Leases that change hands under load. Every event carries the epoch under which it was written, so that the log
 * itself tells whether a holder that was overtaken has got anything in behind its successor.
 */
import { assert, describe } from "@effect/vitest"
import type { StreamAppend, WriteResult } from "@millrace/core/Append"
import type { Lease } from "@millrace/core/Lease"
import type { WriteError } from "@millrace/core/WriteError"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
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
  position,
  query,
  range,
  seed,
  sized,
  stores,
  tagOf,
  test,
  unbounded
} from "./Fixtures.js"
import { acknowledge, give, renew, takeOver } from "./Leases.js"
import * as TcpProxy from "./TcpProxy.js"

interface Told {
  readonly mark: string
  readonly lease: Lease
  readonly count: number
  readonly outcome: Either.Either<WriteResult, WriteError>
}

interface Data {
  readonly mark: string
  readonly key: string
  readonly epoch: number
}

const dataOf = (row: Row): Data => row.data as Data

/** One write in one of all the forms, merged or in a transaction of its own. */
const anyWrite = (
  { sql, store }: Opened,
  chance: Chance,
  lease: Lease,
  mark: string,
  joins: boolean
): Effect.Effect<Told> => {
  const named = chance.percent(30)
  const data: Data = { mark, key: lease.key, epoch: lease.epoch }
  const conditional = chance.percent(15)
  const streams = chance.some(range(1, 12), conditional || chance.percent(60) ? 1 : 1 + chance.int(3))
  const appends = streams.map((n, index): StreamAppend => {
    // What follows in the same transaction is of a category that this write has already: of two writes in one
    // transaction the second may wait for a bucket while it holds rows, which can end in a deadlock.
    const isOwn = (joins && index === 0) || !chance.percent(50)
    const streamId = `${isOwn ? mark : "shared"}/${n}`
    return {
      streamId,
      events: range(1, 1 + chance.int(2)).map((k) =>
        happened({ data, ...(named ? { id: eventId(seed, mark, streamId, k) } : {}) })
      )
    }
  })
  const write = store.write(appends, {
    fence: lease,
    condition: conditional ? { filters: [{ tags: [mark] }], after: position(0) } : undefined
  })
  // In a transaction, what follows the fenced write belongs to the lease as well.
  const joined = Effect.zipLeft(
    write,
    Effect.zipRight(Effect.sleep(chance.int(8)), store.write(appendTo(`${mark}/more`, { data })))
  )
  const count = appends.reduce((sum, { events }) => sum + events.length, joins ? 1 : 0)
  return (joins ? sql.withTransaction(joined) : write).pipe(
    Effect.catchTag("SqlError", Effect.die),
    Effect.either,
    Effect.map((outcome) => ({ mark, lease, count, outcome }))
  )
}

/** Of each key, the epochs of the events in the order of the log never fall. */
const checkEpochs = (rows: ReadonlyArray<Row>): void => {
  const newest = new Map<string, number>()
  for (const row of rows) {
    const { epoch, key } = dataOf(row)
    assert.isAtLeast(epoch, newest.get(key) ?? 0, `epoch at position ${row.position} of ${key}`)
    newest.set(key, epoch)
  }
}

/** Who was told so is there, once and whole; who was told otherwise is not. */
const checkTold = (rows: ReadonlyArray<Row>, told: ReadonlyArray<Told>): void => {
  const counts = new Map<string, number>()
  for (const row of rows) counts.set(dataOf(row).mark, (counts.get(dataOf(row).mark) ?? 0) + 1)
  for (const { count, mark, outcome } of told) {
    assert.strictEqual(
      counts.get(mark) ?? 0,
      outcome._tag === "Right" ? count : 0,
      `${mark}: ${tagOf(outcome)}`
    )
  }
  checkResults(
    rows,
    told.flatMap(({ outcome }) => (outcome._tag === "Right" ? [outcome.right] : []))
  )
}

/** What nobody should have been told. */
const surprises = (told: ReadonlyArray<Told>): ReadonlyArray<string> =>
  told.flatMap(({ lease, mark, outcome }) => {
    if (outcome._tag === "Right") return []
    const { left } = outcome
    if (left._tag !== "LeaseLost") return [`${mark}: ${left.message} ${String(left.cause)}`]
    // Each taker is another worker: who lost it is never who has it.
    return left.holder === lease.workerId ? [`${mark}: lost to itself, ${left.holder}`] : []
  })

const taken = (told: ReadonlyArray<Told>, tag: string): number =>
  told.filter(({ outcome }) => tagOf(outcome) === tag).length

describe("leases that change hands", () => {
  test(
    "takeovers race 8 fenced writers: no event of an older epoch stands behind one of a newer, and none is missing",
    sized(60, 600),
    (chance) =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(3)
        const client = yield* connection(url)
        const keys = ["a", "b"]
        const present = new Map<string, Lease>()
        for (const key of keys) present.set(key, yield* give(url, key, "w0"))
        const told: Array<Told> = []
        const done = yield* Ref.make(false)
        const writers = yield* Effect.forEach(
          range(1, 8),
          (writer) =>
            Effect.gen(function* () {
              let n = 0
              let lease = present.get(keys[writer % 2]!)!
              while (!(yield* Ref.get(done))) {
                const mark = `${writer}-${++n}`
                const one = yield* anyWrite(opened[writer % 3]!, chance, lease, mark, chance.percent(15))
                told.push(one)
                // An overtaken one goes on for a while, as a frozen process would; then it has the newest.
                if (one.outcome._tag === "Left" && chance.percent(50)) lease = present.get(lease.key)!
              }
            }).pipe(Effect.fork),
          unbounded
        )
        for (const round of range(1, sized(50, 1_500))) {
          const key = chance.pick(keys)
          yield* Effect.sleep(chance.int(25))
          yield* query(client, "BEGIN")
          const lease = yield* takeOver(client, key, `w${round}`)
          if (chance.percent(30)) yield* Effect.sleep(chance.int(30))
          const ends = chance.percent(85)
          yield* query(client, ends ? "COMMIT" : "ROLLBACK")
          if (!ends) continue
          present.set(key, lease)
          // The very first thing under the new lease, from whatever process.
          const mark = `first ${round}`
          const write = anyWrite(chance.pick(opened), chance, lease, mark, false)
          told.push(yield* write)
          if (chance.percent(30)) yield* acknowledge(url, lease, round)
          if (chance.percent(30)) yield* renew(url, lease, 60_000)
        }
        yield* Ref.set(done, true)
        yield* Effect.forEach(writers, Fiber.join)
        assert.deepStrictEqual(surprises(told), [])
        const rows = yield* checkLog(url)
        checkEpochs(rows)
        checkTold(rows, told)
        assert.isAbove(taken(told, "LeaseLost"), 20)
        assert.isAbove(taken(told, "Written"), 100)
        const [row] = yield* ask<{ readonly n: string }>(
          url,
          "SELECT deadlocks::text AS n FROM pg_stat_database WHERE datname = current_database()"
        )
        assert.strictEqual(row!.n, "0")
      })
  )

  test(
    "leases that expire under their writers: what is written under one stands before all of the next",
    sized(40, 400),
    (chance) =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(2)
        const client = yield* connection(url)
        const told: Array<Told> = []
        for (const round of range(1, sized(15, 200))) {
          const lease = yield* give(url, "a", `w${round}`, 60 + chance.int(60))
          const writers = yield* Effect.forEach(
            range(1, 8),
            (writer) =>
              Effect.gen(function* () {
                for (const n of range(1, 100)) {
                  const one = yield* anyWrite(
                    opened[writer % 2]!,
                    chance,
                    lease,
                    `${round}-${writer}-${n}`,
                    false
                  )
                  told.push(one)
                  if (one.outcome._tag === "Left") return one.outcome.left._tag
                }
                return "not expired"
              }).pipe(Effect.fork),
            unbounded
          )
          // By the store's clock, as every other worker would.
          yield* Effect.repeat(
            Effect.zipRight(
              Effect.sleep("2 millis"),
              query<{ readonly ok: boolean }>(
                client,
                "SELECT expires_at <= clock_timestamp() AS ok FROM millrace.leases WHERE key = 'a'"
              )
            ),
            { until: ([row]) => row!.ok }
          )
          yield* query(client, "BEGIN")
          const next = yield* takeOver(client, "a", `w${round}'`)
          yield* query(client, "COMMIT")
          told.push(yield* anyWrite(opened[0]!, chance, next, `next ${round}`, false))
          for (const writer of writers) assert.strictEqual(yield* Fiber.join(writer), "LeaseLost")
        }
        const rows = yield* checkLog(url)
        checkEpochs(rows)
        checkTold(rows, told)
        assert.isAbove(rows.length, sized(15, 200) * 8)
      })
  )

  test(
    "takeovers race fenced writers through cut connections: whoever was told LeaseLost has written nothing",
    sized(60, 400),
    (chance) =>
      Effect.gen(function* () {
        const url = yield* database
        const proxy = yield* TcpProxy.make(url, chance)
        const opened = yield* Effect.forEach([1, 2], () => open(proxy.url, { writeTimeout: "40 seconds" }))
        let lease = yield* give(url, "a", "w0")
        const told: Array<Told> = []
        const done = yield* Ref.make(false)
        proxy.strike(10)
        const writers = yield* Effect.forEach(
          range(1, 8),
          (writer) =>
            Effect.gen(function* () {
              let n = 0
              while (!(yield* Ref.get(done))) {
                told.push(yield* anyWrite(opened[writer % 2]!, chance, lease, `${writer}-${++n}`, false))
              }
            }).pipe(Effect.fork),
          unbounded
        )
        for (const round of range(1, sized(25, 300))) {
          yield* Effect.sleep(20 + chance.int(80))
          lease = yield* give(url, "a", `w${round}`)
        }
        yield* Ref.set(done, true)
        yield* Effect.forEach(writers, Fiber.join)
        proxy.strike(0)
        assert.deepStrictEqual(surprises(told), [])
        const rows = yield* checkLog(url)
        checkEpochs(rows)
        checkTold(rows, told)
        for (const fault of TcpProxy.faults) assert.isAbove(proxy.struck().get(fault) ?? 0, 0, fault)
      })
  )

  test("who was overtaken and does not stop undoes nobody's batches", 30, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(1)
      const { store } = opened[0]!
      const fence = yield* give(url, "a", "w1")
      yield* give(url, "a", "w2")
      const done = yield* Ref.make(false)
      const others = yield* Effect.forEach(
        range(1, 32),
        (n) =>
          Effect.fork(
            Effect.repeat(Effect.zipRight(store.write(appendTo(`other/${n}`)), Ref.get(done)), {
              until: (isDone) => isDone
            })
          ),
        unbounded
      )
      for (const n of range(1, 100)) {
        const outcome = yield* Effect.either(store.write(appendTo(`zombie/${n}`), { fence }))
        assert.strictEqual(tagOf(outcome), "LeaseLost")
      }
      yield* Ref.set(done, true)
      yield* Effect.forEach(others, Fiber.join)
      const rows = yield* checkLog(url)
      // What is undone has used up its positions.
      assert.isBelow(rows[rows.length - 1]!.position - rows.length, 64)
    })
  )

  test("a fenced write is not slowed down by others of its lease, nor they by it", 30, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(2)
      const fence = yield* give(url, "a", "w1")
      // Batches of both stores overlap all the time, and each of them holds the row of the cursor.
      const loads = yield* Effect.forEach(
        range(0, 63),
        (n) =>
          Effect.fork(
            Effect.forEach(range(1, 60), () =>
              opened[n % 2]!.store.write(appendTo(`load/${n}`, { data: { mark: "", key: "a", epoch: 1 } }), {
                fence
              })
            )
          ),
        unbounded
      )
      const acknowledging = range(1, 30).map((n) => acknowledge(url, fence, n))
      const since = performance.now()
      yield* Effect.forEach(acknowledging, (one) => one)
      const perAckMs = (performance.now() - since) / 30
      yield* Effect.forEach(loads, Fiber.join)
      assert.strictEqual((yield* checkLog(url)).length, 64 * 60)
      assert.isBelow(perAckMs, 150)
    })
  )
})
