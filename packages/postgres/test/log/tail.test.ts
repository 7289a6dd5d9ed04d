/**
 * The promise of the log under fire: processes write in slow, rolled-back and killed transactions, and two
 * readers in processes of their own follow with a cursor. They must see what the table holds in the end: each
 * event once, in order. A third reader follows the table itself by position, as one would without the head;
 * it must skip something, else the test proves nothing.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Databases from "@millrace/testkit/Databases"
import type { ReaderArgument, ReaderLine } from "./programs/reader.js"
import type { WriterArgument, WriterLine } from "./programs/writer.js"
import * as Children from "@millrace/testkit/Children"
import type { Child } from "@millrace/testkit/Children"
import type { Connection, Line, Url } from "./support/PgLog.js"
import { brokenVersions, compare, connect, noDifference, open, table, until } from "./support/PgLog.js"
import type { Chance } from "@millrace/testkit/Seeds"
import { sized, withChance } from "@millrace/testkit/Seeds"

const program = (name: string): URL => new URL(`./programs/${name}.ts`, import.meta.url)

const writersCount = sized(4, 8)
/** Transactions that appended and were committed, counted by their ids in the table. */
const commitsMin = sized(3_000, 20_000)
/** Writers that are killed in the middle of it all, each followed by another. */
const killsCount = sized(2, 8)
const timeoutMs = sized(90_000, 280_000)

/** Follows the table by position and knows nothing of the head. Gives what it saw when `end` says so. */
const naive = (by: Connection, end: () => number): Effect.Effect<ReadonlyArray<Line>> => {
  const seen: Array<Line> = []
  const page = Effect.suspend(() =>
    by.rows<Line>(
      `SELECT position::float8 AS position, stream_id AS "streamId", version::float8 AS version, id
       FROM millrace.events WHERE position > $1 ORDER BY position LIMIT 800`,
      [seen.at(-1)?.position ?? 0]
    )
  )
  return page.pipe(
    Effect.tap((rows) => Effect.sync(() => void seen.push(...rows))),
    Effect.tap((rows) => (rows.length === 0 ? Effect.sleep("5 millis") : Effect.void)),
    Effect.repeat({ while: () => (seen.at(-1)?.position ?? 0) < end() }),
    Effect.as(seen)
  )
}

interface Fired {
  readonly children: ReadonlyArray<Child>
  /** Transactions that appended and were committed. */
  readonly commits: number
  /** Connections cut, beside those that cut themselves. */
  readonly cuts: number
}

/** Keeps `writersCount` writers going, and kills now a connection, now a whole process. */
const fire = (url: Url, admin: Connection, chance: Chance): Effect.Effect<Fired, Error, Scope.Scope> =>
  Effect.gen(function* () {
    const children: Array<Child> = []
    const alive: Array<Child> = []
    /** Names of those that have begun to write. */
    const up: Array<string> = []
    const another = Effect.gen(function* () {
      const name = `writer ${children.length + 1}`
      const child = yield* Children.start(program("writer"), {
        url: Redacted.value(url),
        seed: chance.int(1, 2 ** 31),
        name,
        callers: 5,
        streams: 40,
        pauseMsMax: 150
      } satisfies WriterArgument)
      children.push(child)
      alive.push(child)
      yield* Effect.forkScoped(
        Effect.zipRight(
          child.ready,
          Effect.sync(() => up.push(name))
        )
      )
    })
    const commits = Effect.map(
      admin.rows<{ readonly n: number }>(
        "SELECT count(DISTINCT e.xmin::text)::float8 AS n FROM millrace.events e"
      ),
      ([row]) => row!.n
    )
    const cut = Effect.suspend(() =>
      admin.rows(
        `SELECT pg_terminate_backend(pid) FROM (
           SELECT pid FROM pg_stat_activity
           WHERE application_name = ANY ($1) AND datname = current_database() AND xact_start IS NOT NULL
           ORDER BY random() LIMIT 1
         ) one`,
        [up]
      )
    )

    for (let i = 0; i < writersCount; i++) yield* another
    yield* Effect.forEach(alive, (child) => child.ready)
    let killed = 0
    let rounds = 0
    let done = 0
    while (done < commitsMin || killed < killsCount) {
      yield* Effect.sleep(chance.int(30, 120))
      yield* cut
      if (++rounds % 8 > 0) continue
      done = yield* commits
      if (killed === killsCount) continue
      const victim = alive.splice(chance.int(0, alive.length - 1), 1)[0]!
      yield* victim.kill
      killed++
      yield* another
    }
    yield* Effect.forEach(alive, (child) => Effect.zipRight(child.ready, child.say("stop")))
    yield* Effect.forEach(children, (child) => child.ended)
    // The server may still be at work for processes that are gone.
    yield* until(
      "connections of the writers are gone",
      admin.rows(
        "SELECT FROM pg_stat_activity WHERE application_name LIKE 'writer%' AND datname = current_database()"
      ),
      (rows) => rows.length === 0
    )
    return { children, commits: yield* commits, cuts: rounds }
  })

