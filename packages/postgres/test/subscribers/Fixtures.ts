/** Subscriber stores as several processes have them (each with a pool of its own), on one fresh database. */
import { Position } from "@millrace/core/Position"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import { storeUnavailable } from "@millrace/postgres/PgFault"
import * as Postgres from "@millrace/postgres/Postgres"
import * as SqlSubscriberStore from "@millrace/sql/SqlSubscriberStore"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { ask, database, range } from "../writer/Fixtures.js"

export const position = (value: number): Position => Position.make(value)

/** What another process would have. */
export const open = (url: string, options: Partial<Postgres.PostgresOptions> = {}) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(Postgres.layer({ listen: false, ...options, url: Redacted.make(url) }))
    const sql = Context.get(context, SqlClient)
    const { fenceTransaction } = yield* Effect.provideService(
      SqlSubscriberStore.make({ schema: options.schema ?? "millrace", storeUnavailable }),
      SqlClient,
      sql
    )
    return { store: Context.get(context, SubscriberStore), sql, fenceTransaction }
  })

export type Process = Effect.Effect.Success<ReturnType<typeof open>>

/** So many of them on one new database. */
export const processes = (count: number, options: Partial<Postgres.PostgresOptions> = {}) =>
  Effect.gen(function* () {
    const url = yield* database
    return { url, all: yield* Effect.forEach(range(1, count), () => open(url, options)) }
  })

/** Ends the lease of a key, as if its time had passed. */
export const expire = (url: string, key: string) =>
  ask(url, "UPDATE millrace.leases SET expires_at = clock_timestamp() WHERE key = $1", [key])

/** A transaction that has done something and stays open until it is told to commit. */
export const held = <A, E>({ sql }: Process, effect: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const ready = yield* Deferred.make<void>()
    const go = yield* Deferred.make<void>()
    const fiber = yield* Effect.fork(
      sql.withTransaction(
        effect.pipe(
          Effect.tap(() => Deferred.succeed(ready, undefined)),
          Effect.tap(() => Deferred.await(go))
        )
      )
    )
    yield* Effect.raceFirst(Deferred.await(ready), Effect.asVoid(Fiber.join(fiber)))
    return {
      /** Commits; gives what became of it. */
      commit: Effect.zipRight(Deferred.succeed(go, undefined), Fiber.await(fiber)) as Effect.Effect<
        Exit.Exit<A, unknown>
      >,
      rollBack: Fiber.interrupt(fiber)
    }
  })
