/**
 * What an exactly-once fold from a Postgres log into a SQLite file costs at least: keyset pages, folded in memory,
 * and for each page one transaction of better-sqlite3 with a prepared select and a prepared upsert a touched row, and
 * one number as the cursor. WAL and `synchronous = FULL`, like Millrace's own files.
 */
import Database from "better-sqlite3"
import { join } from "node:path"
import pg from "pg"
import type { Contestant, Role } from "../contestant.js"
import { foldedEvents, foldingSession, plainFold } from "../folding.js"
import type { Total } from "../folding.js"
import { foldInto } from "./pgFold.js"
import { loadBareLog, readPage } from "./pgStream.js"
import type { BareEvent } from "./pgStream.js"

interface Folder {
  readonly name: string
  readonly role: Role
  readonly pageRows: number
}

/** A loop over the log in its own order, into a file for each model. */
export const sqliteFold = ({ name, pageRows, role }: Folder): Contestant => ({
  name,
  role,
  open: async (place) => {
    const events = foldedEvents(place.quick)
    const client = new pg.Client({ connectionString: await place.database() })
    await client.connect()
    await loadBareLog(client, events)
    const folder = await place.folder()
    const files = new Map<string, Database.Database>()
    return foldingSession({
      events,
      expected: plainFold(events),
      catchUp: async (model) => {
        const database = openModel(join(folder, `${model}.db`))
        files.set(model, database)
        await catchUp(client, database, pageRows)
      },
      rows: async (model) => {
        const rows = files.get(model)!.prepare<[], KeyedTotal>("SELECT * FROM totals").all()
        return new Map(rows.map(({ amountSum, events, key }) => [key, { amountSum, events }]))
      },
      drop: async (model) => {
        files.get(model)!.close()
        files.delete(model)
      },
      close: async () => {
        for (const database of files.values()) database.close()
        await client.end()
      }
    })
  }
})

// ---- internal ----

type KeyedTotal = Total & { readonly key: string }

const openModel = (filename: string): Database.Database => {
  const database = new Database(filename)
  database.pragma("journal_mode = WAL")
  database.pragma("synchronous = FULL")
  database.exec(`
    CREATE TABLE totals (key TEXT NOT NULL PRIMARY KEY, events INTEGER NOT NULL, amountSum INTEGER NOT NULL);
    CREATE TABLE cursors (position INTEGER NOT NULL);
    INSERT INTO cursors VALUES (0);
  `)
  return database
}

const catchUp = async (client: pg.Client, database: Database.Database, pageRows: number): Promise<void> => {
  const load = database.prepare<[string], Total>("SELECT events, amountSum FROM totals WHERE key = ?")
  const write = database.prepare<[string, number, number]>(
    `INSERT INTO totals VALUES (?, ?, ?)
     ON CONFLICT (key) DO UPDATE SET events = excluded.events, amountSum = excluded.amountSum`
  )
  const move = database.prepare<[number]>("UPDATE cursors SET position = ?")
  const foldPage = database.transaction((page: ReadonlyArray<BareEvent>, reached: number) => {
    const totals = new Map<string, Total>()
    for (const key of new Set(page.map(({ streamId }) => streamId))) {
      const row = load.get(key)
      if (row !== undefined) totals.set(key, row)
    }
    foldInto(totals, page)
    for (const [key, { amountSum, events }] of totals) write.run(key, events, amountSum)
    move.run(reached)
  })
  let after = 0
  for (;;) {
    const page = await readPage(client, after, pageRows)
    if (page.length > 0) {
      after = page[page.length - 1]!.position
      foldPage.immediate(page, after)
    }
    if (page.length < pageRows) return
  }
}
