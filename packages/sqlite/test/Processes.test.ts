/** Several processes on one file, and processes that are killed. */
import { assert, it } from "@effect/vitest"
import type { RecordedEvent } from "@millrace/core/Event"
import { EventStore } from "@millrace/core/EventStore"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { migrations } from "@millrace/sqlite/migrations/index"
import { SqliteSession } from "@millrace/sqlite/SqliteSession"
import { sqliteFile } from "@millrace/testkit/Databases"
import * as Chunk from "effect/Chunk"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Writers from "./fixtures/Writers.js"
import type { Acknowledged } from "./fixtures/Writers.js"

const slowTestMs = 240_000

const isFull = process.env.MILLRACE_FAULTS === "full"

/** The whole log of a file, read after everybody else has left it. */
const logOf = (filename: string) =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const events = Chunk.toReadonlyArray(yield* Stream.runCollect(store.stream()))
    return { events, head: yield* store.head }
  }).pipe(Effect.provide(Sqlite.layer({ filename })))

/** Positions follow one another to the head, versions in each stream too, and what was acknowledged is there. */
const assertWhole = (
  { events, head }: { readonly events: ReadonlyArray<RecordedEvent>; readonly head: number },
  acknowledged: ReadonlyArray<Acknowledged>
): void => {
  const versions = new Map<string, number>()
  events.forEach((event, i) => {
    assert.strictEqual(event.position, i + 1)
    const version = (versions.get(event.streamId) ?? 0) + 1
    assert.strictEqual(event.version, version)
    versions.set(event.streamId, version)
  })
  assert.strictEqual(head, events.length)
  assert.strictEqual(new Set(events.map((event) => event.id)).size, events.length)
  for (const { id, position, streamId, version } of acknowledged) {
    const event = events[position - 1]
    assert.deepStrictEqual(
      { id: event?.id as string, streamId: event?.streamId as string, version: event?.version as number },
      { id, streamId, version }
    )
  }
}

it.scopedLive(
  "several processes make the tables of a new file at once",
  () =>
    Effect.gen(function* () {
      const filename = yield* sqliteFile
      const names = ["a", "b", "c", "d", "e", "f"]
      const writers = yield* Effect.forEach(names, (name) =>
        Writers.start({ filename, name, writes: 3, callers: 2 })
      )
      const codes = yield* Effect.forEach(writers, (writer) => writer.ended)
      assert.deepStrictEqual(
        codes,
        names.map(() => 0)
      )
      assertWhole(
        yield* logOf(filename),
        writers.flatMap((writer) => writer.acknowledged)
      )
      const session = SqliteSession.open(filename)
      assert.deepStrictEqual(
        session.rows("SELECT migration_id FROM millrace_migrations ORDER BY 1"),
        Object.keys(migrations).map((_, index) => [index + 1])
      )
      session.close()
    }),
  slowTestMs
)

it.scopedLive(
  "two processes append to one file: nothing is lost, doubled or out of order",
  () =>
    Effect.gen(function* () {
      const filename = yield* sqliteFile
      const options = { filename, writes: 60, callers: 4 }
      const writers = yield* Effect.forEach(["left", "right"], (name) => Writers.start({ ...options, name }))
      assert.deepStrictEqual(yield* Effect.forEach(writers, (writer) => writer.ended), [0, 0])
      const log = yield* logOf(filename)
      assertWhole(
        log,
        writers.flatMap((writer) => writer.acknowledged)
      )
      // Each caller made 60 writes: one event of its own each time, and 1 + 2 + 3 shared ones in three.
      assert.strictEqual(log.events.length, 2 * 4 * (60 + (60 / 3) * 6))
      const sums = new Map<string, number>()
      const seen = new Map<string, number>()
      for (const { data, streamId } of log.events) {
        const { amount, by, caller, i } = data as { amount: number; by: string; caller: number; i: number }
        sums.set(streamId, (sums.get(streamId) ?? 0) + amount)
        // Nobody's later write stands before an earlier one.
        const key = `${by}-${caller}`
        assert.isAtLeast(i, seen.get(key) ?? 0)
        seen.set(key, i)
      }
      const shared = [0, 1, 2].map((k): readonly [string, number] => [
        `shared/${k}`,
        2 * 4 * 20 * (1 + k) * 2
      ])
      const own = ["left", "right"].flatMap((name) =>
        [0, 1, 2, 3].map((caller): readonly [string, number] => [`own/${name}-${caller}`, 60])
      )
      assert.deepStrictEqual(sums, new Map([...own, ...shared].sort()), "sums of the streams")
    }),
  slowTestMs
)

