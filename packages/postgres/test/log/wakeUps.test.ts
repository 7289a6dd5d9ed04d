/** News from other processes: by LISTEN, whose connection may be killed at any time, and by polling. */
import { assert, describe, it } from "@effect/vitest"
import { StreamVersion } from "@millrace/core/StreamVersion"
import * as Databases from "@millrace/testkit/Databases"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Stream from "effect/Stream"
import type { Tail } from "./support/PgLog.js"
import { append, connect, hold, open, reached, table, tail, until } from "./support/PgLog.js"
import type { Connection, Log } from "./support/PgLog.js"
import { withChance } from "@millrace/testkit/Seeds"

/** Follows the log by `changes` alone, in the background. */
const follow = ({ store }: Log) =>
  Effect.gen(function* () {
    const reader = tail(store)
    yield* store.changes.pipe(
      Stream.runForEach(() => reader.drain),
      Effect.forkScoped
    )
    return reader
  })

/** Waits until a reader has come to a position. */
const comes = (reader: Tail, position: number, seconds = 20) =>
  until(`reader at ${position}`, Effect.sync(reader.cursor), (cursor) => cursor >= position, seconds)

/** Waits until the reader listens. */
const listening = (admin: Connection) =>
  until(
    "listening",
    admin.rows(
      "SELECT FROM pg_stat_activity WHERE application_name = 'reader (listen)' AND datname = current_database()"
    ),
    (rows) => rows.length === 1
  )

describe("changes of other processes", () => {
  it.scopedLive("arrive by LISTEN, and again after its connection was killed, repeatedly", () =>
    withChance(({ int }) =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const writer = yield* open(url, { applicationName: "writer", listen: false })
        // Without polling: whatever this reader learns, it learns by LISTEN.
        const log = yield* open(url, { applicationName: "reader", pollInterval: "1 day" })
        const admin = yield* connect(url)
        const listeners = admin.rows<{ readonly pid: number }>(
          "SELECT pid FROM pg_stat_activity WHERE application_name = 'reader (listen)' AND datname = current_database()"
        )
        const reader = yield* follow(log)
        yield* until("listening", listeners, (rows) => rows.length === 1)
        for (let round = 0; round < 5; round++) {
          const { position } = yield* writer.store.write(append("a/1", int(1, 4)))
          yield* comes(reader, position)
          const pids = (yield* listeners).map(({ pid }) => pid)
          yield* admin.rows("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid", [pids])
          // Written while nobody listens: the new connection catches up.
          const missed = yield* writer.store.write(append("a/2", int(1, 4)))
          yield* comes(reader, missed.position)
          yield* until("listening again", listeners, (rows) => rows.some(({ pid }) => !pids.includes(pid)))
        }
        // News come at once again, one by one.
        for (let n = 0; n < 10; n++) yield* comes(reader, (yield* writer.store.write(append("a/3"))).position)
        assert.deepStrictEqual(reader.seen, yield* table(url))
      })
    )
  )

  it.scopedLive(
    "of every last commit, alone or in a burst, after refusals and fast ones, and not of each",
    () =>
      withChance(({ int }) =>
        Effect.gen(function* () {
          const { url } = yield* Databases.postgres
          const writer = yield* open(url, { applicationName: "writer", listen: false })
          const log = yield* open(url, { applicationName: "reader", pollInterval: "1 day" })
          const admin = yield* connect(url)
          const reader = yield* follow(log)
          yield* listening(admin)
          let notified = 0
          admin.client.on("notification", () => void notified++)
          yield* admin.rows("LISTEN millrace_millrace")
          const refused = Effect.flip(
            writer.store.write({ ...append("a/1"), expected: StreamVersion.make(9_999) })
          )
          for (let round = 0; round < 40; round++) {
            if (round % 3 === 0) yield* refused
            const writes = Array.from({ length: round % 4 === 1 ? int(2, 9) : 1 }, (_, n) =>
              writer.store.write(append(`a/${n + 1}`))
            )
            const results = yield* Effect.all(writes, { concurrency: "unbounded" })
            yield* comes(reader, Math.max(...results.map(({ position }) => position)))
            yield* Effect.sleep(int(0, 40))
          }
          const before = notified
          const beganMs = yield* Clock.currentTimeMillis
          for (let n = 0; n < 200; n++) yield* writer.store.write(append("a/1"))
          const tookMs = (yield* Clock.currentTimeMillis) - beganMs
          yield* Effect.sleep("100 millis")
          // One in 25 ms, and one more for what came last.
          assert.isAbove(notified, before)
          assert.isAtMost(notified - before, Math.ceil(tookMs / 25) + 2)
          assert.deepStrictEqual(reader.seen, yield* table(url))
        })
      )
  )

  it.scopedLive("reading goes on by polling while the listening connection is killed again and again", () =>
    withChance(({ int }) =>
      Effect.gen(function* () {
        const { url } = yield* Databases.postgres
        const writer = yield* open(url, { applicationName: "writer" })
        const log = yield* open(url, { applicationName: "reader", pollInterval: "50 millis" })
        const admin = yield* connect(url)
        const killing = yield* admin
          .rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%(listen)' AND datname = current_database()"
          )
          .pipe(Effect.zipRight(Effect.sleep("5 millis")), Effect.forever, Effect.fork)
        const reader = yield* follow(log)
        for (let n = 0; n < 20; n++) {
          yield* comes(reader, (yield* writer.store.write(append("a/1", int(1, 4)))).position)
        }
        yield* Fiber.interrupt(killing)
        assert.deepStrictEqual(reader.seen, yield* table(url))
      })
    )
  )

  it.scopedLive("arrive by polling alone where LISTEN is switched off", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      const options = { listen: false, pollInterval: "30 millis" } as const
      const [writer, log] = yield* Effect.all([open(url, options), open(url, options)])
      const reader = yield* follow(log)
      const own = yield* follow(writer)
      for (let n = 0; n < 20; n++) {
        const { position } = yield* writer.store.write(append("a/1", 2))
        yield* comes(reader, position)
        yield* comes(own, position)
      }
      const admin = yield* connect(url)
      assert.deepStrictEqual(
        yield* admin.rows(
          "SELECT FROM pg_stat_activity WHERE application_name LIKE '%(listen)' AND datname = current_database()"
        ),
        []
      )
      assert.deepStrictEqual(reader.seen, yield* table(url))
      assert.deepStrictEqual(own.seen, reader.seen)
    })
  )

  it.scopedLive("a joined append wakes readers when its transaction commits, and those behind it too", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      const writer = yield* open(url, { applicationName: "writer", listen: false })
      const log = yield* open(url, { applicationName: "reader", pollInterval: "1 day" })
      const admin = yield* connect(url)
      const reader = yield* follow(log)
      const first = yield* writer.store.write(append("a/1"))
      yield* listening(admin)
      yield* comes(reader, first.position)
      const slow = yield* hold(writer, writer.store.write(append("slow/1")))
      const behind = yield* writer.store.write(append("a/1"))
      assert.strictEqual(yield* log.store.head, first.position)
      yield* slow.commit
      yield* comes(reader, behind.position)
      assert.deepStrictEqual(reader.seen, yield* table(url))
    })
  )
})

