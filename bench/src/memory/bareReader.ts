/** The bare keyset loop of `pg-stream`, as a process of its own: what node-postgres alone takes of memory. */
import pg from "pg"
import { readPages } from "../limits/pgStream.js"
import type { MemoryReader } from "./childProtocol.js"

/** Smaller pages than the fastest: 500 rows take a tenth less memory than 2 000, fewer no less. */
const pageRows = 500

export const reader: MemoryReader = {
  open: async (target) => {
    const client = new pg.Client({ connectionString: target })
    await client.connect()
    return {
      read: async (eventsMax, seen) => {
        let left = eventsMax
        await readPages(client, false, pageRows, (events) => {
          seen(Math.min(left, events.length))
          left -= events.length
          return left > 0
        })
      },
      close: () => client.end()
    }
  }
}
