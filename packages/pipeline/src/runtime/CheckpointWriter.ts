/**
 * Snapshots to a checkpoint. State that did not change since an earlier checkpoint is not written again: the new one
 * refers to where it is.
 *
 *     sidecar of this checkpoint:   [ window: vnode 3 | vnode 17 | … ][ join: vnode 3 | … ][ staged results of a sink ]
 *     manifest, by operator:        vnode 3 → here, vnode 4 → checkpoint 12 at 40 960, …
 *
 * A checkpoint may refer to at most {@link sidecarsMax} others, and to no more than twice the bytes that it needs:
 * before it would, what is in the ones of least use is written anew.
 */
import type { CheckpointManifest, OperatorState, SidecarReference } from "@millrace/core/CheckpointManifest"
import { manifestOf } from "@millrace/core/CheckpointManifest"
import type { CheckpointStore, CheckpointWriteOptions } from "@millrace/core/CheckpointStore"
import * as EventLoop from "@millrace/core/EventLoop"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Barrier } from "./Channel.js"
import type { StoredForms } from "./KeyedOperator.js"
import type { VnodeSnapshot } from "./KeyedState.js"
import type { Snapshot } from "./Snapshot.js"
import type { SourcePlace } from "./SourceOperator.js"
import { concat } from "./Bytes.js"
import { pack } from "./StateBytes.js"

/** Where a vnode's state is. */
export interface Piece {
  readonly checkpointId: number
  readonly offset: number
  readonly length: number
}

/** Where all state of an operator is, and in which form. Kept in the manifest, by the operator's id. */
export interface StateIndex {
  readonly forms: StoredForms
  /** vnode, checkpoint, offset, length; and again. */
  readonly pieces: ReadonlyArray<number>
}

/** What a checkpoint is made of, beside the snapshots. */
export interface CheckpointParts {
  readonly barrier: Barrier
  /** By id of the operator, of all its instances. */
  readonly snapshots: ReadonlyMap<string, ReadonlyArray<Snapshot>>
  readonly forms: ReadonlyMap<string, StoredForms>
  readonly sources: ReadonlyArray<{ readonly name: string; readonly watermark: number }>
  readonly sinks: ReadonlyArray<string>
  /** Sinks that commit together with the checkpoint, so that nothing of theirs has to be kept. */
  readonly together: ReadonlySet<string>
  readonly savepoint: string | undefined
  readonly pipelineHash: string
}

/** Most sidecars of others that a checkpoint refers to. */
export const sidecarsMax = 32

/** What of a checkpoint may be in the manifest itself, by operator. Unit: bytes. */
const inlineMax = 65_536

/** Entries that are encoded in one turn: 1 to 2 ms. */
const entriesPerTurn = 2_048

/** Bytes that are handed on at once. */
const chunkBytes = 262_144

/** Writes the checkpoints of one run, and knows where the state of the last one is. */
export class CheckpointWriter {
  /** By operator and vnode. */
  private readonly placed = new Map<string, Map<number, Piece>>()
  private readonly sidecars = new Map<number, SidecarReference>()

  constructor(
    private readonly store: CheckpointStore,
    private readonly options: CheckpointWriteOptions
  ) {}

  /** Takes over where the state of the checkpoint is that the run began from. */
  begin(manifest: CheckpointManifest, indexes: ReadonlyMap<string, StateIndex>): void {
    for (const [id, { pieces }] of indexes) this.placed.set(id, piecesOf(pieces))
    for (const reference of manifest.sidecars) this.sidecars.set(reference.checkpointId, reference)
    if (manifest.stateLength !== undefined && manifest.stateChecksum !== undefined)
      this.sidecars.set(manifest.checkpointId, {
        checkpointId: manifest.checkpointId,
        length: manifest.stateLength,
        checksum: manifest.stateChecksum
      })
    this.drop()
  }

  /** Bytes of state that the last checkpoint refers to, by operator. */
  bytesOf(id: string): number {
    let bytes = 0
    for (const { length } of this.placed.get(id)?.values() ?? []) bytes += length
    return bytes
  }