it.scopedLive(
  "a writer killed at any point leaves a whole log with everything it has acknowledged",
  () =>
    Effect.gen(function* () {
      const seed = Number(process.env.MILLRACE_SEED ?? (yield* Random.nextIntBetween(0, 2 ** 31)))
      yield* Console.log(`killed writers: MILLRACE_SEED=${seed}`)
      const rounds = isFull ? 25 : 4
      // Four files side by side, each killed and opened again several times: 16 points, or 100.
      const kills = Effect.forEach(
        [0, 1, 2, 3],
        (lane) =>
          Effect.gen(function* () {
            const filename = yield* sqliteFile
            const acknowledged: Array<Acknowledged> = []
            for (let round = 0; round < rounds; round++) {
              const count = yield* Random.nextIntBetween(1, 400)
              const writer = yield* Writers.start({
                filename,
                name: `${lane}-${round}`,
                writes: 1e9,
                callers: 5
              })
              yield* writer.reached(count)
              writer.process.kill("SIGKILL")
              assert.strictEqual(yield* writer.ended, null)
              acknowledged.push(...writer.acknowledged)
              assertWhole(yield* logOf(filename), acknowledged)
            }
            assert.isAtLeast(acknowledged.length, rounds)
          }),
        { concurrency: 2, discard: true }
      )
      yield* Effect.withRandom(kills, Random.make(seed))
    }),
  slowTestMs
)

it.scopedLive(
  "changes tells of commits of another process",
  () =>
    Effect.gen(function* () {
      const filename = yield* sqliteFile
      yield* Effect.gen(function* () {
        const store = yield* EventStore
        const hint = yield* Effect.fork(Stream.runHead(store.changes))
        const writer = yield* Writers.start({ filename, name: "other", writes: 2, callers: 1 })
        assert.strictEqual(yield* writer.ended, 0)
        const position = yield* Effect.timeout(Fiber.join(hint), "10 seconds")
        assert.isTrue(Option.isSome(position))
        // It stops asking with its last listener, and begins again with the next one.
        const next = yield* Effect.fork(Stream.runHead(Stream.filter(store.changes, (at) => at > 5)))
        yield* Effect.yieldNow()
        const second = yield* Writers.start({ filename, name: "second", writes: 1, callers: 1 })
        assert.strictEqual(yield* second.ended, 0)
        assert.deepStrictEqual(
          yield* Effect.timeout(Fiber.join(next), "10 seconds"),
          Option.some(yield* store.head)
        )
      }).pipe(Effect.provide(Sqlite.layer({ filename, pollInterval: "10 millis" })))
    }),
  slowTestMs
)

it.scopedLive(
  "a file that another connection keeps locked is waited for, without stopping the process, and then refused as transient",
  () =>
    Effect.gen(function* () {
      const filename = yield* sqliteFile
      yield* Effect.gen(function* () {
        const store = yield* EventStore
        const events = [{ type: "Added", data: 1 }]
        const other = SqliteSession.open(filename)
        yield* Effect.addFinalizer(() => Effect.sync(() => other.close()))
        other.run("BEGIN IMMEDIATE")

        const ticks = yield* Effect.fork(
          Effect.sleep("1 millis").pipe(Effect.repeat(Schedule.forever), Effect.asVoid)
        )
        const error = yield* Effect.flip(store.write({ streamId: "a/1", events }))
        assert.propertyVal(error, "_tag", "StoreUnavailable")
        assert.propertyVal(error, "operation", "write")
        assert.propertyVal(error, "transient", true)
        yield* Fiber.interrupt(ticks)
        // Reads go on meanwhile.
        assert.strictEqual(yield* store.head, 0)

        const waiting = yield* Effect.fork(store.write({ streamId: "a/1", events }))
        yield* Effect.sleep("50 millis")
        other.run("ROLLBACK")
        assert.strictEqual((yield* Fiber.join(waiting)).position, 1)
      }).pipe(Effect.scoped, Effect.provide(Sqlite.layer({ filename, busyTimeout: "400 millis" })))
    }),
  slowTestMs
)
