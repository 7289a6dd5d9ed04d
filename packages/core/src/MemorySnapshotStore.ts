/** Snapshots in the memory of one process, as JSON text, so that a state is encoded and decoded as on a database. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SnapshotStore } from "./SnapshotStore.js"
import type { SnapshotRow } from "./SnapshotStoreBackend.js"
import * as SnapshotStoreBackend from "./SnapshotStoreBackend.js"

/** The store, and the hook that a log calls when events are deleted or erased. */
export interface MemorySnapshots {
  readonly store: SnapshotStore["Type"]
  /** Removes the snapshots of a stream, whatever their name. */
  readonly forget: (streamId: string) => void
}

/** Builds an empty store. */
export const make: Effect.Effect<MemorySnapshots> = Effect.sync(() => {
  const byStream = new Map<string, Map<string, SnapshotRow>>()
  const store = SnapshotStoreBackend.make({
    get: (name, streamId) => Effect.sync(() => byStream.get(streamId)?.get(name)),
    save: (name, streamId, row) =>
      Effect.sync(() => {
        const byName = byStream.get(streamId) ?? new Map<string, SnapshotRow>()
        byStream.set(streamId, byName)
        const kept = byName.get(name)
        const isOlder =
          kept !== undefined &&
          (row.revision < kept.revision || (row.revision === kept.revision && row.version < kept.version))
        if (!isOlder) byName.set(name, row)
      }),
    delete: (name, streamId) => Effect.sync(() => void byStream.get(streamId)?.delete(name))
  })
  return { store, forget: (streamId) => void byStream.delete(streamId) }
})

/** An empty store for each build of the layer. */
export const layer: Layer.Layer<SnapshotStore> = Layer.effect(
  SnapshotStore,
  Effect.map(make, ({ store }) => store)
)
