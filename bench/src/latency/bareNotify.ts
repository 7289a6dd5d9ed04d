/** LISTEN and NOTIFY and nothing else: no event is stored, none is read; the number travels with the notification. */
import pg from "pg"
import type { Way } from "./protocol.js"

export const way: Way = {
  prepare: async () => {},
  sender: async (url) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    return {
      send: async (sequence) => {
        await client.query({
          name: "notify",
          text: "SELECT pg_notify('bench', $1)",
          values: [String(sequence)]
        })
      },
      close: () => client.end()
    }
  },
  listener: async (url, handled) => {
    const client = new pg.Client({ connectionString: url })
    client.on("notification", ({ payload }) => handled(Number(payload)))
    await client.connect()
    await client.query("LISTEN bench")
    return { close: () => client.end() }
  }
}
