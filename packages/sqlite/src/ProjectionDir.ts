/**
 * A folder of SQLite files, one database for each projection, for models that are not in the log's database: a log
 * on Postgres whose models are read as local files, or a log in another SQLite file. Each file holds a model and its
 * checkpoint, so that they move together: exactly once, as if they were beside the log.
 *
 *     flights.current      the pointer: flights.0.db is live
 *     flights.0.db         the model that readers see
 *     flights.7.db         generation 7, which a rebuild fills beside it
 *
 * A swap, under the lock of the folder. L is the live file, B the one that was built:
 *
 *          L          B          pointer
 *       1  live       beside     L        compare epoch of B, position of L and B
 *       2  closed     beside     L        one transaction of L, with the comparison: no epoch moves L any more
 *       3  closed     live form  L        one transaction of B: tables and checkpoint renamed, epoch of L + 1
 *       4  closed     live form  L        the log (-wal) of B is brought into its file, synced
 *       5  closed     live       B        the pointer is replaced by rename: this is the swap
 *       6  former     live       B        what the pointer does not name is removed
 *
 * Invariants
 *
 *  1. The pointer decides, alone. Up to 4 the old model is live, from 5 on the new one, and both are whole.
 *  2. Who finds L closed and the pointer on L, under the lock, knows that a process died between 2 and 5: it opens L
 *     again with the epoch that it had. B counts as being built, and gets its beside form back when it is asked for.
 *     What died between 5 and 6 left files that the pointer does not name, which the next change removes.
 *  3. A file that is not live is closed: who was frozen with it open, and goes on after the swap, fails with
 *     `LeaseLost` there, and finds the new one when it looks at the pointer again. It looks each time.
 *  4. The new model is not behind the old one: they were compared while nobody else could write to L, and after
 *     that nobody moved L.
 *  5. No database file is renamed, or opened by anything but SQLite: renaming one over another whose -wal is still
 *     there would replay the old log into it.
 *  6. The name of a file is used once in the life of a projection, and a life has an id in the pointer.
 *
 * Readers ask {@link ProjectionDir} for `db(name)` whenever they begin something, which is one `stat` while nothing
 * was swapped, and read with the client that they get. One from before a swap still reads the former model, whole
 * and as it was, until it is asked for again, or four more swaps of this projection have come.
 *
 * In the worst case a process is frozen while it holds the lock of the folder, or a transaction of a file: then
 * changes there fail as transient after `busyTimeout`, and readers go on. The folder must not be on a network
 * drive, and several processes of one machine may have it open.
 */
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { invalid } from "@millrace/core/InvalidArgument"
import { ModelStore } from "@millrace/core/ModelStore"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as Reactivity from "@effect/experimental/Reactivity"
import type { SqlClient } from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as ProjectionDirFile from "./ProjectionDirFile.js"
import * as ProjectionDirFolder from "./ProjectionDirFolder.js"
import { nameFault } from "./ProjectionDirNames.js"
import * as ProjectionDirStore from "./ProjectionDirStore.js"
import type { SwapPoint } from "./ProjectionDirStore.js"

/** Where the folder is and how its files are used; everything but `folder` has a default. */
export interface ProjectionDirOptions {
  /** Path of the folder; made if it is missing. */
  readonly folder: string
  /**
   * When a commit counts as done. Default: `"FULL"`, synced to the disk. With `"NORMAL"` a loss of power may take
   * the last pages of a model back, which are then handled again; the file stays whole. `"EXTRA"`: as `"FULL"`.
   */
  readonly synchronous?: "FULL" | "NORMAL" | "EXTRA" | undefined
  /**
   * How long to wait for another process's transaction, or for its change to the folder, before failing with a
   * transient `StoreUnavailable`. Default: 5 seconds. 0 = do not wait.
   */
  readonly busyTimeout?: Duration.DurationInput | undefined
}

