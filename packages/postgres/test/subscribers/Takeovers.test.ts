/**
 * Leases that change hands among processes: who wins a race, who waits for whom, and that no write of a former holder
 * comes after the next one has begun.
 */
import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { ask, codeIn, range, sized, test, unbounded, untilBlocked } from "../writer/Fixtures.js"
import { expire, held, position, processes } from "./Fixtures.js"

const hour = { ttl: "1 hour" } as const

describe("races", () => {
  test(
    "of 16 connections that ask for one key exactly one gets it, and no epoch is missing or twice",
    90,
    (chance) =>
      Effect.gen(function* () {
        const { all, url } = yield* processes(4, { maxConnections: 6 })
        const epochs: Array<number> = []
        for (const round of range(1, sized(40, 400))) {
          const results = yield* Effect.forEach(
            chance.shuffle(range(0, 15)),
            (n) => Effect.either(all[n % 4]!.store.upsertSubscriber("a", `w${n}`, hour)),
            unbounded
          )
          const won = results.flatMap((result) => (result._tag === "Right" ? [result.right] : []))
          assert.strictEqual(won.length, 1, `winners of round ${round}`)
          epochs.push(won[0]!.epoch)
          for (const result of results) {
            if (result._tag === "Right") continue
            assert.deepInclude(result.left, { _tag: "LeaseHeld", holder: won[0]!.workerId })
          }
          // The next round begins with a lease that was given back, that has ended, or that its holder has twice.
          if (chance.percent(50)) yield* chance.pick(all).store.release(won[0]!)
          else yield* expire(url, "a")
          if (chance.percent(20)) {
            epochs.push((yield* chance.pick(all).store.upsertSubscriber("a", "again", hour)).epoch)
            yield* expire(url, "a")
          }
        }
        assert.deepStrictEqual(epochs, range(1, epochs.length))
        const rows = yield* ask<{ readonly lease: string; readonly cursor: string }>(
          url,
          "SELECT l.epoch AS lease, c.epoch AS cursor FROM millrace.leases l JOIN millrace.cursors c USING (key)"
        )
        assert.deepStrictEqual(rows, [{ lease: `${epochs.length}`, cursor: `${epochs.length}` }])
      })
  )

  test(
    "an acknowledgement is accepted only while its lease is the newest, among takeovers at any time",
    60,
    (chance) =>
      Effect.gen(function* () {
        const { all, url } = yield* processes(3)
        // What stood in the row when each position came: an UPDATE has the row to itself.
        yield* ask(url, "CREATE TABLE seen (position bigint, epoch bigint)")
        yield* ask(
          url,
          `CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO public.seen VALUES (NEW.position, NEW.epoch); RETURN NEW; END'`
        )
        yield* ask(
          url,
          "CREATE TRIGGER note AFTER UPDATE ON millrace.cursors FOR EACH ROW EXECUTE FUNCTION note()"
        )
        const accepted: Array<readonly [at: number, epoch: number]> = []
        let next = 1
        let refused = 0
        const worker = (n: number) =>
          Effect.gen(function* () {
            const { store } = all[n % 3]!
            for (const _ of range(1, sized(25, 250))) {
              // The same worker takes it over at once: processes that believe to be the same one.
              const lease = yield* store.upsertSubscriber("a", "twin", hour)
              for (const _ of range(1, chance.int(4))) {
                const at = next++
                const outcome = yield* Effect.either(store.acknowledge(lease, position(at)))
                if (outcome._tag === "Right") accepted.push([at, lease.epoch])
                else if (outcome.left._tag === "LeaseLost") refused++
                else assert.strictEqual(outcome.left._tag, "InvalidArgument")
              }
            }
          })
        yield* Effect.forEach(range(0, 5), worker, unbounded)
        assert.isAbove(accepted.length, 10)
        assert.isAbove(refused, 10)
        const rows = yield* ask<{ readonly position: string; readonly epoch: string }>(
          url,
          "SELECT DISTINCT ON (position) position, epoch FROM seen ORDER BY position, epoch"
        )
        const epochs = new Map(rows.map((row) => [Number(row.position), Number(row.epoch)]))
        for (const [at, epoch] of accepted) assert.strictEqual(epochs.get(at), epoch, `position ${at}`)
        const [info] = yield* all[0]!.store.listSubscribers({ limit: 1 })
        assert.strictEqual(info!.cursor, Math.max(...accepted.map(([at]) => at)))
      })
  )
})

