/**
 * The rules that every store of models obeys, as tests, split by theme under `suites/`. Each test has projections
 * and tables of its own, so that one database serves them all.
 *
 * @example
 * ```ts
 * modelStoreSuite("sqlite", Sqlite.layer({ filename: ":memory:" }), { sqlTotals })
 * ```
 */
import { layer as testsWith } from "@effect/vitest"
import type { ModelStore } from "@millrace/core/ModelStore"
import type * as Layer from "effect/Layer"
import { modelFolds } from "./suites/ModelFolds.js"
import { modelGenerations } from "./suites/ModelGenerations.js"
import { modelHandlers } from "./suites/ModelHandlers.js"
import { modelHistories } from "./suites/ModelHistories.js"
import { modelListing } from "./suites/ModelListing.js"
import type { AlsoOf } from "./suites/ModelScene.js"
import type { SqlTotals } from "./suites/ModelSqlHandlers.js"
import { modelSqlHandlers } from "./suites/ModelSqlHandlers.js"
import { modelSteps } from "./suites/ModelSteps.js"

/** What a store has beyond the contract. */
export interface ModelStoreSuiteOptions<R> {
  /** For stores on a SQL database: handlers that keep totals there. Without it, handlers of place `sql` must be refused. */
  readonly sqlTotals?: SqlTotals<R> | undefined
  /**
   * Whether what a step does `also` is a part of its transaction, or comes behind it, since the log is in another
   * database. Default: `within`.
   */
  readonly also?: AlsoOf | undefined
  /** Random histories to try. Range: 1 and more. Default: 25. `MILLRACE_RUNS` overrides it. */
  readonly numRuns?: number | undefined
}

/** Declares the tests for one store. `layer` is built once. `R` is what SQL handlers need, beside the store. */
export const modelStoreSuite = <R, E>(
  name: string,
  layer: Layer.Layer<ModelStore | R, E>,
  { also = "within", numRuns = 25, sqlTotals }: ModelStoreSuiteOptions<R> = {}
): void =>
  testsWith(layer, { timeout: "60 seconds", excludeTestServices: true })(`ModelStore / ${name}`, (it) => {
    modelFolds(it)
    modelSteps(it, also)
    modelListing(it)
    modelGenerations(it)
    modelHandlers(it, sqlTotals === undefined)
    if (sqlTotals !== undefined) modelSqlHandlers(it, sqlTotals, also)
    modelHistories(it, numRuns)
  })
