/**
 * Millrace in memory, in one line: `Effect.provide(Memory.layer())`. Everything is gone when the process
 * ends; for tests and examples.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { CheckpointStorage } from "./CheckpointStore.js"
import { EventStore } from "./EventStore.js"
import type { EventStoreSettings } from "./EventStoreBackend.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import * as MemoryCheckpointStore from "./MemoryCheckpointStore.js"
import * as MemoryEventStore from "./MemoryEventStore.js"
import * as MemoryModelStore from "./MemoryModelStore.js"
import * as MemoryProjectionCheckpointStore from "./MemoryProjectionCheckpointStore.js"
import * as MemorySnapshotStore from "./MemorySnapshotStore.js"
import * as MemorySubscriberStore from "./MemorySubscriberStore.js"
import { ModelStore } from "./ModelStore.js"
import { ProjectionCheckpointStore } from "./ProjectionCheckpointStore.js"
import { SnapshotStore } from "./SnapshotStore.js"
import { SubscriberStore } from "./SubscriberStore.js"

/**
 * An empty log and an empty snapshot store, which belong together: deleting or erasing events removes the
 * snapshots of their streams; checkpoints with the models that they are of, and checkpoints of
 * pipelines. Fails with `InvalidArgument` when a setting is out of range.
 */
export const layer = (
  settings: EventStoreSettings = {}
): Layer.Layer<
  EventStore | SnapshotStore | SubscriberStore | ProjectionCheckpointStore | ModelStore | CheckpointStorage,
  InvalidArgument
> => Layer.merge(stores(settings), MemoryCheckpointStore.layer)

// ---- internal ----

const stores = (settings: EventStoreSettings) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const snapshots = yield* MemorySnapshotStore.make
      const subscribers = yield* MemorySubscriberStore.make
      const checkpoints = yield* MemoryProjectionCheckpointStore.makeCheckpoints
      const models = yield* MemoryModelStore.make(checkpoints)
      const events = yield* MemoryEventStore.make({
        ...settings,
        onForget: snapshots.forget,
        leaseFault: subscribers.leaseFault
      })
      return Context.make(EventStore, events).pipe(
        Context.add(SnapshotStore, snapshots.store),
        Context.add(SubscriberStore, subscribers.store),
        Context.add(ProjectionCheckpointStore, checkpoints.store),
        Context.add(ModelStore, models)
      )
    })
  )