/** The folder, beside the {@link ModelStore} that runners use. */
export class ProjectionDir extends Context.Tag("@millrace/sqlite/ProjectionDir")<
  ProjectionDir,
  {
    /**
     * The client of the file that is live now, for readers: the same one until a swap, here or in another process.
     * Ask again for each thing that is read, and keep to one client within it. A projection that never ran gets an
     * empty file. Fails with `InvalidArgument` (no name of a file can be made of it) and `StoreUnavailable` (its
     * `cause` says what to do about a broken pointer).
     */
    readonly db: (name: string) => Effect.Effect<SqlClient, InvalidArgument | StoreUnavailable>
    /** The projections that have files here, in order; also those whose pointer is broken. */
    readonly list: Effect.Effect<ReadonlyArray<string>, StoreUnavailable>
    /** Removes all files of a projection, model and checkpoint together; also where they are broken. One that is not there is no fault. */
    readonly remove: (name: string) => Effect.Effect<void, InvalidArgument | StoreUnavailable>
    /** Removes those of all projections. */
    readonly removeAll: Effect.Effect<void, StoreUnavailable>
    /** Closes all files, as the end of the scope does. Whatever is asked for afterwards fails with `StoreUnavailable`. */
    readonly close: Effect.Effect<void>
  }
>() {}

/** What {@link make} gives. */
export interface MadeProjectionDir {
  readonly dir: ProjectionDir["Type"]
  readonly models: ModelStore["Type"]
}

/**
 * Opens a folder until the scope closes. Fails with `InvalidArgument` (an option is out of range; nothing was opened)
 * and `StoreUnavailable` (the folder cannot be made or written).
 *
 * @example
 * ```ts
 * const { dir, models } = yield* ProjectionDir.make({ folder: "models" })
 * ```
 */
export const make = (
  options: ProjectionDirOptions
): Effect.Effect<MadeProjectionDir, InvalidArgument | StoreUnavailable, Scope.Scope> => makeStopping(options)

/** {@link make}, for tests that end the process in the middle of a swap. */
export const makeStopping = (
  options: ProjectionDirOptions,
  at?: (point: SwapPoint) => Effect.Effect<void>
): Effect.Effect<MadeProjectionDir, InvalidArgument | StoreUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const checked = check(options)
    if ("_tag" in checked) return yield* checked
    const folder = yield* ProjectionDirFolder.open(checked)
    const nothing = yield* ProjectionDirFile.open(":memory:", ":memory:", checked)
    const named = (name: string): Effect.Effect<void, InvalidArgument> =>
      Effect.suspend(() => nameFault(name) ?? Effect.void)
    const remove = (name: string) => folder.locked("remove", folder.remove(name))
    return {
      models: ProjectionDirStore.make(folder, nothing, at),
      dir: ProjectionDir.of({
        db: (name) =>
          Effect.zipRight(
            named(name),
            Effect.map(folder.live(name), ({ client }) => client)
          ),
        list: folder.list,
        remove: (name) => Effect.zipRight(named(name), remove(name)),
        removeAll: Effect.flatMap(folder.list, (names) => Effect.forEach(names, remove, { discard: true })),
        close: folder.close
      })
    }
  }).pipe(Effect.provide(Reactivity.layer))

/**
 * The folder and the store of models in it. Merged with the layer of a log it takes the place of the models that one
 * has of its own.
 *
 * @example
 * ```ts
 * const stores = Layer.merge(Postgres.layer({ url }), ProjectionDir.layer({ folder: "models" }))
 * const program = Effect.gen(function* () {
 *   yield* (yield* ProjectionRunner).catchUp(balances)
 *   const sql = yield* (yield* ProjectionDir.ProjectionDir).db("balances")
 *   return yield* sql`SELECT key, balance_cents FROM balances`
 * })
 * ```
 */
export const layer = (
  options: ProjectionDirOptions
): Layer.Layer<ModelStore | ProjectionDir, InvalidArgument | StoreUnavailable> =>
  Layer.scopedContext(
    Effect.map(make(options), ({ dir, models }) =>
      Context.add(Context.make(ProjectionDir, dir), ModelStore, models)
    )
  )

// ---- internal ----

const synchronousModes = ["FULL", "NORMAL", "EXTRA"] as const

/** The options with their defaults, or what is wrong with them. */
function check({ busyTimeout = "5 seconds", folder, synchronous = "FULL" }: ProjectionDirOptions) {
  if (typeof folder !== "string" || folder === "" || folder.includes("\u0000"))
    return invalid("folder", "the path of a folder", folder)
  if (!synchronousModes.includes(synchronous))
    return invalid("synchronous", synchronousModes.join(", "), synchronous)
  const busy = Option.getOrUndefined(Option.filter(Duration.decodeUnknown(busyTimeout), Duration.isFinite))
  if (busy === undefined) return invalid("busyTimeout", "a finite duration", busyTimeout)
  return { folder, synchronous, busyTimeout: busy }
}