describe("readers of the log under fire", () => {
  it.scopedLive(
    "slow, rolled-back and killed transactions: every event is seen once and in order",
    () =>
      withChance((chance) =>
        Effect.gen(function* () {
          const { url } = yield* Databases.postgres
          yield* Effect.scoped(open(url))
          const admin = yield* connect(url)
          let last = Infinity
          const control = yield* Effect.fork(naive(yield* connect(url), () => last))
          const readers = yield* Effect.forEach(["changes", "polling"] as const, (by) =>
            Children.start(program("reader"), {
              url: Redacted.value(url),
              seed: chance.int(1, 2 ** 31),
              by
            } satisfies ReaderArgument)
          )
          yield* Effect.forEach(readers, (reader) => reader.ready)

          const { children: writers, commits, cuts } = yield* fire(url, admin, chance)
          const there = yield* table(url)
          last = there.at(-1)!.position
          yield* Effect.forEach(readers, (reader) => Effect.zipRight(reader.say(String(last)), reader.ended))

          // The readers.
          for (const reader of readers) {
            const lines = reader.lines as ReadonlyArray<ReaderLine>
            const seen = lines.flatMap((line) => ("seen" in line ? line.seen : []))
            assert.deepStrictEqual(compare(seen, there), noDifference)
            assert.deepStrictEqual(seen, there)
            assert.deepStrictEqual(
              lines.filter((line) => "fallen" in line),
              [],
              "heads that fell"
            )
          }
          // A reader that begins now, by one stream.
          const { store } = yield* open(url)
          const after = yield* Effect.map(Stream.runCollect(store.stream()), Chunk.size)
          assert.strictEqual(after, there.length)

          // The writers.
          const said = writers.flatMap(({ lines }) => lines as ReadonlyArray<WriterLine>)
          const ids = new Set(there.map(({ id }) => id))
          const written = said.flatMap((line) => ("written" in line ? line.written : []))
          const undone = said.flatMap((line) => ("undone" in line ? line.undone : []))
          assert.deepStrictEqual(
            written.filter((id) => !ids.has(id)),
            [],
            "acknowledged and lost"
          )
          assert.deepStrictEqual(
            undone.filter((id) => ids.has(id)),
            [],
            "rolled back and there"
          )
          assert.deepStrictEqual(
            said.filter((line) => "failed" in line),
            [],
            "writes that failed"
          )
          assert.isAbove(undone.length, 0)
          assert.deepStrictEqual(brokenVersions(there), [])

          // The control: without the head events are skipped.
          const control_ = compare(yield* Fiber.join(control), there)
          assert.isAbove(control_.skipped, 0, "the control skipped nothing, so this run proves nothing")
          yield* Effect.logInfo("tail under fire", {
            events: there.length,
            commits,
            processes: writers.length,
            cuts,
            undone: undone.length,
            unknown: ids.size - written.length,
            skippedByControl: control_.skipped
          })
        })
      ),
    timeoutMs
  )
})
