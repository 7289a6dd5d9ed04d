/**
 * Checkpoints of projections in two tables, in one SQL text for both dialects: a row a projection, and a row a
 * stream of it, which names the projection by a small id. Each database's package makes the tables in its
 * migrations and says what its driver's errors mean.
 *
 * Every write locks the row of its projection first and looks at the cursors only then, so that what it compares
 * with is what is there when it writes. It is a transaction, or a savepoint in the caller's. On Postgres the
 * one that catch-ups make all the time is a function, and so a single round trip.
 *
 * Values go in arrays, at most 10 000 a statement; stored cursors are read in pages of as many rows. Memory is
 * therefore bounded by the caller's own maps.
 */
import type { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import type {
  AdvanceRequest,
  ProjectionCheckpointStoreBackend,
  ProjectionRow,
  ProjectionStamp,
  SaveRequest,
  StoredInstead
} from "@millrace/core/ProjectionCheckpointStoreBackend"
import * as Backend from "@millrace/core/ProjectionCheckpointStoreBackend"
import { isOvertaken } from "@millrace/core/ProjectionCheckpointStoreBackend"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { compareUtf8 } from "@millrace/core/Text"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type {
  ProjectionStatements,
  StoredAdvance,
  StoredCursor,
  StoredProjection
} from "./ProjectionStatements.js"
import { makeStatements } from "./ProjectionStatements.js"

/** Where the tables are, and what the driver's errors mean. */
export interface SqlProjectionOptions {
  /** Schema that the tables are in. Default: the one that the connection looks in first; SQLite has no other. */
  readonly schema?: string | undefined
  /** What the names of the tables `projections` and `projection_cursors` begin with. Default: nothing. */
  readonly prefix?: string | undefined
  /** Turns what the driver failed with while it did `operation` into the typed error of the store. */
  readonly storeUnavailable: (operation: string) => (cause: unknown) => StoreUnavailable
}

/**
 * Builds the store over the `SqlClient` of the context.
 *
 * @example
 * ```ts
 * const projections = yield* SqlProjectionCheckpointStore.make({
 *   schema: "millrace",
 *   storeUnavailable: PgFault.storeUnavailable
 * })
 * ```
 */
export const make = (
  options: SqlProjectionOptions
): Effect.Effect<ProjectionCheckpointStore["Type"], never, SqlClient.SqlClient> =>
  Effect.map(SqlClient.SqlClient, (sql) => {
    const statements = makeStatements(sql, options)
    const failed = options.storeUnavailable
    const transaction = transactionOf(sql, failed)
    const writing = writingWith(statements)
    const stepwise = (request: AdvanceRequest) =>
      transaction("advanceProjectionCursors", writing.advance(request))

    const backend: ProjectionCheckpointStoreBackend = {
      find: (name) =>
        Effect.mapError(
          Effect.map(statements.find(name), (row) => row && asRow(row)),
          failed("getProjection")
        ),
      load: (name) =>
        statements.findWithCursors(name).pipe(
          Effect.map((rows) => {
            const cursors = new Map<string, number>()
            let row: ProjectionRow | undefined
            for (const each of rows) {
              if (each.stream_id === null) row = asRow({ ...each, name })
              else cursors.set(each.stream_id, Number(each.position))
            }
            return row === undefined ? undefined : { row, cursors }
          }),
          Effect.mapError(failed("loadProjectionCheckpoint"))
        ),
      cursors: (name, streamIds) =>
        Effect.mapError(
          Effect.map(statements.cursorsAmong(name, streamIds), asMap),
          failed("loadProjectionCursors")
        ),
      save: (request) => transaction("saveProjectionCheckpoint", writing.save(request)),
      advance: sql.onDialectOrElse({
        pg: () => (request: AdvanceRequest) =>
          request.moves.length > rowsPerStatement
            ? stepwise(request)
            : Effect.mapError(
                Effect.map(statements.advanceByFunction(request), asOutcome),
                failed("advanceProjectionCursors")
              ),
        orElse: () => stepwise
      }),
      reset: (name, stamp) => transaction("resetProjectionCheckpoint", writing.reset(name, stamp)),
      claim: (name, epoch, revision) =>
        Clock.currentTimeMillis.pipe(
          Effect.flatMap((nowMs) => statements.claim(name, epoch, revision, nowMs)),
          Effect.map((row) => row && asRow(row)),
          Effect.mapError(failed("claimProjection"))
        ),
      list: (listing) =>
        Effect.mapError(
          Effect.map(statements.list(listing), (rows) => rows.map(asRow)),
          failed("listProjections")
        )
    }
    return Backend.make(backend)
  })

// ---- internal: writes ----

/** Rows of one statement, and of one page of stored cursors. */
const rowsPerStatement = 10_000

type Outcome = StoredInstead | undefined

/** Runs the steps of a write as a transaction, or as a savepoint of the caller's. */
const transactionOf =
  (sql: SqlClient.SqlClient, failed: SqlProjectionOptions["storeUnavailable"]) =>
  (operation: string, steps: Effect.Effect<Outcome, SqlError>): Effect.Effect<Outcome, StoreUnavailable> =>
    sql.withTransaction(steps).pipe(
      // A COMMIT that fails is a defect in @effect/sql.
      Effect.catchSomeDefect((defect) =>
        defect instanceof SqlError ? Option.some(Effect.fail(defect)) : Option.none()
      ),
      Effect.mapError(failed(operation))
    )

/** The writes that take several statements. Each decides under the lock of the row, before it writes anything. */
const writingWith = (statements: ProjectionStatements) => {
  /** Makes the row if it is not there, and locks it. */
  const lockNew = (name: string, nowMs: number): Effect.Effect<StoredProjection, SqlError> =>
    Effect.map(
      Effect.zipRight(statements.insert(name, nowMs), statements.lock(name)),
      // It is there: made by us, or by somebody who has committed, and rows of projections stay.
      (row) => row!
    )

  const putAll = (
    id: number,
    cursors: ReadonlyArray<readonly [streamId: string, version: number]>
  ): Effect.Effect<void, SqlError> =>
    Effect.forEach(
      Arr.chunksOf(cursors, rowsPerStatement),
      (piece) =>
        statements.putCursors(id, {
          streamIds: piece.map(([streamId]) => streamId),
          versions: piece.map(([, version]) => version)
        }),
      { discard: true }
    )

  const save = (request: SaveRequest): Effect.Effect<Outcome, SqlError> =>
    Effect.gen(function* () {
      const nowMs = yield* Clock.currentTimeMillis
      const row = (yield* statements.lock(request.name)) ?? (yield* lockNew(request.name, nowMs))
      const stored = instead(row)
      if (isOvertaken(stored, request) || stored.position > request.position) return stored

      const changed = new Map(request.cursors)
      const removed: Array<string> = []
      for (let behind = ""; ;) {
        const page = yield* statements.cursorsBehind(row.id, behind, rowsPerStatement)
        for (const { stream_id: streamId, version: text } of page) {
          const version = Number(text)
          const given = request.cursors.get(streamId)
          if (given === undefined) removed.push(streamId)
          else if (given === version) changed.delete(streamId)
          else if (given < version) return { ...stored, stream: { streamId, version } }
        }
        if (page.length < rowsPerStatement) break
        behind = page[page.length - 1]!.stream_id
      }
      for (const piece of Arr.chunksOf(removed, rowsPerStatement))
        yield* statements.removeCursors(row.id, piece)
      yield* putAll(
        row.id,
        [...changed].filter(([, version]) => version > 0)
      )
      yield* statements.move(row.id, request.position, request, nowMs)
      return undefined
    })

  const advance = (request: AdvanceRequest): Effect.Effect<Outcome, SqlError> =>
    Effect.gen(function* () {
      const nowMs = yield* Clock.currentTimeMillis
      const { expected, moves, name, position } = request
      let row = yield* statements.lock(name)
      const changesNothing = position === expected && moves.length === 0
      // Only where the step will be made: what is refused leaves nothing behind.
      if (row === undefined && !changesNothing && expected === 0 && moves.every(({ before }) => before === 0))
        row = yield* lockNew(name, nowMs)

      const stored = row === undefined ? nothingStored : instead(row)
      if (isOvertaken(stored, request) || stored.position !== expected) return stored
      if (changesNothing) return undefined
      if (row === undefined || !(yield* statements.areAsExpected(row.id, moves))) {
        const other = yield* firstOther(name, moves)
        if (other !== undefined) return { ...stored, stream: other }
      }
      // Without a row, some stream was expected to have a cursor, and was found to have none.
      const { id } = row!
      yield* putAll(
        id,
        moves.map(({ after, streamId }) => [streamId, after] as const)
      )
      yield* statements.move(id, position, request, nowMs)
      return undefined
    })

  /** The first stream in byte order that has not the cursor that it should move from. */
  const firstOther = (
    name: string,
    moves: AdvanceRequest["moves"]
  ): Effect.Effect<StoredInstead["stream"], SqlError> =>
    Effect.gen(function* () {
      let found: StoredInstead["stream"]
      for (const piece of Arr.chunksOf(moves, rowsPerStatement)) {
        const cursors = asMap(
          yield* statements.cursorsAmong(
            name,
            piece.map(({ streamId }) => streamId)
          )
        )
        for (const { before, streamId } of piece) {
          const version = cursors.get(streamId) ?? 0
          if (version === before) continue
          if (found === undefined || compareUtf8(streamId, found.streamId) < 0) found = { streamId, version }
        }
      }
      return found
    })

  const reset = (name: string, stamp: ProjectionStamp): Effect.Effect<Outcome, SqlError> =>
    Effect.gen(function* () {
      const row = yield* statements.lock(name)
      if (row === undefined) return undefined
      const stored = instead(row)
      if (isOvertaken(stored, stamp)) return stored
      yield* statements.removeAllCursors(row.id)
      yield* statements.clearRevision(row.id)
      yield* statements.move(row.id, 0, stamp, yield* Clock.currentTimeMillis)
      return undefined
    })

  return { save, advance, reset }
}

// ---- internal: rows ----

const nothingStored: StoredInstead = { position: 0, epoch: 0, stream: undefined }

const instead = ({ epoch, position }: StoredProjection): StoredInstead => ({
  position: Number(position),
  epoch: Number(epoch),
  stream: undefined
})

const asOutcome = (row: StoredAdvance): Outcome =>
  row.advanced
    ? undefined
    : {
        position: Number(row.stored_position),
        epoch: Number(row.stored_epoch),
        stream:
          row.other_id === null ? undefined : { streamId: row.other_id, version: Number(row.other_version) }
      }

const asRow = (row: Omit<StoredProjection, "id">): ProjectionRow => ({
  name: row.name,
  position: Number(row.position),
  revision: row.revision === null ? undefined : Number(row.revision),
  epoch: Number(row.epoch),
  updatedAtMs: Number(row.updated_at_ms)
})

const asMap = (rows: ReadonlyArray<StoredCursor>): Map<string, number> =>
  new Map(rows.map(({ stream_id: streamId, version }) => [streamId, Number(version)]))