  /** What should be written anew with the next checkpoint, so that old sidecars can go: vnodes by operator. */
  renewals(): ReadonlyMap<string, ReadonlySet<number>> {
    const live = this.liveBytes()
    const gone = new Set<number>()
    let total = 0
    let needed = 0
    for (const { checkpointId, length } of this.sidecars.values()) {
      total += length
      needed += live.get(checkpointId) ?? 0
    }
    const byUse = [...this.sidecars.values()].sort(
      (a, b) => (live.get(a.checkpointId) ?? 0) - (live.get(b.checkpointId) ?? 0)
    )
    for (const { checkpointId, length } of byUse) {
      const isTooMany = this.sidecars.size - gone.size >= sidecarsMax
      const isTooMuch = total > 2 * needed + chunkBytes
      const use = live.get(checkpointId) ?? 0
      if (!(isTooMany || (isTooMuch && use < length))) continue
      gone.add(checkpointId)
      total -= length
      needed -= use
    }
    const renewals = new Map<string, Set<number>>()
    if (gone.size === 0) return renewals
    for (const [id, pieces] of this.placed)
      for (const [vnode, { checkpointId }] of pieces)
        if (gone.has(checkpointId)) {
          const vnodes = renewals.get(id) ?? new Set<number>()
          renewals.set(id, vnodes.add(vnode))
        }
    return renewals
  }

  /** Writes the sidecar: durable, and not yet a checkpoint. Gives the manifest that makes it one. */
  write(parts: CheckpointParts) {
    return Effect.gen(this, function* () {
      const { checkpointId } = parts.barrier
      const inline: Record<string, OperatorState> = {}
      const writing = new Writing(checkpointId)
      for (const [id, snapshots] of parts.snapshots) {
        for (const snapshot of snapshots) {
          if (snapshot._tag === "Keyed") writing.addVnodes(id, snapshot.changed)
          else if (snapshot.data !== undefined && !parts.together.has(id)) {
            const data = pack(snapshot.data)
            if (data.length <= inlineMax) inline[id] = { _tag: "Inline", data }
            else writing.addPlain(id, data)
          }
        }
      }
      const state = writing.isEmpty
        ? undefined
        : yield* this.store.saveStateData(checkpointId, writing.chunks, this.options)

      if (state !== undefined && state.length > 0) this.sidecars.set(checkpointId, { checkpointId, ...state })
      for (const [id, snapshots] of parts.snapshots) {
        const keyed = snapshots.filter((snapshot) => snapshot._tag === "Keyed")
        if (keyed.length === 0) continue
        const pieces = this.placed.get(id) ?? new Map<number, Piece>()
        this.placed.set(id, pieces)
        const occupied = new Set(keyed.flatMap(({ occupied }) => occupied))
        for (const vnode of pieces.keys()) if (!occupied.has(vnode)) pieces.delete(vnode)
        for (const [vnode, piece] of writing.vnodes.get(id) ?? []) pieces.set(vnode, piece)
        const index: StateIndex = {
          forms: parts.forms.get(id) ?? {},
          pieces: [...pieces].flatMap(([vnode, { checkpointId, length, offset }]) => [
            vnode,
            checkpointId,
            offset,
            length
          ])
        }
        inline[id] = { _tag: "Inline", data: pack(index) }
      }
      for (const [id, { length, offset }] of writing.plain) inline[id] = { _tag: "Sidecar", offset, length }
      this.drop()
      return this.manifest(parts, inline, state)
    })
  }

