/**
 * Millrace on Postgres, in one line: `Effect.provide(Postgres.layer({ url }))`. The layer opens a pool,
 * brings the schema to its present form, and gives the log, the snapshots and the pool's `SqlClient`, so that
 * the application's own statements and the appends can share a transaction.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { EventStore } from "@millrace/core/EventStore"
import * as EventStoreBackend from "@millrace/core/EventStoreBackend"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { invalid } from "@millrace/core/InvalidArgument"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import { storageOf } from "@millrace/core/CheckpointStoreBackend"
import { ModelStore } from "@millrace/core/ModelStore"
import { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import { SnapshotStore } from "@millrace/core/SnapshotStore"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as SqlCheckpointStore from "@millrace/sql/SqlCheckpointStore"
import * as SqlModelStore from "@millrace/sql/SqlModelStore"
import * as SqlProjectionCheckpointStore from "@millrace/sql/SqlProjectionCheckpointStore"
import * as SqlSnapshotStore from "@millrace/sql/SqlSnapshotStore"
import * as SqlSubscriberStore from "@millrace/sql/SqlSubscriberStore"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { migrate } from "./migrations/index.js"
import * as PgEventStore from "./PgEventStore.js"
import { PgError, storeUnavailable } from "./PgFault.js"
import * as PgHead from "./PgHead.js"
import { namesOf, schemaPattern } from "./PgNames.js"
import * as PgPool from "./PgPool.js"
import * as PgWakeUps from "./PgWakeUps.js"
import * as PgWriter from "./PgWriter.js"

/** How to reach the database, and the bounds of the store. */
export interface PostgresOptions {
  /** Address of the server and database, with user and password: `postgres://user:secret@host:5432/app`. */
  readonly url: Redacted.Redacted<string>
  /** Schema of this log; each has its own positions. Lower case, 1 to 40 characters. Default: `millrace`. */
  readonly schema?: string | undefined
  /**
   * Most connections of the pool; one more is used for LISTEN. Range: 4 to 1 000. Default: 16. The store
   * itself uses up to 11 at once; the rest is the application's.
   */
  readonly maxConnections?: number | undefined
  /** Name shown in `pg_stat_activity`. Default: `millrace`. */
  readonly applicationName?: string | undefined
  /** How long to wait for a connection. Default: 5 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /**
   * Longest time from the call of a write to its end, also while its stream is held by another transaction
   * or the database is away; two seconds more when it is there and does not answer. Default: 30 seconds.
   */
  readonly writeTimeout?: Duration.DurationInput | undefined
  /**
   * Longest time between two looks for something new while somebody waits for changes, where no wake-up
   * came. Larger: fewer statements; later news when LISTEN is down. Default: 250 milliseconds.
   */
  readonly pollInterval?: Duration.DurationInput | undefined
  /** Whether to try LISTEN for wake-ups; where it does not work, polling serves alone. Default: true. */
  readonly listen?: boolean | undefined
  /** Most bytes of an event's data and metadata. Range: 1 to 67 108 864. Default: 1 048 576. */
  readonly eventBytesMax?: number | undefined
}

/** What the layer gives. */
export type PostgresServices =
  | EventStore
  | SnapshotStore
  | SubscriberStore
  | ProjectionCheckpointStore
  | ModelStore
  | CheckpointStorage
  | SqlClient.SqlClient
  | PgClient.PgClient

/**
 * The log, the snapshots and the `SqlClient` on one database. Migrates when needed; any number of processes
 * may start at once.
 *
 * Fails with `InvalidArgument` (correct the named option) and `StoreUnavailable` (the server is not there,
 * refuses the user, is a standby, or runs transactions other than READ COMMITTED by default).
 *
 * @example
 * ```ts
 * const main = program.pipe(Effect.provide(Postgres.layer({ url: Redacted.make("postgres://localhost/app") })))
 * ```
 */
export const layer = (
  options: PostgresOptions
): Layer.Layer<PostgresServices, InvalidArgument | StoreUnavailable> =>
  Layer.scopedContext(make(options)).pipe(Layer.provide(Reactivity.layer))

/**
 * The same with options from the configuration.
 *
 * @example
 * ```ts
 * const store = Postgres.layerConfig({ url: Config.redacted("MILLRACE_URL") })
 * ```
 */
export const layerConfig = (
  config: Config.Config.Wrap<PostgresOptions>
): Layer.Layer<PostgresServices, InvalidArgument | StoreUnavailable | ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(config), layer))

// ---- internal ----

const make = (
  options: PostgresOptions
): Effect.Effect<
  Context.Context<PostgresServices>,
  InvalidArgument | StoreUnavailable,
  Scope.Scope | Reactivity.Reactivity
