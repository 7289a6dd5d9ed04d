/**
 * A step of one model: what a page of events does to it, and the checkpoint, as one transaction.
 *
 *     fold, Postgres      load ─▶ fold in memory ─▶ one statement: rows and checkpoint
 *     fold, SQLite        BEGIN · load · fold · rows · checkpoint · COMMIT
 *     handlers in SQL     BEGIN · limits · handlers one after another · checkpoint · COMMIT
 *     handlers elsewhere  compare · handlers · checkpoint
 *
 * The rows of a fold on Postgres are loaded without a lock. Whoever wrote them since moved the checkpoint too, or
 * claimed it with a greater epoch, and then the statement does nothing. What was changed by hand in between is
 * overwritten, and what was removed by hand stays away.
 *
 * The checkpoint is locked last: a swap locks tables first and checkpoints then, as these steps do.
 */
import type { RecordedEvent } from "@millrace/core/Event"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { LeaseLost } from "@millrace/core/LeaseLost"
import type { ApplyError, ModelStep } from "@millrace/core/ModelStore"
import { ShadowUnsupported } from "@millrace/core/ModelStore"
import type { Batch, Fold, Handlers } from "@millrace/core/Projection"
import type { ProjectionMoved } from "@millrace/core/ProjectionCheckpoint"
import type { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import type { ProjectionCheckpointStoreBackend } from "@millrace/core/ProjectionCheckpointStoreBackend"
import * as Backend from "@millrace/core/ProjectionCheckpointStoreBackend"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { foldPage, keysOf } from "./FoldPage.js"
import type { FoldChange, FoldStatements } from "./FoldStatements.js"
import type { FoldTable } from "./FoldTable.js"
import { runHandlers } from "./ModelHandlers.js"
import type { ModelStatements } from "./ModelStatements.js"
import type { ModelTransactions } from "./ModelTransactions.js"

/** One model, and what its steps are made with. */
export interface ModelParts {
  readonly projectionName: string
  /** The name of its checkpoint. */
  readonly name: string
  /** The projection's version. */
  readonly revision: number
  /** Whether it stands beside the live one. */
  readonly isShadow: boolean
  /** The name that each table has here, by its own. */
  readonly names: ReadonlyMap<string, string>
  readonly sql: SqlClient.SqlClient
  readonly run: ModelTransactions
  readonly statements: ModelStatements
  readonly checkpoints: ProjectionCheckpointStore["Type"]
  /** Whether the log is in the same database, and what belongs to it therefore to the same transaction. */
  readonly sharesLog: boolean
  readonly storeUnavailable: (operation: string) => (cause: unknown) => StoreUnavailable
}

/** A fold, its table and the statements for it. */
export interface FoldParts {
  readonly fold: Fold<unknown>
  readonly table: FoldTable
  readonly statements: FoldStatements
}

/** Makes steps. */
export type Apply<R> = (
  events: ReadonlyArray<RecordedEvent>,
  step: ModelStep
) => Effect.Effect<void, ApplyError, R>

/** Steps of a fold. */
export const applyFold = (model: ModelParts, { fold, statements, table }: FoldParts): Apply<never> => {
  const { write } = statements
  const change = (events: ReadonlyArray<RecordedEvent>, use: (change: FoldChange) => Step): Step =>
    Effect.flatMap(
      Effect.suspend(() => keysOf(fold, events)),
      (keys) =>
        keys.all.length === 0
          ? use(nothing)
          : Effect.flatMap(statements.load(keys.all), (loaded) =>
              Effect.flatMap(foldPage(fold, table, events, keys, loaded), use)
            )
    )
  return (events, step) => {
    if (write._tag === "Apart")
      return inTransaction(
        model,
        step,
        change(events, (given) => Effect.zipRight(write.change(given), advance(model, step)))
      )
    const isWithin = step.also !== undefined && model.sharesLog
    const page = change(events, (given) =>
      // A statement without rows would not tell whether a model beside the live one is still there.
      given === nothing
        ? alone(model, advance(model, step))
        : advanceBy(model, step, (request) =>
            Effect.mapError(write.change(given, request), model.storeUnavailable("apply"))
          )
    )
    return isWithin
      ? inTransaction(model, step, page)
      : unlessGone(model, Effect.zipRight(model.run.plain("apply", page), step.also ?? Effect.void))
  }
}

/** Steps of handlers whose model is in this database. They need its client, and nothing else. */
export const applyHandlers =
  (
    model: ModelParts,
    strength: Handlers<unknown, SqlClient.SqlClient> | Batch<unknown, SqlClient.SqlClient>
  ): Apply<never> =>
  (events, step) => {
    const { isShadow, names, projectionName, sql } = model
    const tables = { isShadow, names, projectionName, storeUnavailable: model.storeUnavailable("apply") }
    const page = Effect.provideService(
      runHandlers(strength, events, step.lease, tables),
      SqlClient.SqlClient,
      sql
    )
    return inTransaction(model, step, Effect.zipRight(page, advance(model, step)))
  }

/** Steps of handlers whose model is elsewhere: at least once, and never for whoever was overtaken before. */
export const applyElsewhere =
  <E, R>(model: ModelParts, strength: Handlers<E, R> | Batch<E, R>): Apply<R> =>
  (events, step) => {
    const { isShadow, names, projectionName } = model
    if (isShadow && events.length > 0)
      return Effect.fail(
        new ShadowUnsupported({
          projectionName,
          reason: "its handlers keep their model outside of the store"
        })
      )
    const { previous } = step
    const compare = { ...step, current: { position: previous.position, cursors: noCursors } }
    const tables = { isShadow, names, projectionName, storeUnavailable: model.storeUnavailable("apply") }
    const move =
      step.also === undefined
        ? alone(model, advance(model, step))
        : inTransaction(model, step, advance(model, step))
    if (events.length === 0) return move
    return alone(model, advance(model, compare)).pipe(
      Effect.zipRight(runHandlers(strength, events, step.lease, tables)),
      Effect.zipRight(move)
    )
  }

// ---- internal: the checkpoint ----

type AdvanceError = ProjectionMoved | LeaseLost | InvalidArgument | StoreUnavailable
type Step<R = never> = Effect.Effect<void, ApplyError | SqlError, R>

const noRows = { keys: [], values: [] }
const nothing: FoldChange = { changed: noRows, added: noRows, removed: [] }
const noCursors = new Map<never, never>()

/** Moves the checkpoint. Of a model beside the live one only while it is there, which takes a transaction. */
const advance = (model: ModelParts, step: ModelStep): Effect.Effect<void, AdvanceError | SqlError> => {
  const { checkpoints, isShadow, name, revision } = model
  const right = { epoch: step.lease?.epoch, revision }
  const move = checkpoints.advanceProjectionCursors(name, step.previous, step.current, right)
  return isShadow ? Effect.zipRight(stillThere(model), move) : move
}

/** Moves it outside of a transaction of ours. */
const alone = (
  { isShadow, run }: ModelParts,
  move: Effect.Effect<void, AdvanceError | SqlError>
): Effect.Effect<void, AdvanceError> => (isShadow ? run.transaction("apply", move) : run.plain("apply", move))

/** Moves it by a statement that does so beside other things, with the checks and the errors of the checkpoints' store. */
const advanceBy = (
  { name, revision }: ModelParts,
  { current, lease, previous }: ModelStep,
  statement: ProjectionCheckpointStoreBackend["advance"]
): Effect.Effect<void, AdvanceError> =>
  Backend.make({ ...unused, advance: statement }).advanceProjectionCursors(name, previous, current, {
    epoch: lease?.epoch,
    revision
  })

/** Fails when a model beside the live one was swapped or dropped; else it is neither until the transaction ends. */
export const stillThere = ({ name, statements }: Pick<ModelParts, "name" | "statements">) =>
  Effect.flatMap(statements.hold(name), (row) =>
    row === undefined ? Effect.fail(new LeaseLost({ key: name, holder: "" })) : Effect.void
  )

const never = (): Effect.Effect<never> => Effect.dieMessage("the statement of a fold only advances")
const unused: ProjectionCheckpointStoreBackend = {
  find: never,
  load: never,
  cursors: never,
  save: never,
  advance: never,
  reset: never,
  claim: never,
  list: never
}

// ---- internal: the transaction ----

/** Runs a step as a transaction, which the server ends when its process stands still for longer than the lease. */
const inTransaction = <R>(
  model: ModelParts,
  step: ModelStep,
  body: Step<R>
): Effect.Effect<void, ApplyError, R> => {
  const also = step.also ?? Effect.void
  const { lease } = step
  const whole =
    lease === undefined
      ? body
      : Effect.zipRight(
          model.statements.limitIdle(Math.max(1, Math.floor(Duration.toMillis(lease.ttl)))),
          body
        )
  return unlessGone(
    model,
    model.sharesLog
      ? model.run.transaction("apply", Effect.zipRight(whole, also))
      : Effect.zipRight(model.run.transaction("apply", whole), also)
  )
}

/** Tables go with the model: who fails on one that is gone was overtaken. */
const unlessGone = <R>(
  model: ModelParts,
  step: Effect.Effect<void, ApplyError, R>
): Effect.Effect<void, ApplyError, R> =>
  model.isShadow
    ? Effect.catchIf(
        step,
        (error) => error._tag === "HandlerError" || error._tag === "StoreUnavailable",
        (error) =>
          model.run.plain("apply", stillThere(model)).pipe(
            Effect.catchTag("StoreUnavailable", () => Effect.void),
            Effect.zipRight(Effect.fail(error))
          )
      )
    : step