describe("a long transaction that appended", () => {
  it.scopedLive("is reported once, by process and application, while somebody waits for changes", () =>
    Effect.gen(function* () {
      const { url } = yield* Databases.postgres
      const warnings: Array<Readonly<Record<string, unknown>>> = []
      const capture = Logger.make(({ annotations, logLevel, message }) => {
        if (!LogLevel.greaterThanEqual(logLevel, LogLevel.Warning)) return
        const parts = Array.isArray(message) ? message : [message]
        warnings.push(
          Object.assign(
            { text: parts[0] },
            ...parts.slice(1),
            Object.fromEntries(HashMap.toEntries(annotations))
          )
        )
      })
      yield* Effect.gen(function* () {
        const log = yield* open(url, { pollInterval: "50 millis" })
        const slow = yield* open(url, { applicationName: "slow batch job" })
        const reader = yield* follow(log)
        const pid = yield* hold(
          slow,
          Effect.zipRight(
            slow.store.write(append("slow/1")),
            slow.sql<{ readonly pid: number }>`SELECT pg_backend_pid() AS pid`
          )
        )
        const behind = yield* log.store.write(append("a/1"))
        yield* until(
          "a warning",
          Effect.sync(() => warnings.length),
          (count) => count > 0
        )
        // Many more looks, and no second report. The reader waits all the while.
        yield* Effect.sleep("500 millis")
        assert.strictEqual(warnings.length, 1)
        assert.include(String(warnings[0]!.text), "holds readers")
        assert.strictEqual(warnings[0]!.pid, pid.value[0]!.pid)
        assert.strictEqual(warnings[0]!.application, "slow batch job")
        assert.isAtLeast(Number(warnings[0]!.ageMs), 1_000)
        assert.strictEqual(reader.seen.length, 0)
        yield* pid.commit
        yield* reached(log.store, behind.position)
        yield* comes(reader, behind.position)
        // Another one later is another report.
        const again = yield* hold(slow, slow.store.write(append("slow/1")))
        yield* until(
          "a second warning",
          Effect.sync(() => warnings.length),
          (count) => count > 1
        )
        yield* again.rollBack
        assert.strictEqual(warnings.length, 2)
        assert.notStrictEqual(warnings[1]!.virtualTransaction, warnings[0]!.virtualTransaction)
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, capture)))
    })
  )
})
