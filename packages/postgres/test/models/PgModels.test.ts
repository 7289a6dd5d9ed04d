/** Models on Postgres: the form of their tables, statements a page, and what readers and frozen workers meet. */
import { assert, it } from "@effect/vitest"
import { Epoch } from "@millrace/core/Lease"
import { ModelStore } from "@millrace/core/ModelStore"
import type { FoldProjection } from "@millrace/core/Projection"
import * as Projection from "@millrace/core/Projection"
import * as SqlProjection from "@millrace/sql/SqlProjection"
import * as Databases from "@millrace/testkit/Databases"
import {
  counting,
  feed,
  leaseOf,
  listed,
  plainFold,
  standing,
  stepOver,
  totals
} from "@millrace/testkit/suites/ModelScene"
import { range, refused } from "@millrace/testkit/suites/Scene"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import pg from "pg"
import { vi } from "vitest"
import { sqlModels } from "../../../sql/test/SqlModels.js"
import * as Postgres from "../../src/Postgres.js"

const postgres = Layer.unwrapScoped(Effect.map(Databases.postgres, ({ url }) => Postgres.layer({ url })))

sqlModels("postgres", postgres, (table) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const rows = yield* sql<{ readonly name: string }>`
      SELECT column_name AS name FROM information_schema.columns WHERE table_name = ${table}
    `
    return rows.map(({ name }) => name)
  })
)

/** Several processes on one database. */
const processes = (count: number) =>
  Effect.flatMap(Databases.postgres, ({ url }) =>
    Effect.forEach(range(1, count), () =>
      Effect.map(Layer.build(Postgres.layer({ url })), (context) => ({
        store: Context.get(context, ModelStore),
        sql: Context.get(context, SqlClient)
      }))
    )
  )

/** The texts that are sent to the server while an effect runs. */
const textsOf = (effect: Effect.Effect<unknown, unknown>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => vi.spyOn(pg.Client.prototype, "query")),
    (spy) =>
      Effect.map(effect, () =>
        spy.mock.calls
          .map(([query]) => (typeof query === "string" ? query : String((query as pg.QueryConfig).text)))
          // Not what is sent for wake-ups, which begins when the layer is there.
          .filter((text) => !/^LISTEN|pg_notify/.test(text))
      ),
    (spy) => Effect.sync(() => spy.mockRestore())
  )

/** Its rows are the last event of each of `keys` keys, so that one sees which model one reads. */
const keyed = (name: string, keys: number, version: number) =>
  Projection.fold({
    name,
    version,
    row: Schema.Struct({ at: Schema.Int }),
    key: (event) => `k${event.position % keys}`,
    initial: () => ({ at: 0 }),
    evolve: (_, event) => ({ at: event.position })
  })

it.scopedLive("a page of a fold is one statement that reads and one that writes", () =>
  Effect.gen(function* () {
    const store = yield* ModelStore
    const projection = totals("counted")
    const log = counting(300)
    const model = yield* store.open(projection)
    yield* model.claim(Epoch.make(1))
    const page = log.slice(0, 200)
    const texts = yield* textsOf(model.apply(page, stepOver(page, 0, 1)))
    assert.strictEqual(texts.length, 2, texts.join("\n"))
    assert.match(texts[0]!, /^SELECT/)
    assert.match(texts[1]!, /advance_projection/)
    const none = yield* textsOf(model.apply([], stepOver([], 200, 1)))
    assert.strictEqual(none.length, 1)
    const built = yield* store.open(projection, 3)
    yield* built.claim(Epoch.make(1))
    assert.strictEqual((yield* textsOf(built.apply(page, stepOver(page, 0, 1)))).length, 2)
  }).pipe(Effect.provide(postgres))
)

