/**
 * The rules that every store of projection checkpoints obeys, as tests, split by theme under `suites/`. Each test
 * has projections of its own, so that one database serves them all.
 *
 * @example
 * ```ts
 * projectionCheckpointStoreSuite("sqlite", Sqlite.layer({ filename: ":memory:" }))
 * ```
 */
import { layer as testsWith } from "@effect/vitest"
import type { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import type * as Layer from "effect/Layer"
import { projectionAdvances } from "./suites/ProjectionAdvances.js"
import { projectionBadInput } from "./suites/ProjectionBadInput.js"
import { projectionFences } from "./suites/ProjectionFences.js"
import { projectionLarge } from "./suites/ProjectionLarge.js"
import { projectionNames } from "./suites/ProjectionNames.js"
import { projectionSaves } from "./suites/ProjectionSaves.js"

/** Declares the tests for one store. `layer` is built once. */
export const projectionCheckpointStoreSuite = <E>(
  name: string,
  layer: Layer.Layer<ProjectionCheckpointStore, E>
): void =>
  testsWith(layer, { timeout: "60 seconds", excludeTestServices: true })(
    `ProjectionCheckpointStore / ${name}`,
    (it) => {
      projectionSaves(it)
      projectionAdvances(it)
      projectionFences(it)
      projectionNames(it)
      projectionBadInput(it)
      projectionLarge(it)
    }
  )
