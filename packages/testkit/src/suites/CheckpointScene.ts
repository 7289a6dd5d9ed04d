/** What tests of operator checkpoints have in common: a pipeline of their own, manifests, and bytes. */
import type { Vitest } from "@effect/vitest"
import type { CheckpointManifest, ManifestFields } from "@millrace/core/CheckpointManifest"
import { manifestOf } from "@millrace/core/CheckpointManifest"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import { CheckpointPlaces } from "@millrace/core/CheckpointStoreBackend"
import { EventIds } from "@millrace/core/EventIds"
import type { Lease } from "@millrace/core/Lease"
import { Epoch } from "@millrace/core/Lease"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** Declares tests that have the storage, and its places. */
export type CheckpointIt = Vitest.MethodsNonLive<CheckpointStorage | CheckpointPlaces, true>

/** A manifest with something in every field that is not about states. */
export const manifest = (checkpointId: number, fields: Partial<ManifestFields> = {}): CheckpointManifest =>
  manifestOf({
    checkpointId,
    epoch: checkpointId,
    timestampMs: 1_000_000 + checkpointId,
    sourceOffsets: { orders: { "0": `${checkpointId * 10}`, "1": `${checkpointId * 7}` } },
    sinkEpochs: { table: checkpointId },
    sinkCommitStatuses: { table: { _tag: "Committed" } },
    watermark: checkpointId * 1_000,
    sourceWatermarks: { orders: checkpointId * 1_000 },
    sourceNames: ["orders"],
    sinkNames: ["table"],
    pipelineHash: "abc",
    ...fields
  })

/** A lease of an epoch, as a fence. */
export const fenceOf = (epoch: number): Lease => ({
  key: "pipeline",
  workerId: `worker-${epoch}`,
  epoch: Epoch.make(epoch),
  ttl: Duration.seconds(10),
  expiresAt: DateTime.unsafeMake(0),
  paused: false
})

/** Pieces of bytes that say where they are. */
export const pieces = (...lengths: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  let at = 0
  return lengths.map((length) => Uint8Array.from({ length }, () => (at++ * 31) % 251))
}

/** All of them as one. */
export const joined = (all: Iterable<Uint8Array>): Uint8Array => {
  const list = [...all]
  const whole = new Uint8Array(list.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const piece of list) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

/** A pipeline of this test alone. */
export const pipeline = Effect.gen(function* () {
  const storage = yield* CheckpointStorage
  const places = yield* CheckpointPlaces
  const ids = yield* EventIds
  const name = `pipeline-${ids.next(yield* Clock.currentTimeMillis)}`
  const store = yield* storage.forPipeline(name)
  const place = yield* places.open(name)
  return {
    name,
    store,
    /** What is beneath, to damage it. */
    place,
    /** The store as another process would have it. */
    again: storage.forPipeline(name),
    /** Saves a manifest whose one state is a sidecar of these lengths. */
    saveState: (
      checkpointId: number,
      lengths: ReadonlyArray<number>,
      fields: Partial<ManifestFields> = {}
    ) => {
      const length = lengths.reduce((sum, one) => sum + one, 0)
      return store.saveWithState(
        manifest(checkpointId, {
          operatorStates: { count: { _tag: "Sidecar", offset: 0, length } },
          ...fields
        }),
        Stream.fromIterable(pieces(...lengths))
      )
    },
    /** The bytes of a sidecar, or nothing. */
    state: (checkpointId: number, range?: { readonly offset: number; readonly length: number }) =>
      Effect.flatMap(
        store.loadStateData(checkpointId, range),
        Option.match({
          onNone: () => Effect.succeed(undefined),
          onSome: (chunks) => Effect.map(Stream.runCollect(chunks), joined)
        })
      ),
    latestId: Effect.map(
      store.loadLatest,
      Option.match({ onNone: () => 0, onSome: ({ checkpointId }) => Number(checkpointId) })
    ),
    ids: Effect.map(store.listIds, (all) => all.map(Number)),
    replaceState: (checkpointId: number, bytes: Uint8Array) =>
      place.writeState(checkpointId, Stream.make(bytes), undefined)
  }
})
