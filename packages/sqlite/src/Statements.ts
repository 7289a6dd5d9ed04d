/**
 * Every SQL text that writes, one function each, in the order in which a write uses them. What readers ask
 * stands in `ReadStatements.ts`.
 *
 * A statement that inserts several rows says OR FAIL: without it SQLite copies every page that it touches
 * into a journal of its own, to undo the statement alone, which doubles its cost (100 events a transaction,
 * synchronous OFF: 2.2 ms against 1.1 ms). Nothing needs that, since whoever runs these statements rolls back
 * everything when one fails.
 */
import type { Query, SqliteSession } from "./SqliteSession.js"

/** Rows in one INSERT. Few sizes, so that each stays prepared; more than 64 rows at once gain nothing. */
const chunkRows = [64, 16, 4, 1]

/** An INSERT of any number of rows, whose columns stand one after the other in one list of values. */
class Insert {
  private readonly texts = new Map<number, string>()
  constructor(
    private readonly head: string,
    private readonly columns: number,
    private readonly tail = ""
  ) {}

  run(session: SqliteSession, values: ReadonlyArray<unknown>): void {
    let left = values.length / this.columns
    let start = 0
    for (const rows of chunkRows) {
      for (; left >= rows; left -= rows) {
        const end = start + rows * this.columns
        session.run(this.text(rows), left === rows && start === 0 ? values : values.slice(start, end))
        start = end
      }
    }
  }

  private text(rows: number): string {
    let text = this.texts.get(rows)
    if (text === undefined) {
      const row = `(${Array(this.columns).fill("?").join(", ")})`
      text = `${this.head} VALUES ${Array(rows).fill(row).join(", ")}${this.tail}`
      this.texts.set(rows, text)
    }
    return text
  }
}

/** The newest position ever given out. */
export const head = (session: SqliteSession): number =>
  session.rows<readonly [head: number]>("SELECT head FROM millrace_log")[0]![0]

/** A row of {@link streams}. */
export type StreamRow = readonly [
  streamId: string,
  version: number,
  baseVersion: number,
  routingKey: string | null,
  tombstoned: 0 | 1
]

/** Those of the streams that exist. */
export const streams = (
  session: SqliteSession,
  streamIds: ReadonlyArray<string>
): ReadonlyArray<StreamRow> =>
  streamIds.length === 1
    ? session.rows(
        `SELECT stream_id, version, base_version, routing_key, tombstoned
         FROM millrace_streams WHERE stream_id = ?`,
        streamIds
      )
    : session.rows(
        `SELECT stream_id, version, base_version, routing_key, tombstoned
         FROM millrace_streams WHERE stream_id IN (SELECT value FROM json_each(?))`,
        [JSON.stringify(streamIds)]
      )

/** A row of {@link eventsById}. */
export type IdRow = readonly [id: string, streamId: string, version: number, position: number]

/** Those of the events that exist. */
export const eventsById = (session: SqliteSession, ids: ReadonlyArray<string>): ReadonlyArray<IdRow> =>
  session.rows(
    `SELECT id, stream_id, version, position
     FROM millrace_events WHERE id IN (SELECT value FROM json_each(?))`,
    [JSON.stringify(ids)]
  )

/** A row of {@link lease}. */
export type LeaseRow = readonly [
  epoch: number,
  cursorEpoch: number,
  workerId: string | null,
  expiresAtMs: number
]

/** The newest lease of a key, if there ever was one. */
export const lease = (session: SqliteSession, key: string): LeaseRow | undefined =>
  session.rows<LeaseRow>(
    `SELECT l.epoch, c.epoch, l.worker_id, l.expires_at
     FROM millrace_leases AS l JOIN millrace_cursors AS c ON c.key = l.key
     WHERE l.key = ?`,
    [key]
  )[0]

const insertEvents = new Insert(
  `INSERT OR FAIL INTO millrace_events
     (position, stream_id, version, type, vnode, routing_key, recorded_at, id, tags, metadata, data)`,
  11
)

/** Inserts events: the eleven columns of each row one after the other. */
export const addEvents = (session: SqliteSession, values: ReadonlyArray<unknown>): void =>
  insertEvents.run(session, values)

