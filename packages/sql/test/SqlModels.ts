/**
 * What models in a SQL database promise beyond the contract: the form of their tables, and the names of what is
 * made along with them. The tests of each SQL database run this.
 */
import { assert, it } from "@effect/vitest"
import { Epoch } from "@millrace/core/Lease"
import { ModelStore } from "@millrace/core/ModelStore"
import * as Projection from "@millrace/core/Projection"
import { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import * as SqlProjection from "@millrace/sql/SqlProjection"
import { counting, feed, logOf, stepOver, totals } from "@millrace/testkit/suites/ModelScene"
import { refused } from "@millrace/testkit/suites/Scene"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

type Services = ModelStore | ProjectionCheckpointStore | SqlClient

/** A fold whose rows are what its events say. */
const mirror = <A, I>(name: string, row: Schema.Schema<A, I>, version = 1) =>
  Projection.fold<A, I>({
    name,
    version,
    row,
    key: (event) => event.streamId,
    initial: () => undefined as never,
    evolve: (_, event) => event.data as A
  })

const mirrored = (rows: ReadonlyArray<unknown>) =>
  logOf(rows.map((row, n) => [`r/${String(n).padStart(6, "0")}`, row]))

const Everything = Schema.Struct({
  text: Schema.String,
  "odd \"name's": Schema.String,
  choice: Schema.Literal("a", "b"),
  integer: Schema.Int,
  positive: Schema.Int.pipe(Schema.positive(), Schema.brand("Positive")),
  number: Schema.Number,
  flag: Schema.Boolean,
  noText: Schema.NullOr(Schema.String),
  noInteger: Schema.NullOr(Schema.Int),
  noNumber: Schema.NullOr(Schema.Number),
  noFlag: Schema.NullOr(Schema.Boolean),
  maybe: Schema.optional(Schema.String),
  maybeFlag: Schema.optionalWith(Schema.Boolean, { exact: true })
})

const everything = (n: number): typeof Everything.Encoded => ({
  text: ["", 'it\'s "quoted" {a,b} \\ \n', "NULL", "ünïcode 🦄", "[1,2]"][n % 5]!,
  "odd \"name's": `${n}`,
  choice: n % 2 === 0 ? "a" : "b",
  integer: [0, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, n][n % 5]!,
  positive: n + 1,
  number: [0.1, 1e300, -5e-324, 1234567.1234567, Number.MAX_VALUE, 3, 2 ** 60][n % 7]!,
  flag: n % 2 === 0,
  noText: n % 3 === 0 ? null : `${n}`,
  noInteger: n % 3 === 0 ? null : n,
  noNumber: n % 3 === 0 ? null : n / 7,
  noFlag: n % 3 === 0 ? null : n % 2 === 0,
  ...(n % 4 === 0 ? {} : { maybe: `${n}` }),
  ...(n % 4 === 0 ? {} : { maybeFlag: n % 2 === 0 })
})

/** Numbers of every magnitude: a simple generator, the same in each run. */
const numbers = (count: number): ReadonlyArray<number> => {
  const view = new DataView(new ArrayBuffer(8))
  const found: Array<number> = []
  for (let state = 12345n; found.length < count;) {
    state = (state * 6364136223846793005n + 1442695040888963407n) & ((1n << 64n) - 1n)
    view.setBigUint64(0, state ^ (state >> 29n))
    const number = view.getFloat64(0)
    if (Number.isFinite(number)) found.push(number)
  }
  return found
}

/** Declares the tests for one database. `columns` says what a table looks like there. */
export const sqlModels = <E>(
  database: string,
  layer: Layer.Layer<Services, E>,
  columns: (table: string) => Effect.Effect<ReadonlyArray<string>, unknown, SqlClient>
): void => {
  const test = (what: string, body: Effect.Effect<void, unknown, Services | Scope.Scope>): void =>
    it.scopedLive(`${database}: ${what}`, () => Effect.provide(body, layer))

  test(
    "rows of a struct have a column for each field, and come back as they were",
    Effect.gen(function* () {
      const store = yield* ModelStore
      const projection = mirror(
        "everything",
        Everything as unknown as Schema.Schema<typeof Everything.Encoded>
      )
      const rows = Array.from({ length: 210 }, (_, n) => everything(n))
      const model = yield* store.open(projection)
      yield* feed(model, mirrored(rows), { pageEvents: 50 })
      const stored = yield* store.list(projection, { limit: 1_000 })
      assert.deepStrictEqual(
        stored.map(({ row }) => row),
        rows
      )
      assert.strictEqual((yield* columns("everything")).length, 14)
    })
  )

  test(
    "numbers come back to the last bit",
    Effect.gen(function* () {
      const store = yield* ModelStore
      const projection = mirror("numbers", Schema.Struct({ n: Schema.Number }))
      const rows = numbers(3_000).map((n) => ({ n }))
      const model = yield* store.open(projection)
      yield* feed(model, mirrored(rows), { pageEvents: 1_000 })
      const stored = yield* store.list(projection, { limit: 10_000 })
      const wrong = stored.flatMap(({ row }, at) => (row.n === rows[at]!.n ? [] : [[row.n, rows[at]!.n]]))
      assert.deepStrictEqual(wrong, [])
    })
  )

  test(
    "what a column cannot keep fails its event, and nothing is written",
    Effect.gen(function* () {
      const store = yield* ModelStore
      const row = Schema.Struct({ text: Schema.String, number: Schema.Number, integer: Schema.Int })
      const projection = mirror("refusing", row)
      const model = yield* store.open(projection)
      const good = { text: "", number: 0, integer: 0 }
      for (const bad of [
        { number: NaN },
        { number: Infinity },
        { integer: 0.5 },
        { integer: 2 ** 53 },
        { text: "a\u0000b" },
        { text: "\ud800" },
        { text: 5 },
        { text: undefined },
        { number: null }
      ]) {
        const page = mirrored([good, { ...good, ...bad }, good])
        const error = yield* refused(model.apply(page, stepOver(page, 0, 1)), "HandlerError")
        assert.strictEqual(Number(error.position), 2)
        assert.strictEqual(yield* model.count, 0)
      }
    })
  )

  test(
    "JSON keeps what a column cannot",
    Effect.gen(function* () {
      const store = yield* ModelStore
      const rows = [
        { text: "a\u0000b", list: [1] },
        { text: "\ud800", list: [] },
        { text: "🦄", list: [1, 2] }
      ]
      const projection = mirror(
        "texts",
        Schema.Struct({ text: Schema.String, list: Schema.Array(Schema.Number) })
      )
      const model = yield* store.open(projection)
      yield* feed(model, mirrored(rows))
      assert.deepStrictEqual(
        (yield* store.list(projection, { limit: 10 })).map(({ row }) => row),
        rows
      )
    })
  )

  test(
    "what no table takes is refused, with the way out",
    Effect.gen(function* () {
      const store = yield* ModelStore
      const named = mirror("keyed", Schema.Struct({ Key: Schema.String }))
      assert.match((yield* refused(store.open(named), "ModelRefused")).reason, /storage "json"/)
      yield* store.open({ ...named, strength: { ...named.strength, storage: "json" } })

      const first = mirror("shape", Schema.Struct({ a: Schema.String }))
      yield* feed(yield* store.open(first), mirrored([{ a: "1" }]))
      for (const row of [
        Schema.Struct({ a: Schema.Int }),
        Schema.Struct({ a: Schema.NullOr(Schema.String) }),
        Schema.Struct({ a: Schema.String, b: Schema.String }),
        Schema.Struct({ b: Schema.String })
      ]) {
        const other = mirror("shape", row as unknown as Schema.Schema<unknown>)
        assert.match((yield* refused(store.open(other), "ModelRefused")).reason, /raise the version/)
        assert.match(
          (yield* refused(store.get(other, "r/000000"), "ModelRefused")).reason,
          /raise the version/
        )
      }
    })
  )

  test(
    "rows of another form are built beside, or in place, under another version",
    Effect.gen(function* () {
      const store = yield* ModelStore
      const log = mirrored([{ a: "1" }, { a: "2" }])
      const one = mirror("forms", Schema.Struct({ a: Schema.String }))
      const two = mirror("forms", Schema.Struct({ a: Schema.String, b: Schema.optional(Schema.Int) }), 2)
      yield* feed(yield* store.open(one), log)
      const live = yield* store.open(two)
      assert.strictEqual((yield* live.claim(Epoch.make(1))).position, 2)
      const built = yield* store.open(two, 5)
      yield* feed(built, log)
      yield* store.swap(two, 5, { epoch: Epoch.make(1), keepFormer: false })
      assert.strictEqual((yield* store.list(two, { limit: 9 })).length, 2)
      yield* store.empty(one)
      assert.strictEqual((yield* store.list(one, { limit: 9 })).length, 0)
      yield* feed(yield* store.open(one), log, { epoch: 9 })
      assert.strictEqual((yield* store.list(one, { limit: 9 })).length, 2)
    })
  )

  test(
    "indexes of many generations do not get in each other's way",
    Effect.gen(function* () {
      const store = yield* ModelStore
      const sql = yield* SqlClient
      const table = (name: string) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          yield* sql`CREATE TABLE ${sql(name)} (id INTEGER PRIMARY KEY)`
          yield* sql`CREATE UNIQUE INDEX ${sql(`${name}_by_id`)} ON ${sql(name)} (id)`
        })
      const projection = SqlProjection.handlers({
        name: "indexed",
        tables: { one: table, two: table },
        onEvent: (event, context) =>
          Effect.gen(function* () {
            const sql = yield* SqlClient
            for (const name of ["one", "two"])
              yield* sql`INSERT INTO ${sql(context.table(name))} VALUES (${event.position})`
          })
      })
      const log = counting(4)
      const swap = (generation: number, keepFormer = true) =>
        store.swap(projection, generation, { epoch: Epoch.make(1), keepFormer })
      const live = yield* store.open(projection)
      yield* feed(live, log)
      for (const generation of [1, 2, 5]) {
        yield* feed(yield* store.open(projection, generation), log)
        yield* swap(generation)
        if (generation === 2) {
          yield* swap(generation)
          yield* swap(generation)
        }
      }
      // Somebody drops a live table by hand, while the former one's index may have the name of its own.
      yield* swap(5)
      yield* sql`DROP TABLE one`
      yield* store.open(projection)
      assert.deepStrictEqual(yield* sql`SELECT id FROM one`, [])
      assert.strictEqual((yield* sql`SELECT id FROM two`).length, 4)
      yield* store.remove(projection)
      const again = yield* store.open(projection)
      yield* feed(again, log)
      assert.strictEqual(yield* again.count, 8)
    })
  )

  test(
    "of models that were replaced no checkpoint is left",
    Effect.gen(function* () {
      const store = yield* ModelStore
      const checkpoints = yield* ProjectionCheckpointStore
      const projection = totals("replaced")
      const log = counting(6)
      const names = Effect.map(checkpoints.listProjections({ limit: 100 }), (all) =>
        all.map(({ name }) => name)
      )
      yield* feed(yield* store.open(projection), log)
      for (const generation of [1, 2, 3]) {
        yield* feed(yield* store.open(projection, generation), log)
        yield* store.swap(projection, generation, { epoch: Epoch.make(1), keepFormer: generation !== 3 })
        const former = generation === 3 ? [] : [`replaced~f${generation}`]
        assert.deepStrictEqual(yield* names, ["replaced", ...former])
      }
      yield* store.remove(projection)
      assert.deepStrictEqual(yield* names, [])
    })
  )

  test(
    "a table whose effect fails, or makes no table, is refused, and none is left",
    Effect.gen(function* () {
      const store = yield* ModelStore
      const sql = yield* SqlClient
      const good = (name: string) => sql`CREATE TABLE ${sql(name)} (id INTEGER PRIMARY KEY)`
      const bad = (table: () => Effect.Effect<unknown, unknown>) =>
        SqlProjection.handlers({
          name: "bad",
          tables: { good_one: good, other: table },
          onEvent: () => undefined
        })
      const failing = yield* refused(store.open(bad(() => Effect.fail("no"))), "ModelRefused")
      assert.match(failing.reason, /table other failed: no/)
      const idle = yield* refused(store.open(bad(() => Effect.void)), "ModelRefused")
      assert.match(idle.reason, /did not make it/)
      assert.deepStrictEqual(yield* columns("good_one"), [])
    })
  )
}
