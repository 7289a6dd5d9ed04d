/**
 * Writes under a lease. What they promise is measured in the log: the events of a lease that was taken over stand
 * before all events of the one that followed it, and whoever was told `LeaseLost` has written nothing.
 */
import { assert, describe } from "@effect/vitest"
import type { StreamAppend, WriteOptions, WriteResult } from "@millrace/core/Append"
import type { EventStore } from "@millrace/core/EventStore"
import type { Lease } from "@millrace/core/Lease"
import type { WriteError } from "@millrace/core/WriteError"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import type pg from "pg"
import {
  appendTo,
  ask,
  checkLog,
  checkResults,
  connection,
  database,
  eventId,
  happened,
  logOf,
  open,
  position,
  query,
  range,
  stores,
  tagOf,
  test,
  unbounded,
  until,
  untilBlocked,
  version
} from "./Fixtures.js"
import { acknowledge, give, leaseOf, release, renew, takeOver } from "./Leases.js"

type Write = readonly [appends: StreamAppend | ReadonlyArray<StreamAppend>, options?: WriteOptions]

/** A write in each of the forms that the server has, to streams of its own. */
const forms = (name: string): Readonly<Record<string, Write>> => ({
  "one event": [appendTo(`${name}/one`)],
  "several events": [{ streamId: `${name}/many`, events: [happened(), happened()] }],
  "several appends": [[appendTo(`${name}/a`), appendTo(`${name}/b`), appendTo(`${name}/a`)]],
  "a named id": [appendTo(`${name}/named`, { id: eventId(name) })],
  "a condition": [
    appendTo(`${name}/condition`, { tags: [name] }),
    { condition: { filters: [{ tags: [name] }], after: position(0) } }
  ]
})

const written = (store: EventStore["Type"], [appends, options]: Write, fence: Lease | undefined) =>
  Effect.either(store.write(appends, { ...options, fence }))

const holderIn = (outcome: Either.Either<WriteResult, WriteError>): string =>
  outcome._tag === "Left" && outcome.left._tag === "LeaseLost"
    ? `${outcome.left.key} is ${outcome.left.holder}'s`
    : tagOf(outcome)

/** A takeover that has got as far as both rows, and neither commits nor rolls back. */
const takingOver = (client: pg.Client, lease: Lease, workerId: string) =>
  Effect.gen(function* () {
    yield* query(client, "BEGIN")
    yield* takeOver(client, lease.key, workerId)
  })