> =>
  Effect.gen(function* () {
    const schema = options.schema === undefined ? "millrace" : options.schema
    const fault = optionsFault(options, schema)
    if (fault !== undefined) return yield* fault
    const names = namesOf(schema)
    const applicationName = options.applicationName ?? "millrace"

    const pool = yield* PgPool.make({
      url: options.url,
      maxConnections: options.maxConnections ?? 16,
      applicationName,
      connectTimeoutMs: Duration.toMillis(options.connectTimeout ?? "5 seconds")
    })
    yield* checkServer(pool)
    const client = yield* Effect.mapError(
      PgClient.fromPool({ acquire: Effect.succeed(pool.pool), applicationName }),
      storeUnavailable("connect")
    )
    yield* migrate(names).pipe(
      Effect.provideService(SqlClient.SqlClient, client),
      // A migration that fails, and a COMMIT that does, arrive as defects.
      Effect.catchAllCause((cause) =>
        Effect.fail(storeUnavailable("migrate")(driverError(Cause.squash(cause))))
      )
    )

    const head = PgHead.make(pool, names)
    const wakeUps = yield* PgWakeUps.make(pool, head, names, {
      url: options.url,
      applicationName,
      pollInterval: Duration.decode(options.pollInterval ?? "250 millis"),
      listen: options.listen ?? true
    })
    const writer = yield* PgWriter.make(pool, names, {
      writeTimeoutMs: Duration.toMillis(options.writeTimeout ?? "30 seconds"),
      takesNotice: wakeUps.takesNotice,
      onCommit: wakeUps.committed
    })
    const events = yield* PgEventStore.make(
      { pool, names, head, writer, wakeUps },
      { eventBytesMax: options.eventBytesMax }
    )
    const snapshots = yield* SqlSnapshotStore.make({ schema, storeUnavailable }).pipe(
      Effect.provideService(SqlClient.SqlClient, client)
    )
    const projections = yield* SqlProjectionCheckpointStore.make({ schema, storeUnavailable }).pipe(
      Effect.provideService(SqlClient.SqlClient, client)
    )
    const owns = (connection: unknown) => pool.owns((connection as { readonly pg?: unknown }).pg)
    const models = yield* SqlModelStore.make({
      schema,
      checkpoints: projections,
      storeUnavailable,
      owns
    }).pipe(Effect.provideService(SqlClient.SqlClient, client))
    const subscribers = yield* SqlSubscriberStore.make({
      schema,
      storeUnavailable,
      owns
    }).pipe(Effect.provideService(SqlClient.SqlClient, client))
    const places = yield* SqlCheckpointStore.make({ schema, storeUnavailable, owns }).pipe(
      Effect.provideService(SqlClient.SqlClient, client)
    )
    return Context.make(EventStore, events).pipe(
      Context.add(SnapshotStore, snapshots),
      Context.add(SubscriberStore, subscribers.store),
      Context.add(ProjectionCheckpointStore, projections),
      Context.add(ModelStore, models),
      Context.add(CheckpointStorage, storageOf(places)),
      Context.add(SqlClient.SqlClient, client as SqlClient.SqlClient),
      Context.add(PgClient.PgClient, client)
    )
  })

/** The log needs a primary, and READ COMMITTED as what a transaction is when nobody says otherwise. */
const checkServer = (pool: PgPool.PgPool): Effect.Effect<void, StoreUnavailable> =>
  Effect.flatMap(
    Effect.tryPromise({
      try: () =>
        pool.pool.query<{ readonly standby: boolean; readonly isolation: string; readonly encoding: string }>(
          "SELECT pg_is_in_recovery() AS standby, current_setting('default_transaction_isolation') AS isolation, current_setting('server_encoding') AS encoding"
        ),
      catch: storeUnavailable("connect")
    }),
    ({ rows: [row] }) => {
      const refuse = (message: string): Effect.Effect<never, StoreUnavailable> =>
        Effect.fail(
          new StoreUnavailable({ operation: "connect", transient: false, cause: new PgError(message, "") })
        )
      if (row!.standby) return refuse("the server is a standby; connect to the primary")
      if (row!.encoding !== "UTF8")
        return refuse(`the database must be encoded in UTF8, not ${row!.encoding}`)
      return row!.isolation === "read committed"
        ? Effect.void
        : refuse(
            `default_transaction_isolation must be "read committed", not "${row!.isolation}"; set it for the user or the database`
          )
    }
  )

/** The driver's error at the bottom of what the migrator makes of it. */
const driverError = (error: unknown): unknown => {
  let inner = error
  for (let depth = 0; depth < 5; depth++) {
    const cause: unknown =
      typeof inner === "object" && inner !== null && "cause" in inner ? inner.cause : undefined
    if (cause === undefined) return inner
    inner = cause
  }
  return inner
}

function optionsFault(options: PostgresOptions, schema: string): InvalidArgument | undefined {
  if (typeof schema !== "string" || !schemaPattern.test(schema))
    return invalid("schema", "lower-case letters, digits and _, 1 to 40 of them, no digit first", schema)
  // Not shown: a wrong url may well contain a right password.
  if (!Redacted.isRedacted(options.url) || !isUrl(Redacted.value(options.url)))
    return invalid("url", 'Redacted.make("postgres://user:password@host:port/database")', "<redacted>")
  const max = options.maxConnections
  if (max !== undefined && !(Number.isInteger(max) && max >= 4 && max <= 1_000))
    return invalid("maxConnections", "an integer of 4 to 1 000", max)
  for (const field of ["connectTimeout", "writeTimeout", "pollInterval"] as const) {
    const duration = options[field]
    if (duration === undefined) continue
    const millis = Duration.decodeUnknown(duration).pipe((decoded) =>
      decoded._tag === "Some" ? Duration.toMillis(decoded.value) : NaN
    )
    if (!(millis >= 1 && millis <= 86_400_000))
      return invalid(field, "a duration of 1 millisecond to 1 day", duration)
  }
  return EventStoreBackend.settingsFault(options)
}

const isUrl = (text: string): boolean =>
  /^postgres(ql)?:$/.test(URL.canParse(text) ? new URL(text).protocol : "")
