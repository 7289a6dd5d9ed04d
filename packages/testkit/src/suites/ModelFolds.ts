/** Folds: the rows are those of a plain fold, whatever the pages, the keys and the values are. */
import { assert, describe } from "@effect/vitest"
import type { RecordedEvent } from "@millrace/core/Event"
import * as Projection from "@millrace/core/Projection"
import { compareUtf8 } from "@millrace/core/Text"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { withChance } from "../Seeds.js"
import type { ModelIt, Told } from "./ModelScene.js"
import {
  counting,
  feed,
  listed,
  logOf,
  modelScene,
  plainFold,
  standing,
  stepOver,
  told,
  totals
} from "./ModelScene.js"
import { astral, oddTexts } from "./OddTexts.js"
import { range, refused, slowTestMs, wrong } from "./Scene.js"

/** Folds one event a row, stores it, and expects the row as it was. */
const keeps = <Row, Encoded>(
  schema: Schema.Schema<Row, Encoded>,
  values: ReadonlyArray<Row>,
  storage?: "columns" | "json"
) =>
  Effect.gen(function* () {
    const { name, rows, store } = yield* modelScene
    const projection = Projection.fold<Row, Encoded>({
      name: name(),
      storage,
      row: schema,
      key: (event) => `k${String(event.position).padStart(3, "0")}`,
      initial: () => values[0]!,
      evolve: (_, event) => values[event.position - 1]!
    })
    const log = logOf(values.map(() => ["s/1", null]))
    const model = yield* store.open(projection)
    yield* feed(model, log, { pageEvents: 50 })
    const found = (yield* rows(projection)).map(({ row }) => row)
    const same = Schema.equivalence(schema)
    assert.strictEqual(found.length, values.length)
    for (const [index, value] of values.entries())
      assert.isTrue(same(found[index]!, value), `${String(found[index])} for ${String(value)}`)
    for (const [index, value] of values.entries()) {
      const one = yield* store.get(projection, `k${String(index + 1).padStart(3, "0")}`)
      assert.isTrue(same(Option.getOrThrow(one), value))
    }
  })

