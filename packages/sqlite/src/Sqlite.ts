/**
 * Millrace on SQLite, in one line: `Effect.provide(Sqlite.layer({ filename: "shop.db" }))`. The log, the
 * snapshots and a `SqlClient` for tables of the application's own, all in one file. Several processes of one
 * machine may have it open; the file must not be on a network drive.
 *
 * What a write has returned for survives a crash of the process and, unless `synchronous` says otherwise, a
 * loss of power. Tables are made and brought up to date when the layer is built, by whichever process comes
 * first.
 */
import type { EventStore } from "@millrace/core/EventStore"
import { EventStore as EventStoreTag } from "@millrace/core/EventStore"
import * as EventStoreBackend from "@millrace/core/EventStoreBackend"
import type { EventStoreSettings } from "@millrace/core/EventStoreBackend"
import { invalid } from "@millrace/core/InvalidArgument"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import { storageOf } from "@millrace/core/CheckpointStoreBackend"
import { ModelStore } from "@millrace/core/ModelStore"
import { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import { SnapshotStore } from "@millrace/core/SnapshotStore"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as SqlCheckpointStore from "@millrace/sql/SqlCheckpointStore"
import * as SqlModelStore from "@millrace/sql/SqlModelStore"
import * as SqlProjectionCheckpointStore from "@millrace/sql/SqlProjectionCheckpointStore"
import * as SqlSnapshotStore from "@millrace/sql/SqlSnapshotStore"
import * as SqlSubscriberStore from "@millrace/sql/SqlSubscriberStore"
import * as Reactivity from "@effect/experimental/Reactivity"
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { migrations } from "./migrations/index.js"
import type { SqliteDatabase } from "./SqliteDatabase.js"
import * as SqliteDatabases from "./SqliteDatabase.js"
import * as SqliteEventStore from "./SqliteEventStore.js"
import { storeUnavailable } from "./SqliteFault.js"

/** Where the file is and how it is used; everything but `filename` has a default. */
export interface SqliteOptions extends EventStoreSettings {
  /** Path of the file; made if it is missing, its folder is not. `":memory:"` = no file, gone with the layer. */
  readonly filename: string
  /**
   * When a commit counts as done. Default: `"FULL"`.
   *
   * - `"FULL"`: synced to the disk. Survives a loss of power.
   * - `"EXTRA"`: the same in WAL mode, which is what is used here.
   * - `"NORMAL"`: handed to the operating system, many times faster for small writes. A loss of power may
   *   take the last commits back; the file stays whole.
   */
  readonly synchronous?: "FULL" | "NORMAL" | "EXTRA" | undefined
  /**
   * How long to wait for another process's transaction before failing with a transient `StoreUnavailable`.
   * Default: 5 seconds. 0 = do not wait.
   */
  readonly busyTimeout?: Duration.DurationInput | undefined
  /**
   * How often `changes` looks for commits of other processes, while somebody listens. Range: from 1 ms.
   * Default: 100 milliseconds. A look costs a few microseconds.
   */
  readonly pollInterval?: Duration.DurationInput | undefined
}

/** What the layer gives. */
export type SqliteServices =
  | EventStore
  | SnapshotStore
  | SubscriberStore
  | ProjectionCheckpointStore
  | ModelStore
  | CheckpointStorage
  | SqlClient.SqlClient

/**
 * Opens the file and gives the stores that live in it.
 *
 * Fails with `InvalidArgument` (an option is out of range; nothing was opened) and `StoreUnavailable` (the
 * folder is missing, the file is not writable or no database, or locked for the whole `busyTimeout`, then
 * `transient`; operation `open` or `migrate`).
 *
 * @example
 * ```ts
 * const program = Effect.gen(function* () {
 *   const store = yield* EventStore
 *   yield* store.write({ streamId: "account/42", events: [{ type: "Deposited", data: { amountCents: 500 } }] })
 * })
 * await Effect.runPromise(program.pipe(Effect.provide(Sqlite.layer({ filename: "shop.db" }))))
 * ```
 */
export const layer = (
  options: SqliteOptions
): Layer.Layer<SqliteServices, InvalidArgument | StoreUnavailable> =>
  Layer.provide(Layer.scopedContext(make(options)), Reactivity.layer)

/**
 * The same with its options from `Config`. Fails with `ConfigError` too.
 *
 * @example
 * ```ts
 * Sqlite.layerConfig({ filename: Config.string("MILLRACE_SQLITE_FILE"), synchronous: Config.succeed("FULL") })
 * ```
 */
export const layerConfig = (
  options: Config.Config.Wrap<SqliteOptions>
): Layer.Layer<SqliteServices, InvalidArgument | StoreUnavailable | ConfigError> =>
  Layer.provide(Layer.scopedContext(Effect.flatMap(Config.unwrap(options), make)), Reactivity.layer)

// ---- internal ----

const make = (
  options: SqliteOptions
): Effect.Effect<
  Context.Context<SqliteServices>,
  InvalidArgument | StoreUnavailable,
  Scope.Scope | Reactivity.Reactivity
> =>
  Effect.gen(function* () {
    const checked = check(options)
    if ("_tag" in checked) return yield* checked
    const database = yield* SqliteDatabases.open(checked)
    yield* migrate(database)
    const events = yield* SqliteEventStore.make(database, checked)
    const snapshots = yield* Effect.provideService(
      SqlSnapshotStore.make({ table: "millrace_snapshots", storeUnavailable }),
      SqlClient.SqlClient,
      database.client
    )
    const projections = yield* Effect.provideService(
      SqlProjectionCheckpointStore.make({ prefix: "millrace_", storeUnavailable }),
      SqlClient.SqlClient,
      database.client
    )
    const models = yield* Effect.provideService(
      SqlModelStore.make({ prefix: "millrace_", checkpoints: projections, storeUnavailable }),
      SqlClient.SqlClient,
      database.client
    )
    const subscribers = yield* Effect.provideService(
      SqlSubscriberStore.make({ tablePrefix: "millrace_", storeUnavailable }),
      SqlClient.SqlClient,
      database.client
    )
    const places = yield* Effect.provideService(
      SqlCheckpointStore.make({ prefix: "millrace_", storeUnavailable }),
      SqlClient.SqlClient,
      database.client
    )
    return Context.make(EventStoreTag, events).pipe(
      Context.add(SnapshotStore, snapshots),
      Context.add(SubscriberStore, subscribers.store),
      Context.add(ProjectionCheckpointStore, projections),
      Context.add(ModelStore, models),
      Context.add(CheckpointStorage, storageOf(places)),
      Context.add(SqlClient.SqlClient, database.client)
    )
  })

/**
 * Brings the tables up to date. @effect/sql's Migrator looks and changes in one transaction, which here begins
 * with the write lock: of several processes that start at once one migrates, the others wait and find it done.
 */
const migrate = (database: SqliteDatabase): Effect.Effect<void, StoreUnavailable> =>
  Migrator.make({})({ loader: Migrator.fromRecord(migrations), table: "millrace_migrations" }).pipe(
    Effect.provideService(SqlClient.SqlClient, database.client),
    // A step that fails is a defect to the Migrator.
    Effect.catchAllDefect((defect) => Effect.fail(defect)),
    Effect.mapError(storeUnavailable("migrate")),
    Effect.asVoid
  )

const synchronousModes = ["FULL", "NORMAL", "EXTRA"] as const

/** The options with their defaults, or what is wrong with them. */
function check(options: SqliteOptions) {
  const { busyTimeout = "5 seconds", filename, pollInterval = "100 millis", synchronous = "FULL" } = options
  if (typeof filename !== "string" || filename === "" || filename.includes("\u0000"))
    return invalid("filename", "the path of a file, or :memory:", filename)
  if (!synchronousModes.includes(synchronous))
    return invalid("synchronous", synchronousModes.join(", "), synchronous)
  const busy = finite(busyTimeout)
  if (busy === undefined) return invalid("busyTimeout", "a finite duration", busyTimeout)
  const poll = finite(pollInterval)
  if (poll === undefined || Duration.lessThan(poll, "1 millis"))
    return invalid("pollInterval", "a finite duration of at least 1 ms", pollInterval)
  return (
    EventStoreBackend.settingsFault(options) ?? {
      filename,
      synchronous,
      busyTimeout: busy,
      pollInterval: poll,
      eventBytesMax: options.eventBytesMax
    }
  )
}

const finite = (input: Duration.DurationInput): Duration.Duration | undefined =>
  Option.getOrUndefined(Option.filter(Duration.decodeUnknown(input), Duration.isFinite))
