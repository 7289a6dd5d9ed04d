/**
 * Who delays whom. A transaction that does not append to this log delays nobody; one that does delays readers
 * of later positions and writers of its own streams, and nobody else.
 */
import { assert, describe, it } from "@effect/vitest"
import type { WriteError } from "@millrace/core/WriteError"
import * as Databases from "@millrace/testkit/Databases"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { append, compare, connect, hold, noDifference, open, reached, table, tail } from "./support/PgLog.js"
import { withChance } from "@millrace/testkit/Seeds"

/** How long what must not be delayed may take on a busy machine. */
const soon = "15 seconds"

const range = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

describe("transactions that do not append to this log delay nothing", () => {
  it.scopedLive("the head is the newest append at once, whatever else is open on the server", () =>
    Effect.gen(function* () {
      const [here, elsewhere] = yield* Effect.all([Databases.postgres, Databases.postgres])
      const log = yield* open(here.url)
      yield* log.store.write(append("a/1", 5))

      // Another database: a write, and an append to a log of the same name.
      const foreign = yield* open(elsewhere.url)
      const foreignWrite = yield* connect(elsewhere.url)
      yield* foreignWrite.rows("BEGIN; CREATE TABLE t (n integer); INSERT INTO t VALUES (1)")
      yield* hold(foreign, foreign.store.write(append("a/1", 3)))
      // The same database: an idle transaction that wrote, another log, a long read, a prepared transaction.
      const idle = yield* connect(here.url)
      yield* idle.rows("BEGIN; CREATE TABLE t (n integer); INSERT INTO t VALUES (1)")
      const other = yield* open(here.url, { schema: "other" })
      yield* hold(other, other.store.write(append("a/1", 3)))
      const reader = yield* connect(here.url)
      yield* reader.rows("BEGIN ISOLATION LEVEL REPEATABLE READ")
      yield* reader.rows("SELECT count(*) FROM millrace.events")
      const prepared = yield* connect(here.url)
      yield* prepared.rows("BEGIN; CREATE TABLE p (n integer); PREPARE TRANSACTION 'elsewhere'")
      // A transaction of the store's own pool that only reads.
      yield* hold(log, log.store.read())

      for (const n of range(20)) {
        const { position } = yield* log.store.write(append(`a/${n % 3}`, 2))
        assert.strictEqual(yield* log.store.head, position)
      }
      const seen = tail(log.store)
      yield* seen.drain
      assert.deepStrictEqual(seen.seen, yield* table(here.url))
      // What is open is open to the end: the long read still sees five.
      assert.deepStrictEqual(yield* reader.rows("SELECT count(*)::int AS n FROM millrace.events"), [{ n: 5 }])
    })
  )
})

