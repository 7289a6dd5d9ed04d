/** The rules of every store of operator checkpoints, in memory; and storage that fails while it is pruned. */
import { assert, it } from "@effect/vitest"
import { CheckpointPlaces, storageOf } from "@millrace/core/CheckpointStoreBackend"
import * as MemoryCheckpointStore from "@millrace/core/MemoryCheckpointStore"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { checkpointStoreSuite } from "@millrace/testkit/CheckpointStoreSuite"
import { manifest, pieces } from "@millrace/testkit/suites/CheckpointScene"
import { refused } from "@millrace/testkit/suites/Scene"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

checkpointStoreSuite("memory", MemoryCheckpointStore.places)

it.effect("what a manifest refers to is not removed while that manifest cannot be had", () =>
  Effect.gen(function* () {
    const { open } = yield* CheckpointPlaces
    const place = yield* open("p")
    const store = yield* storageOf({ open }).forPipeline("p")
    const { checkpointId, stateChecksum, stateLength } = yield* store.saveWithState(
      manifest(1),
      Stream.fromIterable(pieces(5))
    )
    yield* store.save(
      manifest(2, {
        operatorStates: { a: { _tag: "Sidecar", checkpointId, offset: 0, length: 5 } },
        sidecars: [{ checkpointId, length: stateLength!, checksum: stateChecksum! }]
      })
    )
    yield* place.removeManifest(1, undefined)
    const away = new StoreUnavailable({ operation: "load", transient: true, cause: new Error("away") })
    const failing = yield* storageOf({
      open: () => Effect.succeed({ ...place, readManifest: () => Effect.fail(away) })
    }).forPipeline("p")
    yield* refused(failing.prune(1), "StoreUnavailable")
    yield* refused(failing.cleanupOrphans(), "StoreUnavailable")
    yield* refused(failing.list, "StoreUnavailable")
    assert.deepStrictEqual(yield* place.states, [1])
    assert.isTrue((yield* store.validateCheckpoint(2)).valid)
  }).pipe(Effect.provide(MemoryCheckpointStore.places))
)
