/** Results as events. */
import { assert, describe, it } from "@effect/vitest"
import { EventStore } from "@millrace/core/EventStore"
import { deriveEventId } from "@millrace/core/EventId"
import * as Memory from "@millrace/core/Memory"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as Postgres from "@millrace/postgres/Postgres"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import * as Databases from "@millrace/testkit/Databases"
import { toEvents } from "@millrace/pipeline/sinks/EventStoreSink"
import type { SinkEvent } from "@millrace/pipeline/sinks/EventStoreSink"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

const event = (n: number, streams = 3): SinkEvent => ({
  streamId: `total/${n % streams}`,
  type: "Totalled",
  data: { n },
  id: String(n)
})
const numbers = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i)
const sink = toEvents({ name: "totals", event: (n: number) => event(n) })
const context = { pipeline: "p", checkpointId: 0 }

/** What the log has. */
const logged = Effect.gen(function* () {
  const events = yield* Stream.runCollect((yield* EventStore).stream())
  return Chunk.toReadonlyArray(events).map(({ data }) => (data as { readonly n: number }).n)
})

/** As it comes back from a checkpoint. */
const saved = (prepared: unknown): unknown => JSON.parse(JSON.stringify(prepared))

const stores = {
  memory: Memory.layer(),
  sqlite: Layer.unwrapScoped(
    Effect.map(Databases.sqliteFile, (filename) => Layer.orDie(Sqlite.layer({ filename })))
  ),
  postgres: Layer.orDie(
    Layer.unwrapScoped(Effect.map(Databases.postgres, ({ url }) => Postgres.layer({ url })))
  )
} as const

