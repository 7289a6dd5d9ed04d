/**
 * A checkpoint back into operators. What does not fit is found before anything is processed: states in another form,
 * states of operators that are not there any more.
 */
import type { CheckpointManifest } from "@millrace/core/CheckpointManifest"
import { vnodeCountDefault } from "@millrace/core/CheckpointManifest"
import type { CheckpointStore } from "@millrace/core/CheckpointStore"
import * as EventLoop from "@millrace/core/EventLoop"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { OperatorMissing, StateIncompatible } from "../PipelineErrors.js"
import type { Piece, StateIndex } from "./CheckpointWriter.js"
import { piecesOf } from "./CheckpointWriter.js"
import { KeyedOperator } from "./KeyedOperator.js"
import type { Operator } from "./Operator.js"
import { ownerOf } from "./Outlet.js"
import type { SourcePlace } from "./SourceOperator.js"
import { concat } from "./Bytes.js"
import { unpack } from "./StateBytes.js"

/** What a pipeline finds in a checkpoint. */
export interface Restored {
  readonly indexes: ReadonlyMap<string, StateIndex>
  readonly sources: ReadonlyMap<string, SourcePlace>
  /** What sinks have prepared, by name. */
  readonly staged: ReadonlyMap<string, unknown>
}

/** For whom a checkpoint is read. */
export interface RestoreOptions {
  readonly pipeline: string
  readonly store: CheckpointStore
  readonly manifest: CheckpointManifest
  /** All instances by id; none of a source or a sink. */
  readonly operators: ReadonlyMap<string, ReadonlyArray<Operator>>
  readonly sources: ReadonlySet<string>
  readonly sinks: ReadonlySet<string>
  /** Ids whose state may go. */
  readonly dropState: ReadonlySet<string>
}

/** Puts state back, and gives what sources and sinks need. */
export const restore = (options: RestoreOptions) =>
  Effect.gen(function* () {
    const { dropState, manifest, operators, pipeline, sinks, sources, store } = options
    const { checkpointId } = manifest
    const incompatible = (operator: string, reason: string) =>
      new StateIncompatible({ pipeline, operator, checkpointId, reason })
    if (manifest.vnodeCount !== vnodeCountDefault)
      return yield* incompatible(
        "",
        `it has ${manifest.vnodeCount} vnodes, and there are ${vnodeCountDefault}`
      )
    const indexes = new Map<string, StateIndex>()
    const places = new Map<string, SourcePlace>()
    const staged = new Map<string, unknown>()
    for (const [id, state] of Object.entries(manifest.operatorStates)) {
      if (dropState.has(id)) continue
      const instances = operators.get(id)
      const isKnown = instances !== undefined || sources.has(id) || sinks.has(id)
      if (!isKnown) return yield* new OperatorMissing({ pipeline, operator: id, checkpointId })
      const bytes =
        state._tag === "Inline"
          ? state.data
          : concat(
              yield* Stream.runCollect(yield* sidecar(store, state.checkpointId ?? checkpointId, state)).pipe(
                Effect.map((all) => [...all])
              )
            )
      const data = yield* Effect.try({
        try: () => unpack(bytes),
        catch: (cause) => incompatible(id, String(cause))
      })
      if (sources.has(id)) places.set(id, data as SourcePlace)
      else if (sinks.has(id)) staged.set(id, data)
      else {
        const index = data as StateIndex
        for (const operator of instances ?? []) {
          const fault =
            operator instanceof KeyedOperator
              ? operator.acceptForms(index.forms)
              : "it has no state of keys any more"
          if (fault !== undefined) return yield* incompatible(id, fault)
        }
        indexes.set(id, index)
      }
    }
    for (const [id, index] of indexes) {
      const instances = operators.get(id) as ReadonlyArray<KeyedOperator<never>>
      yield* restoreOperator(store, index, instances, (reason) => incompatible(id, reason))
    }
    return { indexes, sources: places, staged } satisfies Restored
  })

// ---- internal ----

const restoreOperator = (
  store: CheckpointStore,
  index: StateIndex,
  instances: ReadonlyArray<KeyedOperator<never>>,
  incompatible: (reason: string) => StateIncompatible
) =>
  Effect.gen(function* () {
    for (const run of runsOf(piecesOf(index.pieces))) {
      let parts: Array<Uint8Array> = []
      let have = 0
      let at = 0
      /** Takes a chunk of the sidecar, and gives on every piece that is whole by now. */
      const take = (chunk: Uint8Array) =>
        Effect.gen(function* () {
          yield* EventLoop.giveWay
          let rest = chunk
          while (at < run.pieces.length) {
            const [vnode, { length }] = run.pieces[at]!
            const missing = length - have
            if (rest.length < missing) break
            parts.push(rest.subarray(0, missing))
            rest = rest.subarray(missing)
            const owner = instances[ownerOf(vnode, instances.length)]!
            const fault = owner.restoreVnode(vnode, concat(parts))
            if (fault !== undefined) return yield* incompatible(fault)
            parts = []
            have = 0
            at++
          }
          if (rest.length > 0) {
            parts.push(rest)
            have += rest.length
          }
        })
      const chunks = yield* sidecar(store, run.checkpointId, run)
      yield* Stream.runForEach(chunks, take)
      if (at < run.pieces.length)
        return yield* incompatible(`the sidecar of checkpoint ${run.checkpointId} ends too early`)
    }
    for (const operator of instances) {
      const renewed = operator.isPresent(index.forms)
        ? new Set<number>()
        : new Set(piecesOf(index.pieces).keys())
      operator.restored(renewed)
    }
  })

/** A part of a sidecar. */
const sidecar = (
  store: CheckpointStore,
  checkpointId: number,
  range: { readonly offset: number; readonly length: number }
) =>
  Effect.flatMap(
    store.loadStateData(checkpointId, { offset: range.offset, length: range.length }),
    Option.match({
      onNone: () =>
        new StoreUnavailable({
          operation: "loadStateData",
          transient: false,
          cause: new Error(`checkpoint ${checkpointId} has no sidecar`)
        }),
      onSome: (chunks) => Effect.succeed(chunks)
    })
  )

/** Pieces that follow one another in a sidecar, to be read in one go. */
const runsOf = (pieces: ReadonlyMap<number, Piece>) => {
  const sorted = [...pieces].sort(([, a], [, b]) => a.checkpointId - b.checkpointId || a.offset - b.offset)
  const runs: Array<{
    readonly checkpointId: number
    readonly offset: number
    length: number
    readonly pieces: Array<readonly [number, Piece]>
  }> = []
  for (const [vnode, piece] of sorted) {
    const last = runs.at(-1)
    if (
      last !== undefined &&
      last.checkpointId === piece.checkpointId &&
      last.offset + last.length === piece.offset
    ) {
      last.length += piece.length
      last.pieces.push([vnode, piece])
    } else {
      runs.push({
        checkpointId: piece.checkpointId,
        offset: piece.offset,
        length: piece.length,
        pieces: [[vnode, piece]]
      })
    }
  }
  return runs
}