  private manifest(
    { barrier, pipelineHash, savepoint, sinks, snapshots, sources, together }: CheckpointParts,
    operatorStates: Record<string, OperatorState>,
    state: { readonly length: number; readonly checksum: string } | undefined
  ): CheckpointManifest {
    const { checkpointId, timestampMs } = barrier
    const hasStaged = (sink: string): boolean =>
      !together.has(sink) &&
      snapshots.get(sink)?.some((staged) => staged._tag === "Plain" && staged.data !== undefined) === true
    const watermarks = sources.filter(({ watermark }) => watermark > -Infinity)
    return manifestOf({
      checkpointId,
      epoch: checkpointId,
      timestampMs,
      sourceNames: sources.map(({ name }) => name),
      sinkNames: sinks,
      sourceOffsets: Object.fromEntries(
        sources.map(({ name }) => {
          const [place] = snapshots.get(name) ?? []
          return [name, place?._tag === "Plain" ? (place.data as SourcePlace).offsets : {}]
        })
      ),
      sourceWatermarks: Object.fromEntries(watermarks.map(({ name, watermark }) => [name, watermark])),
      ...(watermarks.length === sources.length && watermarks.length > 0
        ? { watermark: Math.min(...watermarks.map(({ watermark }) => watermark)) }
        : undefined),
      sinkEpochs: Object.fromEntries(sinks.map((sink) => [sink, checkpointId])),
      sinkCommitStatuses: Object.fromEntries(
        sinks.map((sink) => [sink, { _tag: hasStaged(sink) ? "Pending" : "Committed" } as const])
      ),
      operatorStates,
      pipelineHash,
      sidecars: [...this.sidecars.values()].filter((reference) => reference.checkpointId !== checkpointId),
      ...(state === undefined ? undefined : { stateLength: state.length, stateChecksum: state.checksum }),
      ...(savepoint === undefined ? undefined : { savepoint })
    })
  }

  /** Forgets sidecars that nothing is in any more. */
  private drop(): void {
    const live = this.liveBytes()
    for (const id of this.sidecars.keys()) if (!live.has(id)) this.sidecars.delete(id)
  }

  private liveBytes(): ReadonlyMap<number, number> {
    const live = new Map<number, number>()
    for (const pieces of this.placed.values())
      for (const { checkpointId, length } of pieces.values())
        live.set(checkpointId, (live.get(checkpointId) ?? 0) + length)
    return live
  }
}

/** The pieces of an index, by vnode. */
export const piecesOf = (flat: ReadonlyArray<number>): Map<number, Piece> => {
  const pieces = new Map<number, Piece>()
  for (let i = 0; i < flat.length; i += 4)
    pieces.set(flat[i]!, { checkpointId: flat[i + 1]!, offset: flat[i + 2]!, length: flat[i + 3]! })
  return pieces
}

// ---- internal ----

/** A sidecar while it is written: the snapshots, one after another, as they are asked for. */
class Writing {
  readonly vnodes = new Map<string, Map<number, Piece>>()
  readonly plain = new Map<string, Piece>()
  private readonly queue: Array<{ readonly id: string; readonly of: VnodeSnapshot | Uint8Array }> = []
  private offset = 0
  private begin = 0

  constructor(private readonly checkpointId: number) {}

  get isEmpty(): boolean {
    return this.queue.length === 0
  }

  addVnodes(id: string, snapshots: ReadonlyArray<VnodeSnapshot>): void {
    for (const of of snapshots) this.queue.push({ id, of })
  }

  addPlain(id: string, data: Uint8Array): void {
    this.queue.push({ id, of: data })
  }

  get chunks(): Stream.Stream<Uint8Array> {
    let at = 0
    const next = (): Option.Option<readonly [Uint8Array, null]> => {
      const parts: Array<Uint8Array> = []
      let bytes = 0
      let entries = 0
      while (at < this.queue.length && bytes < chunkBytes && entries < entriesPerTurn) {
        const { id, of } = this.queue[at]!
        if (of instanceof Uint8Array) {
          parts.push(of)
          bytes += of.length
          this.done(this.plain, id, of.length)
          at++
          continue
        }
        const before = of.cursor
        const more = of.next(entriesPerTurn - entries)
        if (more !== undefined)
          for (const part of more) {
            parts.push(part)
            bytes += part.length
            this.offset += part.length
          }
        entries += before - of.cursor
        if (of.cursor > 0) continue
        const pieces = this.vnodes.get(id) ?? new Map<number, Piece>()
        this.vnodes.set(id, pieces)
        this.done(pieces, of.vnode, 0)
        at++
      }
      return parts.length === 0 && at === this.queue.length
        ? Option.none()
        : Option.some([concat(parts), null] as const)
    }
    return Stream.unfoldEffect(null, () => Effect.map(EventLoop.giveWay, next))
  }

  private done<K>(pieces: Map<K, Piece>, key: K, length: number): void {
    this.offset += length
    pieces.set(key, {
      checkpointId: this.checkpointId,
      offset: this.begin,
      length: this.offset - this.begin
    })
    this.begin = this.offset
  }
}
