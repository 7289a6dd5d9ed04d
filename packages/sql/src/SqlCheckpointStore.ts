/**
 * Operator checkpoints in a database, one text for both dialects. In a transaction of the caller's everything here is
 * a part of that one: a sink that writes to the same database commits together with its checkpoint.
 *
 *     pieces of 1 MiB, each by itself ──▶ one transaction: sidecar = this attempt, other attempts' pieces gone
 *
 * A sidecar is written piece by piece, so that a large one keeps nobody from the database; none of it counts before
 * the last step. A fence is checked in the transaction of each write, and holds the pipeline's row until its end.
 */
import type { CheckpointPlaces, CheckpointStoreBackend, Fence } from "@millrace/core/CheckpointStoreBackend"
import { LeaseLost } from "@millrace/core/LeaseLost"
import * as Pieces from "@millrace/core/Pieces"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as CheckpointStatements from "./CheckpointStatements.js"
import * as ModelTransactions from "./ModelTransactions.js"
import type { ModelTransactionOptions } from "./ModelTransactions.js"
import type { TablePlace } from "./TablePlace.js"

/** Where the tables are, and whose transactions are ours. */
export type SqlCheckpointStoreOptions = TablePlace & ModelTransactionOptions

/** Size of all pieces of a sidecar but the last. Unit: bytes. */
const pieceBytes = 1_048_576

/** The places. The tables must be there. */
export const make = (
  options: SqlCheckpointStoreOptions
): Effect.Effect<CheckpointPlaces["Type"], never, SqlClient.SqlClient> =>
  Effect.map(SqlClient.SqlClient, (sql) => {
    const run = ModelTransactions.make(sql, options)
    return {
      open: (pipeline) => {
        const statements = CheckpointStatements.makeStatements(sql, options, pipeline)
        return Effect.as(run.plain("open", statements.open), makePlace(sql, run, statements))
      }
    }
  })

// ---- internal ----

type Statements = ReturnType<typeof CheckpointStatements.makeStatements>
type Step<A> = Effect.Effect<A, SqlError>

const makePlace = (
  sql: SqlClient.SqlClient,
  run: ModelTransactions.ModelTransactions,
  statements: Statements
): CheckpointStoreBackend => {
  /** A write, in one transaction with the look at its fence. */
  const fenced = <A>(operation: string, fence: Fence, write: Step<A>) =>
    run.transaction(operation, Effect.zipRight(admit(fence), write))
  const admit = (fence: Fence): Effect.Effect<void, SqlError | LeaseLost> =>
    fence === undefined
      ? Effect.void
      : Effect.flatMap(statements.admit(fence.epoch), ([row]) =>
          row === undefined ? new LeaseLost({ key: fence.key, holder: "" }) : Effect.void
        )
  const isMade = (rows: ReadonlyArray<unknown>): boolean => rows.length > 0
  const idsOf = (rows: ReadonlyArray<{ readonly id: number | string }>): ReadonlyArray<number> =>
    rows.map(({ id }) => Number(id)).sort((a, b) => a - b)

  return {
    shared: { database: sql, transaction: (effect) => run.transaction("commit", effect) },
    reserve: (fence) =>
      fenced(
        "reserveId",
        fence,
        Effect.map(statements.reserve, ([row]) => Number(row!.highest))
      ),

    writeState: <E, R>(id: number, chunks: Stream.Stream<Uint8Array, E, R>, fence: Fence) =>
      Effect.gen(function* () {
        const attempt = yield* Random.nextIntBetween(1, Number.MAX_SAFE_INTEGER)
        let piece = 0
        let length = 0
        const add = (data: Uint8Array) =>
          Effect.suspend(() => {
            length += data.length
            return run.plain("saveStateData", statements.addPiece(id, attempt, piece++, data))
          })
        // Before the first piece: whoever was overtaken need not send any.
        yield* fenced("saveStateData", fence, statements.give(id))
        yield* Stream.runForEach(Pieces.ofSize(chunks, pieceBytes), add).pipe(
          Effect.zipRight(
            Effect.suspend(() =>
              fenced(
                "saveStateData",
                fence,
                Effect.zipRight(
                  statements.setSidecar(id, attempt, length),
                  statements.removePieces(id, attempt)
                )
              )
            )
          ),
          // What was sent of it is of no use. When that fails too, it goes with the checkpoint.
          Effect.onError(() =>
            Effect.ignore(run.plain("saveStateData", statements.removeAttempt(id, attempt)))
          )
        )
      }),

    readState: (id, range) =>
      Effect.map(run.plain("loadStateData", statements.sidecar(id)), ([sidecar]) => {
        if (sidecar === undefined) return undefined
        const attempt = Number(sidecar.attempt)
        const from = Math.min(range?.offset ?? 0, Number(sidecar.length))
        const end = Math.min(from + (range?.length ?? Infinity), Number(sidecar.length))
        const pieceAt = (at: number) =>
          Effect.flatMap(
            run.plain("loadStateData", statements.piece(id, attempt, Math.floor(at / pieceBytes))),
            ([row]) => {
              if (row === undefined)
                return new StoreUnavailable({
                  operation: "loadStateData",
                  transient: false,
                  cause: new Error("the sidecar was replaced or removed while it was read")
                })
              const begin = Math.floor(at / pieceBytes) * pieceBytes
              return Effect.succeed(row.data.subarray(at - begin, end - begin))
            }
          )
        return Stream.unfoldEffect(from, (at) =>
          at >= end
            ? Effect.succeedNone
            : Effect.map(pieceAt(at), (data) => Option.some([data, at + data.length] as const))
        )
      }),

    createManifest: (id, text, fence) =>
      fenced(
        "save",
        fence,
        Effect.zipRight(statements.give(id), Effect.map(statements.create(id, text), isMade))
      ),
    replaceManifest: (id, text, fence) =>
      fenced("updateManifest", fence, Effect.map(statements.replace(id, text), isMade)),
    readManifest: (id) => Effect.map(run.plain("load", statements.checkpoint(id)), ([row]) => row?.manifest),
    manifests: Effect.map(run.plain("list", statements.checkpointIds), idsOf),
    states: Effect.map(run.plain("list", statements.stateIds), idsOf),
    removeManifest: (id, fence) => fenced("prune", fence, Effect.asVoid(statements.removeCheckpoint(id))),
    removeState: (id, fence) =>
      fenced(
        "prune",
        fence,
        Effect.asVoid(Effect.zipRight(statements.removeSidecar(id), statements.removePieces(id, 0)))
      ),
    latest: Effect.map(run.plain("load", statements.pointer), ([row]) =>
      row?.latest == null ? undefined : Number(row.latest)
    ),
    point: (id, fence) =>
      fenced("save", fence, Effect.asVoid(id === undefined ? statements.unpoint : statements.point(id))),
    decide: (id, fence) => fenced("recordCommitDecision", fence, Effect.asVoid(statements.decide(id))),
    decided: (id) =>
      Effect.map(
        run.plain("commitDecision", statements.checkpoint(id)),
        ([row]) => Number(row?.decided ?? 0) > 0
      )
  }
}
