/**
 * One database of a folder of projections, open: the tables of one model, its checkpoint, and a model store over
 * them. What a file holds has one of two forms:
 *
 *     live form      tables `balances`       checkpoint `balances`
 *     beside form    tables `balances__g7`   checkpoint `balances~b7`, and a closed checkpoint `balances`
 *
 * A *closed* checkpoint has the greatest epoch there is: whoever takes the file for the live one, because it was
 * frozen when it looked at the pointer, can neither claim it nor move it. A live file is closed by `handOver`,
 * before another one takes its place, and opened again by `takeBack` when none did; it keeps its form, so that
 * those who still read it can, until it is opened as the former model or swapped back.
 *
 * Every change of form is one transaction, and does nothing where it was made before.
 */
import type { ModelStore } from "@millrace/core/ModelStore"
import { partName } from "@millrace/core/ModelStore"
import type { Projection } from "@millrace/core/Projection"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as ModelStatements from "@millrace/sql/ModelStatements"
import type { StoredCheckpoint } from "@millrace/sql/ModelStatements"
import * as ModelTables from "@millrace/sql/ModelTables"
import * as ModelTransactions from "@millrace/sql/ModelTransactions"
import * as SqlModelStore from "@millrace/sql/SqlModelStore"
import * as SqlProjectionCheckpointStore from "@millrace/sql/SqlProjectionCheckpointStore"
import type * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { createProjections } from "./migrations/0004_projections.js"
import type { SqliteDatabaseOptions } from "./SqliteDatabase.js"
import * as SqliteDatabases from "./SqliteDatabase.js"
import { storeUnavailable } from "./SqliteFault.js"

/** The epoch of a closed checkpoint: no lease has it. */
export const closedEpoch = Number.MAX_SAFE_INTEGER

/** A projection whose handlers are not called here. */
export type AnyProjection = Projection<unknown, unknown>

/** What came of closing the live file. */
export type HandedOver =
  | { readonly _tag: "HandedOver"; readonly epoch: number; readonly isEmpty: boolean }
  /** It is ahead; nothing was changed. */
  | { readonly _tag: "Behind"; readonly position: number }

/** An open file. */
export interface DirFile {
  /** Its name in the folder. */
  readonly file: string
  readonly client: SqlClient.SqlClient
  readonly models: ModelStore["Type"]
  /** A checkpoint by its whole name. */
  readonly checkpoint: (name: string) => Effect.Effect<StoredCheckpoint | undefined, StoreUnavailable>
  /** Closes a live file, unless it is ahead of `position`. */
  readonly handOver: (name: string, position: number) => Effect.Effect<HandedOver, StoreUnavailable>
  /** Opens it again, with the epoch that it had. */
  readonly takeBack: (name: string) => Effect.Effect<void, StoreUnavailable>
  /** Gives a model beside the live one the live form. False when a greater epoch than `epoch` has claimed it. */
  readonly toLive: (
    projection: AnyProjection,
    part: ModelTables.Part,
    epochs: { readonly builder: number; readonly live: number }
  ) => Effect.Effect<boolean, StoreUnavailable>
  /** Gives it the form of a model beside the live one. */
  readonly toBeside: (
    projection: AnyProjection,
    part: ModelTables.Part
  ) => Effect.Effect<void, StoreUnavailable>
  /** Forgets all checkpoints, and leaves a closed one: whoever still has the file moves nothing. */
  readonly bury: (name: string) => Effect.Effect<void, StoreUnavailable>
  /** Brings everything that was committed into the file itself, synced. */
  readonly settle: Effect.Effect<void, StoreUnavailable>
}

/** How files are opened. */
export type DirFileOptions = Omit<SqliteDatabaseOptions, "filename">

/** Opens a file, makes it where it is missing, and closes it with the scope. */
export const open = (
  path: string,
  file: string,
  options: DirFileOptions
): Effect.Effect<DirFile, StoreUnavailable, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    const { client } = yield* SqliteDatabases.open({ ...options, filename: path })
    yield* migrate(client)
    const place = { prefix: "millrace_", storeUnavailable }
    const models = Effect.flatMap(SqlProjectionCheckpointStore.make(place), (checkpoints) =>
      SqlModelStore.make({ ...place, checkpoints, sharesLog: false })
    )
    return make(
      file,
      client,
      yield* Effect.provideService(models, SqlClient.SqlClient, client),
      options.busyTimeout
    )
  })

// ---- internal: the file ----