describe("an acknowledgement and a takeover", () => {
  test("a takeover that commits while an acknowledgement waits for the cursor refuses it", 30, () =>
    Effect.gen(function* () {
      const { all, url } = yield* processes(2)
      const [one, other] = [all[0]!, all[1]!]
      const lease = yield* one.store.upsertSubscriber("a", "w", hour)
      yield* one.store.acknowledge(lease, position(1))
      const takeover = yield* held(other, other.store.upsertSubscriber("a", "w", hour))
      // In the eyes of this statement the lease still holds.
      const late = yield* Effect.fork(Effect.either(one.store.acknowledge(lease, position(9))))
      yield* untilBlocked(url)
      assert.isTrue(Exit.isSuccess(yield* takeover.commit))
      const outcome = yield* Fiber.join(late)
      assert.isTrue(outcome._tag === "Left" && outcome.left._tag === "LeaseLost")
      assert.deepStrictEqual(yield* one.store.getSubscriberCursor("a"), Option.some(position(1)))
    })
  )

  test("a takeover that rolls back while an acknowledgement waits was never there", 30, () =>
    Effect.gen(function* () {
      const { all, url } = yield* processes(2)
      const [one, other] = [all[0]!, all[1]!]
      const lease = yield* one.store.upsertSubscriber("a", "w", hour)
      const takeover = yield* held(other, other.store.upsertSubscriber("a", "w", hour))
      const late = yield* Effect.fork(one.store.acknowledge(lease, position(9)))
      yield* untilBlocked(url)
      yield* takeover.rollBack
      yield* Fiber.join(late)
      assert.deepStrictEqual(yield* one.store.getSubscriberCursor("a"), Option.some(position(9)))
    })
  )

  test(
    "an acknowledgement that waits longer than the lease was to last counts, if it was renewed meanwhile",
    30,
    () =>
      Effect.gen(function* () {
        const { all, url } = yield* processes(2)
        const [one, other] = [all[0]!, all[1]!]
        const lease = yield* one.store.upsertSubscriber("a", "w", { ttl: "4 seconds" })
        const busy = yield* held(other, other.store.acknowledge(lease, position(1)))
        const late = yield* Effect.fork(one.store.acknowledge(lease, position(2)))
        yield* untilBlocked(url)
        // The waiting statement knows of the former end only.
        yield* other.store.renew({ ...lease, ttl: Duration.hours(1) })
        yield* Effect.sleep("4500 millis")
        yield* busy.commit
        yield* Fiber.join(late)
        assert.deepStrictEqual(yield* one.store.getSubscriberCursor("a"), Option.some(position(2)))
      })
  )
})

