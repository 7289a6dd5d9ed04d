/** Wrong queries: each is refused by a typed error that names the field, by pages and by streams alike. */
import { assert, describe } from "@effect/vitest"
import type { ReadQuery } from "@millrace/core/EventQuery"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { badTexts } from "./OddTexts.js"
import type { SuiteIt } from "./Scene.js"
import { refused, scene, wrong } from "./Scene.js"

const badPositions: ReadonlyArray<unknown> = [-1, 0.5, NaN, Infinity, 2 ** 53, "5", 5n, {}, true]

const forward = (more: object) => ({ _tag: "Forward", ...more })
const backward = (more: object) => ({ _tag: "Backward", ...more })

const cases: ReadonlyArray<readonly [field: string, query: unknown]> = [
  ["filters", { filters: "all" }],
  ["filters", { filters: {} }],
  ["filters", { filters: Array.from({ length: 101 }, () => ({ type: "E" })) }],
  ["filters[1]", { filters: [{ type: "E" }, null] }],
  ["filters[0]", { filters: ["a/b"] }],
  ["filters[0].stream", { filters: [{ stream: "a/b" }] }],
  ["filters[1].Type", { filters: [{ type: "E" }, { Type: "E" }] }],
  ["filters[0].category", { filters: [{ category: "a/b" }] }],
  ["filters[0].streamId", { filters: [{ streamId: "noslash" }] }],
  ["filters[0].streamId", { filters: [{ streamId: "a/" }] }],
  ...["category", "streamId", "prefix", "type"].flatMap((field) =>
    badTexts.map((text) => [`filters[0].${field}`, { filters: [{ [field]: text }] }] as const)
  ),
  ...badTexts.map((text) => ["filters[0].tags[1]", { filters: [{ tags: ["good", text] }] }] as const),
  ["filters[0].tags", { filters: [{ tags: "t" }] }],
  ["filters[0].tags", { filters: [{ tags: Array.from({ length: 17 }, (_, i) => `${i}`) }] }],
  ["routingKey", { routingKey: "north" }],
  ["routingKey", { routingKey: { _tag: "Some", key: "north" } }],
  ...badTexts.map((key) => ["routingKey.key", { routingKey: { _tag: "Value", key } }] as const),
  ["page", { page: "first" }],
  ["page", { page: { first: 5 } }],
  ["page", { page: { _tag: "Sideways" } }],
  ...[0, -1, 1.5, NaN, 10_001, Infinity, "5", 5n].flatMap((rows) => [
    ["page.first", { page: forward({ first: rows }) }] as const,
    ["page.last", { page: backward({ last: rows }) }] as const
  ]),
  ...badPositions.flatMap((at) => [
    ["page.after", { page: forward({ after: at }) }] as const,
    ["page.before", { page: backward({ before: at }) }] as const,
    ["upTo", { upTo: at }] as const,
    ["afterVersion", { filters: [{ streamId: "a/b" }], afterVersion: at }] as const
  ]),
  ...[
    {},
    { from: 0 },
    { from: 0, to: 256 },
    { from: -1, to: 5 },
    { from: 5, to: 4 },
    { from: 0.5, to: 4 },
    { from: "0", to: "5" }
  ].map((vnodes) => ["vnodes", { vnodes }] as const)
]

export const badQueries = (it: SuiteIt): void => {
  describe("bad queries", () => {
    it.effect("a wrong field of a query is refused by its path, by pages and by streams", () =>
      Effect.gen(function* () {
        const { store } = yield* scene("query")
        for (const [field, query] of cases) {
          const bad = wrong<ReadQuery>(query)
          const page = yield* refused(store.read(bad), "InvalidArgument")
          assert.strictEqual(page.field, field, `${field} ${String(page)}`)
          assert.isAtMost(page.actual.length, 80)
          const streamed = yield* refused(Stream.runDrain(store.stream(bad)), "InvalidArgument")
          assert.strictEqual(streamed.field, field)
        }
      })
    )

    it.effect("null in place of a routing key or of vnodes is refused by its name", () =>
      Effect.gen(function* () {
        const { store } = yield* scene("query")
        for (const field of ["routingKey", "vnodes"]) {
          const bad = wrong<ReadQuery>({ [field]: null })
          const error = yield* refused(
            Effect.suspend(() => store.read(bad)),
            "InvalidArgument"
          )
          assert.strictEqual(error.field, field)
        }
      })
    )

    it.effect("a wrong field of a listing is refused by its name", () =>
      Effect.gen(function* () {
        const { store } = yield* scene("listing")
        for (const limit of [0, -1, 1.5, NaN, 10_001, "5", undefined, null]) {
          const error = yield* refused(store.listStreams({ limit: wrong(limit) }), "InvalidArgument")
          assert.strictEqual(error.field, "limit")
        }
        for (const text of badTexts) {
          for (const field of ["prefix", "after"]) {
            const listing = wrong<{ limit: number }>({ [field]: text, limit: 5 })
            assert.strictEqual((yield* refused(store.listStreams(listing), "InvalidArgument")).field, field)
          }
        }
      })
    )
  })
}
