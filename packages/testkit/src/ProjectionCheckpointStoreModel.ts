/**
 * The property that memory is the oracle of: after any history of writes, refused ones among them, a store of
 * projection checkpoints has said and holds the same as memory. A failing history is shrunk, and printed with
 * the seed that brings it back.
 */
import { assert, layer as testsWith } from "@effect/vitest"
import { EventIds } from "@millrace/core/EventIds"
import * as MemoryProjectionCheckpointStore from "@millrace/core/MemoryProjectionCheckpointStore"
import type { ProjectionWriteOptions } from "@millrace/core/ProjectionCheckpoint"
import { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FC from "effect/FastCheck"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { checkHistories } from "./Histories.js"
import type { Versions } from "./suites/ProjectionScene.js"
import { checkpoint, epoch, plain, stamped } from "./suites/ProjectionScene.js"

/** Shrinking ends here at the latest, with the smallest history found so far. */
const timeLimitMs = 120_000

/** How many histories. */
export interface CheckpointModelOptions {
  /** Random histories to try. Range: 1 and more. Default: 40. `MILLRACE_RUNS` overrides it. */
  readonly numRuns?: number
}

/**
 * Declares the property test for one store. `layer` is built once; each history has projections of its own.
 * `MILLRACE_SEED` (an integer) repeats the run of that seed.
 *
 * @example
 * ```ts
 * sameCheckpointsAsMemory("sqlite", Sqlite.layer({ filename: ":memory:" }))
 * ```
 */
export const sameCheckpointsAsMemory = <E>(
  name: string,
  layer: Layer.Layer<ProjectionCheckpointStore, E>,
  { numRuns = 40 }: CheckpointModelOptions = {}
): void => {
  testsWith(layer, { timeout: "60 seconds", excludeTestServices: true })(
    `ProjectionCheckpointStore / ${name} / model`,
    (it) => {
      it.effect(
        "random histories have the same results and the same end as on memory",
        () =>
          Effect.gen(function* () {
            const store = yield* ProjectionCheckpointStore
            const salt = (yield* EventIds).next(yield* Clock.currentTimeMillis)
            yield* checkHistories({
              arbitrary: history,
              numRuns,
              timeLimitMs,
              check: (steps, { number }) =>
                Effect.flatMap(MemoryProjectionCheckpointStore.make, (oracle) =>
                  compare(store, oracle, `model-${salt}-${number}-`, steps)
                )
            })
          }),
        timeLimitMs + 60_000
      )
    }
  )
}

// ---- internal: histories ----

/** Numbers are small, so that steps meet what others have stored. */
type Step =
  | { readonly _tag: "Save"; readonly at: number; readonly versions: Versions; readonly options: Options }
  /** From where the projection stands (`true`), knowing all cursors or those that move; or from anywhere. */
  | {
      readonly _tag: "Advance"
      readonly fromStored: boolean
      readonly whole: boolean
      readonly from: number
      readonly before: Versions
      readonly by: number
      readonly more: Versions
      readonly options: Options
    }
  | { readonly _tag: "Reset"; readonly options: Options }
  | { readonly _tag: "Claim"; readonly epoch: number; readonly revision: number | undefined }

interface Options {
  readonly epoch: number | undefined
  readonly revision: number | undefined
}

interface ProjectionStep {
  readonly projection: string
  readonly step: Step
}

/** The first is the beginning of the second. */
const projections = ["a", "a/b", "🦄"]

const streams = ["s/1", "s/1/2", "s/%", "s/\uffff", "s/🦄"]

const versions = (max: number): FC.Arbitrary<Versions> =>
  FC.dictionary(FC.constantFrom(...streams), FC.integer({ min: 0, max }), { noNullPrototype: true })

const optional = (min: number): FC.Arbitrary<number | undefined> =>
  FC.option(FC.integer({ min, max: 4 }), { nil: undefined, freq: 2 })

const options: FC.Arbitrary<Options> = FC.record({ epoch: optional(1), revision: optional(0) })

const step: FC.Arbitrary<Step> = FC.oneof(
  {
    weight: 5,
    arbitrary: FC.record({
      _tag: FC.constant("Advance" as const),
      fromStored: FC.integer({ min: 0, max: 3 }).map((n) => n > 0),
      whole: FC.boolean(),
      from: FC.nat(8),
      before: versions(3),
      by: FC.nat(3),
      more: versions(3),
      options
    })
  },
  {
    weight: 3,
    arbitrary: FC.record({
      _tag: FC.constant("Save" as const),
      at: FC.nat(12),
      versions: versions(8),
      options
    })
  },
  { weight: 1, arbitrary: FC.record({ _tag: FC.constant("Reset" as const), options }) },
  {
    weight: 1,
    arbitrary: FC.record({
      _tag: FC.constant("Claim" as const),
      epoch: FC.integer({ min: 1, max: 4 }),
      revision: optional(0)
    })
  }
)

const history: FC.Arbitrary<ReadonlyArray<ProjectionStep>> = FC.array(
  FC.record({ projection: FC.constantFrom(...projections), step }),
  { minLength: 1, maxLength: 40, size: "max" }
)

// ---- internal: comparison ----

type Store = ProjectionCheckpointStore["Type"]

const compare = (
  store: Store,
  oracle: Store,
  prefix: string,
  history: ReadonlyArray<ProjectionStep>
): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    for (const [index, { projection, step }] of history.entries()) {
      const name = prefix + projection
      const before = plain(yield* oracle.loadProjectionCheckpoint(name))
      const run = (target: Store) => said(apply(target, name, step, before))
      const expected = yield* run(oracle)
      assert.deepStrictEqual(yield* run(store), expected, `step ${index} (${step._tag} of ${projection})`)
      const now = (target: Store) => stateOf(target, name)
      assert.deepStrictEqual(yield* now(store), yield* now(oracle), `state after step ${index}`)
    }
    const end = (target: Store) =>
      Effect.flatMap(target.listProjections({ prefix, limit: 10 }), (infos) =>
        Effect.forEach(infos, (info) => stateOf(target, info.name))
      )
    assert.deepStrictEqual(yield* end(store), yield* end(oracle), "state at the end")
  })