export const modelFolds = <R>(it: ModelIt<R>): void => {
  describe("folds", () => {
    it.scoped(
      "random events over several pages leave the rows of a plain fold",
      () =>
        withChance((chance) =>
          Effect.gen(function* () {
            const { name, rows, store } = yield* modelScene
            const keys = ["a", "b", "B", "a/b", "🦄", "%"]
            const log = told(
              ...range(1, 300).map((n): Told => ({
                add: chance.int(-50, 50),
                drop: chance.is(0.1),
                keys: chance.is(0.1)
                  ? null
                  : chance.is(0.3)
                    ? undefined
                    : chance.is(0.5)
                      ? chance.pick(keys)
                      : range(0, n % 4).map(() => chance.pick(keys))
              }))
            )
            for (const storage of ["columns", "json"] as const) {
              const projection = totals(name(`_${storage}`), { storage })
              const model = yield* store.open(projection)
              let from = 0
              while (from < log.length) {
                const page = log.slice(from, from + chance.int(1, 40))
                yield* model.apply(page, stepOver(page, from, 1))
                from += page.length
              }
              const expected = plainFold(projection, log)
              assert.deepStrictEqual(yield* rows(projection), listed(expected))
              assert.strictEqual(yield* model.count, expected.size)
              assert.deepStrictEqual(
                new Map(yield* model.rows([...keys, "nobody", "s/1"])),
                new Map([...expected].filter(([key]) => keys.includes(key) || key === "s/1"))
              )
            }
          })
        ),
      slowTestMs
    )

    it.scoped(
      "a row that is removed begins anew, also within a page, and one that never was stays away",
      () =>
        Effect.gen(function* () {
          const { name, rows, store } = yield* modelScene
          const projection = totals(name())
          const log = told(
            { keys: ["a", "b"], add: 1 },
            { keys: "a", drop: true },
            { keys: "a", add: 5 },
            { keys: ["b", "c"], drop: true },
            { keys: "d", add: 1 },
            { keys: "d", drop: true }
          )
          yield* feed(yield* store.open(projection), log, { pageEvents: 6 })
          assert.deepStrictEqual(yield* rows(projection), [{ key: "a", row: { n: 5, last: "s/3 1" } }])
        })
    )

    it.scoped("a key that an event names twice is concerned once", () =>
      Effect.gen(function* () {
        const { name, rows, store } = yield* modelScene
        const projection = totals(name())
        yield* feed(yield* store.open(projection), told({ keys: ["a", "b", "a"], add: 1 }))
        assert.deepStrictEqual(
          (yield* rows(projection)).map(({ key, row }) => [key, row.n]),
          [
            ["a", 1],
            ["b", 1]
          ]
        )
      })
    )

    it.scoped("a page of thousands of keys is one page", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        const projection = totals(name())
        const log = told(...range(1, 5_000).map((n) => ({ keys: [`k${n}`, `k${n + 1}`], add: 1 })))
        const model = yield* store.open(projection)
        yield* feed(model, log, { pageEvents: 5_000 })
        assert.strictEqual(yield* model.count, 5_001)
        const some = yield* model.rows(range(1, 5_001).map((n) => `k${n}`))
        assert.strictEqual(some.size, 5_001)
        assert.deepStrictEqual(Option.getOrThrow(yield* store.get(projection, "k2500")).n, 2)
      })
    )

    it.scoped("no events are a step all the same", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        const model = yield* store.open(totals(name()))
        const { current, ...step } = stepOver([], 0, 3)
        yield* model.apply([], { ...step, current: { ...current, position: counting(9)[8]!.position } })
        assert.deepStrictEqual(yield* standing(model), { position: 9, revision: 1, epoch: 3 })
        assert.strictEqual(yield* model.count, 0)
      })
    )
  })

  describe("rows", () => {
    it.scoped("keys of any text are kept apart, and come back as they went in", () =>
      Effect.gen(function* () {
        const { name, rows, store } = yield* modelScene
        const keys = [
          ...oddTexts.map(([, text]) => text),
          "x".repeat(255),
          astral(255),
          "K",
          "k",
          "k ",
          "İ",
          "i"
        ]
        for (const storage of ["columns", "json"] as const) {
          const projection = totals(name(`_${storage}`), { storage })
          const log = told(
            ...keys.map((key, n) => ({ keys: key, add: n })),
            ...keys.map((keys) => ({ keys, add: 1 }))
          )
          const model = yield* store.open(projection)
          yield* feed(model, log, { pageEvents: 20 })
          const found = yield* rows(projection)
          assert.deepStrictEqual(found, listed(plainFold(projection, log)))
          assert.deepStrictEqual(
            found.map(({ key }) => key),
            [...keys].sort(compareUtf8)
          )
          const some = yield* model.rows(keys)
          for (const [n, key] of keys.entries()) {
            assert.strictEqual(
              some.get(key) === undefined ? undefined : (some.get(key) as { n: number }).n,
              n + 1
            )
            assert.strictEqual(Option.getOrThrow(yield* store.get(projection, key)).n, n + 1)
          }
        }
      })
    )

    it.scoped("what is no key fails its event, and nothing is written", () =>
      Effect.gen(function* () {
        const { name, store, unchanged } = yield* modelScene
        const projection = totals(name())
        const model = yield* store.open(projection)
        for (const bad of ["", "a\u0000b", "a\ud800", "x".repeat(256), astral(256), 5, {}]) {
          const log = told({ add: 1 }, { keys: wrong<string>(typeof bad === "object" ? [bad] : bad), add: 1 })
          const attempt = model.apply(log, stepOver(log, 0, 1))
          const error = yield* unchanged(projection, refused(attempt, "HandlerError"))
          assert.strictEqual(error.position, 2)
        }
      })
    )

    it.scoped("columns keep texts, numbers and booleans, and null of each", () =>
      Effect.gen(function* () {
        const Row = Schema.Struct({
          text: Schema.String,
          int: Schema.Int,
          float: Schema.Number,
          flag: Schema.Boolean,
          kind: Schema.Literal("one", "two"),
          textOrNull: Schema.NullOr(Schema.String),
          intOrNull: Schema.NullOr(Schema.Int),
          floatOrNull: Schema.NullOr(Schema.Number),
          flagOrNull: Schema.NullOr(Schema.Boolean),
          order: Schema.String,
          camelCase: Schema.Int
        })
        const none = { textOrNull: null, intOrNull: null, floatOrNull: null, flagOrNull: null }
        const one = {
          text: "",
          int: 0,
          float: 0.1,
          flag: false,
          kind: "one" as const,
          order: "by",
          camelCase: 1
        }
        const values: Array<typeof Row.Type> = [
          { ...one, ...none },
          { ...one, textOrNull: "", intOrNull: 0, floatOrNull: 0, flagOrNull: false },
          { ...one, ...none, int: Number.MAX_SAFE_INTEGER, float: 5e-324, flag: true, kind: "two" },
          { ...one, ...none, int: Number.MIN_SAFE_INTEGER, float: 1.7976931348623157e308 },
          { ...one, ...none, float: -123_456.789, floatOrNull: 2 ** 60, intOrNull: -1, flagOrNull: true },
          ...oddTexts.map(([, text]) => ({ ...one, ...none, text, textOrNull: text, order: text }))
        ]
        yield* keeps(Row, values, "columns")
        yield* keeps(Row, values, "json")
      })
    )

    it.scoped("rows of any form are kept as JSON", () =>
      Effect.gen(function* () {
        const Nested = Schema.Struct({
          items: Schema.Array(Schema.Struct({ name: Schema.String, cents: Schema.Int })),
          more: Schema.optional(Schema.String),
          by: Schema.Record({ key: Schema.String, value: Schema.NullOr(Schema.Number) })
        })
        const values: Array<typeof Nested.Type> = [
          { items: [], by: {} },
          {
            items: [
              { name: "it's", cents: 1 },
              { name: "🦄", cents: -2 }
            ],
            more: "",
            by: { "": null, "a.b": 0.5 }
          }
        ]
        yield* keeps(Nested, values, "json")
        yield* keeps(Nested, values)
        yield* keeps(
          Schema.Union(Schema.String, Schema.Number, Schema.Null),
          ["", "null", 0, null, 1.5],
          "json"
        )
        yield* keeps(Schema.Array(Schema.Int), [[], [1, 2]], "json")
      })
    )

    it.scoped("rows are stored in their encoded form, and given back decoded", () =>
      Effect.gen(function* () {
        const Row = Schema.Struct({
          at: Schema.DateTimeUtc,
          amount: Schema.NumberFromString,
          maybe: Schema.NullOr(Schema.DateTimeUtc)
        })
        const at = DateTime.unsafeMake("2024-02-29T23:59:59.999Z")
        const values: Array<typeof Row.Type> = [
          { at, amount: 12.5, maybe: null },
          { at: DateTime.unsafeMake(0), amount: -1, maybe: at }
        ]
        yield* keeps(Row, values, "columns")
        yield* keeps(Row, values, "json")
        yield* keeps(Row, values)
      })
    )

    it.scoped("a row is decoded before an event changes it", () =>
      Effect.gen(function* () {
        const { name, rows, store } = yield* modelScene
        const projection = Projection.fold({
          name: name(),
          row: Schema.Struct({ first: Schema.DateTimeUtc, amount: Schema.NumberFromString }),
          key: (event) => event.streamId,
          initial: () => ({ first: DateTime.unsafeMake(0), amount: 0 }),
          evolve: (row, event) => ({
            first: row.amount === 0 ? event.recordedAt : DateTime.add(row.first, { days: 1 }),
            amount: row.amount + 1
          })
        })
        const log = counting(9)
        yield* feed(yield* store.open(projection), log, { pageEvents: 2 })
        assert.deepStrictEqual(
          (yield* rows(projection)).map(({ row }) => [DateTime.toEpochMillis(row.first), row.amount]),
          [0, 1, 2].map((n) => [1_700_000_000_000 + n + 2 * 86_400_000, 3])
        )
      })
    )

    it.scoped("a row that does not fit its schema fails its event, and nothing is written", () =>
      Effect.gen(function* () {
        const { name, store, unchanged } = yield* modelScene
        const projection = Projection.fold({
          name: name(),
          row: Schema.Struct({ n: Schema.Int }),
          key: (event: RecordedEvent) => event.streamId,
          initial: () => ({ n: 0 }),
          evolve: (row, event) => ({ n: event.position === 2 ? 0.5 : row.n + 1 })
        })
        const log = counting(4)
        const model = yield* store.open(projection)
        const attempt = model.apply(log, stepOver(log, 0, 1))
        assert.strictEqual((yield* unchanged(projection, refused(attempt, "HandlerError"))).position, 2)
      })
    )

    it.scoped("nobody changes a stored row but the fold", () =>
      Effect.gen(function* () {
        const { name, rows, store } = yield* modelScene
        const kept: Array<{ tags: Array<string> }> = []
        const projection = Projection.fold({
          name: name(),
          storage: "json",
          row: Schema.Struct({ tags: Schema.mutable(Schema.Array(Schema.String)) }),
          key: () => "a",
          initial: () => ({ tags: [] }),
          evolve: (row) => {
            const next = { tags: [...row.tags, "x"] }
            kept.push(next)
            return next
          }
        })
        const model = yield* store.open(projection)
        yield* feed(model, counting(2))
        const spoil = (row: { tags: Array<string> }) => row.tags.push("spoiled")
        for (const row of kept) spoil(row)
        for (const { row } of yield* rows(projection)) spoil(row)
        spoil(Option.getOrThrow(yield* store.get(projection, "a")))
        for (const row of (yield* model.rows(["a"])).values()) spoil(row as { tags: Array<string> })
        assert.deepStrictEqual(yield* rows(projection), [{ key: "a", row: { tags: ["x", "x"] } }])
      })
    )
  })
}
