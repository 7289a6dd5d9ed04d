/**
 * The cases, their goals, and who takes part. Millrace's own contestants come from `ours.ts`; a case without one
 * still measures its peers and its limit.
 */
import type { QueryName } from "@millrace/example-nexmark/Queries"
import pg from "pg"
import type { Case, Contestant, Goal } from "./contestant.js"
import { latencyContestant } from "./latency/measure.js"
import { pgAppendBatches, pgAppendHundred, pgAppendOne } from "./limits/pgAppend.js"
import { pgConsume } from "./limits/pgConsume.js"
import { pgFold } from "./limits/pgFold.js"
import { loadBareLog, pgStreamBare } from "./limits/pgStream.js"
import { sqliteFold } from "./limits/sqliteFold.js"
import { sqliteAppendHundred, sqliteAppendOne, sqliteStreamBare } from "./limits/sqlite.js"
import { memoryContestant } from "./memory/measure.js"
import { bareDecode, bareEncode } from "./pipelines/checkpoints.js"
import { nexmarkByHand } from "./pipelines/nexmark.js"
import { windowEffectStream, windowLoop, windowRxjs } from "./pipelines/windowPeers.js"
import { emmettAppend, emmettStream } from "./peers/emmett.js"
import { emmettConsume } from "./peers/emmettConsumer.js"
import { emmettInline, emmettProject } from "./peers/emmettProjections.js"
import { messageDbAppend, messageDbAppendHundred, messageDbStream } from "./peers/messageDb.js"

/** Names of the cases, in the order in which they run. */
export type CaseName =
  | "pg-append-1"
  | "pg-append-32"
  | "pg-append-256"
  | "pg-append-100-a-call"
  | "pg-total-order-256"
  | "sqlite-append-100-a-call"
  | "sqlite-append-32"
  | "pg-stream"
  | "sqlite-stream"
  | "memory-stream"
  | "pg-checkpoint-advance"
  | "pg-checkpoint-streams"
  | "sqlite-checkpoint-advance"
  | "sqlite-checkpoint-streams"
  | "pg-fold-projection"
  | "sqlite-fold-projection"
  | "pg-inline"
  | "rebuild-four"
  | "pg-subscriber-catch-up"
  | "pg-append-to-handler"
  | "pipeline-window"
  | "pipeline-window-checkpoints"
  | `nexmark-${QueryName}`
  | "checkpoint-full"
  | "checkpoint-incremental"
  | "checkpoint-restore"

/**
 * Millrace's own contestants of each case: usually one, `{ name: "ours", role: "ours", open }`. For
 * `pg-total-order-256` two: `ours`, and the same store without the log's lock as `{ name: "limit", role: "limit" }`.
 */
export type Ours = { readonly [name in CaseName]?: ReadonlyArray<Contestant> }

/** All cases, `ours` in front. */
export const makeCases = (ours: Ours): ReadonlyArray<Case & { readonly name: CaseName }> =>
  definitions.map((definition) => ({
    ...definition,
    contestants: [...(ours[definition.name] ?? []), ...definition.contestants]
  }))

// ---- internal ----

const times = (contestant: string, atLeast: number, of?: string): Goal => ({
  kind: "timesContestant",
  contestant,
  atLeast,
  ...(of === undefined ? {} : { of })
})

/** A plain loop is the limit; one that overlaps client and server, and two connections, are for comparison. */
const batchLoops = (streams: number): ReadonlyArray<Contestant> => [
  pgAppendBatches({ name: "limit", role: "limit", streams, connections: 1, ahead: false }),
  pgAppendBatches({ name: "limitAhead", role: "reference", streams, connections: 1, ahead: true }),
  pgAppendBatches({ name: "limit2", role: "reference", streams, connections: 2, ahead: false })
]

/** What each of them is about. */
const queries: ReadonlyArray<readonly [QueryName, string]> = [
  ["q1", "bids in another currency"],
  ["q2", "bids on some auctions"],
  ["q3", "auctions joined with a table of people"],
  ["q5", "the hottest auctions of the last 10 s, every 2 s"],
  ["q7", "the highest bids of 10 s"],
  ["q8", "people and auctions joined in windows of 10 s"]
]