const make = (
  file: string,
  client: SqlClient.SqlClient,
  models: ModelStore["Type"],
  busyTimeout: Duration.Duration
): DirFile => {
  const statements = ModelStatements.makeStatements(client, { prefix: "millrace_" })
  const tables = ModelTables.make(client, statements)
  const marks = marksOf(client)
  const run = ModelTransactions.make(client, { storeUnavailable })
  const patience = Duration.max(busyTimeout, "1 second")
  /**
   * In one transaction, with the time. Waiting for one of this process ends as that for another one's does: it may
   * be that of somebody who waits for the lock of the folder.
   */
  const change = <A>(operation: string, body: (nowMs: number) => Effect.Effect<A, SqlError>) =>
    Effect.timeoutFail(
      Effect.interruptible(run.transaction(operation, Effect.flatMap(Clock.currentTimeMillis, body))),
      {
        duration: patience,
        onTimeout: () => busy(operation, "another transaction of this process has the file")
      }
    )

  const forget = (row: StoredCheckpoint | undefined) =>
    row === undefined
      ? Effect.void
      : Effect.zipRight(statements.removeCursors(row.id), statements.removeCheckpoint(row.id))
  const closed = (name: string, nowMs: number) => statements.insert(name, 0, closedEpoch, nowMs)

  return {
    file,
    client,
    models,
    checkpoint: (name) => run.plain("generations", statements.hold(name)),
    handOver: (name, position) =>
      change("swap", (nowMs) =>
        Effect.gen(function* () {
          const row = yield* statements.hold(name)
          if (row === undefined) {
            yield* closed(name, nowMs)
            yield* marks.put("live", null)
            return { _tag: "HandedOver", epoch: 0, isEmpty: true } as const
          }
          const at = Number(row.position)
          if (at > position) return { _tag: "Behind", position: at } as const
          const epoch = Number(row.epoch)
          yield* marks.put("live", epoch)
          yield* statements.renameCheckpoint(row.id, name, closedEpoch, nowMs)
          return { _tag: "HandedOver", epoch, isEmpty: false } as const
        })
      ),
    takeBack: (name) =>
      change("swap", (nowMs) =>
        Effect.gen(function* () {
          const row = yield* statements.hold(name)
          const before = yield* marks.get("live")
          if (row === undefined || before === undefined) return
          yield* before === null
            ? forget(row)
            : statements.renameCheckpoint(row.id, name, Number(before), nowMs)
          yield* marks.clear
        })
      ),
    toLive: (projection, part, epochs) =>
      change("swap", (nowMs) =>
        Effect.gen(function* () {
          const { name } = projection
          const row = yield* statements.hold(partName(name, part.part, part.generation))
          if (row === undefined || Number(row.epoch) > epochs.builder) return false
          yield* tables.replaceAll(projection, part, false)
          yield* forget(yield* statements.hold(name))
          yield* statements.renameCheckpoint(row.id, name, epochs.live, nowMs)
          yield* marks.clear
          // For the way back, should it not come to be the live one.
          yield* marks.put("builder", row.epoch)
          return true
        })
      ),
    toBeside: (projection, part) =>
      change("open", (nowMs) =>
        Effect.gen(function* () {
          const { name } = projection
          const besideName = partName(name, part.part, part.generation)
          if ((yield* statements.hold(besideName)) !== undefined) return
          const row = yield* statements.hold(name)
          const isNew =
            row === undefined ||
            (Number(row.epoch) === closedEpoch && (yield* marks.get("live")) === undefined)
          if (!isNew) {
            const builder = part.part === "b" ? yield* marks.get("builder") : undefined
            for (const table of yield* statements.tablesAmong(ModelTables.tablesOf(projection)))
              yield* statements.rename(table, ModelTables.nameIn(part)(table))
            yield* statements.renameCheckpoint(row.id, besideName, Number(builder ?? 0), nowMs)
            yield* marks.clear
          }
          if (!isNew || row === undefined) yield* closed(name, nowMs)
        })
      ),
    bury: (name) =>
      change("discard", (nowMs) =>
        Effect.gen(function* () {
          for (const row of yield* statements.checkpoints(name, true)) yield* forget(row)
          yield* closed(name, nowMs)
        })
      ),
    settle: run
      .plain("swap", client.unsafe<Checkpointed>("PRAGMA wal_checkpoint(TRUNCATE)").withoutTransform)
      .pipe(
        Effect.flatMap(([result]) =>
          result?.busy === 0
            ? Effect.void
            : Effect.fail(
                busy("swap", "the built model is being read: its log cannot be brought into the file")
              )
        ),
        Effect.retry({
          schedule: Schedule.upTo(Schedule.spaced("5 millis"), busyTimeout),
          while: ({ transient }) => transient
        })
      )
  }
}

/** What SQLite says of a checkpoint of its log. */
interface Checkpointed {
  readonly busy: number
}

const busy = (operation: string, why: string): StoreUnavailable =>
  new StoreUnavailable({ operation, transient: true, cause: new Error(why) })

// ---- internal: tables ----

/** What a file says of itself: the epoch that a live one had, none where it was never claimed; that of a builder. */
type Mark = "live" | "builder"

const marksOf = (sql: SqlClient.SqlClient) => ({
  /** Undefined = there is no mark. */
  get: (mark: Mark): Effect.Effect<ModelStatements.Integer | null | undefined, SqlError> =>
    Effect.map(
      sql<{ readonly epoch: number | null }>`
        SELECT epoch FROM millrace_marks WHERE mark = ${mark}
      `.withoutTransform,
      ([row]) => row?.epoch
    ),
  put: (mark: Mark, epoch: ModelStatements.Integer | null) =>
    sql`INSERT OR REPLACE INTO millrace_marks (mark, epoch) VALUES (${mark}, ${epoch})`,
  clear: sql`DELETE FROM millrace_marks`
})

/** Of the tables that every file has. In a new one they come with one commit, which is all that opening it takes. */
const form = 1

const migrate = (sql: SqlClient.SqlClient): Effect.Effect<void, StoreUnavailable> => {
  const stored = Effect.map(
    sql.unsafe<{ readonly user_version: number }>("PRAGMA user_version").withoutTransform,
    ([row]) => row!.user_version
  )
  const create = Effect.gen(function* () {
    if ((yield* stored) >= form) return
    yield* createProjections
    yield* sql`CREATE TABLE millrace_marks (mark TEXT NOT NULL PRIMARY KEY, epoch INTEGER) STRICT`
    yield* sql.unsafe(`PRAGMA user_version = ${form}`)
  }).pipe(Effect.provideService(SqlClient.SqlClient, sql))
  const run = ModelTransactions.make(sql, { storeUnavailable })
  return Effect.gen(function* () {
    const found = yield* run.plain("migrate", stored)
    if (found < form) return yield* run.transaction("migrate", create)
    if (found === form) return
    const cause = new Error(`the file is of form ${found}, which a newer version of this library made`)
    return yield* new StoreUnavailable({ operation: "migrate", transient: false, cause })
  })
}
