/**
 * What an exactly-once fold costs at least on Postgres: one connection and a transaction a page, in which the page is
 * read and folded in memory, the rows that it touches are loaded and written back by one statement each, and one
 * number is the cursor. No lease, no versions of streams, nobody else could take over.
 */
import pg from "pg"
import type { Contestant, Role } from "../contestant.js"
import { addAmount, foldedEvents, foldingSession, noEvents, plainFold } from "../folding.js"
import type { Total } from "../folding.js"
import type { BareEvent } from "./pgStream.js"
import { loadBareLog, readPage } from "./pgStream.js"

interface Folder {
  readonly name: string
  readonly role: Role
  readonly pageRows: number
}

/** A loop over the log in its own order. */
export const pgFold = ({ name, pageRows, role }: Folder): Contestant => ({
  name,
  role,
  open: async (place) => {
    const events = foldedEvents(place.quick)
    const client = new pg.Client({ connectionString: await place.database() })
    await client.connect()
    await loadBareLog(client, events)
    await client.query("CREATE TABLE cursors (name text PRIMARY KEY, position bigint NOT NULL)")
    return foldingSession({
      events,
      expected: plainFold(events),
      catchUp: (model) => catchUp(client, model, pageRows),
      rows: async (model) => {
        const { rows } = await client.query<Row>({ text: `SELECT * FROM ${model}`, rowMode: "array" })
        return new Map(rows.map(toTotal))
      },
      drop: async (model) => {
        await client.query(`DROP TABLE ${model}`)
      },
      close: () => client.end()
    })
  }
})

/** Adds what a page says to the rows that it touches, of which `stored` holds those that are there. */
export const foldInto = (stored: Map<string, Total>, page: ReadonlyArray<BareEvent>): void => {
  for (const { data, streamId } of page) {
    stored.set(streamId, addAmount(stored.get(streamId) ?? noEvents, data.amount))
  }
}

// ---- internal ----

type Row = [string, string, string]

const toTotal = ([key, events, amountSum]: Row): [string, Total] => [
  key,
  { events: Number(events), amountSum: Number(amountSum) }
]

const catchUp = async (client: pg.Client, model: string, pageRows: number): Promise<void> => {
  await client.query(
    `CREATE TABLE ${model} (
       key text COLLATE "C" PRIMARY KEY, events bigint NOT NULL, amount_sum bigint NOT NULL)`
  )
  await client.query("INSERT INTO cursors VALUES ($1, 0)", [model])
  let after = 0
  for (;;) {
    await client.query("BEGIN")
    const page = await readPage(client, after, pageRows)
    if (page.length > 0) {
      after = page[page.length - 1]!.position
      await foldPage(client, model, page)
      await client.query({
        name: "cursor",
        text: "UPDATE cursors SET position = $2 WHERE name = $1",
        values: [model, after]
      })
    }
    await client.query("COMMIT")
    if (page.length < pageRows) return
  }
}

const foldPage = async (client: pg.Client, model: string, page: ReadonlyArray<BareEvent>): Promise<void> => {
  const keys = [...new Set(page.map(({ streamId }) => streamId))]
  const { rows } = await client.query<Row>({
    name: `load_${model}`,
    text: `SELECT key, events, amount_sum FROM ${model} WHERE key = ANY($1::text[])`,
    values: [keys],
    rowMode: "array"
  })
  const totals = new Map(rows.map(toTotal))
  foldInto(totals, page)
  const values = [...totals.values()]
  await client.query({
    name: `write_${model}`,
    text: `INSERT INTO ${model} SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
      ON CONFLICT (key) DO UPDATE SET events = excluded.events, amount_sum = excluded.amount_sum`,
    values: [[...totals.keys()], values.map(({ events }) => events), values.map(({ amountSum }) => amountSum)]
  })
}