describe("a slow transaction that appends", () => {
  for (const stream of ["existing", "new"] as const) {
    it.scopedLive(
      `to ${stream === "new" ? "a new" : "an existing"} stream delays no other writer, and readers only behind its first event`,
      () =>
        Effect.gen(function* () {
          const { url } = yield* Databases.postgres
          const log = yield* open(url)
          const { store } = log
          yield* store.write(append("other/1", 2))
          const before = yield* store.write(append(stream === "new" ? "other/2" : "held/1"))
          const slow = yield* hold(log, store.write(append("held/1", 2)))

          // 200 other writers, with all the rest that a caller may do.
          const others = yield* Effect.forEach(range(200), (n) => store.write(append(`other/${n % 40}`)), {
            concurrency: 20
          }).pipe(Effect.timeout(soon))
          const several = yield* store
            .write([append("other/1"), append("other/new")])
            .pipe(Effect.timeout(soon))
          assert.strictEqual(yield* store.streamVersion("other/1"), several.appends[0]!.version)
          // Readers: everything before its first event at once, nothing behind it.
          const reader = tail(store)
          yield* reader.drain
          assert.strictEqual(yield* store.head, before.position)
          assert.strictEqual(reader.cursor(), before.position)
          // A writer of its stream waits.
          const blocked = yield* Effect.fork(store.write(append("held/1")))
          const condition = yield* store
            .write(append("other/1"), {
              condition: { filters: [{ type: "Other" }], after: before.position }
            })
            .pipe(Effect.timeout(soon))
          assert.isTrue((yield* Fiber.poll(blocked))._tag === "None")

          yield* slow.commit
          const after = yield* Fiber.join(blocked).pipe(Effect.timeout(soon))
          const first = slow.value.appends[0]!
          assert.strictEqual(after.appends[0]!.version, first.version + 1)
          assert.isAbove(after.position, condition.position)
          yield* reached(store, after.position)
          yield* reader.drain
          assert.deepStrictEqual(reader.seen, yield* table(url))
          assert.isTrue(others.every(({ position }) => position > slow.value.position))
        })
    )
  }

  it.scopedLive("that is rolled back leaves no trace but a gap", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      const log = yield* open(url)
      const before = yield* log.store.write(append("held/1"))
      const slow = yield* hold(log, log.store.write([append("held/1", 3), append("held/2", 3)]))
      const blocked = yield* Effect.fork(log.store.write([append("held/2"), append("held/1")]))
      const other = yield* log.store.write(append("other/1")).pipe(Effect.timeout(soon))
      assert.strictEqual(yield* log.store.head, before.position)
      yield* slow.rollBack
      const after = yield* Fiber.join(blocked).pipe(Effect.timeout(soon))
      assert.deepStrictEqual(
        after.appends.map(({ version }) => version),
        [1, 2]
      )
      assert.isAbove(other.position, slow.value.position)
      const reader = tail(log.store)
      yield* reader.drain
      assert.deepStrictEqual(reader.seen, yield* table(url))
      assert.strictEqual(reader.seen.length, 4)
    })
  )

  for (const stream of ["existing", "new"] as const) {
    it.scopedLive(
      `a merged batch in which one append meets its ${stream} stream: the others complete, then that one`,
      () =>
        Effect.gen(function* () {
          const { url } = yield* Databases.postgres
          const log = yield* open(url)
          const { store } = log
          if (stream === "existing") yield* store.write(append("held/1"))
          const slow = yield* hold(log, store.write(append("held/1")))
          // All at once, so that they are merged; the middle one meets the held stream.
          const blocked = yield* Deferred.make<number>()
          const meets = Effect.flatMap(store.write(append("held/1")), ({ appends }) =>
            Deferred.succeed(blocked, appends[0]!.version)
          )
          yield* Effect.forEach(
            range(101),
            (n): Effect.Effect<unknown, WriteError, Scope.Scope> =>
              n === 51 ? Effect.forkScoped(meets) : store.write(append(`other/${n}`)),
            { concurrency: "unbounded" }
          ).pipe(Effect.timeout(soon))
          assert.isFalse(yield* Deferred.isDone(blocked))
          yield* slow.commit
          assert.strictEqual(
            yield* Deferred.await(blocked).pipe(Effect.timeout(soon)),
            slow.value.appends[0]!.version + 1
          )
        })
    )
  }

  it.scopedLive("50 writers of its streams wait, and 400 others do not wait for them", () =>
    withChance(({ int }) =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const log = yield* open(url)
        const { store } = log
        // Five streams that exist, and five that only this transaction knows.
        yield* Effect.forEach(range(5), (n) => store.write(append(`held/${n}`)))
        const slow = yield* hold(log, store.write(range(10).map((n) => append(`held/${n}`))))
        const blocked = yield* Effect.forEach(range(50), (n) =>
          Effect.fork(
            store.write(
              n % 7 === 0 ? [append(`held/${int(1, 10)}`), append("beside/1")] : append(`held/${int(1, 10)}`)
            )
          )
        )
        yield* Effect.forEach(range(400), (n) => store.write(append(`other/${n}`)), { concurrency: 40 }).pipe(
          Effect.timeout(soon)
        )
        const ended = yield* Effect.filter(blocked, (fiber) =>
          Effect.map(Fiber.poll(fiber), ({ _tag }) => _tag === "Some")
        )
        assert.strictEqual(ended.length, 0)
        yield* slow.commit
        const results = yield* Effect.forEach(blocked, Fiber.join).pipe(Effect.timeout(soon))
        yield* reached(store, Math.max(...results.map(({ position }) => position)))
        const reader = tail(store)
        yield* reader.drain
        assert.deepStrictEqual(compare(reader.seen, yield* table(url)), noDifference)
      })
    )
  )

  for (const stream of ["existing", "new"] as const) {
    it.scopedLive(`on 20 ${stream} streams, whose writers come one after another: nobody else waits`, () =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const log = yield* open(url)
        const { store } = log
        const held = range(20).map((n) => append(`held/${n}`))
        if (stream === "existing") yield* store.write(held)
        const slow = yield* hold(log, store.write(held))
        const blocked: Array<Fiber.RuntimeFiber<unknown, WriteError>> = []
        // Each held stream gets its writer while others write all the time.
        yield* Effect.forEach(held, (one) =>
          Effect.gen(function* () {
            blocked.push(yield* Effect.forkScoped(store.write(one)))
            yield* Effect.forEach(range(20), (n) => store.write(append(`other/${n}`)), {
              concurrency: "unbounded",
              discard: true
            })
          })
        ).pipe(Effect.timeout("20 seconds"))
        const ended = yield* Effect.filter(blocked, (fiber) =>
          Effect.map(Fiber.poll(fiber), ({ _tag }) => _tag === "Some")
        )
        assert.strictEqual(ended.length, 0)
        yield* slow.commit
        yield* Effect.forEach(blocked, Fiber.join).pipe(Effect.timeout(soon))
        assert.strictEqual((yield* table(url)).length, 20 * (stream === "existing" ? 3 : 2) + 20 * 20)
      })
    )
  }
})
