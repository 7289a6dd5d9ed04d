/** The head: known at once by whoever starts, and never falling, whichever process looks. */
import { assert, describe, it } from "@effect/vitest"
import * as Databases from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import {
  append,
  connect,
  hold,
  noDifference,
  compare,
  open,
  reached,
  table,
  tail,
  until
} from "./support/PgLog.js"
import type { Connection } from "./support/PgLog.js"
import { sized, withChance } from "@millrace/testkit/Seeds"

/** The head as a process finds it that has never looked before. */
const headBy = ({ rows }: Connection): Effect.Effect<number> =>
  Effect.map(rows<{ readonly head: number }>("SELECT millrace.head()::float8 AS head"), ([row]) => row!.head)

describe("the head", () => {
  it.scopedLive(
    "of a store that starts while a slow transaction is open is at once all that stands before it",
    () =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const log = yield* open(url)
        for (let n = 0; n < 20; n++) yield* log.store.write(append(`a/${n % 3}`, 3))
        const before = yield* log.store.head
        const slow = yield* hold(log, log.store.write(append("slow/1")))
        const behind = yield* log.store.write(append("a/1", 4))

        const cold = yield* open(url)
        assert.strictEqual(yield* cold.store.head, before)
        const reader = tail(cold.store)
        yield* reader.drain
        assert.strictEqual(reader.seen.length, 60)
        assert.strictEqual(reader.cursor(), before)
        yield* slow.commit
        yield* reached(cold.store, behind.position)
        yield* reader.drain
        assert.deepStrictEqual(reader.seen, yield* table(url))
      })
  )

  it.scopedLive(
    "does not fall by a deletion, which waits for slow transactions that stand before what it deletes",
    () =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const log = yield* open(url)
        const { store } = log
        yield* store.write(append("early/1", 3))
        const slow = yield* hold(log, store.write(append("slow/1", 2)))
        const late = yield* store.write(append("late/1", 3))
        const head = yield* store.head

        // What stands before the slow transaction goes at once, and the head stays.
        assert.strictEqual(yield* store.deleteStream("early/1").pipe(Effect.timeout("10 seconds")), 3)
        const fresh = yield* connect(url)
        assert.strictEqual(yield* headBy(fresh), head)
        // What stands behind it has to wait.
        const deletion = yield* Effect.fork(store.deleteStream("late/1"))
        yield* until(
          "the deletion has tried",
          fresh.rows(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%delete_stream(%' AND pid <> pg_backend_pid()"
          ),
          (rows) => rows.length > 0
        )
        assert.strictEqual(yield* headBy(fresh), head)
        assert.strictEqual((yield* Fiber.poll(deletion))._tag, "None")
        yield* slow.commit
        assert.strictEqual(yield* Fiber.join(deletion).pipe(Effect.timeout("10 seconds")), 3)
        // The newest events are gone; whoever starts now still finds the head behind them.
        assert.strictEqual(yield* headBy(fresh), late.position)
        assert.strictEqual(yield* (yield* open(url)).store.head, late.position)
        const next = yield* store.write(append("late/1"))
        assert.strictEqual(next.appends[0]!.version, 4)
        assert.isAbove(next.position, late.position)
      })
  )

  it.scopedLive(
    "never falls for anybody, with slow transactions and deletions going on",
    () =>
      withChance(({ int, is, pick }) =>
        Effect.gen(function* () {
          const { url } = yield* Databases.postgres
          const logs = yield* Effect.replicateEffect(open(url, { maxConnections: 8 }), 3)
          const fresh = yield* Effect.replicateEffect(connect(url), 2)
          const stream = () => `a/${int(1, 12)}`
          let stopped = false
          let probes = 0
          /** The greatest head that any look has ended with. */
          let greatest = 0
          const falls: Array<string> = []
          const look = (name: string, head: Effect.Effect<number, unknown>) =>
            Effect.suspend(() => {
              const atLeast = greatest
              return Effect.map(head, (found) => {
                probes++
                greatest = Math.max(greatest, found)
                if (found < atLeast) falls.push(`${name}: ${found} after ${atLeast}`)
              })
            }).pipe(Effect.repeat({ while: () => !stopped }))
          const looking = yield* Effect.fork(
            Effect.all(
              [
                ...fresh.map((connection, n) => look(`connection ${n}`, headBy(connection))),
                ...logs.map(({ store }, n) => look(`store ${n}`, store.head))
              ],
              { concurrency: "unbounded", discard: true }
            )
          )
          const reader = tail(logs[0]!.store)
          const reading = yield* Effect.fork(Effect.repeat(reader.drain, { while: () => !stopped }))

          const written: Array<string> = []
          const plain = Effect.suspend(() => pick(logs).store.write(append(stream(), int(1, 3))))
          const slow = Effect.suspend(() => {
            const { sql, store } = pick(logs)
            return sql.withTransaction(
              Effect.gen(function* () {
                yield* store.write(append(stream(), int(1, 3)))
                yield* Effect.sleep(int(0, 60))
                if (is(0.3)) return yield* Effect.fail("rolled back" as const)
              })
            )
          })
          const deletion = Effect.suspend(() => pick(logs).store.deleteStream(stream()))
          yield* Effect.forEach(
            Array.from({ length: sized(500, 5_000) }, (_, i) => i),
            (i) =>
              i % 25 === 0
                ? Effect.asVoid(deletion)
                : i % 5 === 0
                  ? Effect.catchAll(Effect.asVoid(slow), (error) =>
                      error === "rolled back" ? Effect.void : Effect.fail(error)
                    )
                  : Effect.map(
                      plain,
                      ({ appends }) => void written.push(...appends.flatMap(({ ids }) => ids))
                    ),
            { concurrency: 10, discard: true }
          )
          stopped = true
          yield* Fiber.join(looking)
          yield* Fiber.join(reading)
          yield* reader.drain

          assert.deepStrictEqual(falls, [])
          assert.isAbove(probes, 100)
          // Each event is seen once and in order; what was deleted before the reader came is not.
          const there = yield* table(url)
          const ids = new Set(there.map(({ id }) => id))
          assert.deepStrictEqual(
            compare(
              reader.seen.filter(({ id }) => ids.has(id)),
              there
            ),
            noDifference
          )
          yield* Effect.logInfo("heads", { probes, head: greatest, deleted: written.length - there.length })
        })
      ),
    sized(60_000, 200_000)
  )

  it.scopedLive("does not fall when a writer is halted between reading its mark and locking it", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      const { store } = yield* open(url)
      yield* store.write(append("a/1", 5))
      // The lock of hold_log is taken through a function that halts first, as a busy machine may.
      const admin = yield* connect(url)
      yield* admin.rows("CREATE SCHEMA halting")
      yield* admin.rows(`
        CREATE FUNCTION halting.pg_advisory_xact_lock_shared(a integer, b integer) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM pg_catalog.pg_advisory_xact_lock_shared(77);
          PERFORM pg_catalog.pg_advisory_xact_lock_shared(a, b);
        END $$`)
      yield* admin.rows("SELECT pg_advisory_lock(77)")
      const writer = yield* connect(url)
      yield* writer.rows("SET search_path = halting, pg_catalog; BEGIN")
      const halted = yield* Effect.fork(
        writer.rows(
          "INSERT INTO millrace.events (stream_id, version, type, id, data, vnode) VALUES ('h/1', 1, 'H', 'h1', '{}', 0)"
        )
      )
      yield* until(
        "the writer is halted",
        admin.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"),
        (rows) => rows.length > 0
      )
      const { position } = yield* store.write(append("a/1", 5))
      assert.strictEqual(yield* store.head, position)
      yield* admin.rows("SELECT pg_advisory_unlock(77)")
      yield* Fiber.join(halted)
      // Its event is above the head that others have seen, so nothing is skipped; but whoever starts now …
      const cold = yield* open(url)
      assert.isAtLeast(yield* cold.store.head, position)
    })
  )

  it.scopedLive(
    "deleting a stream in the transaction that appended to it ends soon, one way or the other",
    () =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const { sql, store } = yield* open(url)
        yield* store.write(append("a/1", 2))
        const exit = yield* sql
          .withTransaction(Effect.zipRight(store.write(append("a/1")), store.deleteStream("a/1")))
          .pipe(Effect.exit, Effect.timeout("5 seconds"), Effect.option)
        assert.strictEqual(exit._tag, "Some", "it waits for itself")
        if (exit._tag === "Some" && Exit.isSuccess(exit.value)) assert.deepStrictEqual(yield* table(url), [])
      })
  )
})
