/**
 * Millrace in memory, in one line: `Effect.provide(Memory.layer())`. Everything is gone when the process
 * ends; for tests and examples.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { EventStore } from "./EventStore.js"
import type { EventStoreSettings } from "./EventStoreBackend.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import * as MemoryEventStore from "./MemoryEventStore.js"
import * as MemorySnapshotStore from "./MemorySnapshotStore.js"
import { SnapshotStore } from "./SnapshotStore.js"

/**
 * An empty log and an empty snapshot store, which belong together: deleting or erasing events removes the
 * snapshots of their streams. Fails with `InvalidArgument` when a setting is out of range.
 */
export const layer = (
  settings: EventStoreSettings = {}
): Layer.Layer<EventStore | SnapshotStore, InvalidArgument> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const snapshots = yield* MemorySnapshotStore.make
      const events = yield* MemoryEventStore.make({ ...settings, onForget: snapshots.forget })
      return Context.make(EventStore, events).pipe(Context.add(SnapshotStore, snapshots.store))
    })
  )
