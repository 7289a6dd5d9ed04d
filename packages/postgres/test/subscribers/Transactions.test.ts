/** What the store leaves behind in a transaction of the caller's, and in one of another database. */
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import * as Reactivity from "@effect/experimental/Reactivity"
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { database, range, sized, test, unbounded } from "../writer/Fixtures.js"
import { held, open, position, processes } from "./Fixtures.js"
import type { Process } from "./Fixtures.js"

/** A setting as the present transaction has it. */
const setting = ({ sql }: Process, name: string) =>
  Effect.map(sql<{ readonly value: string }>`SELECT current_setting(${name}) AS value`, ([row]) => row!.value)

const idle = "idle_in_transaction_session_timeout"

describe("limits of a transaction", () => {
  test(
    "a fenced one may stand idle as long as its lease lasts, a stricter limit stays, and both end with it",
    30,
    () =>
      Effect.gen(function* () {
        const { all } = yield* processes(1)
        const one = all[0]!
        const lease = yield* one.store.upsertSubscriber("a", "w", { ttl: "90 seconds" })
        const fences = [one.fenceTransaction(lease), one.store.acknowledge(lease, position(1))]
        for (const fence of fences) {
          for (const [before, after] of [
            ["0", "90s"],
            ["5min", "90s"],
            ["1d", "90s"],
            ["90s", "90s"],
            ["1500ms", "1500ms"],
            ["1min", "1min"]
          ] as const) {
            yield* one.sql.withTransaction(
              Effect.gen(function* () {
                yield* one.sql.unsafe(`SET LOCAL ${idle} = '${before}'`)
                yield* fence
                yield* one.store.renew(lease)
                assert.strictEqual(yield* setting(one, idle), after === "90s" ? "90s" : after, before)
              })
            )
          }
          assert.strictEqual(yield* setting(one, idle), "0")
        }
      })
  )

  test("taking a lease leaves the limits of the caller's transaction as they were", 30, () =>
    Effect.gen(function* () {
      const { all } = yield* processes(1)
      const one = all[0]!
      yield* one.sql.withTransaction(
        Effect.gen(function* () {
          yield* one.sql.unsafe(`SET LOCAL ${idle} = '7min'`)
          yield* one.sql.unsafe("SET LOCAL lock_timeout = '123s'")
          yield* one.store.upsertSubscriber("a", "w", { ttl: "10 seconds" })
          assert.strictEqual(yield* setting(one, idle), "7min")
          assert.strictEqual(yield* setting(one, "lock_timeout"), "123s")
        })
      )
      assert.isTrue(yield* one.store.isSubscriberRunning("a", "w"))
    })
  )

  test("who is refused a lease has locked nothing: its holder renews meanwhile", 30, () =>
    Effect.gen(function* () {
      const { all } = yield* processes(2)
      const [one, other] = [all[0]!, all[1]!]
      const lease = yield* one.store.upsertSubscriber("a", "w", { ttl: "1 hour" })
      const refused = yield* held(
        other,
        Effect.flip(other.store.upsertSubscriber("a", "v", { ttl: "1 hour" }))
      )
      yield* Effect.timeout(one.store.renew(lease), "5 seconds")
      yield* Effect.timeout(one.store.acknowledge(lease, position(1)), "5 seconds")
      const exit = yield* refused.commit
      assert.isTrue(Exit.isSuccess(exit))
    })
  )

  test("a fence outside of a transaction is a mistake of the caller's", 30, () =>
    Effect.gen(function* () {
      const { all } = yield* processes(1)
      const lease = yield* all[0]!.store.upsertSubscriber("a", "w", { ttl: "1 hour" })
      const exit = yield* Effect.exit(all[0]!.fenceTransaction(lease))
      assert.include(String(exit), "outside of a transaction")
    })
  )
})

describe("other databases and schemas", () => {
  test("a transaction of another database is none of ours", 30, () =>
    Effect.gen(function* () {
      const { all } = yield* processes(1)
      const { store } = all[0]!
      const lite = yield* Effect.provide(SqliteClient.make({ filename: ":memory:" }), Reactivity.layer)
      const error = yield* Effect.flip(
        lite.withTransaction(
          Effect.gen(function* () {
            const lease = yield* store.upsertSubscriber("a", "w", { ttl: "1 hour" })
            yield* store.acknowledge(lease, position(5))
            yield* store.park(lease, [{ parkKey: "p", position: position(5), reason: "" }], { max: 1 })
            return yield* Effect.fail("undo" as const)
          })
        )
      )
      assert.strictEqual(error, "undo")
      assert.deepStrictEqual(yield* store.getSubscriberCursor("a"), Option.some(position(5)))
    })
  )

  test("each schema has consumers of its own", 30, () =>
    Effect.gen(function* () {
      const url = yield* database
      const one = yield* open(url, { schema: "one" })
      const other = yield* open(url, { schema: "other" })
      const lease = yield* one.store.upsertSubscriber("a", "w", { ttl: "1 hour" })
      assert.deepStrictEqual(yield* other.store.getSubscriberCursor("a"), Option.none())
      yield* other.store.upsertSubscriber("a", "v", { ttl: "1 hour" })
      yield* one.sql.withTransaction(one.fenceTransaction(lease))
      yield* one.store.acknowledge(lease, position(1))
      assert.deepStrictEqual(yield* other.store.getSubscriberCursor("a"), Option.some(position(0)))
    })
  )
})

describe("parked events", () => {
  test("many who ask for them while their holder works on them: nobody waits in a circle", 60, (chance) =>
    Effect.gen(function* () {
      const { all } = yield* processes(3)
      const { store } = all[0]!
      const lease = yield* store.upsertSubscriber("a", "w", { ttl: "1 hour" })
      const places = range(1, 300).map((n) => ({ parkKey: `p${n % 5}`, position: position(n), reason: "" }))
      yield* store.park(lease, chance.shuffle(places), { max: 300 })
      const askers = Effect.forEach(
        range(1, sized(60, 600)),
        (n) =>
          all[n % 3]!.store.requestParked(
            "a",
            n % 2 === 0 ? "retry" : "drop",
            n % 3 === 0 ? undefined : `p${n % 5}`
          ),
        { concurrency: 6 }
      )
      const holder = Effect.forEach(chance.some(places, sized(60, 250)), (parking) =>
        chance.percent(50)
          ? store.repark(lease, { ...parking, reason: "again" })
          : store.unpark(lease, parking.parkKey, parking.position)
      )
      yield* Effect.all([askers, holder], unbounded)
      const keys = yield* store.parkedKeys("a", { limit: 10 })
      assert.deepStrictEqual(
        keys.map(({ parkKey }) => parkKey),
        range(0, 4).map((n) => `p${n}`)
      )
    })
  )
})