describe("fences", () => {
  test(
    "in every form, alone and merged, a lease that holds lets the write through, and a lost one nothing",
    40,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1)
        const { sql, store } = opened[0]!
        const cases: ReadonlyArray<readonly [string, Lease, string]> = [
          ["holds", yield* give(url, "holds", "w1"), "Written"],
          ["other epoch", yield* give(url, "other epoch", "w1"), "other epoch is w2's"],
          ["same worker", yield* give(url, "same worker", "w1"), "same worker is w1's"],
          ["expired", yield* give(url, "expired", "w1", -1), "expired is 's"],
          ["released", yield* give(url, "released", "w1"), "released is 's"],
          ["unknown", leaseOf("unknown", "w1", 1), "unknown is 's"],
          ["rows that disagree", yield* give(url, "rows that disagree", "w1"), "rows that disagree is w1's"],
          [
            "greater epoch",
            { ...(yield* give(url, "greater epoch", "w1")), epoch: 2 as never },
            "greater epoch is w1's"
          ],
          [
            "other worker",
            { ...(yield* give(url, "other worker", "w1")), workerId: "w2" },
            "other worker is w1's"
          ]
        ]
        yield* give(url, "other epoch", "w2")
        // By hand, since the store moves both epochs together.
        yield* ask(url, "UPDATE millrace.cursors SET epoch = 2 WHERE key = 'rows that disagree'")
        yield* give(url, "same worker", "w1")
        yield* release(url, cases[4]![1])
        for (const [name, lease, expected] of cases) {
          for (const way of ["alone", "merged", "joined"]) {
            const writes = Object.entries(forms(`${name} ${way}`))
            const one = (write: Write) => {
              const effect = written(store, write, lease)
              return way === "joined" ? sql.withTransaction(effect) : effect
            }
            const outcomes = yield* Effect.forEach(
              writes,
              ([, write]) => one(write),
              way === "merged" ? unbounded : {}
            )
            assert.deepStrictEqual(
              outcomes.map(holderIn),
              writes.map(() => expected),
              `${name} ${way}`
            )
          }
        }
        const rows = yield* checkLog(url)
        assert.deepStrictEqual(
          rows.filter((row) => !row.streamId.startsWith("holds ")),
          []
        )
        assert.strictEqual(rows.length, 3 * 8)
        // Not even the row of a stream is left behind.
        assert.deepStrictEqual(
          yield* ask(url, "SELECT stream_id FROM millrace.streams WHERE version = 0"),
          []
        )
      })
  )

  test(
    "lost leases among 200 writes of a batch fail alone, and lost ones of one key beside its newest",
    30,
    (chance) =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1)
        const { store } = opened[0]!
        const old = yield* give(url, "a", "w1")
        const leases = {
          newest: yield* give(url, "a", "w2"),
          old,
          other: yield* give(url, "b", "w1"),
          expired: yield* give(url, "c", "w1", -1),
          none: undefined
        }
        for (const form of ["simple", "general"]) {
          const lost = ["old", "expired"]
          const kinds = range(1, 200).map(() =>
            chance.pick(["newest", "other", "none", "none", ...(chance.percent(20) ? lost : [])] as const)
          )
          const outcomes = yield* Effect.forEach(
            kinds,
            (kind, n) =>
              written(
                store,
                [
                  appendTo(
                    `${form}/${n % (form === "simple" ? 150 : 10)}`,
                    form === "simple" ? {} : { id: eventId(url, n) }
                  )
                ],
                leases[kind as keyof typeof leases]
              ),
            unbounded
          )
          const expected = kinds.map((kind) => (lost.includes(kind) ? "LeaseLost" : "Written"))
          assert.include(expected, "LeaseLost")
          assert.deepStrictEqual(outcomes.map(tagOf), expected)
          checkResults(
            yield* checkLog(url),
            Either.all(outcomes.filter(Either.isRight)).pipe(Either.getOrThrow)
          )
        }
      })
  )

  test("refused in order: ids, condition, stream, and only then the lease", 20, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(1)
      const { store } = opened[0]!
      const fence = yield* give(url, "k", "w1")
      const append = appendTo("order/1", { id: eventId("order"), tags: ["order"] })
      const first = yield* store.write(append, { fence })
      yield* give(url, "k", "w2")
      const condition = { filters: [{ tags: ["order"] }], after: position(0) }
      const late = appendTo("order/1", { tags: ["order"] })
      assert.deepStrictEqual(yield* store.write(append, { fence, condition }), first)
      for (const joined of [false, true]) {
        const tag = (write: Write) => {
          const outcome = Effect.map(written(store, write, fence), tagOf)
          return joined ? opened[0]!.sql.withTransaction(outcome) : outcome
        }
        const elsewhere = { ...append, streamId: "order/2" }
        assert.strictEqual(yield* tag([elsewhere, { condition }]), "EventIdConflict")
        assert.strictEqual(
          yield* tag([{ ...late, expected: version(0) }, { condition }]),
          "AppendConditionFailed"
        )
        assert.strictEqual(yield* tag([{ ...late, expected: version(0) }]), "InvalidOriginalVersion")
        assert.strictEqual(
          yield* tag([
            [
              { ...late, expected: version(1) },
              { ...late, expected: version(1) }
            ]
          ]),
          "InvalidOriginalVersion"
        )
        assert.strictEqual(yield* tag([{ ...late, expected: version(1) }]), "LeaseLost")
      }
      assert.strictEqual((yield* checkLog(url)).length, 1)
    })
  )

  for (const end of ["COMMIT", "ROLLBACK"]) {
    test(`while its lease is being taken over a write waits; ${end} decides it; nobody else waits`, 30, () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1)
        const { store } = opened[0]!
        const fence = yield* give(url, "k", "w1")
        const other = yield* give(url, "other", "w1")
        const client = yield* connection(url)
        const beside = yield* connection(url)
        yield* takingOver(client, fence, "w2")
        const waiting = yield* Effect.forEach(Object.values(forms("waits")), (write) =>
          Effect.fork(written(store, write, fence))
        )
        // They ask again and again, and none of them waits at the server, where it would hold its streams.
        for (const _ of range(1, 60)) {
          const [row] = yield* query<{ readonly n: number }>(
            beside,
            "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
          )
          assert.strictEqual(row!.n, 0)
          yield* Effect.sleep("5 millis")
        }
        // To the same streams, without a lease and with another one: held up by nothing.
        const since = performance.now()
        for (const lease of [undefined, other]) {
          for (const streamId of ["one", "many", "a", "b", "named", "condition"])
            yield* store.write([appendTo(`waits/${streamId}`), appendTo(`free/${streamId}`)], {
              fence: lease
            })
        }
        assert.isBelow(performance.now() - since, 1_500)
        for (const fiber of waiting) assert.isNull(fiber.unsafePoll())
        yield* query(client, end)
        const outcomes = yield* Effect.forEach(waiting, Fiber.join)
        const expected = end === "COMMIT" ? "k is w2's" : "Written"
        assert.deepStrictEqual(
          outcomes.map(holderIn),
          outcomes.map(() => expected)
        )
        assert.strictEqual((yield* checkLog(url)).length, 24 + (end === "COMMIT" ? 0 : 8))
      })
    )
  }

  test("what became of the lease while a transaction waited for it counts", 20, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(1)
      const { sql, store } = opened[0]!
      const fence = yield* give(url, "k", "w1")
      const client = yield* connection(url)
      yield* takingOver(client, fence, "w2")
      const waiting = yield* Effect.fork(sql.withTransaction(written(store, [appendTo("late/1")], fence)))
      yield* untilBlocked(url)
      yield* query(client, "ROLLBACK")
      assert.strictEqual(tagOf(yield* Fiber.join(waiting)), "Written")

      yield* query(client, "BEGIN")
      yield* query(client, "SELECT FROM millrace.cursors WHERE key = 'k' FOR UPDATE")
      const refused = yield* Effect.fork(sql.withTransaction(written(store, [appendTo("late/1")], fence)))
      yield* untilBlocked(url)
      yield* release(url, fence)
      yield* query(client, "ROLLBACK")
      assert.strictEqual(holderIn(yield* Fiber.join(refused)), "k is 's")
      assert.strictEqual((yield* checkLog(url)).length, 1)
    })
  )

  test(
    "a write whose lease is being taken over without end fails at its timeout, and leaves nothing held",
    30,
    () =>
      Effect.gen(function* () {
        const url = yield* database
        const { store } = yield* open(url, { writeTimeout: "1 second" })
        const fence = yield* give(url, "k", "w1")
        const client = yield* connection(url)
        yield* takingOver(client, fence, "w2")
        const since = performance.now()
        const outcomes = yield* Effect.forEach(
          [...Object.values(forms("x")), ...Object.values(forms("y"))],
          (write) => written(store, write, fence),
          unbounded
        )
        const tookMs = performance.now() - since
        assert.isAbove(tookMs, 900)
        assert.isBelow(tookMs, 2_500)
        for (const outcome of outcomes) {
          if (outcome._tag === "Right" || outcome.left._tag !== "StoreUnavailable")
            return assert.fail(holderIn(outcome))
          assert.isTrue(outcome.left.transient)
        }
        assert.deepStrictEqual(yield* logOf(url), [])
        yield* query(client, "ROLLBACK")
        assert.strictEqual(tagOf(yield* written(store, [appendTo("x/one")], fence)), "Written")
      })
  )

  test(
    "fenced transactions of one lease, its renewal and its acknowledgement do not wait for each other",
    20,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(2)
        const fence = yield* give(url, "k", "w1")
        const inside = yield* Effect.forEach([0, 1] as const, () => Deferred.make<void>())
        const end = yield* Deferred.make<void>()
        const transactions = yield* Effect.forEach([0, 1] as const, (n) => {
          const { sql, store } = opened[n]!
          return Effect.gen(function* () {
            yield* store.write(appendTo(`both/${n}`), { fence })
            yield* Deferred.succeed(inside[n]!, undefined)
            yield* Deferred.await(end)
            // Where the other one has the row as well: in the transaction, as a projection would.
            if (n === 0)
              yield* sql`UPDATE millrace.cursors SET position = 2 WHERE key = 'k' AND epoch = ${fence.epoch}`
          }).pipe(sql.withTransaction, Effect.fork)
        })
        yield* Effect.forEach(inside, (deferred) => Deferred.await(deferred))
        const beside = Effect.gen(function* () {
          yield* renew(url, fence, 60_000)
          yield* acknowledge(url, fence, 1)
          yield* opened[0]!.store.write(appendTo("both/2"), { fence })
          yield* Effect.forEach(
            Object.values(forms("both")),
            (write) => written(opened[1]!.store, write, fence),
            unbounded
          )
        })
        yield* Effect.timeoutFailCause(beside, {
          duration: "5 seconds",
          onTimeout: () => Cause.die(new Error("somebody waits"))
        })
        yield* Deferred.succeed(end, undefined)
        yield* Effect.forEach(transactions, Fiber.join)
        assert.strictEqual((yield* checkLog(url)).length, 2 + 1 + 8)
      })
  )

  test("a frozen fenced transaction keeps a takeover waiting, which wins when that session ends", 30, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(2)
      const [frozen, next] = [opened[0]!, opened[1]!]
      const fence = yield* give(url, "k", "w1")
      const inside = yield* Deferred.make<number>()
      const transaction = yield* Effect.gen(function* () {
        yield* frozen.store.write(appendTo("frozen/1", { data: { epoch: 1 } }), { fence })
        const [row] = yield* frozen.sql<{ readonly pid: number }>`SELECT pg_backend_pid() AS pid`
        yield* Deferred.succeed(inside, row!.pid)
        return yield* Effect.never
      }).pipe(frozen.sql.withTransaction, Effect.exit, Effect.fork)
      const pid = yield* Deferred.await(inside)
      // It expires, and is still not to be had.
      yield* renew(url, fence, -1)
      const client = yield* connection(url)
      const taking = yield* Effect.fork(takeOver(client, "k", "w2"))
      yield* untilBlocked(url)
      assert.deepStrictEqual(yield* logOf(url), [])
      yield* Effect.sleep("200 millis")
      assert.isNull(taking.unsafePoll())
      yield* ask(url, "SELECT pg_terminate_backend($1)", [pid])
      const lease = yield* Fiber.join(taking)
      assert.strictEqual(lease.epoch, 2)
      yield* Fiber.interrupt(transaction)
      yield* next.store.write(appendTo("frozen/1", { data: { epoch: 2 } }), { fence: lease })
      assert.strictEqual(holderIn(yield* written(frozen.store, [appendTo("frozen/1")], fence)), "k is w2's")
      assert.deepStrictEqual(
        (yield* checkLog(url)).map((row) => row.data),
        [{ epoch: 2 }]
      )
    })
  )

  test(
    "a fenced transaction that stands idle for longer than its lease lasts is ended by the server",
    30,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1)
        const { sql, store } = opened[0]!
        const idle = sql<{
          readonly ms: string
        }>`SELECT current_setting('idle_in_transaction_session_timeout') AS ms`
        const fence = yield* give(url, "k", "w1", 500)
        const frozen = yield* Effect.fork(
          sql
            .withTransaction(Effect.zipRight(store.write(appendTo("idle/1"), { fence }), Effect.never))
            .pipe(Effect.exit)
        )
        yield* until(
          url,
          "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        const since = performance.now()
        const next = yield* give(url, "k", "w2")
        assert.isBelow(performance.now() - since, 5_000)
        yield* Fiber.interrupt(frozen)
        assert.deepStrictEqual(yield* logOf(url), [])
        // What is set lower stays, what is lost sets nothing, and nothing is left behind.
        const seen = yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* written(store, [appendTo("idle/2")], fence)
            const first = yield* idle
            yield* store.write(appendTo("idle/2"), { fence: next })
            const second = yield* idle
            yield* sql`SET LOCAL idle_in_transaction_session_timeout = '50s'`
            yield* store.write(appendTo("idle/2"), { fence: next })
            return [...first, ...second, ...(yield* idle)]
          })
        )
        assert.deepStrictEqual(
          [...seen, ...(yield* idle)].map(({ ms }) => ms),
          ["0", "1min", "50s", "0"]
        )
      })
  )

  test(
    "in a transaction that is rolled back nothing of the write is left, and the lease is free at once",
    20,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1)
        const { sql, store } = opened[0]!
        const fence = yield* give(url, "k", "w1")
        const undone = Effect.zipRight(
          store.write(appendTo("gone/1"), { fence }),
          Effect.fail("undo" as const)
        )
        assert.strictEqual(yield* Effect.flip(sql.withTransaction(undone)), "undo")
        assert.deepStrictEqual(yield* checkLog(url), [])
        const lease = yield* give(url, "k", "w2")
        // A refused write leaves the transaction as it was.
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* store.write(appendTo("kept/1"))
            assert.strictEqual(holderIn(yield* written(store, [appendTo("kept/2")], fence)), "k is w2's")
            yield* store.write(appendTo("kept/3"), { fence: lease })
          })
        )
        assert.deepStrictEqual(
          (yield* checkLog(url)).map((row) => row.streamId),
          ["kept/1", "kept/3"]
        )
      })
  )

  test(
    "under REPEATABLE READ, where the lease could not be seen as it is, a fenced write is refused as such",
    20,
    () =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(1)
        const { sql, store } = opened[0]!
        const fence = yield* give(url, "k", "w1")
        const outcome = yield* sql
          .withTransaction(
            Effect.gen(function* () {
              yield* sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`
              return yield* written(store, [appendTo("late/1")], fence)
            })
          )
          .pipe(Effect.catchAllCause(() => Effect.dieMessage("the transaction should only be told")))
        if (outcome._tag === "Right" || outcome.left._tag !== "InvalidArgument")
          return assert.fail(tagOf(outcome))
        assert.strictEqual(outcome.left.field, "fence")
        assert.deepStrictEqual(yield* logOf(url), [])
      })
  )
})
