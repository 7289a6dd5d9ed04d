/**
 * The models of one projection as a whole: the live one and those beside it are made, put in each other's place,
 * emptied and dropped, tables and checkpoints together, each in one transaction.
 *
 * A swap renames. What is slow to remove, the cursors of a model that nobody needs any more, gets a name that no
 * model has, and is removed after the commit, when readers need not wait for it.
 */
import { LeaseLost } from "@millrace/core/LeaseLost"
import type { Generation, Generations, ModelRefused, ModelStore, Swapped } from "@millrace/core/ModelStore"
import { partName, partOf } from "@millrace/core/ModelStore"
import { Position } from "@millrace/core/Position"
import type { Projection } from "@millrace/core/Projection"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ModelStatements, StoredCheckpoint } from "./ModelStatements.js"
import * as ModelTables from "./ModelTables.js"
import type { ModelTransactions } from "./ModelTransactions.js"

/** What is done with whole models. */
export interface ModelGenerations extends Pick<ModelStore["Type"], "swap" | "discard" | "empty" | "remove"> {
  /** Makes what is missing of the live model, or of that of a generation, and says which one that is. */
  readonly begin: (
    projection: Any,
    generation: number | undefined
  ) => Effect.Effect<ModelTables.Part | undefined, ModelRefused | StoreUnavailable>
  readonly beside: (projection: Any) => Effect.Effect<Generations, StoreUnavailable>
}

