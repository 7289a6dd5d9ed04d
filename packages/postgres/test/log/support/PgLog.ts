/**
 * The log as these tests handle it: stores like those of several processes (each with a pool of its own),
 * plain connections beside them, transactions that stay open until the test ends them, and the table itself
 * as a plain SELECT gives it, which is what everything is compared with.
 */
import type { RecordedEvent } from "@millrace/core/Event"
import { EventStore } from "@millrace/core/EventStore"
import type { ReadError } from "@millrace/core/EngineError"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import * as Page from "@millrace/core/Page"
import { Position } from "@millrace/core/Position"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as Postgres from "@millrace/postgres/Postgres"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Context from "effect/Context"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import pg from "pg"

export type Url = Redacted.Redacted<string>

export interface Log {
  readonly store: EventStore["Type"]
  readonly sql: SqlClient.SqlClient
}

/** The layer, built anew: what another process would have. */
export const open = (
  url: Url,
  options: Omit<Postgres.PostgresOptions, "url"> = {}
): Effect.Effect<Log, InvalidArgument | StoreUnavailable, Scope.Scope> =>
  Effect.map(Layer.build(Postgres.layer({ url, ...options })), (context) => ({
    store: Context.get(context, EventStore),
    sql: Context.get(context, SqlClient.SqlClient)
  }))

// ---- plain connections ----

export interface Connection {
  /** Rows of a statement; a driver's error is a defect. */
  readonly rows: <Row extends pg.QueryResultRow>(
    text: string,
    values?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<Row>>
  /** SQLSTATE that the statement is refused with, or "" when it is not. */
  readonly refusal: (text: string) => Effect.Effect<string>
  readonly client: pg.Client
}

/** A connection of the test's own, outside of every pool. */
export const connect = (url: Url, applicationName = "test"): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const client = new pg.Client({
          connectionString: Redacted.value(url),
          application_name: applicationName
        })
        client.on("error", () => undefined)
        await client.connect()
        return client
      }),
      (client) => Effect.promise(() => client.end().catch(() => undefined))
    ),
    (client) => ({
      client,
      rows: <Row extends pg.QueryResultRow>(text: string, values: ReadonlyArray<unknown> = []) =>
        Effect.promise(() => client.query<Row>(text, [...values]).then((result) => result.rows)),
      refusal: (text) =>
        Effect.promise(() =>
          client.query(text).then(
            () => "",
            (error: unknown) => (error instanceof pg.DatabaseError ? (error.code ?? "?") : String(error))
          )
        )
    })
  )

/** One statement on a connection of its own. */
export const select = <Row extends pg.QueryResultRow>(
  url: Url,
  text: string,
  values: ReadonlyArray<unknown> = []
): Effect.Effect<ReadonlyArray<Row>> =>
  Effect.scoped(Effect.flatMap(connect(url), ({ rows }) => rows<Row>(text, values)))

// ---- what stands in the table ----

/** An event as far as these tests look at it. */
export interface Line {
  readonly position: number
  readonly streamId: string
  readonly version: number
  readonly id: string
}

/** The table by a plain SELECT. */
export const table = (url: Url, schema = "millrace"): Effect.Effect<ReadonlyArray<Line>> =>
  select<Line>(
    url,
    `SELECT position::float8 AS position, stream_id AS "streamId", version::float8 AS version, id
     FROM ${schema}.events ORDER BY position`
  )

export const lineOf = ({ id, position, streamId, version }: RecordedEvent): Line => ({
  position,
  streamId,
  version,
  id
})

/** How what a reader saw differs from what it should have seen. */
export interface Difference {
  /** Events that it never saw. */
  readonly skipped: number
  readonly twice: number
  /** Events that came after a greater version of their stream, or after a greater position. */
  readonly outOfOrder: number
  /** Events that it saw and that are not there, or stand elsewhere. */
  readonly unknown: number
}

export const noDifference: Difference = { skipped: 0, twice: 0, outOfOrder: 0, unknown: 0 }

/** Compares by a plain fold over what was seen. */
export const compare = (seen: ReadonlyArray<Line>, there: ReadonlyArray<Line>): Difference => {
  const byId = new Map(there.map((line) => [line.id, line]))
  const ids = new Set<string>()
  const versions = new Map<string, number>()
  let last = 0
  let twice = 0
  let outOfOrder = 0
  let unknown = 0
  for (const line of seen) {
    const real = byId.get(line.id)
    if (ids.has(line.id)) twice++
    ids.add(line.id)
    if (
      real === undefined ||
      real.position !== line.position ||
      real.streamId !== line.streamId ||
      real.version !== line.version
    ) {
      unknown++
    }
    if (line.position <= last || line.version <= (versions.get(line.streamId) ?? 0)) outOfOrder++
    last = line.position
    versions.set(line.streamId, line.version)
  }
  return { skipped: there.filter((line) => !ids.has(line.id)).length, twice, outOfOrder, unknown }
}

