/**
 * What projections promise, on any set of stores: the model is a plain fold of the log, whatever happened meanwhile,
 * and it is rebuilt while it is read. Time is the real one. The tests are split by theme under `suites/`.
 *
 * @example
 * ```ts
 * projectionSuite("sqlite", Sqlite.layer({ filename: ":memory:" }))
 * ```
 */
import { layer as testsWith } from "@effect/vitest"
import * as ActorRegistries from "@millrace/core/ActorRegistry"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import * as Layer from "effect/Layer"
import { projectingCatchUp } from "./suites/ProjectingCatchUp.js"
import { projectingConcurrently } from "./suites/ProjectingConcurrently.js"
import { projectingFaults } from "./suites/ProjectingFaults.js"
import { projectingGaps } from "./suites/ProjectingGaps.js"
import { projectingInPlace } from "./suites/ProjectingInPlace.js"
import { projectingLive } from "./suites/ProjectingLive.js"
import { projectingParked } from "./suites/ProjectingParked.js"
import { projectingPoison } from "./suites/ProjectingPoison.js"
import { projectingRebuild } from "./suites/ProjectingRebuild.js"
import type { ProjectionStores } from "./suites/ProjectingScene.js"
import { projectingVersions } from "./suites/ProjectingVersions.js"

/** Declares the tests for one set of stores. `stores` is built once. */
export const projectionSuite = <E>(name: string, stores: Layer.Layer<ProjectionStores, E>): void =>
  testsWith(ProjectionRunner.layer.pipe(Layer.provideMerge(Layer.merge(stores, ActorRegistries.layer))), {
    timeout: "60 seconds",
    excludeTestServices: true
  })(`Projection / ${name}`, (it) => {
    projectingCatchUp(it)
    projectingLive(it)
    projectingPoison(it)
    projectingParked(it)
    projectingGaps(it)
    projectingFaults(it)
    projectingRebuild(it)
    projectingInPlace(it)
    projectingVersions(it)
    projectingConcurrently(it)
  })
