/**
 * Projections in the transaction of the append, on a database that several processes can open: `open` gives one
 * process's services. The fold keeps the order in which it saw events, so that any other order than the log's shows.
 */
import { assert, describe, it } from "@effect/vitest"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import type { StreamAppend } from "@millrace/core/Append"
import type { NewEvent, RecordedEvent } from "@millrace/core/Event"
import { EventIds } from "@millrace/core/EventIds"
import { EventStore } from "@millrace/core/EventStore"
import * as Memory from "@millrace/core/Memory"
import { ModelStore } from "@millrace/core/ModelStore"
import * as Page from "@millrace/core/Page"
import * as Projection from "@millrace/core/Projection"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as InlineProjections from "@millrace/sql/InlineProjections"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

type Stores = EventStore | ModelStore | SubscriberStore | SqlClient

/** Declares the tests. `database` makes an empty one; each build of the layer it gives is a process of its own. */
export const sqlInline = (
  name: string,
  database: Effect.Effect<Layer.Layer<Stores, unknown>, unknown, Scope.Scope>
): void => {
  describe(`InlineProjections / ${name}`, () => {
    it.scopedLive("when a write returns, the model has its events, in the order of the log", () =>
      Effect.gen(function* () {
        const { models, store } = yield* process(yield* database)
        yield* store.write({ streamId: "seat/a", events: [seat(1, "row"), seat(2, "row")] })
        assert.deepStrictEqual(yield* models.get(orders, "row"), Option.some({ seen: "a1 a2" }))
        yield* store.write([
          { streamId: "seat/b", events: [seat(1, "row")] },
          { streamId: "other/x", events: [{ type: "Seat", data: { number: 9, row: "row" } }] },
          { streamId: "seat/a", events: [seat(3, "row")] }
        ])
        assert.deepStrictEqual(yield* models.get(orders, "row"), Option.some({ seen: "a1 a2 b1 a3" }))
      })
    )

    it.scopedLive(
      "two processes with many writers each: the model is the fold of the log, no event twice",
      () =>
        Effect.gen(function* () {
          const stores = yield* database
          const both = yield* Effect.forEach([1, 2], () => process(stores), { concurrency: 2 })
          yield* Effect.forEach(
            range(240),
            (i) => {
              const { store } = both[i % 2]!
              return store.write({
                streamId: `seat/s${i % 24}`,
                events: [seat(i, `row${i % 3}`), seat(i + 0.5, "all")]
              })
            },
            { concurrency: 32 }
          )
          const { models, store } = both[0]!
          assert.deepStrictEqual(yield* rowsOf(models), yield* foldOf(store))
          assert.strictEqual((yield* rowsOf(models)).get("all")!.split(" ").length, 240)
        })
    )

    it.scopedLive(
      "what is refused or fails in its handler fails its own write alone, and changes nothing",
      () =>
        Effect.gen(function* () {
          const { models, store } = yield* process(yield* database)
          const writes = range(40).map((i): StreamAppend => {
            if (i % 10 === 3) return { streamId: `seat/s${i}`, events: [seat(i, "row")], expected: "exists" }
            if (i % 10 === 7) return { streamId: `seat/s${i}`, events: [seat(i, "poison")] }
            return { streamId: `seat/s${i}`, events: [seat(i, "row")] }
          })
          const results = yield* Effect.forEach(writes, (write) => Effect.either(store.write(write)), {
            concurrency: "unbounded"
          })
          const failures = results.map((result) =>
            Either.isRight(result)
              ? ""
              : result.left._tag === "StoreUnavailable"
                ? tagOf(result.left.cause)
                : result.left._tag
          )
          assert.deepStrictEqual(
            failures,
            range(40).map((i) =>
              i % 10 === 3 ? "InvalidOriginalVersion" : i % 10 === 7 ? "HandlerError" : ""
            )
          )
          assert.deepStrictEqual(yield* rowsOf(models), yield* foldOf(store))
          assert.strictEqual(yield* store.streamVersion("seat/s7"), 0)
        })
    )

    it.scopedLive("the same write again changes nothing, also beside new ones", () =>
      Effect.gen(function* () {
        const { models, store } = yield* process(yield* database)
        const ids = yield* EventIds
        const again: StreamAppend = { streamId: "seat/a", events: [{ ...seat(1, "row"), id: ids.next(1) }] }
        const first = yield* store.write(again)
        const [second] = yield* Effect.all(
          [store.write(again), store.write({ streamId: "seat/b", events: [seat(1, "row")] })],
          { concurrency: 2 }
        )
        assert.deepStrictEqual(second, first)
        assert.deepStrictEqual(yield* models.get(orders, "row"), Option.some({ seen: "a1 b1" }))
      })
    )

    it.scopedLive("inside of the caller's transaction both wait for its end", () =>
      Effect.gen(function* () {
        const { models, sql, store } = yield* process(yield* database)
        const write = store.write({ streamId: "seat/a", events: [seat(1, "row")] })
        const rolledBack = Effect.zipRight(write, Effect.fail("back"))
        assert.strictEqual(yield* Effect.flip(sql.withTransaction(rolledBack)), "back")
        assert.deepStrictEqual(yield* rowsOf(models), new Map())
        yield* sql.withTransaction(write)
        assert.deepStrictEqual(yield* rowsOf(models), yield* foldOf(store))
        assert.deepStrictEqual(yield* models.get(orders, "row"), Option.some({ seen: "a1" }))
      })
    )

    it.scopedLive(
      "events that were written without it are caught up with at the start, and a gap is refused",
      () =>
        Effect.gen(function* () {
          const stores = yield* database
          const plain = Context.get(yield* Layer.build(stores), EventStore)
          yield* plain.write({ streamId: "seat/a", events: [seat(1, "row")] })
          const { models, runner, store } = yield* process(stores)
          assert.deepStrictEqual(yield* models.get(orders, "row"), Option.some({ seen: "a1" }))
          yield* plain.write({ streamId: "seat/a", events: [seat(2, "row")] })
          const error = yield* Effect.flip(store.write({ streamId: "seat/a", events: [seat(3, "row")] }))
          assert.strictEqual(error._tag === "StoreUnavailable" ? tagOf(error.cause) : error._tag, "StreamGap")
          yield* runner.rebuild(orders)
          yield* store.write({ streamId: "seat/a", events: [seat(3, "row")] })
          assert.deepStrictEqual(yield* models.get(orders, "row"), Option.some({ seen: "a1 a2 a3" }))
        })
    )

    it.scopedLive("a rebuild beside it takes its place between two writes", () =>
      Effect.gen(function* () {
        const { models, runner, store } = yield* process(yield* database)
        const write = (i: number) => store.write({ streamId: `seat/s${i % 5}`, events: [seat(i, "row")] })
        yield* Effect.forEach(range(60), write)
        yield* Effect.all(
          [
            Effect.forEach(range(120), (i) => write(60 + i), { concurrency: 4, discard: true }),
            Effect.forEach(range(3), () => runner.rebuild(orders, { batchSize: 20 }))
          ],
          { concurrency: 2 }
        )
        yield* write(180)
        assert.deepStrictEqual(yield* rowsOf(models), yield* foldOf(store))
      })
    )

    it.scopedLive(
      "a projection whose model is elsewhere, and a store without transactions, are refused",
      () =>
        Effect.gen(function* () {
          const stores = yield* database
          const elsewhere = Projection.handlers({ name: "mails", onEvent: () => undefined })
          const refused = yield* Effect.exit(process(stores, [elsewhere]))
          assert.isTrue(Exit.isFailure(refused))
          const memory = Layer.merge(Memory.layer(), ActorRegistry.layer)
          const runner = Layer.provideMerge(ProjectionRunner.layer, memory)
          const error = yield* Effect.flip(
            Layer.build(Layer.provide(InlineProjections.layer([orders]), runner))
          )
          assert.strictEqual(error._tag, "InvalidArgument")
        })
    )
  })
}

