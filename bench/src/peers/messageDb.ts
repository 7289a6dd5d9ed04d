/**
 * message-db 1.3: the SQL that `@eventide/message-db` ships, in a database of its own, called through node-postgres
 * by named statements.
 *
 * All streams are of one category, so writers take turns at its lock: that is how message-db keeps the order
 * of a category. `pgcrypto`, which it asks for, only gives `gen_random_uuid()`; since Postgres 13 that is built in, so
 * a server without the extension serves as well.
 */
import { readFile, readdir } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import pg from "pg"
import { randomUUID } from "node:crypto"
import type { Contestant, Place } from "../contestant.js"
import { driveCalls } from "../drive.js"
import { eventType, payload, streamName } from "../payload.js"
import type { Payload } from "../payload.js"
import { checkedPass, readEvents, readStreams } from "../readCheck.js"
import type { Pass } from "../readCheck.js"

/** One `write_message` a call, each caller on its own stream. */
export const messageDbAppend = (poolSize = poolSizeDefault): Contestant => ({
  name: "messageDb",
  role: "peer",
  open: async (place) => {
    const pool = await openPool(place, poolSize)
    let next = 0
    return {
      drive: driveCalls(async (caller) => {
        await pool.query({
          name: "write_message",
          text: "SELECT write_message($1, $2, $3, $4)",
          values: [randomUUID(), streamName(caller, "-"), eventType, JSON.stringify(payload(next++))]
        })
        return 1
      }),
      ...emptying(pool)
    }
  }
})

/**
 * 100 events a call. message-db has no batch; its clients call `write_message` once per event in a transaction. One
 * statement that calls it for every element of the arrays does the same without 100 round trips.
 */
export const messageDbAppendHundred: Contestant = {
  name: "messageDb",
  role: "peer",
  open: async (place) => {
    const pool = await openPool(place, poolSizeDefault)
    let next = 0
    return {
      drive: driveCalls(async (caller) => {
        const ids = Array.from({ length: 100 }, () => randomUUID())
        const data = ids.map(() => JSON.stringify(JSON.stringify(payload(next++))))
        await pool.query({
          name: "write_messages",
          text: "SELECT count(write_message(x.i, $2, $3, x.d)) FROM unnest($1::varchar[], $4::jsonb[]) AS x (i, d)",
          values: [`{${ids.join(",")}}`, streamName(caller, "-"), eventType, `{${data.join(",")}}`]
        })
        return 100
      }),
      ...emptying(pool)
    }
  }
}

/** Pages of the category by `get_category_messages`, data parsed once. */
export const messageDbStream = (pageRows = pageRowsDefault): Contestant => ({
  name: "messageDb",
  role: "peer",
  open: async (place) => {
    const pool = await openPool(place, poolSizeDefault)
    await load(pool)
    const pass = async (): Promise<Pass> => {
      let position = 1
      let events = 0
      let amountSum = 0
      for (;;) {
        const page = await pool.query<Row>({
          name: "get_category_messages",
          text: "SELECT * FROM get_category_messages('account', $1, $2)",
          values: [position, pageRows]
        })
        for (const row of page.rows) {
          const event = toEvent(row)
          events++
          amountSum += event.data.amount
          position = event.globalPosition + 1
        }
        if (page.rows.length < pageRows) return { events, amountSum }
      }
    }
    return { drive: driveCalls(checkedPass(pass)), close: () => pool.end() }
  }
})

// ---- internal ----

/**
 * Connections. The category's lock lets one write at a time, the others are on their way: from 2 to 32
 * nothing stood out of the noise.
 */
const poolSizeDefault = 16

/** Rows of one page. 1 000, its default: 61 000 events/s; 5 000: 69 000; 20 000: 52 000. */
const pageRowsDefault = 5000

interface Row {
  readonly id: string
  readonly stream_name: string
  readonly type: string
  readonly position: string
  readonly global_position: string
  readonly data: string
  readonly metadata: string | null
  readonly time: unknown
}

const toEvent = (row: Row) => ({
  id: row.id,
  streamName: row.stream_name,
  type: row.type,
  position: Number(row.position),
  globalPosition: Number(row.global_position),
  data: JSON.parse(row.data) as Payload,
  metadata: row.metadata === null ? null : (JSON.parse(row.metadata) as unknown),
  time: row.time
})

/** The order of its own `install.sh`; roles, privileges and reporting views are left out. */
const installOrder = ["schema", "extensions", "tables", "types", "functions", "indexes"]

const openPool = async (place: Place, poolSize: number): Promise<pg.Pool> => {
  const connectionString = await place.database()
  const folder = dirname(createRequire(import.meta.url).resolve("@eventide/message-db/package.json"))
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    await client.query("SET search_path TO message_store, public")
    for (const part of installOrder) {
      const files = await readdir(join(folder, "database", part))
      for (const file of files.filter((name) => name.endsWith(".sql"))) {
        const sql = await readFile(join(folder, "database", part, file), "utf8")
        const installed = client.query(sql)
        await (part === "extensions" ? installed.catch(() => {}) : installed)
      }
    }
  } finally {
    await client.end()
  }
  const pool = new pg.Pool({
    connectionString,
    max: poolSize,
    options: "-c search_path=message_store,public"
  })
  pool.on("error", () => {})
  return pool
}

const emptying = (pool: pg.Pool) => ({
  reset: async () => {
    await pool.query("TRUNCATE messages RESTART IDENTITY")
  },
  count: async () => {
    const result = await pool.query<{ count: string }>("SELECT count(*) FROM messages")
    return Number(result.rows[0]?.count)
  },
  close: () => pool.end()
})

/** Filled in the server by its own `write_message`; the data of message i is `payload(i)`. */
const load = async (pool: pg.Pool): Promise<void> => {
  const [head, tail] = JSON.stringify(payload(0)).split(`"sequence":100000,"amount":10`)
  await pool.query(
    `SELECT count(write_message(gen_random_uuid()::varchar, 'account-' || i % $1, $2,
       ($3 || '"sequence":' || 100000 + i % 900000 || ',"amount":' || 10 + i % 90 || $4)::jsonb))
     FROM generate_series(0, $5::bigint - 1) AS i`,
    [readStreams, eventType, head, tail, readEvents]
  )
  await pool.query("VACUUM ANALYZE messages")
}
