/**
 * What the tests of the writer share: chance from a printed seed, several stores (each with a pool of its own,
 * as several processes have) on one fresh database, and the log as a plain SELECT gives it, held against what
 * the callers were told.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import { PgClient as PgClientTag } from "@effect/sql-pg/PgClient"
import { assert, it } from "@effect/vitest"
import type { StreamAppend, WriteResult } from "@millrace/core/Append"
import type { NewEvent } from "@millrace/core/Event"
import type { EventId } from "@millrace/core/EventId"
import { deriveEventId } from "@millrace/core/EventId"
import { EventStore } from "@millrace/core/EventStore"
import { SnapshotStore } from "@millrace/core/SnapshotStore"
import { StreamVersion } from "@millrace/core/StreamVersion"
import { Position } from "@millrace/core/Position"
import * as Databases from "@millrace/testkit/Databases"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import pg from "pg"
import type { PostgresOptions } from "../../src/Postgres.js"
import * as Postgres from "../../src/Postgres.js"

// ---- size and chance ----

/** Whether the long form was asked for: `MILLRACE_FAULTS=full`. */
export const full = process.env.MILLRACE_FAULTS === "full"

/** The quick share of the gate, or the full size. */
export const sized = (gate: number, whole: number): number => (full ? whole : gate)

/** Chance of the whole run. `MILLRACE_SEED=…` repeats one. */
export const seed = Number(process.env.MILLRACE_SEED ?? Math.floor(Math.random() * 2 ** 31))

export interface Chance {
  /** A whole number of 0 to `below` − 1. */
  readonly int: (below: number) => number
  /** True so many times in a hundred. */
  readonly percent: (times: number) => boolean
  readonly pick: <A>(from: ReadonlyArray<A>) => A
  /** A new order. */
  readonly shuffle: <A>(list: ReadonlyArray<A>) => Array<A>
  /** Some distinct ones, in random order. */
  readonly some: <A>(list: ReadonlyArray<A>, count: number) => Array<A>
}

/** mulberry32: small, and the same on every machine. */
export const chanceOf = (start: number): Chance => {
  let state = start >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const int = (below: number): number => Math.floor(next() * below)
  const shuffle = <A>(list: ReadonlyArray<A>): Array<A> => {
    const copy = [...list]
    for (let i = copy.length - 1; i > 0; i--) {
      const j = int(i + 1)
      const moved = copy[i]!
      copy[i] = copy[j]!
      copy[j] = moved
    }
    return copy
  }
  return {
    int,
    percent: (times) => next() * 100 < times,
    pick: (from) => from[int(from.length)]!,
    shuffle,
    some: (list, count) => shuffle(list).slice(0, count)
  }
}

/**
 * A test in real time whose chance comes from the seed, which is printed when it fails. It fails, instead of
 * hanging, when it takes longer than `seconds`.
 */
export const test = (
  name: string,
  seconds: number,
  body: (chance: Chance) => Effect.Effect<void, unknown, Scope.Scope>
): void =>
  it.scopedLive(
    name,
    () =>
      Effect.suspend(() => body(chanceOf(seed))).pipe(
        Effect.timeoutFailCause({
          duration: seconds * 1_000,
          onTimeout: () => Cause.die(new Error(`not done after ${seconds} s`))
        }),
        Effect.tapErrorCause(() => Console.error(`failed with MILLRACE_SEED=${seed}: ${name}`))
      ),
    (seconds + 20) * 1_000
  )

export const unbounded = { concurrency: "unbounded" } as const

/** The whole numbers from `from` to `to`. */
export const range = (from: number, to: number): Array<number> =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)

// ---- stores ----

export interface Opened {
  readonly store: EventStore["Type"]
  readonly snapshots: SnapshotStore["Type"]
  readonly sql: PgClient.PgClient
}

/** A store with a pool of its own, closed with the scope. */
export const open = (url: string, options: Partial<PostgresOptions> = {}) =>
  Effect.map(
    Layer.build(Postgres.layer({ listen: false, ...options, url: Redacted.make(url) })),
    (context): Opened => ({
      store: Context.get(context, EventStore),
      snapshots: Context.get(context, SnapshotStore),
      sql: Context.get(context, PgClientTag)
    })
  )

/** Url of a new database. */
export const database = Effect.map(Databases.postgres, ({ url }) => Redacted.value(url))

/** So many stores on one new database. */
export const stores = (count: number, options: Partial<PostgresOptions> = {}) =>
  Effect.gen(function* () {
    const url = yield* database
    const opened = yield* Effect.forEach(range(1, count), () => open(url, options))
    return { url, opened }
  })

/** A connection beside all pools. */
export const connection = (url: string): Effect.Effect<pg.Client, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new pg.Client({ connectionString: url, application_name: "beside" })
      client.on("error", () => undefined)
      await client.connect()
      return client
    }),
    (client) => Effect.promise(() => client.end().catch(() => undefined))
  )

export const query = <Row extends pg.QueryResultRow = pg.QueryResultRow>(
  client: pg.Client,
  text: string,
  values: ReadonlyArray<unknown> = []
): Effect.Effect<ReadonlyArray<Row>> =>
  Effect.promise(() => client.query<Row>(text, [...values]).then((result) => result.rows))

