/**
 * What SQLite can take: better-sqlite3 and prepared statements on the bare tables, WAL, `synchronous = FULL`.
 */
import Database from "better-sqlite3"
import { join } from "node:path"
import { sqliteSchema } from "../bareSchema.js"
import type { Contestant, Place, Session } from "../contestant.js"
import { driveCalls } from "../drive.js"
import type { Call } from "../drive.js"
import { eventId, eventType, payload, streamName } from "../payload.js"
import type { Payload } from "../payload.js"
import { checkedPass, readEvents, readStreams } from "../readCheck.js"
import type { Pass } from "../readCheck.js"

/** One transaction of 100 inserts into one stream per call. */
export const sqliteAppendHundred: Contestant = {
  name: "limit",
  role: "limit",
  open: (place) =>
    openAppending(place, (database) => {
      const insert = database.prepare(insertEvent)
      let version = 0
      const append = database.transaction(() => {
        const nowMs = Date.now()
        for (let row = 0; row < 100; row++) {
          version++
          insert.run(
            streamName(0),
            version,
            eventType,
            eventId(),
            JSON.stringify(payload(version)),
            vnode,
            nowMs
          )
        }
      })
      return () => {
        append.immediate()
        return 100
      }
    })
}

/** One insert and one commit per call: SQLite has one writer, so more callers would only wait for each other. */
export const sqliteAppendOne: Contestant = {
  name: "limit",
  role: "limit",
  open: (place) =>
    openAppending(place, (database) => {
      const insert = database.prepare(insertEvent)
      const versions = Array.from({ length: 32 }, () => 0)
      let next = 0
      return () => {
        const stream = next % 32
        const version = ++versions[stream]!
        const data = JSON.stringify(payload(next++))
        insert.run(streamName(stream), version, eventType, eventId(), data, vnode, Date.now())
        return 1
      }
    })
}

/** Keyset pages of 200 000 events, decoded to objects. */
export const sqliteStreamBare = (pageRows = pageRowsDefault): Contestant => ({
  name: "limit",
  role: "limit",
  open: async (place) => {
    const database = openDatabase(join(await place.folder(), "limit.db"))
    const insert = database.prepare(insertEvent)
    database.transaction(() => {
      for (let index = 0; index < readEvents; index++) {
        const version = Math.floor(index / readStreams) + 1
        const data = JSON.stringify(payload(index))
        insert.run(streamName(index % readStreams), version, eventType, eventId(), data, vnode, Date.now())
      }
    })()
    database.pragma("wal_checkpoint(TRUNCATE)")
    return {
      drive: driveCalls(
        checkedPass(() => readAll(database, pageRows)),
        { callers: 1 }
      ),
      close: closing(database)
    }
  }
})

// ---- internal ----

const vnode = 7

/** Rows of one page. 100: 188 000 events/s; 500: 197 000; 1 000: 242 000; 2 000: 245 000; 10 000: 220 000. */
const pageRowsDefault = 2000

const insertEvent = `
  INSERT INTO events (stream_id, version, type, id, data, vnode, recorded_at)
  VALUES (?, ?, ?, ?, ?, ?, ?)`

const selectPage = `
  SELECT position, stream_id, version, type, id, data, metadata, tags, recorded_at
  FROM events
  WHERE position > ? AND archived = 0
  ORDER BY position
  LIMIT ?`

type Row = [number, string, number, string, string, string, string | null, string | null, number]

const toEvent = (row: Row) => ({
  position: row[0],
  streamId: row[1],
  version: row[2],
  type: row[3],
  id: row[4],
  data: JSON.parse(row[5]) as Payload,
  metadata: row[6] === null ? null : (JSON.parse(row[6]) as unknown),
  tags: row[7],
  recordedAtMs: row[8]
})

const readAll = (database: Database.Database, pageRows: number): Pass => {
  const page = database.prepare<[number, number], Row>(selectPage).raw()
  let events = 0
  let amountSum = 0
  let after = 0
  for (;;) {
    const rows = page.all(after, pageRows)
    for (const row of rows) {
      const event = toEvent(row)
      events++
      amountSum += event.data.amount
      after = event.position
    }
    if (rows.length < pageRows) return { events, amountSum }
  }
}

const openDatabase = (filename: string): Database.Database => {
  const database = new Database(filename)
  database.pragma("journal_mode = WAL")
  database.pragma("synchronous = FULL")
  database.exec(sqliteSchema)
  return database
}

const closing = (database: Database.Database) => async (): Promise<void> => {
  database.close()
}

/** A new file for every turn. */
const openAppending = async (
  place: Place,
  append: (database: Database.Database) => Call
): Promise<Session> => {
  let database = openDatabase(join(await place.folder(), "limit.db"))
  let call = append(database)
  return {
    drive: driveCalls((caller) => call(caller), { callers: 1 }),
    reset: async () => {
      database.close()
      database = openDatabase(join(await place.folder(), "limit.db"))
      call = append(database)
    },
    count: async () => database.prepare<[], number>("SELECT count(*) FROM events").pluck().get() ?? 0,
    close: () => closing(database)()
  }
}
