/** The folder: readers and swaps, what is listed and removed, pointers that are broken, and who was overtaken. */
import { assert, describe, it } from "@effect/vitest"
import { Epoch } from "@millrace/core/Lease"
import { LeaseLost } from "@millrace/core/LeaseLost"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as ProjectionDir from "@millrace/sqlite/ProjectionDir"
import { folder } from "@millrace/testkit/Databases"
import { counting, feed, standing, stepOver, totals } from "@millrace/testkit/suites/ModelScene"
import { refused } from "@millrace/testkit/suites/Scene"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as fs from "node:fs"
import { join } from "node:path"

const log = counting(30)

/** A folder with a live model of 10 events by epoch 5, opened as by two processes. */
const scene = Effect.gen(function* () {
  const path = yield* folder
  const one = yield* ProjectionDir.make({ folder: path })
  const other = yield* ProjectionDir.make({ folder: path })
  const projection = totals("orders")
  const live = yield* one.models.open(projection)
  yield* feed(live, log.slice(0, 10), { epoch: 5 })
  const files = () =>
    fs
      .readdirSync(path)
      .filter((file) => !file.startsWith(".") && !/-(wal|shm)$/.test(file))
      .sort()
  const rows = (made: ProjectionDir.MadeProjectionDir) =>
    Effect.gen(function* () {
      const sql = yield* made.dir.db("orders")
      const found = yield* sql<{ readonly n: number }>`SELECT n FROM orders ORDER BY key`
      return found.map(({ n }) => n)
    })
  return {
    path,
    one,
    other,
    projection,
    live,
    files,
    rows,
    /** Builds a generation beside the live model and swaps. */
    replace: (made: ProjectionDir.MadeProjectionDir, generation: number, events: number, keepFormer = true) =>
      Effect.gen(function* () {
        const built = yield* made.models.open(projection, generation)
        yield* feed(built, log.slice(0, events))
        return yield* made.models.swap(projection, generation, { epoch: Epoch.make(1), keepFormer })
      })
  }
})

const sumOf = (rows: ReadonlyArray<number>) => rows.reduce((sum, n) => sum + n, 0)
const sumTo = (events: number) => (events * (events + 1)) / 2

describe("readers", () => {
  it.scopedLive("a client stays the same until a swap, here or elsewhere, and the former one reads on", () =>
    Effect.gen(function* () {
      const { one, other, replace, rows } = yield* scene
      const before = yield* one.dir.db("orders")
      const elsewhere = yield* other.dir.db("orders")
      assert.strictEqual(yield* one.dir.db("orders"), before)
      yield* replace(one, 7, 12)
      for (const [made, former] of [
        [one, before],
        [other, elsewhere]
      ] as const) {
        const after = yield* made.dir.db("orders")
        assert.notStrictEqual(after, former)
        assert.strictEqual(yield* made.dir.db("orders"), after)
        assert.strictEqual(sumOf(yield* rows(made)), sumTo(12))
        const [found] = yield* former<{ readonly n: number }>`SELECT sum(n) AS n FROM orders`
        assert.strictEqual(found!.n, sumTo(10))
      }
    })
  )

  it.scopedLive("during ten swaps every reader sees a complete model", () =>
    Effect.gen(function* () {
      const { one, other, replace, rows } = yield* scene
      const seen = new Set<number>()
      const readers = yield* Effect.forEach([one, other, one], (made) =>
        Effect.fork(
          Effect.forever(
            Effect.zipRight(
              Effect.tap(rows(made), (found) => Effect.sync(() => seen.add(sumOf(found)))),
              Effect.yieldNow()
            )
          )
        )
      )
      for (let turn = 1; turn <= 10; turn++) {
        assert.propertyVal(
          yield* replace(turn % 2 === 0 ? one : other, turn, 10 + turn, turn % 3 > 0),
          "_tag",
          "Swapped"
        )
        yield* Effect.sleep("5 millis")
      }
      for (const reader of readers) {
        assert.isTrue(Option.isNone(yield* Fiber.poll(reader)), "no reader failed")
        yield* Fiber.interrupt(reader)
      }
      const whole = new Set(Array.from({ length: 11 }, (_, n) => sumTo(10 + n)))
      for (const sum of seen) assert.isTrue(whole.has(sum), `${sum}`)
      assert.isAbove(seen.size, 3)
    })
  )

  it.scopedLive("a projection that never ran has an empty file", () =>
    Effect.gen(function* () {
      const { one } = yield* scene
      const sql = yield* one.dir.db("never/ran")
      assert.deepStrictEqual(yield* sql`SELECT name FROM sqlite_schema WHERE name LIKE 'never%'`, [])
      assert.deepStrictEqual(yield* one.dir.list, ["never/ran", "orders"])
    })
  )
})

