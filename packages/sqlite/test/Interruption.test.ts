/** Whoever is interrupted while it waits for the connection, or has just got it, leaves it to the others. */
import { assert, it } from "@effect/vitest"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { withChance } from "@millrace/testkit/Seeds"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Scheduler from "effect/Scheduler"

it.live("interrupted at any moment, transactions leave the connection to the next one", () =>
  withChance((chance) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const turns = (count: number) => Effect.repeatN(Effect.yieldNow(), count)
      const work = Effect.suspend(() => sql.withTransaction(turns(chance.int(0, 3))))
      for (let round = 0; round < 400; round++) {
        const fibers = yield* Effect.forEach(Array.from({ length: 6 }), () =>
          Effect.fork(Effect.zipRight(turns(chance.int(0, 4)), work))
        )
        yield* turns(chance.int(0, 12))
        yield* Fiber.interruptAll(fibers.filter(() => chance.is(0.7)))
        yield* Effect.forEach(fibers, Fiber.await)
        const free = yield* Effect.timeoutOption(sql.withTransaction(Effect.void), "5 seconds")
        assert.strictEqual(free._tag, "Some", `after round ${round}`)
      }
    })
  ).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" })))
)

it.live("interrupted in the very moment in which it gets the connection, it gives it back", () =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    for (const what of ["transaction", "statement"] as const) {
      const gate = yield* Deferred.make<void>()
      const second: { fiber?: Fiber.RuntimeFiber<unknown, unknown> } = {}
      const first = yield* Effect.fork(
        Effect.zipRight(
          sql.withTransaction(Deferred.await(gate)),
          Effect.sync(() =>
            // Behind the task that hands the connection on, and before the one in which it arrives.
            Scheduler.defaultScheduler.scheduleTask(
              () => second.fiber!.unsafeInterruptAsFork(FiberId.none),
              0
            )
          )
        )
      )
      yield* Effect.sleep("10 millis")
      second.fiber = yield* Effect.fork(
        what === "transaction" ? sql.withTransaction(sql`SELECT 1`) : sql`SELECT 1`
      )
      yield* Effect.sleep("10 millis")
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach([first, second.fiber], Fiber.await)
      const free = yield* Effect.timeoutOption(sql.withTransaction(Effect.void), "2 seconds")
      assert.strictEqual(free._tag, "Some", what)
    }
  }).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" })))
)
