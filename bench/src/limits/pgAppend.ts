/**
 * What Postgres can take: the bare tables, written by the shortest loop through node-postgres.
 *
 * Named statements, so that each is parsed once. Array literals are put together by hand: node-postgres's own
 * encoder costs a sixth. Events of a batch go as one JSON array (`json_array_elements`), which saves quoting every
 * payload twice: 76 000 against 64 000 events/s at 1 000 rows a statement, no difference at 100.
 * Multi-row VALUES was never faster than `unnest` (51 000 against 55 000 at 100 rows).
 */
import pg from "pg"
import { pgReset, pgSchema } from "../bareSchema.js"
import type { Contestant, Place, Role, Session } from "../contestant.js"
import { driveCalls } from "../drive.js"
import type { Call } from "../drive.js"
import { eventId, eventType, payload, streamName } from "../payload.js"

/** One call of one SQL function per event. */
export const pgAppendOne: Contestant = {
  name: "limit",
  role: "limit",
  open: (place) =>
    openPg(place, 1, ([client]) => {
      let next = 0
      return driveCalls(async () => {
        await client.query({
          name: "append_one",
          text: "SELECT append_one($1, $2, $3, $4, $5)",
          values: [streamName(0), eventType, eventId(), JSON.stringify(payload(next++)), vnode]
        })
        return 1
      })
    })
}

/** One INSERT of 100 rows into one stream per call. */
export const pgAppendHundred: Contestant = {
  name: "limit",
  role: "limit",
  open: (place) =>
    openPg(place, 1, ([client]) => {
      let next = 0
      return driveCalls(async () => {
        const versionBefore = next
        let ids = ""
        let data = ""
        for (let row = 0; row < 100; row++) {
          const comma = row === 0 ? "" : ","
          ids += comma + eventId()
          data += comma + JSON.stringify(JSON.stringify(payload(next++)))
        }
        await client.query({
          name: "append_hundred",
          text: `
            INSERT INTO events (stream_id, version, type, id, data, vnode)
            SELECT $1, $2::bigint + x.o, $3, x.i, x.d, $4::smallint
            FROM unnest($5::text[], $6::json[]) WITH ORDINALITY AS x (i, d, o)`,
          values: [streamName(0), versionBefore, eventType, vnode, `{${ids}}`, `{${data}}`]
        })
        return 100
      })
    })
}

interface Batches {
  readonly name: string
  readonly role: Role
  readonly streams: number
  /** Loops side by side, each on its own connection and its own streams. */
  readonly connections: number
  /** Puts the next batch together while the server works on this one. */
  readonly ahead: boolean
}

/** A loop of 1 000-row inserts into `streams` streams. */
export const pgAppendBatches = ({ ahead, connections, name, role, streams }: Batches): Contestant => ({
  name,
  role,
  open: (place) =>
    openPg(place, connections, (clients) => {
      const loops = clients.map((client, index): Call => {
        const own = Array.from({ length: streams }, (_, stream) => stream).filter(
          (n) => n % connections === index
        )
        const nextBatch = batches(own.map((stream) => streamName(stream)))
        let prepared: ReadonlyArray<string> | undefined
        return async () => {
          const values = prepared ?? nextBatch()
          const inserted = client.query({ name: "append_batch", text: insertBatch, values: [...values] })
          if (ahead) prepared = nextBatch()
          await inserted
          return batchRows
        }
      })
      return driveCalls((caller) => loops[caller]!(caller), { callers: connections })
    })
})

// ---- internal ----

/** Any bucket: computing it costs the limit nothing, since a stream's bucket never changes. */
const vnode = 7

const batchRows = 1000

const insertBatch = `
  INSERT INTO events (stream_id, version, type, id, data, vnode)
  SELECT x.s, x.v, x.t, x.i, x.d, x.n
  FROM ROWS FROM (
    unnest($1::text[]), unnest($2::bigint[]), unnest($3::text[]), unnest($4::text[]),
    json_array_elements($5::json), unnest($6::smallint[])
  ) AS x (s, v, t, i, d, n)`

const batches = (streams: ReadonlyArray<string>): (() => ReadonlyArray<string>) => {
  const versions = streams.map(() => 0)
  const types = `{${Array.from({ length: batchRows }, () => eventType).join(",")}}`
  const vnodes = `{${Array.from({ length: batchRows }, () => vnode).join(",")}}`
  let next = 0
  return () => {
    let streamIds = ""
    let streamVersions = ""
    let ids = ""
    let data = ""
    for (let row = 0; row < batchRows; row++) {
      const comma = row === 0 ? "" : ","
      const stream = next % streams.length
      streamIds += comma + streams[stream]!
      streamVersions += comma + ++versions[stream]!
      ids += comma + eventId()
      data += comma + JSON.stringify(payload(next++))
    }
    return [`{${streamIds}}`, `{${streamVersions}}`, types, `{${ids}}`, `[${data}]`, vnodes]
  }
}

/** Connections to an own database with the bare tables. The first also empties and counts them. */
const openPg = async (
  place: Place,
  connections: number,
  drive: (clients: [pg.Client, ...Array<pg.Client>]) => Session["drive"]
): Promise<Session> => {
  const connectionString = await place.database()
  const first = new pg.Client({ connectionString })
  const others = Array.from({ length: connections - 1 }, () => new pg.Client({ connectionString }))
  for (const client of [first, ...others]) await client.connect()
  await first.query(pgSchema)
  return {
    drive: drive([first, ...others]),
    reset: async () => {
      await first.query(pgReset)
    },
    count: async () => {
      const result = await first.query<{ count: string }>("SELECT count(*) FROM events")
      return Number(result.rows[0]?.count)
    },
    close: async () => {
      for (const client of [first, ...others]) await client.end()
    }
  }
}
