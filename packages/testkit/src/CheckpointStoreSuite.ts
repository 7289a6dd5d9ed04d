/**
 * The rules that every store of operator checkpoints obeys, as tests. A crash is a fiber that dies at the named step;
 * what is damaged is damaged through the backend. Each test has a pipeline of its own, so that one place serves them
 * all.
 *
 * @example
 * ```ts
 * checkpointStoreSuite("memory", MemoryCheckpointStore.places)
 * ```
 */
import { layer as testsWith } from "@effect/vitest"
import type { CheckpointPlaces } from "@millrace/core/CheckpointStoreBackend"
import { storage } from "@millrace/core/CheckpointStoreBackend"
import * as Layer from "effect/Layer"
import { checkpointRecovery } from "./suites/CheckpointRecovery.js"
import { checkpointSaves } from "./suites/CheckpointSaves.js"

/** Declares the tests for one kind of places. `places` is built once. */
export const checkpointStoreSuite = <E>(name: string, places: Layer.Layer<CheckpointPlaces, E>): void => {
  testsWith(Layer.provideMerge(storage, places), { timeout: "60 seconds", excludeTestServices: true })(
    `CheckpointStore / ${name}`,
    (it) => {
      checkpointSaves(it)
      checkpointRecovery(it)
    }
  )
}