const definitions: ReadonlyArray<Case & { readonly name: CaseName }> = [
  {
    name: "pg-append-1",
    group: "append",
    about: "Postgres, 1 caller, 1 event a call. Limit: one call of one SQL append function",
    unit: "events/s",
    callers: 1,
    goals: [times("limit", 0.85)],
    contestants: [emmettAppend(1), messageDbAppend(), pgAppendOne]
  },
  {
    name: "pg-append-32",
    group: "append",
    about: "Postgres, 32 callers on 32 streams, 1 event a call. Limit: 1 000-row unnest inserts",
    unit: "events/s",
    callers: 32,
    goals: [times("emmett", 10), times("messageDb", 5)],
    contestants: [emmettAppend(1), messageDbAppend(), ...batchLoops(32)]
  },
  {
    name: "pg-append-256",
    group: "append",
    about: "Postgres, 256 callers on 256 streams, 1 event a call. Limit: 1 000-row unnest inserts",
    unit: "events/s",
    callers: 256,
    goals: [times("emmett", 20), times("limit", 0.7), { kind: "p99", atMostMs: 20 }],
    contestants: [emmettAppend(1, 32), messageDbAppend(), ...batchLoops(256)]
  },
  {
    name: "pg-append-100-a-call",
    group: "append",
    about: "Postgres, 1 caller, 100 events a call. Limit: one INSERT of 100 rows",
    unit: "events/s",
    callers: 1,
    goals: [times("limit", 0.75), times("emmett", 2)],
    contestants: [emmettAppend(100), messageDbAppendHundred, pgAppendHundred]
  },
  {
    name: "pg-total-order-256",
    group: "append",
    about: "Postgres, 256 callers. Limit: the same store, merging alike, without the log's lock",
    unit: "events/s",
    callers: 256,
    goals: [times("limit", 0.9)],
    contestants: []
  },
  {
    name: "sqlite-append-100-a-call",
    group: "append",
    about: "SQLite (FULL), 1 caller, 100 events a call. Limit: 100 prepared inserts in a transaction",
    unit: "events/s",
    callers: 1,
    goals: [times("limit", 0.7)],
    contestants: [sqliteAppendHundred]
  },
  {
    name: "sqlite-append-32",
    group: "append",
    about: "SQLite (FULL), 32 callers, 1 event a call. Limit: one prepared insert and commit an event",
    unit: "events/s",
    callers: 32,
    goals: [times("limit", 3)],
    contestants: [sqliteAppendOne]
  },
  {
    name: "pg-stream",
    group: "read",
    about: "Postgres, 200 000 events read and decoded. Limit: keyset pages and JSON.parse",
    unit: "events/s",
    callers: 1,
    goals: [times("limit", 0.7)],
    contestants: [
      emmettStream(),
      messageDbStream(),
      pgStreamBare({ name: "limit", role: "limit", ahead: false }),
      pgStreamBare({ name: "limitAhead", role: "reference", ahead: true })
    ]
  },
  {
    name: "sqlite-stream",
    group: "read",
    about: "SQLite, 200 000 events read and decoded. Limit: keyset pages and JSON.parse",
    unit: "events/s",
    callers: 1,
    goals: [times("limit", 0.7)],
    contestants: [sqliteStreamBare()]
  },
  {
    name: "memory-stream",
    group: "read",
    about: "Postgres, resident memory over idle while a process reads 1 000 000 events (--quick: 200 000)",
    unit: "MB over idle",
    callers: 1,
    goals: [{ kind: "value", below: 64 }],
    warmUp: false,
    contestants: [
      memoryContestant({
        name: "limit",
        role: "limit",
        module: new URL("./memory/bareReader.ts", import.meta.url),
        load: async (place, events) => {
          const url = await place.database()
          const client = new pg.Client({ connectionString: url })
          await client.connect()
          await loadBareLog(client, events)
          await client.end()
          return url
        }
      })
    ]
  },
  ...(["pg", "sqlite"] as const).flatMap((database) => {
    const title = database === "pg" ? "Postgres" : "SQLite (FULL)"
    return [
      {
        name: `${database}-checkpoint-advance` as const,
        group: "project" as const,
        about: `${title}, 10 of 10 000 cursors of a projection moved and committed, against saving all of them`,
        unit: "steps/s" as const,
        callers: 1,
        goals: [times("saveWhole", 20)],
        contestants: []
      },
      {
        name: `${database}-checkpoint-streams` as const,
        group: "project" as const,
        about: `${title}, 10 of 100 000 cursors loaded, moved and committed, against 10 of 1 000`,
        unit: "steps/s" as const,
        callers: 1,
        goals: [times("thousand", 0.5)],
        contestants: []
      }
    ]
  }),
  {
    name: "pg-fold-projection",
    group: "project",
    about:
      "Postgres, a fold of one row for each of 1 000 streams catches up 200 000 events (--quick: 20 000), Emmett's projector 5 000 (1 000). Limit: keyset pages, load and upsert of the rows, one transaction a page",
    unit: "events/s",
    callers: 1,
    goals: [times("limit", 0.6), times("limit", 0.6, "ours2000"), times("emmett", 20)],
    contestants: [
      emmettProject(),
      pgFold({ name: "limit", role: "limit", pageRows: 2_000 }),
      pgFold({ name: "limit500", role: "reference", pageRows: 500 })
    ]
  },
  {
    name: "sqlite-fold-projection",
    group: "project",
    about:
      "The same from a Postgres log into a SQLite file (FULL). Limit: keyset pages, a prepared select and upsert a row, one transaction a page",
    unit: "events/s",
    callers: 1,
    goals: [times("limit", 0.6), times("limit", 0.6, "ours2000")],
    contestants: [
      sqliteFold({ name: "limit", role: "limit", pageRows: 2_000 }),
      sqliteFold({ name: "limit500", role: "reference", pageRows: 500 })
    ]
  },
  {
    name: "pg-inline",
    group: "project",
    about: "Postgres, 32 callers on 32 streams, 1 event a call, with a projection in the same transaction",
    unit: "events/s",
    callers: 32,
    goals: [times("emmett", 2.5)],
    contestants: [emmettInline]
  },
  {
    name: "rebuild-four",
    group: "rebuild",
    about:
      "Four folds built anew from a Postgres log of 50 000 events (--quick: 10 000) into four SQLite files (FULL), at once and one after another",
    unit: "events/s",
    callers: 1,
    goals: [times("oneByOne", 1.3)],
    contestants: []
  },
  {
    name: "pg-subscriber-catch-up",
    group: "subscribe",
    about:
      "Postgres, a subscriber that adds drains 200 000 events (--quick: 20 000), Emmett's consumer 5 000 (1 000). Limit: keyset pages and JSON.parse",
    unit: "events/s",
    callers: 1,
    goals: [times("limit", 0.65), times("limit", 0.65, "ours2000"), times("emmett", 30)],
    contestants: [
      emmettConsume(),
      pgConsume({ name: "limit", role: "limit", reads: "event" }),
      pgConsume({ name: "limitData", role: "reference", reads: "data" })
    ]
  },
  {
    name: "pg-append-to-handler",
    group: "subscribe",
    about:
      "Postgres, an idle system: from the call of an append to the handler in another process. Limit: INSERT, NOTIFY, LISTEN and a SELECT",
    unit: "µs",
    callers: 1,
    goals: [{ kind: "atMostTimesContestant", contestant: "limit", atMost: 2 }],
    contestants: [
      latencyContestant({
        name: "notifyAlone",
        role: "reference",
        module: new URL("./latency/bareNotify.ts", import.meta.url)
      }),
      latencyContestant({
        name: "limit",
        role: "limit",
        module: new URL("./latency/bareEvent.ts", import.meta.url)
      })
    ]
  },
  {
    name: "pipeline-window",
    group: "pipeline",
    about:
      "Memory, 10 000 000 records (--quick: 1 000 000) mapped, filtered, and summed by 1 000 keys and minutes; Effect's streams 100 000. Limit: a plain loop over arrays of 1 000",
    unit: "records/s",
    callers: 1,
    goals: [times("limit", 0.35), times("rxjs", 1.5), times("effectStream", 50)],
    contestants: [windowRxjs, windowEffectStream, windowLoop]
  },
  {
    name: "pipeline-window-checkpoints",
    group: "pipeline",
    about:
      "The same six times over (--quick: thirty times), with a checkpoint into files every second, against one at the end",
    unit: "records/s",
    callers: 1,
    goals: [times("without", 0.9)],
    contestants: []
  },
  ...queries.map(([query, about]) => ({
    name: `nexmark-${query}` as const,
    group: "pipeline" as const,
    about: `Nexmark ${query}, ${about}: 2 000 000 events in memory (--quick: 500 000). Limit: a plain loop for this query`,
    unit: "events/s" as const,
    callers: 1,
    goals: [times("limit", 0.3)],
    contestants: [nexmarkByHand(query)]
  })),
  {
    name: "checkpoint-full",
    group: "checkpoint",
    about:
      "A checkpoint into files of 1 000 000 keys (--quick: 200 000), all vnodes changed. Limit: msgpackr of the same map at once, write, fsync. Milliseconds: how long the event loop was held at a stretch, garbage collection apart",
    unit: "keys/s",
    callers: 1,
    goals: [times("limit", 0.7), { kind: "max", atMostMs: 20 }],
    contestants: [bareEncode]
  },
  {
    name: "checkpoint-incremental",
    group: "checkpoint",
    about: "The same with 1 % of the vnodes changed, against all of them",
    unit: "keys/s",
    callers: 1,
    goals: [times("full", 20)],
    contestants: []
  },
  {
    name: "checkpoint-restore",
    group: "checkpoint",
    about:
      "A pipeline of 1 000 000 keys (--quick: 200 000) started from a checkpoint in files. Limit: the file read at once, and decoded to a map",
    unit: "keys/s",
    callers: 1,
    goals: [times("limit", 0.6)],
    contestants: [bareDecode]
  }
]
