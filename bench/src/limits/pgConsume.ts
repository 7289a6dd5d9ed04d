/**
 * What it costs at least to hand every event of a log to a function: keyset pages by position, rows as text,
 * `JSON.parse`. No cursor is saved, nothing is leased, nobody else could take over.
 */
import pg from "pg"
import type { Contestant, Role } from "../contestant.js"
import { driveCalls } from "../drive.js"
import type { Payload } from "../payload.js"
import { checkedPass } from "../readCheck.js"
import type { Pass } from "../readCheck.js"
import { catchUpEvents } from "../subscribing.js"
import { loadBareLog, readPages } from "./pgStream.js"

interface Consumer {
  readonly name: string
  readonly role: Role
  /** `event`: an object with every field that a handler is given. `data`: position and data, and nothing else. */
  readonly reads: "event" | "data"
}

/** A loop over the log in its own order. */
export const pgConsume = ({ name, reads, role }: Consumer): Contestant => ({
  name,
  role,
  open: async (place) => {
    const events = catchUpEvents(place.quick)
    const client = new pg.Client({ connectionString: await place.database() })
    await client.connect()
    await loadBareLog(client, events)
    const consume = reads === "event" ? consumeEvents : consumeData
    return {
      drive: driveCalls(checkedPass(() => consume(client), events)),
      close: () => client.end()
    }
  }
})

// ---- internal ----

/** The best of 500 to 10 000: see `pgStream.ts`. */
const pageRows = 2000

const consumeEvents = async (client: pg.Client): Promise<Pass> => {
  let events = 0
  let amountSum = 0
  await readPages(client, false, pageRows, (page) => {
    for (const event of page) {
      events++
      amountSum += event.data.amount
    }
    return true
  })
  return { events, amountSum }
}

const selectData = `
  SELECT position, data::text
  FROM events
  WHERE position > $1
  ORDER BY position
  LIMIT $2`

const consumeData = async (client: pg.Client): Promise<Pass> => {
  let events = 0
  let amountSum = 0
  let after = "0"
  for (;;) {
    const { rows } = await client.query<[string, string]>({
      name: "data",
      text: selectData,
      values: [after, String(pageRows)],
      rowMode: "array"
    })
    for (const row of rows) {
      events++
      amountSum += (JSON.parse(row[1]) as Payload).amount
    }
    const last = rows[rows.length - 1]
    if (last === undefined || rows.length < pageRows) return { events, amountSum }
    after = last[0]
  }
}
