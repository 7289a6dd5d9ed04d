/** Catching up: what is pending is handled once, in order, and the checkpoint is what was touched. */
import { assert, describe } from "@effect/vitest"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { ModelStore } from "@millrace/core/ModelStore"
import * as Projection from "@millrace/core/Projection"
import * as RoutingKey from "@millrace/core/RoutingKey"
import * as Scoped from "@millrace/core/Scoped"
import * as Effect from "effect/Effect"
import type { ProjectingIt } from "./ProjectingScene.js"
import { projectingScene, runnerOver, said, TotalRow } from "./ProjectingScene.js"
import { refused, slowTestMs, wrong } from "./Scene.js"

export const projectingCatchUp = (it: ProjectingIt): void => {
  describe("catching up", () => {
    it.effect("the model is a plain fold of the log, and the next time only what is new is handled", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(40)
        assert.strictEqual(yield* here.runner.catchUp(totals), 40)
        yield* here.isFold(totals)
        assert.strictEqual(yield* here.runner.catchUp(totals), 0)
        yield* here.fill(3)
        assert.strictEqual(yield* here.runner.catchUp(totals), 3)
        yield* here.isFold(totals)
      })
    )

    it.effect("catchUpPersistent gives the new checkpoint, with the cursors of the streams it touched", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.append(here.stream("a"), said(1), said(2))
        yield* here.append(here.stream("b"), said(3))
        const first = yield* here.runner.catchUpPersistent(totals)
        assert.deepStrictEqual(
          new Map<string, number>(first.cursors),
          new Map([
            [here.stream("a"), 2],
            [here.stream("b"), 1]
          ])
        )
        const { position } = yield* here.append(here.stream("b"), said(4))
        const second = yield* here.runner.catchUpPersistent(totals)
        assert.deepStrictEqual(new Map<string, number>(second.cursors), new Map([[here.stream("b"), 2]]))
        assert.isAtLeast(second.position, position)
        assert.strictEqual(second.position, yield* here.position(totals))
        const third = yield* here.runner.catchUpPersistent(totals)
        assert.deepStrictEqual([...third.cursors], [])
        yield* here.isFold(totals)
      })
    )

    it.effect("catchUp keeps cursors in memory, and notices when somebody else has moved the model", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        const asked: Array<number> = []
        const one = yield* runnerOver({
          models: (models) =>
            ModelStore.of({
              ...models,
              open: (projection, generation) =>
                Effect.map(models.open(projection, generation), (model) => ({
                  ...model,
                  cursors: (ids) => {
                    asked.push(ids.length)
                    return model.cursors(ids)
                  }
                }))
            })
        })
        const other = yield* runnerOver()
        yield* here.fill(10, 2)
        yield* one.catchUp(totals)
        assert.deepStrictEqual(asked, [2])
        yield* here.fill(10, 2)
        yield* one.catchUp(totals)
        assert.deepStrictEqual(asked, [2])
        yield* here.fill(10, 2)
        assert.strictEqual(yield* other.catchUp(totals), 10)
        yield* here.fill(4, 2)
        assert.strictEqual(yield* one.catchUp(totals), 4)
        assert.deepStrictEqual(asked, [2, 2])
        yield* here.isFold(totals)
      })
    )

    it.effect("what it remembers of one version is not taken for another's", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const some = here.totals({ filters: [{ category: here.category, type: "Said" }] })
        const all = here.totals({ version: 2 })
        yield* here.append(here.stream("a"), said(1), said(2), said(3, { type: "Other" }))
        yield* here.runner.catchUp(some)
        yield* here.runner.rebuild(all)
        yield* here.append(here.stream("a"), said(4))
        assert.strictEqual(yield* here.runner.catchUp(all), 1)
        yield* here.isFold(all)
      })
    )

    it.effect(
      "it takes the events of its filters alone: by category, type, prefix, tag and routing key",
      () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          const other = yield* projectingScene
          const { category } = here
          yield* here.append(here.stream("aa"), said(1), said(2, { type: "Other" }), said(3))
          yield* here.append(here.stream("ab"), said(4, { tags: ["red"] }), said(5))
          yield* here.append(here.stream("b"), said(6))
          yield* other.append(other.stream("aa"), said(7))
          yield* here.write({ streamId: here.stream("c"), events: [said(8)], routingKey: "east" })
          yield* here.write({ streamId: here.stream("d"), events: [said(9)], routingKey: "west" })
          const cases: ReadonlyArray<readonly [options: Parameters<typeof here.totals>[0], count: number]> = [
            [{ filters: [{ category }] }, 8],
            [{ filters: [{ category, type: "Said" }] }, 7],
            [{ filters: [{ prefix: `${category}/a` }] }, 5],
            [{ filters: [{ streamId: here.stream("b") }] }, 1],
            [{ filters: [{ category, tags: ["red"] }] }, 1],
            [{ filters: [{ category: other.category }, { streamId: here.stream("b") }] }, 2],
            [{ filters: [{ category }], routingKey: RoutingKey.value("east") }, 1],
            [{ filters: [{ category }], routingKey: RoutingKey.unkeyed }, 6]
          ]
          for (const [index, [options, count]] of cases.entries()) {
            const totals = here.totals({ name: here.name(`_${index}`), ...options })
            assert.strictEqual(yield* here.runner.catchUp(totals), count, `case ${index}`)
            yield* here.isFold(totals)
          }
        })
    )

    it.effect("its position passes events that it does not want", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals({ filters: [{ category: here.category, type: "Never" }] })
        const { position } = yield* here.append(here.stream("a"), said(1), said(2))
        assert.strictEqual(yield* here.runner.catchUp(totals), 0)
        assert.isAtLeast(yield* here.position(totals), position)
        assert.deepStrictEqual(yield* here.rows(totals), [])
      })
    )

    it.effect("rows that an event removes are gone, and a key that it names twice is concerned once", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.append(
          here.stream("a"),
          said(1, { data: { keys: ["x", "y", "x"] } }),
          said(2, { data: { keys: ["y"], drop: true } }),
          said(3, { data: { keys: ["z", "z"] } }),
          said(4, { data: { keys: [] } })
        )
        yield* here.runner.catchUp(totals)
        assert.deepStrictEqual(
          (yield* here.rows(totals)).map(({ key, row }) => [key, row.events]),
          [
            ["x", 1],
            ["z", 1]
          ]
        )
        yield* here.isFold(totals)
        // The second fold of a rebuild sees it the same way.
        assert.strictEqual((yield* here.runner.rebuild(totals)).verified, "fold")
        yield* here.isFold(totals)
      })
    )

    it.effect(
      "pages of any size give the same model: 1, 7, 500, and more than a read of the log may give",
      () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          yield* here.fill(10_300, 20)
          for (const [index, batchSize] of [7, 500, 10_100, 50_000].entries()) {
            const totals = here.totals({ name: here.name(`_${index}`) })
            assert.strictEqual(yield* here.runner.catchUp(totals, { batchSize }), 10_300)
            yield* here.isFold(totals)
          }
          const few = here.totals({ name: here.name("_few"), filters: [{ streamId: here.stream("s3") }] })
          assert.strictEqual(yield* here.runner.catchUp(few, { batchSize: 1 }), 515)
          yield* here.isFold(few)
        }),
      slowTestMs
    )

    it.effect("handlers elsewhere get each event in order, and a batch gets pages", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const seen: Array<number> = []
        const pages: Array<ReadonlyArray<number>> = []
        const filters = [{ category: here.category }]
        const each = Projection.handlers({
          name: here.name("_h"),
          filters,
          handlers: { Said: (event) => void seen.push(event.version) }
        })
        const paged = Projection.batch({
          name: here.name("_b"),
          filters,
          onBatch: (events) => Effect.sync(() => void pages.push(events.map((event) => event.version)))
        })
        yield* here.append(here.stream("a"), said(1), said(2, { type: "Other" }), said(3), said(4), said(5))
        assert.strictEqual(yield* here.runner.catchUp(each, { batchSize: 2 }), 5)
        assert.strictEqual(yield* here.runner.catchUp(paged, { batchSize: 2 }), 5)
        assert.deepStrictEqual(seen, [1, 3, 4, 5])
        assert.deepStrictEqual(pages, [[1, 2], [3, 4], [5]])
        assert.strictEqual(Projection.guaranteeOf(each), "at-least-once")
        assert.strictEqual(Projection.guaranteeOf(here.totals()), "exactly-once")
      })
    )

    it.effect("wrong options and projections are refused by the name of the field", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const { runner } = here
        yield* here.fill(3)
        const options: ReadonlyArray<readonly [field: string, options: object]> = [
          ["batchSize", { batchSize: 0 }],
          ["batchSize", { batchSize: 50_001 }],
          ["batchSize", { batchSize: 1.5 }],
          ["ttl", { ttl: "1 millis" }],
          ["ttl", { ttl: "forever" }],
          ["pollInterval", { pollInterval: 0 }],
          ["parkedMax", { parkedMax: 0 }],
          ["onPoison", { onPoison: "ignore" }]
        ]
        for (const [field, given] of options) {
          const totals = here.totals()
          for (const attempt of [
            runner.catchUp(totals, given),
            runner.catchUpPersistent(totals, given),
            Scoped.scoped(runner.run([totals], given)),
            runner.rebuild(totals, given),
            runner.rebuild(totals, { ...given, mode: "inPlace" }),
            runner.rebuildConcurrent([totals], given),
            runner.rollBack(totals, given)
          ] as ReadonlyArray<Effect.Effect<unknown, InvalidArgument>>)
            assert.strictEqual((yield* refused(attempt, "InvalidArgument")).field, field)
        }
        const projections: ReadonlyArray<readonly [field: string, options: object]> = [
          ["name", { name: "" }],
          ["name", { name: "a~b" }],
          ["name", { name: "x".repeat(201), table: "x" }],
          ["version", { version: -1 }],
          ["version", { version: 1.5 }],
          ["table", { table: "Upper" }],
          ["table", { table: "1st" }],
          ["table", { table: "x".repeat(41) }],
          ["table", { table: "a;drop" }],
          ["storage", { storage: "rows" }],
          ["filters[0].kind", { filters: [{ kind: "x" }] }]
        ]
        for (const [field, given] of projections) {
          const totals = here.totals(wrong(given))
          for (const attempt of [
            runner.catchUp(totals),
            Scoped.scoped(runner.run([totals])),
            runner.rebuild(totals),
            runner.rollBack(totals),
            runner.dropFormer(totals),
            runner.waitFor(totals, wrong(0), 0)
          ] as ReadonlyArray<Effect.Effect<unknown, InvalidArgument>>)
            assert.strictEqual((yield* refused(attempt, "InvalidArgument")).field, field)
        }
        const totals = here.totals()
        assert.strictEqual(
          (yield* refused(runner.rebuild(totals, { mode: wrong("beside") }), "InvalidArgument")).field,
          "mode"
        )
        assert.strictEqual(
          (yield* refused(Scoped.scoped(runner.run([totals, totals])), "InvalidArgument")).field,
          "projections"
        )
        assert.deepStrictEqual(yield* here.rows(totals), [])
      })
    )

    it.effect(
      "a model in memory with a checkpoint that is not is refused, and so is one that needs SQL in memory",
      () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          const inMemory = Projection.handlers({
            name: here.name(),
            filters: [{ category: here.category }],
            place: "memory",
            onEvent: () => undefined
          })
          yield* here.fill(2)
          if (here.models.isDurable) yield* refused(here.runner.catchUp(inMemory), "ModelRefused")
          else assert.strictEqual(yield* here.runner.catchUp(inMemory), 2)
          const odd = Projection.fold({
            name: here.name("_odd"),
            row: TotalRow,
            filters: [{ category: here.category }],
            key: () => "x".repeat(256),
            initial: () => ({ events: 0, total: 0, trail: 0 }),
            evolve: (row) => row
          })
          yield* refused(
            here.runner.catchUp(odd, { retry: wrong(undefined), onPoison: "stop" }),
            "HandlerError"
          )
        })
    )
  })
}