describe("files", () => {
  it.scopedLive("a rebuild writes beside the live file, and what is not kept is gone", () =>
    Effect.gen(function* () {
      const { files, one, other, projection, replace } = yield* scene
      assert.deepStrictEqual(files(), ["orders.0.db", "orders.current"])
      yield* other.models.open(projection, 7)
      assert.deepStrictEqual(files(), ["orders.0.db", "orders.7.db", "orders.current"])
      yield* replace(one, 7, 12)
      assert.deepStrictEqual(files(), ["orders.0.db", "orders.7.db", "orders.current"])
      yield* replace(other, 9, 12)
      assert.deepStrictEqual(files(), ["orders.7.db", "orders.9.db", "orders.current"])
      yield* replace(one, 11, 12, false)
      assert.deepStrictEqual(files(), ["orders.11.db", "orders.current"])
      yield* one.models.open(projection, 12)
      yield* other.models.discard(projection, 12)
      assert.deepStrictEqual(files(), ["orders.11.db", "orders.current"])
    })
  )

  it.scopedLive("projections are listed and removed, one and all", () =>
    Effect.gen(function* () {
      const { files, live, one, other, replace } = yield* scene
      yield* replace(one, 7, 12)
      yield* other.models.open(totals("orders.7"))
      yield* other.models.open(totals("Orders/per day", { table: "t" }))
      assert.deepStrictEqual(yield* one.dir.list, ["Orders/per day", "orders", "orders.7"])
      yield* other.dir.remove("orders")
      yield* other.dir.remove("orders")
      assert.deepStrictEqual(yield* one.dir.list, ["Orders/per day", "orders.7"])
      assert.isUndefined(yield* standing(live))
      yield* one.dir.removeAll
      assert.deepStrictEqual(yield* other.dir.list, [])
      assert.deepStrictEqual(files(), [])
    })
  )

  it.scopedLive("once closed, everything asked for fails, and another one goes on", () =>
    Effect.gen(function* () {
      const { live, one, other, projection, rows } = yield* scene
      yield* one.dir.close
      yield* one.dir.close
      const asked: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
        one.dir.db("orders"),
        one.dir.list,
        one.dir.remove("orders"),
        one.dir.removeAll,
        live.info,
        one.models.generations(projection),
        one.models.list(projection, { limit: 1 }),
        Effect.scoped(one.models.open(projection))
      ]
      for (const each of asked)
        assert.propertyVal(yield* Effect.flip(Effect.asVoid(each)), "_tag", "StoreUnavailable")
      assert.strictEqual(sumOf(yield* rows(other)), sumTo(10))
    })
  )

  it.scopedLive("what was closed is found again", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const projection = totals("orders")
      for (const events of [4, 8, 12]) {
        const scope = yield* Scope.make()
        const { models } = yield* Scope.extend(ProjectionDir.make({ folder: path }), scope)
        const live = yield* Effect.scoped(models.open(projection))
        assert.strictEqual((yield* standing(live))?.position, events === 4 ? undefined : events - 4)
        yield* feed(live, log.slice(0, events))
        yield* Scope.close(scope, Exit.void)
      }
    })
  )
})