// ---- internal ----

const Seat = Schema.Struct({ number: Schema.Number, row: Schema.String })
const decodeSeat = Schema.decodeUnknownSync(Seat)

const seat = (number: number, row: string): NewEvent => ({ type: "Seat", data: { number, row } })

const range = (count: number) => Array.from({ length: count }, (_, i) => i)

/** A row of seats, in the order in which they were taken. */
const orders = Projection.fold({
  name: "orders",
  filters: [{ category: "seat" }],
  row: Schema.Struct({ seen: Schema.String }),
  key: (event) => decodeSeat(event.data).row,
  initial: () => ({ seen: "" }),
  evolve: ({ seen }, event, key) => {
    if (key === "poison") throw new Error("poison")
    const one = `${event.streamId.slice("seat/".length)}${decodeSeat(event.data).number}`
    return { seen: seen === "" ? one : `${seen} ${one}` }
  }
})

/** One process with the layer. */
const process = (
  stores: Layer.Layer<Stores, unknown>,
  projections: ReadonlyArray<Projection.Projection<unknown>> = [orders]
) =>
  Effect.map(
    Layer.build(
      InlineProjections.layer(projections).pipe(
        Layer.provideMerge(ProjectionRunner.layer),
        Layer.provideMerge(Layer.merge(stores, ActorRegistry.layer))
      )
    ),
    (context) => ({
      store: Context.get(context, EventStore),
      models: Context.get(context, ModelStore),
      runner: Context.get(context, ProjectionRunner),
      sql: Context.get(context, SqlClient)
    })
  )

const rowsOf = (models: ModelStore["Type"]) =>
  Effect.map(
    models.list(orders, { limit: 1_000 }),
    (rows): ReadonlyMap<string, string> => new Map(rows.map(({ key, row }) => [key, row.seen]))
  )

/** The plain fold of the log. */
const foldOf = (store: EventStore["Type"]) =>
  Effect.map(Stream.runCollect(store.stream({ filters: orders.filters, page: Page.forward() })), (events) => {
    const rows = new Map<string, { readonly seen: string }>()
    for (const event of Chunk.toReadonlyArray(events) as ReadonlyArray<RecordedEvent>) {
      const key = orders.strength.key(event) as string
      const row = orders.strength.evolve(rows.get(key) ?? orders.strength.initial(key), event, key)
      if (row !== undefined) rows.set(key, row)
    }
    return new Map([...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, { seen }]) => [key, seen]))
  })

const tagOf = (error: unknown): string => (error as { readonly _tag: string })._tag
