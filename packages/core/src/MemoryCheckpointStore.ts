/** Checkpoints in memory: for tests, and for pipelines that may begin anew with their process. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { CheckpointStorage, StateRange } from "./CheckpointStore.js"
import type { CheckpointStoreBackend, Fence } from "./CheckpointStoreBackend.js"
import * as Backend from "./CheckpointStoreBackend.js"
import { LeaseLost } from "./LeaseLost.js"

/** The places: each pipeline's is made when it is opened first, and ends with the layer. */
export const places: Layer.Layer<Backend.CheckpointPlaces> = Layer.sync(Backend.CheckpointPlaces, () => {
  const pipelines = new Map<string, CheckpointStoreBackend>()
  return {
    open: (pipeline) =>
      Effect.sync(() => {
        const place = pipelines.get(pipeline) ?? makePlace()
        pipelines.set(pipeline, place)
        return place
      })
  }
})

/** The storage. It ends with the layer. */
export const layer: Layer.Layer<CheckpointStorage> = Layer.provide(Backend.storage, places)

// ---- internal ----

const makePlace = (): CheckpointStoreBackend => {
  const manifests = new Map<number, string>()
  const states = new Map<number, ReadonlyArray<Uint8Array>>()
  const decisions = new Set<number>()
  let latest: number | undefined
  let highest = 0
  let newestEpoch = 0

  const fenced = <A>(fence: Fence, write: () => A): Effect.Effect<A, LeaseLost> =>
    Effect.suspend(() => {
      if (fence !== undefined) {
        if (fence.epoch < newestEpoch) return new LeaseLost({ key: fence.key, holder: "" })
        newestEpoch = fence.epoch
      }
      return Effect.succeed(write())
    })
  const ascending = (ids: Iterable<number>): ReadonlyArray<number> => [...ids].sort((a, b) => a - b)
  const given = (id: number): void => void (highest = Math.max(highest, id))

  return {
    reserve: (fence) => fenced(fence, () => ++highest),
    writeState: (id, chunks, fence) =>
      Effect.flatMap(Stream.runCollect(Stream.map(chunks, (chunk) => chunk.slice())), (pieces) =>
        fenced(fence, () => {
          given(id)
          states.set(id, [...pieces])
        })
      ),
    readState: (id, range) =>
      Effect.sync(() => {
        const pieces = states.get(id)
        return pieces && Stream.fromIterable(partOf(pieces, range))
      }),
    createManifest: (id, text, fence) =>
      fenced(fence, () => {
        given(id)
        if (manifests.has(id)) return false
        manifests.set(id, text)
        return true
      }),
    replaceManifest: (id, text, fence) =>
      fenced(fence, () => {
        if (!manifests.has(id)) return false
        manifests.set(id, text)
        return true
      }),
    readManifest: (id) => Effect.sync(() => manifests.get(id)),
    manifests: Effect.sync(() => ascending(manifests.keys())),
    states: Effect.sync(() => ascending(states.keys())),
    removeManifest: (id, fence) =>
      fenced(fence, () => {
        manifests.delete(id)
        decisions.delete(id)
      }),
    removeState: (id, fence) => fenced(fence, () => void states.delete(id)),
    latest: Effect.sync(() => latest),
    point: (id, fence) =>
      fenced(fence, () => {
        latest = id === undefined ? undefined : Math.max(id, latest ?? 0)
      }),
    decide: (id, fence) => fenced(fence, () => void decisions.add(id)),
    decided: (id) => Effect.sync(() => decisions.has(id))
  }
}

/** The bytes of a range, in pieces of at most 1 MiB, copied: what a reader does with them is the reader's. */
function* partOf(pieces: ReadonlyArray<Uint8Array>, range: StateRange | undefined): Generator<Uint8Array> {
  let skip = range?.offset ?? 0
  let left = range?.length ?? Infinity
  for (const piece of pieces) {
    const from = Math.min(skip, piece.length)
    skip -= from
    for (let at = from; at < piece.length && left > 0;) {
      const size = Math.min(piece.length - at, left, Backend.pieceBytesMax)
      yield piece.slice(at, at + size)
      at += size
      left -= size
    }
  }
}