const insertTags = new Insert(`INSERT OR FAIL INTO millrace_event_tags (tag, position)`, 2)

/** Inserts tags: `tag, position` of each row one after the other. */
export const addTags = (session: SqliteSession, values: ReadonlyArray<unknown>): void =>
  insertTags.run(session, values)

const upsertStreams = new Insert(
  `INSERT OR FAIL INTO millrace_streams (stream_id, version, routing_key)`,
  3,
  ` ON CONFLICT (stream_id) DO UPDATE SET version = excluded.version`
)

/** Inserts streams, or moves their versions: `stream_id, version, routing_key` of each row one after the other. */
export const moveStreams = (session: SqliteSession, values: ReadonlyArray<unknown>): void =>
  upsertStreams.run(session, values)

/** Moves the head. */
export const moveHead = (session: SqliteSession, position: number): number =>
  session.run("UPDATE millrace_log SET head = ?", [position])

/** Version of one stream, 0 when it was never written. */
export const streamVersion = (session: SqliteSession, streamId: string): number => {
  const rows = session.rows<readonly [version: number]>(
    "SELECT version FROM millrace_streams WHERE stream_id = ?",
    [streamId]
  )
  return rows[0]?.[0] ?? 0
}

// ---- maintenance: what changes events. Only between these two, or the triggers refuse it ----

/** Lets the store change events. What is removed until the end is overwritten in the file, too. */
export const beginMaintenance = (session: SqliteSession): void => {
  session.rows("PRAGMA secure_delete = ON")
  session.run("UPDATE millrace_log SET maintenance = 1")
}

/** Closes what {@link beginMaintenance} opened. */
export const endMaintenance = (session: SqliteSession): void => {
  session.run("UPDATE millrace_log SET maintenance = 0")
  session.rows("PRAGMA secure_delete = OFF")
}

/** Removes the tags of a stream's events; before the events, whose tags it looks up. */
export const removeTags = (session: SqliteSession, streamId: string): number =>
  session.run(
    `DELETE FROM millrace_event_tags WHERE (tag, position) IN (
       SELECT tags.value, e.position
       FROM millrace_events AS e, json_each(e.tags) AS tags
       WHERE e.stream_id = ? AND e.tags IS NOT NULL
     )`,
    [streamId]
  )

/** Removes the events of a stream. Returns their number. */
export const removeEvents = (session: SqliteSession, streamId: string): number =>
  session.run("DELETE FROM millrace_events WHERE stream_id = ?", [streamId])

/** Marks where a stream stood when its events went, and whether it is closed for good. */
export const markDeleted = (session: SqliteSession, streamId: string, tombstone: boolean): number =>
  session.run(
    `INSERT INTO millrace_streams (stream_id, version, tombstoned) VALUES (?, 0, ?)
     ON CONFLICT (stream_id) DO UPDATE
       SET base_version = version, tombstoned = max(tombstoned, excluded.tombstoned)`,
    [streamId, tombstone ? 1 : 0]
  )

/** Removes the snapshots of a stream. */
export const removeSnapshots = (session: SqliteSession, streamId: string): number =>
  session.run("DELETE FROM millrace_snapshots WHERE stream_id = ?", [streamId])

/** Takes a stream's events out of reads of the log. Returns the number of those that were in it. */
export const archiveEvents = (session: SqliteSession, streamId: string): number =>
  session.run("UPDATE millrace_events SET archived = 1 WHERE stream_id = ? AND archived = 0", [streamId])

/** Removes the snapshots of every stream that has one of the events; `positions` gives their positions. */
export const removeSnapshotsOf = (session: SqliteSession, positions: Query): number =>
  session.run(
    `DELETE FROM millrace_snapshots WHERE stream_id IN (
       SELECT stream_id FROM millrace_events WHERE position IN (${positions.sql})
     )`,
    positions.params
  )

/** Replaces the data of events; `positions` gives their positions. Returns their number. */
export const eraseEvents = (session: SqliteSession, positions: Query, replacement: string): number =>
  session.run(`UPDATE millrace_events SET data = ?, erased = 1 WHERE position IN (${positions.sql})`, [
    replacement,
    ...positions.params
  ])