/** One statement on a connection of its own. */
export const ask = <Row extends pg.QueryResultRow = pg.QueryResultRow>(
  url: string,
  text: string,
  values: ReadonlyArray<unknown> = []
): Effect.Effect<ReadonlyArray<Row>> =>
  Effect.scoped(Effect.flatMap(connection(url), (client) => query<Row>(client, text, values)))

/** Asks again, every 5 ms, until it is so. */
export const until = (url: string, text: string, values: ReadonlyArray<unknown> = []): Effect.Effect<void> =>
  Effect.scoped(
    Effect.flatMap(connection(url), (client) =>
      query<{ readonly ok: boolean }>(client, `SELECT (${text}) AS ok`, values).pipe(
        Effect.repeat({
          schedule: Schedule.spaced("5 millis"),
          until: ([row]) => row!.ok
        }),
        Effect.asVoid
      )
    )
  )

/** So many backends of the database wait for a lock. */
export const untilBlocked = (url: string, count = 1): Effect.Effect<void> =>
  until(
    url,
    "SELECT count(*) >= $1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    [count]
  )

// ---- events ----

export const version = (value: number): StreamVersion => StreamVersion.make(value)
export const position = (value: number): Position => Position.make(value)
export const happened = (more: Partial<NewEvent> = {}): NewEvent => ({ type: "Happened", data: {}, ...more })
export const eventId = (...parts: ReadonlyArray<string | number>): EventId =>
  deriveEventId(...parts.map(String))
export const appendTo = (streamId: string, more: Partial<NewEvent> = {}): StreamAppend => ({
  streamId,
  events: [happened(more)]
})

// ---- the log as it is ----

export interface Row {
  readonly position: number
  readonly streamId: string
  readonly version: number
  readonly id: string
  readonly type: string
  readonly tags: ReadonlyArray<string>
  readonly data: unknown
}

/** All rows of the table, by position. */
export const logOf = (url: string, schema = "millrace"): Effect.Effect<ReadonlyArray<Row>> =>
  Effect.map(
    ask(
      url,
      `SELECT e.position::text, e.stream_id, e.version::text, e.id, e.type, e.tags, e.data FROM ${schema}.events e ORDER BY e.position`
    ),
    (rows) =>
      rows.map((row): Row => ({
        position: Number(row.position),
        streamId: row.stream_id as string,
        version: Number(row.version),
        id: row.id as string,
        type: row.type as string,
        tags: (row.tags as Array<string> | null) ?? [],
        data: row.data
      }))
  )

export const idsOf = (rows: ReadonlyArray<Row>): Array<string> => rows.map((row) => row.id)

/**
 * What every log must be, after anything: versions follow one another from 1, positions rise with them, no id
 * is there twice, and the streams' own rows say the same. Gives the rows.
 */
export const checkLog = (url: string, schema = "millrace"): Effect.Effect<ReadonlyArray<Row>> =>
  Effect.gen(function* () {
    const rows = yield* logOf(url, schema)
    const versions = new Map<string, number>()
    const ids = new Set<string>()
    for (const row of rows) {
      assert.strictEqual(
        row.version,
        (versions.get(row.streamId) ?? 0) + 1,
        `version at position ${row.position} of ${row.streamId}`
      )
      versions.set(row.streamId, row.version)
      assert.isFalse(ids.has(row.id), `id ${row.id} is there twice`)
      ids.add(row.id)
    }
    const streams = yield* ask(
      url,
      `SELECT stream_id, version::text FROM ${schema}.streams WHERE NOT (tombstoned AND version = 0)`
    )
    assert.deepStrictEqual(
      Object.fromEntries(streams.map((row) => [row.stream_id, Number(row.version)])),
      Object.fromEntries(versions),
      "rows of streams"
    )
    return rows
  })

/** Every acknowledged append stands in the log exactly as its caller was told. */
export const checkResults = (rows: ReadonlyArray<Row>, results: ReadonlyArray<WriteResult>): void => {
  const byId = new Map(rows.map((row) => [row.id, row]))
  for (const result of results) {
    for (const append of result.appends) {
      const own = append.ids.map((id) => byId.get(id))
      assert.deepStrictEqual(
        own.map((row) => row?.version),
        range(append.firstVersion, append.version),
        `acknowledged events of ${append.streamId}`
      )
      for (const row of own) assert.strictEqual(row!.streamId, append.streamId)
      assert.strictEqual(own[0]!.position, append.firstPosition)
      assert.strictEqual(own[own.length - 1]!.position, append.position)
    }
    assert.strictEqual(result.position, Math.max(...result.appends.map((append) => append.position)))
  }
}

/** The tag of a failure, or "Written". */
export const tagOf = (outcome: {
  readonly _tag: "Left" | "Right"
  readonly left?: { readonly _tag: string }
}): string => (outcome._tag === "Right" ? "Written" : outcome.left!._tag)

/** SQLSTATE in a `StoreUnavailable`. */
export const codeIn = (error: unknown): string => {
  const cause = (error as { readonly cause?: unknown }).cause
  return String((cause as { readonly code?: unknown } | undefined)?.code ?? "")
}
