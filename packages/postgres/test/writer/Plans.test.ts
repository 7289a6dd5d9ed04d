/**
 * How the server finds what is asked for: by an index, in a table of 50 000 events. Looked at with the plan for
 * the very values and with the generic one, which a named statement gets after a while.
 */
import { assert, describe } from "@effect/vitest"
import { planOf } from "@millrace/core/ReadPlan"
import * as Page from "@millrace/core/Page"
import type { ReadQuery } from "@millrace/core/EventQuery"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type pg from "pg"
import { behindStatement, pageStatement } from "../../src/PgReader.js"
import {
  appendTo,
  checkLog,
  connection,
  database,
  eventId,
  happened,
  open,
  position,
  query,
  range,
  sized,
  stores,
  test,
  unbounded,
  until,
  version
} from "./Fixtures.js"

const rows = 50_000

/** 500 streams in 5 categories of 100 events each; one event in 10 000 has the tag "rare", every other one "common". */
const fill = `
  WITH made AS (
    INSERT INTO millrace.streams (stream_id, version)
    SELECT 'c' || n % 5 || '/' || n, ${rows / 500} FROM generate_series(0, 499) n
  )
  INSERT INTO millrace.events (stream_id, version, type, id, data, tags, vnode)
  SELECT 'c' || (n % 500) % 5 || '/' || n % 500, n / 500 + 1, 'Type' || n % 50, lpad(n::text, 26, '0'), '{"n":1}',
    CASE WHEN n % 10000 = 7 THEN '{rare}'::text[] WHEN n % 2 = 0 THEN ARRAY['common', 'n' || n] END, n % 256
  FROM generate_series(0, ${rows - 1}) n
  ORDER BY n`

interface Node {
  readonly "Node Type": string
  readonly "Index Name"?: string
  readonly "Relation Name"?: string
  readonly "Actual Rows": number
  readonly "Rows Removed by Filter"?: number
  readonly "Rows Removed by Index Recheck"?: number
  readonly Plans?: ReadonlyArray<Node>
}

const nodesOf = (node: Node): ReadonlyArray<Node> => [node, ...(node.Plans ?? []).flatMap(nodesOf)]

/** The plan as it ran. `generic`: without looking at the values. */
const explain = (
  client: pg.Client,
  { text, values }: { readonly text: string; readonly values: ReadonlyArray<unknown> },
  generic: boolean
) =>
  Effect.gen(function* () {
    yield* query(client, `SET plan_cache_mode = ${generic ? "force_generic_plan" : "force_custom_plan"}`)
    yield* query(client, "DEALLOCATE ALL")
    yield* query(client, `PREPARE page AS ${text}`)
    const args = values.map((value) =>
      typeof value === "number" ? String(value) : client.escapeLiteral(String(value))
    )
    const [row] = yield* query<{ readonly "QUERY PLAN": ReadonlyArray<{ readonly Plan: Node }> }>(
      client,
      `EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page${args.length === 0 ? "" : `(${args.join(", ")})`}`
    )
    const nodes = nodesOf(row!["QUERY PLAN"][0]!.Plan)
    return {
      text: nodes
        .map((node) => [node["Node Type"], node["Index Name"]].filter(Boolean).join(" "))
        .join(" < "),
      /** Rows looked at and thrown away. */
      wasted: nodes.reduce(
        (sum, node) =>
          sum + (node["Rows Removed by Filter"] ?? 0) + (node["Rows Removed by Index Recheck"] ?? 0),
        0
      )
    }
  })

/** What is read, which index must serve it, and how many rows may be looked at in vain. */
const reads: ReadonlyArray<readonly [string, ReadQuery, string, number]> = [
  ["a page of the log", { page: Page.forward({ first: 40, after: position(25_000) }) }, "events_pkey", 0],
  ["the last page of the log", { page: Page.backward({ last: 40 }) }, "events_pkey", 0],
  [
    "a page of the log, backward",
    { page: Page.backward({ last: 40, before: position(25_000) }) },
    "events_pkey",
    0
  ],
  ["a stream", { filters: [{ streamId: "c1/41" }] }, "events_stream_version", 0],
  [
    "a stream, backward",
    { filters: [{ streamId: "c1/41" }], page: Page.backward({ last: 5 }) },
    "events_stream_version",
    0
  ],
  [
    "a stream after a version",
    { filters: [{ streamId: "c1/41" }], afterVersion: version(90) },
    "events_stream_version",
    0
  ],
  [
    "a stream after a position",
    { filters: [{ streamId: "c1/41" }], page: Page.forward({ first: 5, after: position(40_042) }) },
    "events_stream_version",
    5
  ],
  ["a rare tag", { filters: [{ tags: ["rare"] }] }, "events_tags", 10],
  ["a tag of one event", { filters: [{ tags: ["n40000"] }] }, "events_tags", 10],
  [
    "a rare tag among other filters",
    { filters: [{ tags: ["rare"] }, { tags: ["n40000"] }] },
    "events_tags",
    10
  ],
  ["a rare tag of a type", { filters: [{ tags: ["rare"], type: "Type7" }] }, "events_tags", 10],
  ["a common tag", { filters: [{ tags: ["common"] }] }, "events_", 1_000],
  ["a category", { filters: [{ category: "c1" }] }, "events_", 1_000],
  ["a prefix of one stream", { filters: [{ prefix: "c1/41" }] }, "events_", 12_000],
  ["a common type", { filters: [{ type: "Type7" }] }, "events_", 5_000],
  [
    "a part of the vnodes",
    { vnodes: { from: 0, to: 15 }, page: Page.forward({ first: 40, after: position(100) }) },
    "events_",
    2_000
  ]
]