const apply = (
  store: Store,
  name: string,
  step: Step,
  [position, cursors]: readonly [number, Versions]
): Effect.Effect<unknown, { readonly _tag: string }> => {
  switch (step._tag) {
    case "Save":
      return store.saveProjectionCheckpoint(name, checkpoint(step.at, step.versions), written(step.options))
    case "Advance": {
      const from = step.fromStored ? position : step.from
      const known = step.fromStored ? cursors : step.before
      const after = Object.fromEntries(
        Object.entries(step.more).map(([id, by]) => [id, (known[id] ?? 0) + by])
      )
      const before = step.whole
        ? known
        : Object.fromEntries(Object.entries(known).filter(([id]) => id in after))
      return store.advanceProjectionCursors(
        name,
        checkpoint(from, before),
        checkpoint(from + step.by, after),
        written(step.options)
      )
    }
    case "Reset":
      return store.resetProjectionCheckpoint(name, written(step.options))
    case "Claim":
      return Effect.map(
        store.claimProjection(name, epoch(step.epoch), { revision: step.revision }),
        (info) => ({ name: info.name, ...stamped(info) })
      )
  }
}

const written = ({ epoch: value, revision }: Options): ProjectionWriteOptions => ({
  epoch: value === undefined ? undefined : epoch(value),
  revision
})

/** What a call said, in a form that can be compared: of an error its class and its fields. */
const said = (call: Effect.Effect<unknown, { readonly _tag: string }>) =>
  Effect.map(Effect.either(call), (result) =>
    Either.isRight(result) ? { value: result.right } : { error: { ...result.left } }
  )

/** Everything that a store holds of a projection but the time. */
const stateOf = (store: Store, name: string) =>
  Effect.gen(function* () {
    const info = yield* store.getProjection(name)
    const whole = yield* store.loadProjectionCheckpoint(name)
    const some = yield* store.loadProjectionCursors(name, streams.slice(0, 3))
    return {
      info: Option.getOrUndefined(Option.map(info, (known) => ({ name: known.name, ...stamped(known) }))),
      whole: { ...stamped(whole), plain: plain(whole) },
      some: Object.fromEntries(some)
    }
  })
