/**
 * Emmett 0.42 on Postgres, through its public API: `getPostgreSQLEventStore`, `appendToStream`,
 * `readMessagesBatch`.
 *
 * Its schema is migrated before the measurement. It keeps its own node-postgres pool, as large as served it best
 * here. Appends pass no expected version, like those of all contestants. Stream names are `category-id`.
 */
import { dumbo, setNodePostgresTypeParser } from "@event-driven-io/dumbo"
import type { Event } from "@event-driven-io/emmett"
import { getPostgreSQLEventStore, readMessagesBatch } from "@event-driven-io/emmett-postgresql"
import type { PostgresEventStore, PostgresEventStoreOptions } from "@event-driven-io/emmett-postgresql"
import pg from "pg"
import type { Contestant, Place } from "../contestant.js"
import { driveCalls } from "../drive.js"
import { payload, streamName } from "../payload.js"
import type { Payload } from "../payload.js"
import { checkedPass, readEvents, readStreams } from "../readCheck.js"
import type { Pass } from "../readCheck.js"

export type Deposited = Event<
  "Deposited",
  { sequence: number; amount: number; account: string; note: string }
>

/** `events` a call, each caller on its own stream. */
export const emmettAppend = (events: number, poolSize = poolSizeDefault): Contestant => ({
  name: "emmett",
  role: "peer",
  open: async (place) => {
    const { count, pool, store } = await openStore(place, poolSize)
    let next = 0
    return {
      drive: driveCalls(async (caller) => {
        await store.appendToStream(streamName(caller, "-"), someEvents(next, events))
        next += events
        return events
      }),
      reset: () => store.schema.dangerous.truncate({ resetSequences: true }),
      count,
      close: () => close(store, pool)
    }
  }
})

/** Pages of the log by `readMessagesBatch`, what Emmett's own consumers read it with. */
export const emmettStream = (pageRows = pageRowsDefault): Contestant => ({
  name: "emmett",
  role: "peer",
  open: async (place) => {
    const { connectionString, pool, store } = await openStore(place)
    await load(store)
    await pool.query("VACUUM ANALYZE")
    const reader = dumbo({ connectionString, pool })
    return {
      drive: driveCalls(
        checkedPass(async (): Promise<Pass> => {
          let after = 0n
          let events = 0
          let amountSum = 0
          for (;;) {
            const page = await readMessagesBatch<Deposited>(reader.execute, { after, batchSize: pageRows })
            for (const message of page.messages) {
              events++
              amountSum += message.data.amount
            }
            after = page.currentGlobalPosition
            if (!page.areMessagesLeft) return { events, amountSum }
          }
        })
      ),
      close: () => close(store, pool)
    }
  }
})

// ---- what all contestants of Emmett use ----

/** An empty store with its own pool, and with inline projections where they are given. */
export const openStore = async (
  place: Place,
  poolSize = poolSizeDefault,
  projections: PostgresEventStoreOptions["projections"] = []
) => {
  const connectionString = await place.database()
  const pool = new pg.Pool({ connectionString, max: poolSize, types: emmettTypes })
  pool.on("error", () => {})
  const store = getPostgreSQLEventStore(connectionString, { connectionOptions: { pool }, projections })
  await store.schema.migrate()
  return {
    connectionString,
    pool,
    store,
    count: async () => {
      const result = await pool.query<{ count: string }>("SELECT count(*) FROM emt_messages")
      return Number(result.rows[0]?.count)
    }
  }
}

export const close = async (store: PostgresEventStore, pool: pg.Pool): Promise<void> => {
  await store.close()
  await pool.end()
}

/**
 * Every event of the reading cases (`events`: a multiple of their streams), stream by stream since one append is one stream, and by one writer: pages of
 * `readMessagesBatch` are sorted by transaction but continue after a position, so that of what concurrent writers
 * stored it skips some (208 of 200 000 with four writers).
 */
export const load = async (store: PostgresEventStore, events = readEvents): Promise<void> => {
  const perStream = events / readStreams
  for (let stream = 0; stream < readStreams; stream++) {
    const ofStream = Array.from({ length: perStream }, (_, version): Deposited => {
      const data: Payload = payload(version * readStreams + stream)
      return { type: "Deposited", data: { ...data } }
    })
    await store.appendToStream(streamName(stream, "-"), ofStream)
  }
}

// ---- internal ----

/** Connections. Of 4, 8, 16 and 32 the fastest for 32 callers; `cases.ts` gives 256 callers 32, the fastest there. */
const poolSizeDefault = 16

/**
 * Rows of one page. Every page sorts the whole log, since no index has its order, so that small pages (the default of
 * its consumers is 100) read in quadratic time: 36 000 events/s with 10 000, 55 000 with 50 000, 66 000 with
 * everything in one page, which no reader of a growing log can ask for.
 */
const pageRowsDefault = 50_000

/**
 * Emmett's dumbo replaces node-postgres's parsers of bigint, json and jsonb for the whole process. Here its own pool
 * gets them and everyone else keeps the driver's: no contestant's rows may be decoded by another's code.
 */
const emmettTypes = ((): pg.CustomTypesConfig => {
  const oids = [pg.types.builtins.INT8, pg.types.builtins.JSON, pg.types.builtins.JSONB]
  const parsers = () =>
    new Map<number, (text: string) => unknown>(oids.map((oid) => [oid, pg.types.getTypeParser(oid)]))
  const original = parsers()
  setNodePostgresTypeParser()
  const emmetts = parsers()
  for (const [oid, parser] of original) pg.types.setTypeParser(oid, parser)
  return {
    getTypeParser: (oid: number, format?: "text" | "binary") =>
      (format === "binary" ? undefined : emmetts.get(oid)) ?? pg.types.getTypeParser(oid, format as "text")
  } as pg.CustomTypesConfig
})()

const someEvents = (first: number, count: number): Array<Deposited> =>
  Array.from({ length: count }, (_, index) => ({ type: "Deposited", data: { ...payload(first + index) } }))
