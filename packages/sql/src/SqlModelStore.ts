/**
 * Models of projections in a SQL database, each beside its checkpoint: folds in a table of their own, and what SQL
 * handlers keep in the tables that they declared. One implementation for both dialects.
 *
 *     table      balances     balances__g7     balances__f4
 *     checkpoint balances     balances~b7      balances~f4
 *                live         building         former
 *
 * Tables of models are in the schema where the application's connections look first, under the names that its own
 * statements use; a model takes the place of another one by renaming both, in one transaction with their
 * checkpoints. Indexes keep the names that they were made with. A former model has the generation of the one
 * that took its place.
 *
 *  1. Tables are locked before checkpoints, by steps as by swaps, and swaps lock them in byte order.
 *  2. Who makes, renames or drops tables of a projection has its turn alone (an advisory lock on Postgres).
 *  3. A swap on Postgres waits for readers of the live model for a second at most, while new ones wait for it.
 *     What is slow to remove, the cursors of models that nobody needs any more, is removed after its commit.
 *
 * In the worst case (the process dies right after a swap) such cursors stay until the next one. A view over a
 * table of the live model follows that table, and not its name: it shows the former model after a swap.
 */
import { invalid } from "@millrace/core/InvalidArgument"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { Model } from "@millrace/core/ModelStore"
import { ModelRefused, ModelStore, partName } from "@millrace/core/ModelStore"
import { pageRowsMax } from "@millrace/core/Page"
import type { Position } from "@millrace/core/Position"
import type { Fold, FoldProjection, Projection } from "@millrace/core/Projection"
import type { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { textFault } from "@millrace/core/Text"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { keyCodePointsMax } from "./FoldPage.js"
import * as FoldRows from "./FoldRows.js"
import * as FoldStatements from "./FoldStatements.js"
import type { FoldTable } from "./FoldTable.js"
import type { FoldParts, ModelParts } from "./ModelApply.js"
import { applyElsewhere, applyFold, applyHandlers, stillThere } from "./ModelApply.js"
import * as ModelGenerations from "./ModelGenerations.js"
import * as ModelStatements from "./ModelStatements.js"
import * as ModelTables from "./ModelTables.js"
import type { ModelTransactionOptions } from "./ModelTransactions.js"
import * as ModelTransactions from "./ModelTransactions.js"
import type { TablePlace } from "./TablePlace.js"

/** Where the checkpoints are, and what the driver's errors mean. */
export interface SqlModelStoreOptions extends TablePlace, ModelTransactionOptions {
  /** The checkpoints of the same database, under the same `schema` and `prefix`. */
  readonly checkpoints: ProjectionCheckpointStore["Type"]
  /**
   * Whether the log and its subscribers are in the same database too: then what a step does `also` belongs to its
   * transaction, else it comes after the commit. Default: true.
   */
  readonly sharesLog?: boolean | undefined
}

/**
 * Builds the store over the `SqlClient` of the context.
 *
 * @example
 * ```ts
 * const checkpoints = yield* SqlProjectionCheckpointStore.make({ schema: "millrace", storeUnavailable })
 * const models = yield* SqlModelStore.make({ schema: "millrace", checkpoints, storeUnavailable })
 * ```
 */
export const make = (
  options: SqlModelStoreOptions
): Effect.Effect<ModelStore["Type"], never, SqlClient.SqlClient> =>
  Effect.map(SqlClient.SqlClient, (sql) => {
    const { checkpoints } = options
    const run = ModelTransactions.make(sql, options)
    const statements = ModelStatements.makeStatements(sql, options)
    const tables = ModelTables.make(sql, statements)
    const generations = ModelGenerations.make(run, statements, tables)

    // ---- one model ----

    const modelOf = <E, R>(projection: Projection<E, R>, beside: ModelTables.Part | undefined): Model<R> => {
      const { strength, version } = projection
      const parts: ModelParts = {
        projectionName: projection.name,
        name:
          beside === undefined ? projection.name : partName(projection.name, beside.part, beside.generation),
        revision: version,
        isShadow: beside !== undefined,
        names: ModelTables.namesOf(
          projection,
          beside === undefined ? (table) => table : ModelTables.nameIn(beside)
        ),
        sql,
        run,
        statements,
        checkpoints,
        sharesLog: options.sharesLog ?? true,
        storeUnavailable: options.storeUnavailable
      }
      const fold = strength._tag === "Fold" ? foldOf(strength, parts) : undefined
      const claim = (epoch: LeaseEpoch) =>
        known(checkpoints.claimProjection(parts.name, epoch, { revision: version }))
      return {
        info: run.plain("info", known(checkpoints.getProjection(parts.name))),
        // Two statements, for they stand in every write with inline projections.
        hold: run.plain(
          "hold",
          Effect.zipRight(statements.holdTables([...parts.names.values()]), statements.hold(parts.name)).pipe(
            Effect.flatMap((row) => {
              if (row !== undefined) return Effect.succeed(row)
              if (beside !== undefined) return Effect.dieMessage("a model beside the live one is gone")
              return Effect.flatMap(Clock.currentTimeMillis, (nowMs) =>
                Effect.zipRight(
                  statements.insert(parts.name, version, 0, nowMs),
                  Effect.map(statements.hold(parts.name), (made) => made!)
                )
              )
            }),
            Effect.map(({ position }) => Number(position) as Position)
          )
        ),
        claim: (epoch) =>
          beside === undefined
            ? run.plain("claim", claim(epoch))
            : run.transaction("claim", Effect.zipRight(stillThere(parts), claim(epoch))),
        cursors: (streamIds) =>
          run.plain("cursors", known(checkpoints.loadProjectionCursors(parts.name, streamIds))),
        apply:
          strength._tag === "Fold"
            ? applyFold(parts, fold!)
            : strength.place === "sql"
              ? // Of handlers in SQL `R` is the client at most: see SqlProjection.
                applyHandlers(parts, strength as never)
              : applyElsewhere(parts, strength),
        table: (name) => ModelTables.nameAmong(parts.names, name),
        count: run.plain("count", statements.count([...parts.names.values()])),
        // To whoever asks it needs nothing more: see SqlProjection.
        provided: <A, E2, R2>(effect: Effect.Effect<A, E2, R2>) =>
          Effect.provideService(effect, SqlClient.SqlClient, sql) as Effect.Effect<A, E2, R2>,
        rows: (keys) =>
          fold === undefined ? Effect.succeed(new Map()) : run.plain("rows", FoldRows.rowsOf(fold, keys))
      }
    }

    const foldOf = (fold: Fold<unknown>, { names }: Pick<ModelParts, "names">): FoldParts => {
      const table = ModelTables.foldTable(fold)
      return {
        fold,
        table,
        statements: FoldStatements.makeStatements(sql, options, table, names.get(fold.table)!)
      }
    }

    // ---- reading the live model ----

    /** Folds whose live tables were seen to have the columns of their rows: the others are looked at before. */
    const seen = new WeakMap<Fold<unknown>, FoldParts>()

    const look = <A>(
      operation: string,
      projection: Projection,
      strength: Fold<unknown>,
      none: A,
      use: (fold: FoldParts) => Effect.Effect<A, SqlError | StoreUnavailable>
    ): Effect.Effect<A, ModelRefused | StoreUnavailable> => {
      const fault = ModelTables.faultOf(projection)
      if (fault !== undefined) return refuse(projection, fault)
      const fold = foldOf(strength, { names: ModelTables.namesOf(projection, (table) => table) })
      return Effect.flatMap(
        run.plain(operation, tables.formOf(fold.table, strength.table)),
        (form): Effect.Effect<A, ModelRefused | StoreUnavailable> => {
          if (form === "missing") return Effect.succeed(none)
          if (form === "other") return refuse(projection, ModelTables.otherForm)
          seen.set(strength, fold)
          return run.plain(operation, use(fold))
        }
      )
    }

    const reading = <A>(
      operation: string,
      projection: Projection,
      none: A,
      use: (fold: FoldParts) => Effect.Effect<A, SqlError | StoreUnavailable>
    ): Effect.Effect<A, ModelRefused | StoreUnavailable> =>
      Effect.suspend(() => {
        const { strength } = projection
        if (strength._tag !== "Fold") return refuse(projection, "rows are listed of a fold only")
        const fold = seen.get(strength)
        const looked = Effect.suspend(() => look(operation, projection, strength, none, use))
        if (fold === undefined) return looked
        return Effect.catchIf(
          run.plain(operation, use(fold)),
          // The table may be gone since, or that of another version be in its place.
          ({ transient }) => !transient,
          () => looked
        )
      })

    return ModelStore.of({
      isDurable: true,
      transaction:
        options.sharesLog === false ? undefined : (effect) => run.transaction("transaction", effect),
      open: (projection, generation) =>
        Effect.gen(function* () {
          const any = projection as Any
          const fault = ModelTables.faultOf(any)
          if (fault !== undefined) return yield* refuse(any, fault)
          const isReady = generation === undefined && (yield* run.plain("open", tables.isComplete(any)))
          const model = modelOf(projection, isReady ? undefined : yield* generations.begin(any, generation))
          if (any.strength._tag === "Fold") {
            const table: FoldTable = ModelTables.foldTable(any.strength)
            const form = yield* run.plain("open", tables.formOf(table, model.table(any.strength.table)))
            const version = Option.flatMap(yield* model.info, ({ revision }) => revision)
            // A model of another version is the runner's business: it is rebuilt, or too new.
            if (form === "other" && Option.getOrElse(version, () => any.version) === any.version)
              return yield* refuse(any, ModelTables.otherForm)
          }
          return model
        }),
      generations: generations.beside,
      swap: generations.swap,
      discard: generations.discard,
      empty: generations.empty,
      remove: generations.remove,
      // What is decoded by a fold's own schema is a row of it.
      list: <Row>(projection: FoldProjection<Row>, listing: Listing) =>
        Effect.suspend(
          (): Effect.Effect<
            ReadonlyArray<{ readonly key: string; readonly row: Row }>,
            ModelRefused | InvalidArgument | StoreUnavailable
          > => {
            type Rows = ReadonlyArray<{ readonly key: string; readonly row: Row }>
            const fault = listingFault(listing)
            if (fault !== undefined) return Effect.fail(fault)
            return reading<Rows>(
              "list",
              projection,
              [],
              (fold) => FoldRows.page(fold, listing) as Effect.Effect<Rows, SqlError | StoreUnavailable>
            )
          }
        ),
      get: <Row>(projection: FoldProjection<Row>, key: string) =>
        reading("get", projection, Option.none<Row>(), (fold) =>
          textFault(key, keyCodePointsMax) !== undefined
            ? Effect.succeedNone
            : Effect.map(FoldRows.rowsOf(fold, [key]), (rows) =>
                rows.has(key) ? Option.some(rows.get(key) as Row) : Option.none()
              )
        )
    })
  })

// ---- internal ----

type Any = ModelTables.AnyProjection
type Listing = { readonly after?: string | undefined; readonly limit: number }
type LeaseEpoch = Parameters<Model<never>["claim"]>[0]

const refuse = ({ name }: Pick<Projection, "name">, reason: string): Effect.Effect<never, ModelRefused> =>
  Effect.fail(new ModelRefused({ projectionName: name, reason }))

const listingFault = ({ after, limit }: { readonly after?: unknown; readonly limit: number }) => {
  if (!(Number.isSafeInteger(limit) && limit >= 1 && limit <= pageRowsMax))
    return invalid("limit", `an integer of 1 to ${pageRowsMax} rows`, limit)
  const fault = after === undefined ? undefined : textFault(after, keyCodePointsMax)
  return fault === undefined ? undefined : invalid("after", `a key; this one ${fault}`, after)
}

/** Names were looked at when the model was opened, and epochs and streams are those of the types. */
const known = <A, E>(
  effect: Effect.Effect<A, E | InvalidArgument>
): Effect.Effect<A, Exclude<E, InvalidArgument>> =>
  Effect.catchAll(effect, (error) =>
    (error as { readonly _tag?: string })._tag === "InvalidArgument"
      ? Effect.die(error)
      : Effect.fail(error as Exclude<E, InvalidArgument>)
  )