/** Events of the table whose version does not follow the one before it, in order of position. */
export const brokenVersions = (there: ReadonlyArray<Line>): ReadonlyArray<Line> => {
  const versions = new Map<string, number>()
  return there.filter(({ streamId, version }) => {
    const follows = version === (versions.get(streamId) ?? 0) + 1
    versions.set(streamId, version)
    return !follows
  })
}

// ---- readers ----

/** A reader of the log that keeps its cursor here. */
export interface Tail {
  readonly seen: Array<Line>
  readonly cursor: () => Position
  /** Reads page after page until one is empty. */
  readonly drain: Effect.Effect<void, ReadError>
}

export const tail = (store: EventStore["Type"], pageRows = 500): Tail => {
  const seen: Array<Line> = []
  let cursor = Position.make(0)
  return {
    seen,
    cursor: () => cursor,
    drain: Effect.suspend(() => store.read({ page: Page.forward({ first: pageRows, after: cursor }) })).pipe(
      Effect.map(Page.nodes),
      Effect.tap((events) =>
        Effect.sync(() => {
          for (const event of events) seen.push(lineOf(event))
          cursor = events.at(-1)?.position ?? cursor
        })
      ),
      Effect.repeat({ while: (events) => events.length > 0 }),
      Effect.asVoid
    )
  }
}

/** Waits for what only the database knows, looking every 5 ms; a defect after `seconds`. */
export const until = <A, E, R>(
  what: string,
  look: Effect.Effect<A, E, R>,
  holds: (value: A) => boolean,
  seconds = 20
): Effect.Effect<A, E, R> => {
  let last: A | undefined
  return look.pipe(
    Effect.tap((value) => Effect.sync(() => void (last = value))),
    Effect.repeat({ schedule: Schedule.spaced("5 millis"), until: holds }),
    Effect.timeoutFailCause({
      duration: seconds * 1_000,
      onTimeout: () => Cause.die(new Error(`${what}: not within ${seconds} s. last=${JSON.stringify(last)}`))
    }),
    Effect.map(() => last as A)
  )
}

/** Waits until the head has come to a position. */
export const reached = (store: EventStore["Type"], position: number) =>
  until(`head at ${position}`, store.head, (head) => head >= position)

// ---- transactions that stay open ----

export interface Held<A> {
  /** What its body gave. The transaction is open. */
  readonly value: A
  /** Commits it, and waits for that. */
  readonly commit: Effect.Effect<void>
  /** Rolls it back, and waits for that. */
  readonly rollBack: Effect.Effect<void>
}

/** Begins a transaction of the store's pool, runs `body` in it, and leaves it open until told. */
export const hold = <A, E>({ sql }: Log, body: Effect.Effect<A, E>): Effect.Effect<Held<A>, E, Scope.Scope> =>
  Effect.gen(function* () {
    const begun = yield* Deferred.make<A, E>()
    const end = yield* Deferred.make<void, "rolled back">()
    const fiber = yield* body.pipe(
      Effect.tap((value) => Deferred.succeed(begun, value)),
      Effect.tapErrorCause((cause) => Deferred.failCause(begun, cause)),
      Effect.zipRight(Deferred.await(end)),
      sql.withTransaction,
      Effect.forkScoped
    )
    const value = yield* Deferred.await(begun)
    const over = (exit: Exit.Exit<void, unknown>, expected: "Success" | "Failure") =>
      exit._tag === expected ? Effect.void : Effect.die(new Error(`the transaction ended otherwise: ${exit}`))
    return {
      value,
      commit: Deferred.succeed(end, undefined).pipe(
        Effect.zipRight(Fiber.await(fiber)),
        Effect.flatMap((exit) => over(exit, "Success"))
      ),
      rollBack: Deferred.fail(end, "rolled back").pipe(
        Effect.zipRight(Fiber.await(fiber)),
        Effect.flatMap((exit) => over(exit, "Failure"))
      )
    }
  })

/** Appends of events that say nothing but their number. */
export const events = (count: number, type = "Happened") =>
  Array.from({ length: count }, (_, n) => ({ type, data: { n } }))

/** An append of `count` events to one stream. */
export const append = (streamId: string, count = 1) => ({ streamId, events: events(count) })