describe("a transaction that is fenced", () => {
  test("keeps others from taking over until it ends, and then its lease is refused", 30, () =>
    Effect.gen(function* () {
      const { all, url } = yield* processes(2)
      const [one, other] = [all[0]!, all[1]!]
      for (const fenced of ["by its first statement", "by its acknowledgement", "by what it parks"]) {
        const key = fenced
        const lease = yield* one.store.upsertSubscriber(key, "w", hour)
        const transaction = yield* held(
          one,
          fenced === "by its first statement"
            ? one.fenceTransaction(lease)
            : fenced === "by its acknowledgement"
              ? one.store.acknowledge(lease, position(5))
              : one.store.park(lease, [{ parkKey: "p", position: position(5), reason: "" }], { max: 1 })
        )
        yield* expire(url, key)
        const takeover = yield* Effect.fork(other.store.upsertSubscriber(key, "v", hour))
        yield* untilBlocked(url)
        assert.isTrue(Option.isNone(yield* Fiber.poll(takeover)))
        assert.isTrue(Exit.isSuccess(yield* transaction.commit), "what was fenced in time commits")
        const next = yield* Fiber.join(takeover)
        assert.strictEqual(next.epoch, 2)
        const expected = fenced === "by its acknowledgement" ? 5 : 0
        assert.deepStrictEqual(yield* other.store.getSubscriberCursor(key), Option.some(position(expected)))
        const late: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          one.store.acknowledge(lease, position(6)),
          one.sql.withTransaction(one.fenceTransaction(lease))
        ]
        for (const attempt of late) {
          assert.deepInclude(yield* Effect.flip(attempt), { _tag: "LeaseLost", holder: "v" })
        }
      }
    })
  )

  test("waits for a takeover that is under way, and is refused by it", 30, () =>
    Effect.gen(function* () {
      const { all, url } = yield* processes(2)
      const [one, other] = [all[0]!, all[1]!]
      const lease = yield* one.store.upsertSubscriber("a", "w", hour)
      const takeover = yield* held(other, other.store.upsertSubscriber("a", "w", hour))
      const late = yield* Effect.fork(Effect.either(one.sql.withTransaction(one.fenceTransaction(lease))))
      yield* untilBlocked(url)
      yield* takeover.commit
      const outcome = yield* Fiber.join(late)
      assert.isTrue(outcome._tag === "Left" && outcome.left._tag === "LeaseLost")
    })
  )

  test("does not keep its lease from being renewed, released or paused, whatever it has done", 30, () =>
    Effect.gen(function* () {
      const { all } = yield* processes(2)
      const [one, other] = [all[0]!, all[1]!]
      const lease = yield* one.store.upsertSubscriber("a", "w", hour)
      const transaction = yield* held(
        one,
        Effect.gen(function* () {
          yield* one.fenceTransaction(lease)
          const parking = { parkKey: "p", position: position(1), reason: "it failed" }
          yield* one.store.park(lease, [parking], { max: 5 })
          yield* one.store.repark(lease, parking)
          yield* one.store.unpark(lease, "p", position(1))
          yield* one.store.acknowledge(lease, position(5))
        })
      )
      const soon = Effect.timeout("5 seconds")
      const renewed = yield* soon(other.store.renew(lease))
      assert.strictEqual(renewed.epoch, 1)
      yield* soon(other.store.pause("a"))
      yield* soon(other.store.release(lease))
      assert.isTrue(Exit.isSuccess(yield* transaction.commit))
    })
  )

  test("is taken over no sooner than half of the ttl, and whoever waited is told to try again", 30, () =>
    Effect.gen(function* () {
      const { all, url } = yield* processes(2)
      const [one, other] = [all[0]!, all[1]!]
      const lease = yield* one.store.upsertSubscriber("a", "w", hour)
      const transaction = yield* held(one, one.store.acknowledge(lease, position(5)))
      yield* expire(url, "a")
      const error = yield* Effect.flip(other.store.upsertSubscriber("a", "v", { ttl: "400 millis" }))
      assert.deepInclude(error, { _tag: "StoreUnavailable", operation: "upsertSubscriber", transient: true })
      assert.strictEqual(codeIn(error), "55P03")
      const [info] = yield* other.store.listSubscribers({ limit: 1 })
      assert.deepStrictEqual([info!.epoch, info!.holder], [Option.some(1), Option.none()])
      yield* transaction.commit
      assert.strictEqual((yield* other.store.upsertSubscriber("a", "v", hour)).epoch, 2)
    })
  )

  test("of a process that froze is ended by the server within the ttl, with what it wrote", 60, () =>
    Effect.gen(function* () {
      const { all, url } = yield* processes(2)
      const [one, other] = [all[0]!, all[1]!]
      yield* one.sql`CREATE TABLE orders (n integer)`
      for (const last of ["fence", "acknowledgement"]) {
        const lease = yield* one.store.upsertSubscriber(last, "w", { ttl: "1 second" })
        const frozen = yield* held(
          one,
          Effect.gen(function* () {
            yield* one.sql`INSERT INTO orders VALUES (1)`
            if (last === "fence") yield* one.fenceTransaction(lease)
            else yield* one.store.acknowledge(lease, position(5))
          })
        )
        const next = yield* other.store.upsertSubscriber(last, "v", { ttl: "1 second" }).pipe(
          Effect.retry({
            schedule: Schedule.spaced("100 millis"),
            while: (error) =>
              error._tag === "LeaseHeld" || (error._tag === "StoreUnavailable" && error.transient)
          }),
          Effect.timeout("10 seconds")
        )
        assert.strictEqual(next.epoch, 2)
        assert.isTrue(Exit.isFailure(yield* frozen.commit))
        assert.deepStrictEqual(yield* ask(url, "SELECT n FROM orders"), [])
        assert.deepStrictEqual(yield* other.store.getSubscriberCursor(last), Option.some(position(0)))
      }
    })
  )
})