/** The operations, on the tables and checkpoints of one database. */
export const make = (
  run: ModelTransactions,
  statements: ModelStatements,
  tables: ModelTables.ModelTables
): ModelGenerations => {
  /** One at a time changes which models there are. */
  const structural = <A, E>(
    operation: string,
    { name }: Pick<Projection, "name">,
    body: Effect.Effect<A, E | SqlError>
  ) =>
    run.transaction(
      operation,
      statements.limitLocks.pipe(Effect.zipRight(statements.takeTurn(name)), Effect.zipRight(body))
    )

  const partsOf = ({ name }: Pick<Projection, "name">, held: boolean) =>
    Effect.map(statements.checkpoints(name, held), (rows): Beside => ({
      live: rows.find((row) => row.name === name),
      parts: rows.flatMap((row) => {
        const part = partOf(row.name)
        return part !== undefined && partName(name, part.part, part.generation) === row.name
          ? [{ ...part, row }]
          : []
      }),
      rows
    }))

  const forget = (rows: ReadonlyArray<StoredCheckpoint>) =>
    Effect.forEach(
      rows,
      ({ id }) => Effect.zipRight(statements.removeCursors(id), statements.removeCheckpoint(id)),
      { discard: true }
    )

  /** Makes what `open` promises of a generation: a checkpoint that says it is there, and its tables. */
  const beginBeside = (projection: Any, generation: number) =>
    Effect.gen(function* () {
      const { name, version } = projection
      const { parts } = yield* partsOf(projection, false)
      const found = ofGeneration(parts, generation)
      const part: ModelTables.Part = found ?? { part: "b", generation }
      if (found === undefined) {
        const nowMs = yield* Clock.currentTimeMillis
        yield* statements.insert(partName(name, "b", generation), version, 0, nowMs)
      }
      yield* tables.makeMissing(projection, ModelTables.nameIn(part), [])
      return part
    })

  const beginLive = (projection: Any) =>
    Effect.gen(function* () {
      const { parts } = yield* partsOf(projection, false)
      yield* tables.makeMissing(projection, (table) => table, parts)
      return undefined
    })

  /**
   * Renames the tables of the generation and the checkpoints, and the live ones away. What had no cheap end is
   * renamed to something that means no model.
   */
  const replace = (
    projection: Any,
    { live, parts }: Beside,
    next: Part,
    keepFormer: boolean
  ): Effect.Effect<void, SqlError> =>
    Effect.gen(function* () {
      const { name } = projection
      const nowMs = yield* Clock.currentTimeMillis
      const bury = (row: StoredCheckpoint) =>
        statements.renameCheckpoint(row.id, `${name}~${row.id}~f0`, 0, nowMs)
      for (const part of parts) {
        if (part.part !== "f" || part === next) continue
        yield* statements.drop(
          ModelTables.tablesOf(projection).map((table) => ModelTables.formerName(table, part.generation))
        )
        yield* bury(part.row)
      }
      yield* tables.replaceAll(projection, next, live !== undefined && keepFormer)
      // By way of a name that no projection has: it and the former one's may be the same.
      yield* statements.renameCheckpoint(next.row.id, `${name}~`, 0, nowMs)
      if (live !== undefined)
        yield* keepFormer
          ? statements.renameCheckpoint(live.id, partName(name, "f", next.generation), 0, nowMs)
          : bury(live)
      yield* statements.renameCheckpoint(next.row.id, name, Number(live?.epoch ?? 0) + 1, nowMs)
    })

  /** Removes what a swap left of models that are gone. */
  const removeBuried = (projection: Any) =>
    run.transaction(
      "swap",
      Effect.flatMap(partsOf(projection, false), ({ live, parts, rows }) =>
        forget(rows.filter((row) => row !== live && !parts.some((part) => part.row === row)))
      )
    )

  const swap = (
    projection: Any,
    generation: number,
    { epoch, keepFormer }: { readonly epoch: number; readonly keepFormer: boolean }
  ): Effect.Effect<Swapped, LeaseLost | SqlError> => {
    const judge = (beside: Beside): Part | Swapped | LeaseLost => {
      const next = ofGeneration(beside.parts, generation)
      if (next === undefined || Number(next.row.epoch) > epoch)
        return new LeaseLost({
          key: next?.row.name ?? partName(projection.name, "b", generation),
          holder: ""
        })
      const live = Number(beside.live?.position ?? 0)
      return live > Number(next.row.position) ? { _tag: "Behind", live: Position.make(live) } : next
    }
    return Effect.gen(function* () {
      // Looked at twice: who cannot swap should not keep readers waiting.
      const before = yield* partsOf(projection, false)
      const early = judge(before)
      if ("_tag" in early) return early._tag === "LeaseLost" ? yield* early : early
      yield* tables.lockAll(projection, before.parts)
      const beside = yield* partsOf(projection, true)
      const next = judge(beside)
      if ("_tag" in next) return next._tag === "LeaseLost" ? yield* next : next
      yield* replace(projection, beside, next, keepFormer)
      return { _tag: "Swapped" } as const
    })
  }

  const empty = (projection: Any) =>
    Effect.gen(function* () {
      const { name, version } = projection
      yield* tables.emptyAll(projection)
      const nowMs = yield* Clock.currentTimeMillis
      const { live } = yield* partsOf(projection, true)
      if (live === undefined) yield* statements.insert(name, version, 1, nowMs)
      else {
        yield* statements.removeCursors(live.id)
        yield* statements.restart(live.id, version, Number(live.epoch) + 1, nowMs)
      }
    })

  return {
    begin: (projection, generation) =>
      structural(
        "open",
        projection,
        generation === undefined ? beginLive(projection) : beginBeside(projection, generation)
      ),
    beside: (projection) =>
      Effect.map(run.plain("generations", partsOf(projection, false)), ({ parts }) => ({
        building: newest(parts, "b"),
        former: newest(parts, "f")
      })),
    swap: (projection, generation, request) =>
      Effect.tap(structural("swap", projection, swap(projection, generation, request)), ({ _tag }) =>
        _tag === "Swapped" ? Effect.ignore(removeBuried(projection)) : Effect.void
      ),
    discard: (projection, generation) =>
      structural(
        "discard",
        projection,
        Effect.gen(function* () {
          const { parts } = yield* partsOf(projection, false)
          const gone = parts.filter((part) => part.generation === generation)
          yield* statements.drop(gone.flatMap((part) => ModelTables.tablesOfPart(projection, part)))
          yield* forget(gone.map(({ row }) => row))
        })
      ),
    empty: (projection) =>
      Effect.mapError(structural("empty", projection, empty(projection)), (error) =>
        error._tag === "ModelRefused" ? cannotEmpty(error) : error
      ),
    remove: (projection) =>
      structural(
        "remove",
        projection,
        Effect.gen(function* () {
          const { parts } = yield* partsOf(projection, false)
          yield* statements.drop([
            ...ModelTables.tablesOf(projection),
            ...parts.flatMap((part) => ModelTables.tablesOfPart(projection, part))
          ])
          yield* forget((yield* partsOf(projection, true)).rows)
        })
      )
  }
}

// ---- internal ----

type Any = ModelTables.AnyProjection

/** A model beside the live one, by its checkpoint. */
interface Part extends ModelTables.Part {
  readonly row: StoredCheckpoint
}

/** The checkpoints of a projection. `rows` has them all, also those that a swap left for removal. */
interface Beside {
  readonly live: StoredCheckpoint | undefined
  readonly parts: ReadonlyArray<Part>
  readonly rows: ReadonlyArray<StoredCheckpoint>
}

/** The one that is built, should both have the number. */
const ofGeneration = (parts: ReadonlyArray<Part>, generation: number): Part | undefined => {
  const found = parts.filter((part) => part.generation === generation)
  return found.find(({ part }) => part === "b") ?? found[0]
}

const newest = (parts: ReadonlyArray<Part>, kind: Part["part"]): Option.Option<Generation> => {
  const [part] = parts.filter(({ part }) => part === kind).sort((a, b) => b.generation - a.generation)
  return part === undefined
    ? Option.none()
    : Option.some({
        generation: part.generation,
        position: Position.make(Number(part.row.position)),
        version: Option.map(Option.fromNullable(part.row.revision), Number)
      })
}

/** A table that is missing and cannot be made. */
const cannotEmpty = (refused: ModelRefused): StoreUnavailable =>
  new StoreUnavailable({ operation: "empty", transient: false, cause: refused })