describe.each(Object.entries(stores))("EventStoreSink / %s", (_, store) => {
  const test = <A, E>(name: string, body: () => Effect.Effect<A, E, EventStore | Scope.Scope>) =>
    it.scopedLive(name, () => Effect.provide(body(), store as Layer.Layer<EventStore>))

  test("appends at the commit and not before, in order, with ids derived from pipeline, sink and id", () =>
    Effect.gen(function* () {
      const writer = yield* sink.open(context)
      yield* writer.write([0, 1, 2, 3])
      yield* writer.write([4, 5])
      const prepared = yield* writer.prepare(1)
      yield* writer.write([6])
      assert.deepStrictEqual(yield* logged, [])
      yield* writer.commit(1, prepared)
      assert.deepStrictEqual(yield* logged, [0, 1, 2, 3, 4, 5])
      yield* writer.commit(2, yield* writer.prepare(2))
      assert.isUndefined(yield* writer.prepare(3))
      yield* writer.commit(3, undefined)
      assert.deepStrictEqual(yield* logged, [0, 1, 2, 3, 4, 5, 6])
      const [first] = yield* (yield* EventStore).readByIds([deriveEventId("p", "totals", "0")])
      assert.deepStrictEqual(first!.data, { n: 0 })
    }))

  test("a commit again, here or after a crash, changes nothing", () =>
    Effect.gen(function* () {
      const writer = yield* sink.open(context)
      yield* writer.write(numbers(0, 2_500))
      const prepared = saved(yield* writer.prepare(1))
      yield* writer.commit(1, prepared)
      yield* writer.commit(1, prepared)
      const again = yield* sink.open({ ...context, checkpointId: 1 })
      yield* again.commit(1, prepared)
      assert.deepStrictEqual(yield* logged, numbers(0, 2_500))
    }))

  test("a commit that was cut off anywhere is completed, also when others have appended in between", () =>
    Effect.gen(function* () {
      const store = yield* EventStore
      const writer = yield* sink.open(context)
      yield* writer.write(numbers(0, 3_500))
      const prepared = saved(yield* writer.prepare(1)) as ReadonlyArray<unknown>
      let writes = 2
      const dying = EventStore.of({
        ...store,
        write: (appends, options) =>
          Effect.suspend(() =>
            writes-- > 0
              ? store.write(appends, options)
              : new StoreUnavailable({ operation: "write", transient: true, cause: "killed" })
          )
      })
      const killed = yield* Effect.provideService(sink.open(context), EventStore, dying)
      const error = yield* Effect.flip(killed.commit(1, prepared))
      assert.strictEqual(error._tag, "StoreUnavailable")
      assert.strictEqual((yield* logged).length, 2_000)
      yield* store.write({ streamId: "total/0", events: [{ type: "Other", data: { n: -1 } }] })
      // Chunks that begin elsewhere than those that are there.
      yield* writer.commit(1, prepared.slice(700, 1_900))
      yield* writer.commit(1, prepared.slice(1_500))
      yield* writer.commit(1, prepared)
      assert.deepStrictEqual(yield* logged, [...numbers(0, 2_000), -1, ...numbers(2_000, 1_500)])
    }))

  test("going back: results that come again, in other batches and checkpoints, are there once", () =>
    Effect.gen(function* () {
      const epoch = (id: number, values: ReadonlyArray<number>) =>
        Effect.gen(function* () {
          const writer = yield* sink.open({ ...context, checkpointId: id - 1 })
          yield* writer.write(values)
          yield* writer.commit(id, yield* writer.prepare(id))
        })
      yield* epoch(1, numbers(0, 10))
      yield* epoch(2, numbers(10, 10))
      yield* epoch(3, numbers(5, 20))
      assert.deepStrictEqual(yield* logged, numbers(0, 25))
    }))

  test("what was written and never committed is gone", () =>
    Effect.gen(function* () {
      const writer = yield* sink.open(context)
      yield* writer.write([1])
      yield* writer.prepare(1)
      yield* writer.write([2])
      const again = yield* sink.open(context)
      assert.isUndefined(yield* again.prepare(1))
      assert.deepStrictEqual(yield* logged, [])
    }))

  test("one id is one event: the same again is left out, another one is a conflict", () =>
    Effect.gen(function* () {
      const given = toEvents({ name: "given", event: (e: SinkEvent) => e })
      const writer = yield* given.open(context)
      yield* writer.write([event(1), event(1), event(2)])
      const conflict = yield* Effect.flip(writer.write([{ ...event(2), type: "Other" }]))
      assert.strictEqual(conflict._tag, "EventIdConflict")
      yield* writer.commit(1, yield* writer.prepare(1))
      assert.deepStrictEqual(yield* logged, [1, 2])
      yield* writer.write([event(3), { ...event(1), streamId: "elsewhere/1" }])
      const late = yield* Effect.flip(Effect.flatMap(writer.prepare(2), (rows) => writer.commit(2, rows)))
      assert.strictEqual(late._tag, "EventIdConflict")
    }))

  test("what the log would refuse is refused when it is written", () =>
    Effect.gen(function* () {
      const given = toEvents({ name: "given", event: (e: SinkEvent) => e, eventBytesMax: 100 })
      const writer = yield* given.open(context)
      const tags: Array<string> = []
      for (const wrong of [
        { streamId: "none" },
        { type: "" },
        { type: "a\u0000" },
        { id: "" },
        { data: undefined },
        { data: 1n },
        { data: "x".repeat(101) },
        { tags: [""] },
        { metadata: [] as never }
      ])
        tags.push((yield* Effect.flip(writer.write([{ ...event(1), ...wrong }])))._tag)
      assert.deepStrictEqual(tags, [
        "InvalidStreamId",
        "MissingData",
        "InvalidArgument",
        "InvalidArgument",
        "InvalidArgument",
        "InvalidArgument",
        "EventTooLarge",
        "InvalidArgument",
        "InvalidArgument"
      ])
      const unnamed = yield* Effect.flip(toEvents({ name: "", event }).open(context))
      assert.strictEqual(unnamed._tag, "InvalidArgument")
    }))

  test("metadata, tags and large events come through", () =>
    Effect.gen(function* () {
      const given = toEvents({ name: "given", event: (e: SinkEvent) => e, eventBytesMax: 5_000_000 })
      const store = yield* EventStore
      const writer = yield* given.open(context)
      yield* writer.write([
        { ...event(1), metadata: { correlationId: "c" }, tags: ["t", "t"] },
        ...numbers(10, 30).map((n) => ({ ...event(n), data: "x".repeat(900_000) }))
      ])
      yield* writer.commit(1, saved(yield* writer.prepare(1)))
      const [first] = yield* store.readByIds([deriveEventId("p", "given", "1")])
      assert.deepStrictEqual([first!.metadata, first!.tags], [{ correlationId: "c" }, ["t"]])
      assert.strictEqual((yield* logged).length, 31)
    }))
})
