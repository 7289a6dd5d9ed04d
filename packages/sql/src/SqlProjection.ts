/**
 * Projections whose handlers write tables of the model store's database: exactly once. The statements of a page
 * and the step of its checkpoint are one transaction, in which the handlers find the store's `SqlClient`; they may
 * need nothing else, so that a rebuild, which handles old events again, can send no mail.
 *
 * Every table is declared with the effect that makes it, and handlers ask `context.table("…")` for its name. While
 * the model is built anew beside the one that serves, the answer is another name, and so is what `tables` is
 * given: derive the names of indexes from it, and nothing collides. Keep names short: Postgres cuts off what is
 * longer than 63 bytes.
 *
 * @example
 * ```ts
 * const owners = SqlProjection.handlers({
 *   name: "owners",
 *   filters: [{ category: "account" }],
 *   tables: {
 *     owners: (table) =>
 *       Effect.gen(function* () {
 *         const sql = yield* SqlClient.SqlClient
 *         yield* sql`CREATE TABLE ${sql(table)} (account TEXT PRIMARY KEY, owner TEXT NOT NULL)`
 *         yield* sql`CREATE INDEX ${sql(`${table}_by_owner`)} ON ${sql(table)} (owner)`
 *       })
 *   },
 *   handlers: {
 *     Opened: (event, { table }) =>
 *       Effect.gen(function* () {
 *         const sql = yield* SqlClient.SqlClient
 *         yield* sql`INSERT INTO ${sql(table("owners"))} VALUES (${event.streamId}, ${ownerOf(event)})`
 *       })
 *   }
 * })
 * ```
 */
import type { RecordedEvent } from "@millrace/core/Event"
import type {
  ModelTables,
  Projection,
  ProjectionContext,
  ProjectionHandler,
  ProjectionOptions
} from "@millrace/core/Projection"
import { chooseHandler, common } from "@millrace/core/Projection"
import type { SqlClient } from "@effect/sql/SqlClient"
import type * as Effect from "effect/Effect"

/** The tables of a model: for each, by its own name, the effect that makes it under the name that it is given. */
export type SqlTables = Readonly<
  Record<string, (table: string) => Effect.Effect<unknown, unknown, SqlClient>>
>

/** What {@link handlers} needs. */
export interface SqlHandlersOptions<E> extends ProjectionOptions {
  /** Names: lower-case letters, digits and "_", 1 to 40, no digit first. */
  readonly tables: SqlTables
  /** By type, under the name that is stored in the log. */
  readonly handlers?: Readonly<Record<string, ProjectionHandler<E, SqlClient>>> | undefined
  /** For events that none of `handlers` takes. Without it they are passed over. */
  readonly onEvent?: ProjectionHandler<E, SqlClient> | undefined
}

/** An effect for each event, in the transaction of its page. */
export const handlers = <E = never>(options: SqlHandlersOptions<E>): Projection<E> =>
  withClient<E>({
    ...common(options),
    strength: {
      _tag: "Handlers",
      place: "sql",
      handlerOf: chooseHandler(options.handlers, options.onEvent),
      tables: provided(options.tables)
    }
  })

/** What {@link batch} needs. */
export interface SqlBatchOptions<E> extends ProjectionOptions {
  /** Names: lower-case letters, digits and "_", 1 to 40, no digit first. */
  readonly tables: SqlTables
  readonly onBatch: (
    events: ReadonlyArray<RecordedEvent>,
    context: ProjectionContext
  ) => Effect.Effect<unknown, E, SqlClient>
}

/** An effect for each page of events, in its transaction. */
export const batch = <E = never>(options: SqlBatchOptions<E>): Projection<E> =>
  withClient<E>({
    ...common(options),
    strength: {
      _tag: "Batch",
      place: "sql",
      onBatch: options.onBatch,
      tables: provided(options.tables)
    }
  })

/** What was built, as a look at it gets it. */
export interface Built {
  /** The name that a declared table has in what was built. */
  readonly table: (name: string) => string
  /** Rows of all declared tables together. */
  readonly count: number
}

/**
 * A look by SQL at what a rebuild has built, for its `verify`: the message of what is wrong with it, or nothing. It
 * finds the client of the database that was built into, be it the log's or a file of `ProjectionDir`.
 *
 * @example
 * ```ts
 * yield* runner.rebuild(owners, {
 *   verify: SqlProjection.verify(({ table }) =>
 *     Effect.gen(function* () {
 *       const sql = yield* SqlClient.SqlClient
 *       const nameless = yield* sql`SELECT account FROM ${sql(table("owners"))} WHERE owner = '' LIMIT 1`
 *       return nameless.length > 0 ? "an account has no owner" : undefined
 *     })
 *   )
 * })
 * ```
 */
export const verify =
  (
    check: (built: Built) => Effect.Effect<string | undefined, unknown, SqlClient>
  ): ((built: Built) => Effect.Effect<string | undefined, unknown>) =>
  (built) =>
    check(built) as Effect.Effect<string | undefined, unknown>

// ---- internal ----

/** The store provides the client: to the world outside these handlers need nothing. */
const withClient = <E>(projection: Projection<E, SqlClient>): Projection<E> => projection as Projection<E>

const provided = (tables: SqlTables): ModelTables => tables as ModelTables