describe("broken pointers", () => {
  const fails = (made: ProjectionDir.MadeProjectionDir, told: RegExp) =>
    Effect.gen(function* () {
      const asked: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        made.dir.db("orders"),
        Effect.scoped(made.models.open(totals("orders"))),
        Effect.scoped(made.models.open(totals("orders"), 7)),
        made.models.swap(totals("orders"), 7, { epoch: Epoch.make(1), keepFormer: true })
      ]
      for (const each of asked) {
        const error = (yield* Effect.flip(Effect.asVoid(each))) as StoreUnavailable
        assert.strictEqual(error._tag, "StoreUnavailable")
        assert.isFalse(error.transient)
        assert.match(String(error.cause), told)
        assert.match(String(error.cause), /ProjectionDir\.remove.*orders\.current/)
      }
    })

  const ways: ReadonlyArray<readonly [string, (path: string) => void, RegExp]> = [
    ["is empty", (path) => fs.writeFileSync(join(path, "orders.current"), ""), /is no JSON/],
    [
      "is of a newer form",
      (path) => fs.writeFileSync(join(path, "orders.current"), `{"millrace":2}`),
      /another form/
    ],
    [
      "lacks something",
      (path) => fs.writeFileSync(join(path, "orders.current"), `{"millrace":1,"live":"orders.0.db"}`),
      /lacks something/
    ],
    [
      "leads out of the folder",
      (path) => {
        const file = join(path, "orders.current")
        fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace("orders.0.db", "../orders.0.db"))
      },
      /lacks something/
    ],
    [
      "names a file that is missing",
      (path) => fs.rmSync(join(path, "orders.0.db")),
      /names a database that is missing/
    ],
    ["is missing", (path) => fs.rmSync(join(path, "orders.current")), /is missing, and databases are there/]
  ]
  for (const [what, breakIt, told] of ways)
    it.scopedLive(
      `one that ${what} fails with what to do, and the projection can be removed and rebuilt`,
      () =>
        Effect.gen(function* () {
          const { files, other, path, projection, rows } = yield* scene
          breakIt(path)
          const made = yield* ProjectionDir.make({ folder: path })
          yield* fails(made, told)
          assert.deepStrictEqual(yield* made.dir.list, ["orders"])
          yield* made.dir.remove("orders")
          assert.deepStrictEqual(files(), [])
          yield* feed(yield* made.models.open(projection), log.slice(0, 3))
          for (const each of [made, other]) assert.strictEqual(sumOf(yield* rows(each)), sumTo(3))
        })
    )
})

describe("who was overtaken", () => {
  it.scopedLive("a runner with the former file open learns it, and finds the new one", () =>
    Effect.gen(function* () {
      const { live, one, other, replace, rows } = yield* scene
      const former = yield* one.dir.db("orders")
      yield* replace(other, 7, 10)
      const page = log.slice(10, 12)
      yield* refused(live.apply(page, stepOver(page, 10, 5)), "LeaseLost")
      yield* refused(live.claim(Epoch.make(5)), "LeaseLost")
      assert.deepStrictEqual(yield* standing(live), { position: 10, revision: 1, epoch: 6 })
      // As a process does that was frozen behind its look at the pointer.
      const frozen = yield* former`
        UPDATE millrace_projections SET epoch = 1000 WHERE name = 'orders' AND epoch <= 1000 RETURNING id
      `
      assert.deepStrictEqual(frozen, [])
      yield* live.claim(Epoch.make(6))
      yield* live.apply(page, stepOver(page, 10, 6))
      assert.strictEqual(sumOf(yield* rows(one)), sumTo(12))
      assert.strictEqual(sumOf(yield* rows(other)), sumTo(12))
    })
  )

  it.scopedLive("a builder whose file another process has thrown away changes nothing", () =>
    Effect.gen(function* () {
      const { one, other, projection, replace } = yield* scene
      const built = yield* one.models.open(projection, 7)
      yield* feed(built, log.slice(0, 6), { epoch: 1 })
      yield* other.models.discard(projection, 7)
      yield* replace(other, 8, 10)
      const page = log.slice(6, 12)
      yield* refused(built.apply(page, stepOver(page, 6, 1)), "LeaseLost")
      const swap = one.models.swap(projection, 7, { epoch: Epoch.make(1), keepFormer: true })
      yield* refused(swap, "LeaseLost")
    })
  )

  it.scopedLive("what a step does also comes after its commit, and not at all when it was refused", () =>
    Effect.gen(function* () {
      const { live, one, rows } = yield* scene
      const page = log.slice(10, 12)
      let seen: ReadonlyArray<number> = []
      const look = Effect.orDie(Effect.map(rows(one), (found) => void (seen = found)))
      yield* refused(live.apply(page, stepOver(page, 9, 5, look)), "ProjectionMoved")
      yield* refused(live.apply(page, stepOver(page, 10, 4, look)), "LeaseLost")
      assert.deepStrictEqual(seen, [])
      yield* live.apply(page, stepOver(page, 10, 5, look))
      assert.strictEqual(sumOf(seen), sumTo(12))
      const late = log.slice(12, 14)
      const lost = new LeaseLost({ key: "orders", holder: "v" })
      yield* refused(live.apply(late, stepOver(late, 12, 5, Effect.fail(lost))), "LeaseLost")
      assert.strictEqual(sumOf(yield* rows(one)), sumTo(14))
    })
  )
})
