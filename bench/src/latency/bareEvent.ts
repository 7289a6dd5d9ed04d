/** The same with an event: it is stored by one statement that also notifies, and read by the one who hears of it. */
import pg from "pg"
import { pgSchema } from "../bareSchema.js"
import { eventId, eventType, payload, streamName } from "../payload.js"
import type { Payload } from "../payload.js"
import type { Way } from "./protocol.js"

/** What a payload's number begins with. */
const sequenceBase = payload(0).sequence

export const way: Way = {
  prepare: async (url) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.query(pgSchema)
    await client.end()
  },
  sender: async (url) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    return {
      send: async (sequence) => {
        await client.query({
          name: "append",
          text: "SELECT append_one($1, $2, $3, $4, 7::smallint), pg_notify('bench', '')",
          values: [streamName(0), eventType, eventId(), JSON.stringify(payload(sequence))]
        })
      },
      close: () => client.end()
    }
  },
  listener: async (url, handled) => {
    const client = new pg.Client({ connectionString: url })
    let after = "0"
    let reading = Promise.resolve()
    const read = async (): Promise<void> => {
      const { rows } = await client.query<[string, string]>({
        name: "after",
        text: "SELECT position, data::text FROM events WHERE position > $1 ORDER BY position LIMIT 300",
        values: [after],
        rowMode: "array"
      })
      for (const [position, data] of rows) {
        after = position
        handled((JSON.parse(data) as Payload).sequence - sequenceBase)
      }
    }
    client.on("notification", () => {
      reading = reading.then(read)
    })
    await client.connect()
    await client.query("LISTEN bench")
    return {
      close: async () => {
        await reading
        await client.end()
      }
    }
  }
}