it.scopedLive("of two processes that make one step, one writes rows, and the other none", () =>
  Effect.gen(function* () {
    const [one, two] = yield* processes(2)
    const projection = totals("contended")
    const log = counting(120)
    const models = yield* Effect.forEach([one!, two!], ({ store }) => store.open(projection))
    for (let from = 0; from < log.length; from += 4) {
      const page = log.slice(from, from + 4)
      const results = yield* Effect.forEach(
        models,
        (model) => Effect.either(model.apply(page, stepOver(page, from, 1))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(results.filter(({ _tag }) => _tag === "Right").length, 1)
      const lost = results.flatMap((result) => (result._tag === "Left" ? [result.left._tag] : []))
      assert.deepStrictEqual(lost, ["ProjectionMoved"])
    }
    assert.deepStrictEqual(
      yield* one!.store.list(projection, { limit: 10 }),
      listed(plainFold(projection, log))
    )
  })
)

it.scopedLive(
  "readers on other connections see the model of before or of after 20 swaps, and no error",
  () =>
    Effect.gen(function* () {
      const [builder, other] = yield* processes(2)
      const log = counting(500)
      const versions = [keyed("served", 100, 1), keyed("served", 150, 2)] as const
      yield* feed(yield* builder!.store.open(versions[0]), log, { pageEvents: 500 })
      const seen = new Map<number, number>()
      const look = Effect.flatMap(
        other!.sql<{ readonly n: number; readonly last: number }>`
          SELECT count(*)::int AS n, max(at)::int AS last FROM served WHERE key > ${""}
        `,
        ([row]) =>
          Effect.sync(() => {
            assert.strictEqual(row!.last, 500)
            seen.set(row!.n, (seen.get(row!.n) ?? 0) + 1)
          })
      )
      const readers = yield* Effect.forEach(range(1, 4), () => Effect.fork(Effect.forever(look)))
      let swaps = 0
      for (const generation of range(1, 20)) {
        const projection: FoldProjection<{ readonly at: number }> = versions[generation % 2]!
        yield* feed(yield* builder!.store.open(projection, generation), log, {
          pageEvents: 500
        })
        const swapped = yield* builder!.store.swap(projection, generation, {
          epoch: Epoch.make(1),
          keepFormer: generation % 3 > 0
        })
        if (swapped._tag === "Swapped") swaps++
        yield* Effect.sleep("5 millis")
      }
      assert.strictEqual(swaps, 20)
      for (const reader of readers)
        assert.isTrue(Option.isNone(yield* Fiber.poll(reader)), "no reader failed")
      yield* Fiber.interruptAll(readers)
      assert.deepStrictEqual([...seen.keys()].sort(), [100, 150])
    }),
  120_000
)

it.scopedLive(
  "a swap that readers keep out is transient and changes nothing, and the next one is made",
  () =>
    Effect.gen(function* () {
      const [builder, other] = yield* processes(2)
      const log = counting(20)
      const [one, two] = [keyed("held", 3, 1), keyed("held", 5, 2)]
      yield* feed(yield* builder!.store.open(one), log)
      yield* feed(yield* builder!.store.open(two, 1), log)
      const read = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      const reader = yield* Effect.fork(
        other!.sql.withTransaction(
          other!.sql`SELECT * FROM held`.pipe(
            Effect.zipRight(Deferred.succeed(read, undefined)),
            Effect.zipRight(Deferred.await(done))
          )
        )
      )
      yield* Deferred.await(read)
      const swap = builder!.store.swap(two, 1, { epoch: Epoch.make(1), keepFormer: true })
      const error = yield* refused(swap, "StoreUnavailable")
      assert.isTrue(error.transient)
      assert.strictEqual((yield* other!.store.list(one, { limit: 10 })).length, 3)
      const { building, former } = yield* other!.store.generations(one)
      assert.isTrue(Option.isSome(building) && Option.isNone(former))
      yield* Deferred.succeed(done, undefined)
      yield* Fiber.join(reader)
      assert.strictEqual((yield* swap)._tag, "Swapped")
      assert.strictEqual((yield* other!.store.list(two, { limit: 10 })).length, 5)
    }),
  30_000
)

it.scopedLive(
  "a step that stands idle for longer than its lease is ended by the server",
  () =>
    Effect.gen(function* () {
      const [frozen, other] = yield* processes(2)
      let stand = true
      const projection = SqlProjection.handlers({
        name: "frozen",
        tables: {
          frozen: (table) => Effect.flatMap(SqlClient, (sql) => sql`CREATE TABLE ${sql(table)} (at bigint)`)
        },
        onEvent: (event, { table }) =>
          Effect.gen(function* () {
            const sql = yield* SqlClient
            yield* sql`INSERT INTO ${sql(table("frozen"))} VALUES (${event.position})`
            if (stand) yield* Effect.sleep("900 millis")
          })
      })
      const model = yield* frozen!.store.open(projection)
      const page = counting(1)
      const lease = { ...leaseOf(1), ttl: Duration.millis(300) }
      const step = { ...stepOver(page, 0, 1), lease }
      const apply = yield* Effect.fork(refused(model.apply(page, step), "StoreUnavailable"))
      yield* Effect.sleep("600 millis")
      const [sessions] = yield* other!.sql<{ readonly n: number }>`
        SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'idle in transaction'
      `
      assert.strictEqual(sessions!.n, 0, "its locks are gone while it still stands")
      assert.isTrue((yield* Fiber.join(apply)).transient)
      assert.isUndefined(yield* standing(model))
      stand = false
      yield* model.apply(page, step)
      assert.strictEqual(yield* model.count, 1)
    }),
  30_000
)

it.scopedLive("a transaction of another database is none of the store's", () =>
  Effect.gen(function* () {
    const [one] = yield* processes(1)
    const [two] = yield* processes(1)
    const projection = totals("apart")
    const log = counting(4)
    const model = yield* one!.store.open(projection)
    yield* Effect.ignore(
      two!.sql.withTransaction(Effect.zipRight(feed(model, log), Effect.fail("rolled back")))
    )
    assert.strictEqual((yield* one!.store.list(projection, { limit: 10 })).length, 3)
    yield* Effect.ignore(
      one!.sql.withTransaction(Effect.zipRight(one!.store.empty(projection), Effect.fail("no")))
    )
    assert.strictEqual((yield* one!.store.list(projection, { limit: 10 })).length, 3)
  })
)
