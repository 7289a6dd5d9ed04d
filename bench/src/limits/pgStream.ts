/**
 * What reading a log out of Postgres costs at least: keyset pages, rows as arrays of text, `JSON.parse`, one
 * object an event with every field that a reader of an event store gets.
 */
import pg from "pg"
import { pgSchema } from "../bareSchema.js"
import type { Contestant, Role } from "../contestant.js"
import { driveCalls } from "../drive.js"
import { eventType, payload } from "../payload.js"
import type { Payload } from "../payload.js"
import { checkedPass, readEvents, readStreams } from "../readCheck.js"
import type { Pass } from "../readCheck.js"

interface Reader {
  readonly name: string
  readonly role: Role
  /** Asks for the next page before it decodes this one. */
  readonly ahead: boolean
  readonly pageRows?: number
}

/** A loop of keyset pages over 200 000 events. */
export const pgStreamBare = ({ ahead, name, pageRows = pageRowsDefault, role }: Reader): Contestant => ({
  name,
  role,
  open: async (place) => {
    const client = new pg.Client({ connectionString: await place.database() })
    await client.connect()
    await loadBareLog(client, readEvents)
    return {
      drive: driveCalls(checkedPass(() => readAll(client, ahead, pageRows))),
      close: () => client.end()
    }
  }
})

/** Fills the bare tables in the server: the payload of event i is `payload(i)`. */
export const loadBareLog = async (client: pg.Client, events: number): Promise<void> => {
  await client.query(pgSchema)
  const template = JSON.stringify(payload(0))
  const [head, tail] = template.split(`"sequence":100000,"amount":10`)
  await client.query(
    `INSERT INTO events (stream_id, version, type, id, data, vnode)
     SELECT 'account/' || i % $1, i / $1 + 1, $2, to_char(i, 'FM00000000000000000000000000'),
       ($3 || '"sequence":' || 100000 + i % 900000 || ',"amount":' || 10 + i % 90 || $4)::json, 7
     FROM generate_series(0, $5::bigint - 1) AS i`,
    [readStreams, eventType, head, tail, events]
  )
  await client.query("VACUUM ANALYZE events")
}

/** Reads the log page by page until `onPage` says false or the log ends. */
export const readPages = async (
  client: pg.Client,
  ahead: boolean,
  pageRows: number,
  onPage: (events: ReadonlyArray<BareEvent>) => boolean
): Promise<void> => {
  const page = (after: string) => selectRows(client, after, pageRows)
  let pending = page("0")
  for (;;) {
    const { rows } = await pending
    const last = rows[rows.length - 1]
    if (last === undefined) return
    const full = rows.length === pageRows
    if (ahead && full) pending = page(last[0])
    if (!onPage(rows.map(toEvent)) || !full) break
    if (!ahead) pending = page(last[0])
  }
  await pending
}

/** The next page, for loops that do something else between two of them. */
export const readPage = async (
  client: pg.Client,
  after: number,
  pageRows: number
): Promise<ReadonlyArray<BareEvent>> => {
  const { rows } = await selectRows(client, String(after), pageRows)
  return rows.map(toEvent)
}

// ---- internal ----

const selectRows = (client: pg.Client, after: string, pageRows: number): Promise<pg.QueryArrayResult<Row>> =>
  client.query<Row>({
    name: "page",
    text: selectPage,
    values: [after, String(pageRows)],
    rowMode: "array",
    types: textOnly
  })

/** Rows of one page. 500: 61 000 events/s; 1 000: 72 000; 2 000: 96 000; 5 000: 84 000; 10 000: 98 000. */
const pageRowsDefault = 2000

const selectPage = `
  SELECT position, stream_id, version, type, id, data, metadata, tags,
    (extract(epoch FROM recorded_at) * 1000)::bigint
  FROM events
  WHERE position > $1 AND NOT archived
  ORDER BY position
  LIMIT $2`

/** Columns stay text: what has to be a number or an object is made one by the loop. */
const textOnly = { getTypeParser: () => (text: string) => text } as unknown as pg.CustomTypesConfig

type Row = [string, string, string, string, string, string, string | null, string | null, string]

export interface BareEvent {
  readonly position: number
  readonly streamId: string
  readonly version: number
  readonly type: string
  readonly id: string
  readonly data: Payload
  readonly metadata: unknown
  readonly tags: string | null
  readonly recordedAtMs: number
}

const toEvent = (row: Row): BareEvent => ({
  position: Number(row[0]),
  streamId: row[1],
  version: Number(row[2]),
  type: row[3],
  id: row[4],
  data: JSON.parse(row[5]) as Payload,
  metadata: row[6] === null ? null : JSON.parse(row[6]),
  tags: row[7],
  recordedAtMs: Number(row[8])
})

const readAll = async (client: pg.Client, ahead: boolean, pageRows: number): Promise<Pass> => {
  let events = 0
  let amountSum = 0
  await readPages(client, ahead, pageRows, (page) => {
    for (const event of page) {
      events++
      amountSum += event.data.amount
    }
    return true
  })
  return { events, amountSum }
}
