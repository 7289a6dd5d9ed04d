/**
 * Emmett's projections: one that a projector of its consumer runs, and one that runs inline with an append. Both are
 * `postgreSQLRawSQLProjection`, one upsert an event, which is the fastest that it has: 750 to 1 250 events/s, where a
 * `pongoSingleStreamProjection` of the same rows, which loads and replaces a document an event, made 300 to 420.
 */
import { SQL, dumbo, identifier, rawSql } from "@event-driven-io/dumbo"
import { projections } from "@event-driven-io/emmett"
import type { ReadEvent } from "@event-driven-io/emmett"
import { postgreSQLEventStoreConsumer, postgreSQLRawSQLProjection } from "@event-driven-io/emmett-postgresql"
import type pg from "pg"
import type { Contestant } from "../contestant.js"
import { driveCalls } from "../drive.js"
import { checkTotals, foldingSession, plainFold } from "../folding.js"
import type { Total, Totals } from "../folding.js"
import { payload, streamName } from "../payload.js"
import { close, load, openStore } from "./emmett.js"
import type { Deposited } from "./emmett.js"

/**
 * One call is one catch-up of a new projection by a new projector; it ends with the last message, without the pause
 * in which a consumer finds out that there are no more.
 */
export const emmettProject = (batchSize = batchSizeDefault): Contestant => ({
  name: "emmett",
  role: "peer",
  open: async (place) => {
    const events = place.quick ? 1_000 : 5_000
    const { connectionString, pool, store } = await openStore(place)
    await load(store, events)
    await pool.query("VACUUM ANALYZE")
    const connections = dumbo({ connectionString, pool })
    return foldingSession({
      events,
      expected: plainFold(events, "-"),
      catchUp: async (model) => {
        let seen = 0
        const consumer = postgreSQLEventStoreConsumer<Deposited>({
          connectionString,
          pool: connections,
          pulling: { batchSize, pullingFrequencyInMs: 0 }
        })
        consumer.projector<Deposited>({
          projection: totals(model),
          stopAfter: () => ++seen === events
        })
        await consumer.start()
        await consumer.stop()
      },
      rows: (model) => readTotals(pool, `SELECT key, events, amount_sum FROM ${model}`),
      drop: async (model) => {
        await pool.query(`DROP TABLE ${model}`)
      },
      close: () => close(store, pool)
    })
  }
})

/** Appends of one event with the projection inline. The log grows from turn to turn, and the model with it. */
export const emmettInline: Contestant = {
  name: "emmett",
  role: "peer",
  open: async (place) => {
    const inline = projections.inline([totals("inline_totals")])
    const { count, pool, store } = await openStore(place, undefined, inline)
    let next = 0
    let before = 0
    return {
      drive: driveCalls(async (caller) => {
        await store.appendToStream(streamName(caller, "-"), [
          { type: "Deposited", data: { ...payload(next++) } } satisfies Deposited
        ])
        return 1
      }),
      reset: async () => {
        before = await count()
      },
      count: async () => (await count()) - before,
      check: async () => {
        const log = await readTotals(
          pool,
          "SELECT stream_id, count(*), sum((message_data ->> 'amount')::bigint) FROM emt_messages GROUP BY 1"
        )
        checkTotals(
          "model=inline_totals",
          await readTotals(pool, "SELECT key, events, amount_sum FROM inline_totals"),
          log
        )
      },
      close: () => close(store, pool)
    }
  }
}

// ---- internal ----

/** Messages of one batch, which is one transaction. 100, its own default: 590 to 960 events/s; 1 000: 750 to 1 250. */
const batchSizeDefault = 1_000

const totals = (table: string) =>
  postgreSQLRawSQLProjection<Deposited>({
    name: table,
    canHandle: ["Deposited"],
    init: () =>
      rawSql(`CREATE TABLE IF NOT EXISTS ${table} (
        key text COLLATE "C" PRIMARY KEY, events bigint NOT NULL, amount_sum bigint NOT NULL)`),
    // A projection is handed events as they were read; only the type of this helper leaves their metadata out.
    evolve: (event) => upsert(table, event as ReadEvent<Deposited>)
  })

const upsert = (table: string, { data, metadata }: ReadEvent<Deposited>) =>
  SQL`INSERT INTO ${identifier(table)} AS t (key, events, amount_sum)
    VALUES (${metadata.streamName}, 1, ${data.amount})
    ON CONFLICT (key) DO UPDATE
      SET events = t.events + 1, amount_sum = t.amount_sum + excluded.amount_sum`

const readTotals = async (pool: pg.Pool, query: string): Promise<Totals> => {
  const { rows } = await pool.query<[string, unknown, unknown]>({ text: query, rowMode: "array" })
  return new Map(
    rows.map(([key, events, amountSum]): [string, Total] => [
      key,
      { events: Number(events), amountSum: Number(amountSum) }
    ])
  )
}