describe("plans", () => {
  test(`every page of a table of ${rows} events comes from an index, and looks at few rows in vain`, 60, () =>
    Effect.gen(function* () {
      const url = yield* database
      yield* open(url)
      const client = yield* connection(url)
      yield* query(client, fill)
      yield* query(client, "VACUUM ANALYZE millrace.events")
      const wrong: Array<string> = []
      for (const [what, readQuery, index, wastedMax] of reads) {
        const plan = planOf(readQuery, 40)
        if ("_tag" in plan) return assert.fail(plan.message)
        const upTo = plan.streamId === undefined ? rows : undefined
        const page = pageStatement({ ...plan, limit: plan.limit + 1, lookBehind: true }, upTo, '"millrace"')
        const behind = behindStatement({ ...plan, lookBehind: true }, upTo, '"millrace"')
        for (const [part, statement] of [["page", page] as const, ["behind", behind] as const]) {
          if (statement === undefined) continue
          for (const generic of statement.name === undefined ? [false] : [false, true]) {
            const ran = yield* explain(client, statement, generic)
            const label = `${what} (${part}${generic ? ", generic" : ""}): ${ran.text}, ${ran.wasted} in vain`
            if (ran.text.includes("Seq Scan") || !ran.text.includes(index) || ran.wasted > wastedMax)
              wrong.push(label)
          }
        }
      }
      assert.deepStrictEqual(wrong, [])
    })
  )

  test(
    "the version of a stream, a listing, the head, appends and conditions never scan a whole table",
    60,
    () =>
      Effect.gen(function* () {
        const url = yield* database
        const client = yield* connection(url)
        // Backends report their scans when they end: those of the migration first, then those of the calls.
        const scans = Effect.map(
          query<{ readonly events: number; readonly streams: number }>(
            client,
            `SELECT pg_stat_get_numscans('millrace.events'::regclass)::int AS events,
             pg_stat_get_numscans('millrace.streams'::regclass)::int AS streams`
          ),
          ([row]) => row!
        )
        const alone = until(
          url,
          "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        )
        yield* Effect.scoped(open(url))
        yield* query(client, fill)
        yield* query(client, "VACUUM ANALYZE millrace.events")
        yield* query(client, "VACUUM ANALYZE millrace.streams")
        yield* alone
        const before = yield* scans
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { store } = yield* open(url)
            yield* Effect.forEach(range(0, 49), (n) => store.streamVersion(`c1/${n * 5 + 1}`), unbounded)
            yield* Effect.forEach(range(1, 20), () => store.head)
            assert.strictEqual((yield* store.listStreams({ prefix: "c1/", limit: 100 })).length, 100)
            assert.strictEqual(yield* store.head, rows)
            for (const n of range(1, 12)) {
              yield* store.write(appendTo("c1/1"))
              yield* store.write([appendTo("c1/1"), appendTo("c1/6"), appendTo("c2/2", { id: eventId(n) })])
              yield* store.write(appendTo("c1/1", { tags: [`t${n}`] }), {
                condition: { filters: [{ tags: [`t${n}`] }, { streamId: "c3/3" }], after: position(rows) }
              })
            }
          })
        )
        yield* alone
        assert.deepStrictEqual(yield* scans, before)
      })
  )

  test(
    "versions, listings and heads asked for while others write are never too high, and never fall",
    40,
    (chance) =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(2)
        const written = new Map<string, number>()
        const asking = yield* Effect.forEach(opened, ({ store }) =>
          Effect.fork(
            Effect.gen(function* () {
              let head = 0
              const versions = new Map<string, number>()
              for (;;) {
                const next = yield* store.head
                assert.isAtLeast(next, head)
                head = next
                const streamId = `asked/${chance.int(10)}`
                const at = yield* store.streamVersion(streamId)
                assert.isAtLeast(at, versions.get(streamId) ?? 0)
                versions.set(streamId, at)
                const listed = yield* store.listStreams({ prefix: "asked/", limit: 100 })
                assert.deepStrictEqual(
                  listed.map((info) => info.streamId),
                  listed.map((info) => info.streamId).toSorted()
                )
                for (const info of listed) assert.isAbove(info.version, 0)
                const page = yield* store.read({ page: Page.backward({ last: 3 }) })
                for (const { cursor } of page.edges) assert.isAtMost(cursor, yield* store.head)
              }
            })
          )
        )
        yield* Effect.forEach(
          range(1, sized(600, 6_000)),
          (n) => {
            const streamId = `asked/${chance.int(10)}`
            return Effect.map(
              opened[n % 2]!.store.write({ streamId, events: [happened(), happened()] }),
              ({ appends }) =>
                void written.set(streamId, Math.max(written.get(streamId) ?? 0, appends[0]!.version))
            )
          },
          { concurrency: 32 }
        )
        for (const fiber of asking) {
          const exit = fiber.unsafePoll()
          assert.strictEqual(exit, null, String(exit))
          yield* Fiber.interrupt(fiber)
        }
        const log = yield* checkLog(url)
        for (const { store } of opened) {
          assert.strictEqual(yield* store.head, log[log.length - 1]!.position)
          for (const [streamId, at] of written) assert.strictEqual(yield* store.streamVersion(streamId), at)
          assert.deepStrictEqual(
            (yield* store.listStreams({ limit: 100 })).map((info) => [info.streamId, Number(info.version)]),
            [...written].toSorted()
          )
        }
      })
  )
})
