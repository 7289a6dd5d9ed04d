/** What a pooler in transaction mode takes away, and that polling is left. */
import { assert, describe, it } from "@effect/vitest"
import * as ActorRegistries from "@millrace/core/ActorRegistry"
import { EventStore } from "@millrace/core/EventStore"
import * as Subscriber from "@millrace/core/Subscriber"
import * as Postgres from "@millrace/postgres/Postgres"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import pg from "pg"
import * as PooledDatabases from "./PooledDatabases.js"

/** A connection of the test's own. */
const connect = (url: Redacted.Redacted<string>): Effect.Effect<pg.Client, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new pg.Client({ connectionString: Redacted.value(url) })
      client.on("error", () => undefined)
      await client.connect()
      return client
    }),
    (client) => Effect.promise(() => client.end().catch(() => undefined))
  )

describe("through PgBouncer in transaction mode", () => {
  it.scopedLive("a session has other connections from one transaction to the next", () =>
    Effect.gen(function* () {
      const { url } = yield* PooledDatabases.postgres
      const clients = yield* Effect.forEach([1, 2, 3], () => connect(url))
      const pids = new Set<number>()
      for (let round = 0; round < 20; round++) {
        // All at once, so that there is more than one connection to be had.
        const answers = yield* Effect.promise(() =>
          Promise.all(
            clients.map((client) =>
              client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid, pg_sleep(0.002)")
            )
          )
        )
        pids.add(answers[0]!.rows[0]!.pid)
      }
      assert.isAbove(pids.size, 1)
    })
  )

  it.scopedLive("a subscriber handles what another process appended, one event after the other", () =>
    Effect.gen(function* () {
      const { url } = yield* PooledDatabases.postgres
      const writer = Context.get(yield* Layer.build(Postgres.layer({ url })), EventStore)
      const seen: Array<unknown> = []
      let next = yield* Deferred.make<void>()
      const subscriber = Subscriber.make({
        key: "polling",
        onEvent: (event) => {
          seen.push(event.data)
          Deferred.unsafeDone(next, Effect.void)
        }
      })
      const reader = yield* Layer.build(Layer.merge(Postgres.layer({ url }), ActorRegistries.layer))
      yield* Effect.provide(Subscriber.run(subscriber), reader)
      for (let n = 0; n < 10; n++) {
        next = yield* Deferred.make<void>()
        yield* writer.write({ streamId: "account/1", events: [{ type: "Deposited", data: n }] })
        yield* Deferred.await(next)
      }
      assert.deepStrictEqual(
        seen,
        Array.from({ length: 10 }, (_, n) => n)
      )
    })
  )
})
