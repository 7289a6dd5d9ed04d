/**
 * The property of all that can be done to the models of a projection: after any history of pages, swaps, discards,
 * rebuilds in place and removals, refused ones among them, rows and checkpoints are those of a plain model of it. A
 * failing history is shrunk, and printed with the seed that brings it back.
 */
import { assert, describe } from "@effect/vitest"
import type { ModelStore } from "@millrace/core/ModelStore"
import * as Projection from "@millrace/core/Projection"
import * as Scoped from "@millrace/core/Scoped"
import * as Effect from "effect/Effect"
import * as FC from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { checkHistories } from "../Histories.js"
import type { Beside, ModelIt, ModelScene } from "./ModelScene.js"
import { feed, listed, modelScene, plainFold, standing, tellOf, told } from "./ModelScene.js"
import { range } from "./Scene.js"

/** Shrinking ends here at the latest, with the smallest history found so far. */
const timeLimitMs = 120_000

export const modelHistories = <R>(it: ModelIt<R>, numRuns: number): void => {
  describe("histories", () => {
    it.effect(
      "random histories leave the models that a plain model of them has",
      () => checkHistories({ arbitrary: history, numRuns, timeLimitMs, check: compare }),
      timeLimitMs + 60_000
    )
  })
}

// ---- histories ----

const generation = FC.integer({ min: 1, max: 3 })
/** An epoch, counted from the one that is stored: a lower one is refused. */
const ahead = FC.oneof({ weight: 3, arbitrary: FC.nat(2) }, { weight: 1, arbitrary: FC.constant(-1) })
const part = FC.constantFrom("building" as const, "former" as const)

/** One step of a history. */
const step = FC.oneof(
  { weight: 4, arbitrary: FC.record({ _tag: FC.constant("Build" as const), generation }) },
  {
    weight: 6,
    arbitrary: FC.record({
      _tag: FC.constant("Feed" as const),
      part: FC.constantFrom("live" as const, "building" as const, "building" as const, "former" as const),
      ahead,
      events: FC.nat(12),
      pageEvents: FC.integer({ min: 1, max: 5 })
    })
  },
  {
    weight: 4,
    arbitrary: FC.record({ _tag: FC.constant("Swap" as const), part, ahead, keepFormer: FC.boolean() })
  },
  { weight: 1, arbitrary: FC.record({ _tag: FC.constant("Discard" as const), part }) },
  { weight: 1, arbitrary: FC.record({ _tag: FC.constantFrom("Empty" as const, "Remove" as const) }) }
)

type Step = typeof step extends FC.Arbitrary<infer A> ? A : never

// "max": by itself the library keeps lists to about ten.
const history = FC.array(step, { maxLength: 40, size: "max" })

/** The log of every history: rows come, change and go. */
const log = told(
  ...range(1, 60).map((n) => ({
    keys: n % 7 === 0 ? null : range(0, n % 3).map((m) => `k${(n * 5 + m * 3) % 6}`),
    add: n,
    drop: n % 11 === 0
  }))
)

// ---- the plain model ----

const Row = Schema.Struct({ n: Schema.Int, by: Schema.Int })
type Row = typeof Row.Type

interface PlainModel {
  readonly generation: number
  readonly version: number
  readonly epoch: number
  readonly position: number
  readonly rows: ReadonlyMap<string, Row>
}

interface PlainModels {
  /** Of the code: each build is of a new version. */
  version: number
  live: PlainModel | undefined
  building: PlainModel | undefined
  former: PlainModel | undefined
}

const projectionOf = (name: string, version: number): Projection.FoldProjection<Row> =>
  Projection.fold({
    name,
    version,
    row: Row,
    key: (event) => tellOf(event).keys ?? undefined,
    initial: () => ({ n: 0, by: version }),
    evolve: (row, event) => {
      const { add = 0, drop } = tellOf(event)
      return drop === true ? undefined : { n: row.n + add, by: version }
    }
  })

/** Does the same to both, and compares what they say and hold. Dies at the first difference. */
const compare = (steps: ReadonlyArray<Step>): Effect.Effect<void, unknown, ModelStore> =>
  Effect.gen(function* () {
    const here = yield* modelScene
    const models: PlainModels = { version: 1, live: undefined, building: undefined, former: undefined }
    yield* Scoped.scoped(here.store.open(projectionOf(here.name(), 1)))
    for (const [index, step] of steps.entries()) {
      const at = `step ${index} (${JSON.stringify(step)})`
      const [said, expected] = yield* Scoped.scoped(take(here, models, step))
      assert.deepStrictEqual(said, expected, at)
      yield* Scoped.scoped(same(here, models, at))
    }
    yield* here.store.remove(projectionOf(here.name(), 1))
  })

/** Makes one step, and gives what the store said of it and what it should have said. */
const take = (here: ModelScene, models: PlainModels, step: Step) =>
  Effect.gen(function* () {
    const { name, store, swap } = here
    const projection = projectionOf(name(), models.version)
    switch (step._tag) {
      case "Build": {
        const { building, former } = models
        const known = [building, former].some((each) => each?.generation === step.generation)
        // One at a time.
        if (!known && building !== undefined) yield* store.discard(projection, building.generation)
        if (!known) models.version++
        yield* store.open(projectionOf(name(), models.version), step.generation)
        if (known) return ["opened", "opened"] as const
        models.building = {
          generation: step.generation,
          version: models.version,
          epoch: 0,
          position: 0,
          rows: new Map()
        }
        return ["built", "built"] as const
      }
      case "Feed": {
        const stored = models[step.part]
        if (stored === undefined && step.part !== "live") return ["nothing", "nothing"] as const
        const epoch = Math.max(1, (stored?.epoch ?? 0) + step.ahead)
        const from = stored?.position ?? 0
        const to = Math.min(log.length, from + step.events)
        const model = yield* store.open(projection, step.part === "live" ? undefined : stored?.generation)
        const said = yield* feed(model, log.slice(0, to), { epoch, pageEvents: step.pageEvents }).pipe(tagOf)
        if (epoch < (stored?.epoch ?? 0)) return [said, "LeaseLost"] as const
        models[step.part] = {
          generation: stored?.generation ?? 0,
          version: stored?.version ?? models.version,
          epoch,
          position: to,
          rows: plainFold(projection, log.slice(from, to), new Map(stored?.rows))
        }
        return [said, "done"] as const
      }
      case "Swap": {
        const { live } = models
        const stored = models[step.part]
        const epoch = Math.max(1, (stored?.epoch ?? 0) + step.ahead)
        if (stored === undefined) return ["nothing", "nothing"] as const
        const { generation } = stored
        const said = yield* tagOf(swap(projection, generation, { epoch, keepFormer: step.keepFormer }))
        if (epoch < stored.epoch) return [said, "LeaseLost"] as const
        if (live !== undefined && live.position > stored.position)
          return [said, `Behind ${live.position}`] as const
        models[step.part] = undefined
        models.former = live !== undefined && step.keepFormer ? { ...live, generation, epoch: 0 } : undefined
        models.live = { ...stored, epoch: (live?.epoch ?? 0) + 1 }
        return [said, "Swapped"] as const
      }
      case "Discard": {
        const stored = models[step.part]
        models[step.part] = undefined
        return [yield* tagOf(store.discard(projection, stored?.generation ?? 77)), "done"] as const
      }
      case "Empty": {
        const epoch = (models.live?.epoch ?? 0) + 1
        models.live = { generation: 0, version: models.version, epoch, position: 0, rows: new Map() }
        return [yield* tagOf(store.empty(projection)), "done"] as const
      }
      case "Remove": {
        models.live = models.building = models.former = undefined
        const said = yield* tagOf(store.remove(projection))
        yield* store.open(projection)
        return [said, "done"] as const
      }
    }
  })

/** What an effect said, in one word. */
const tagOf = <E extends { readonly _tag: string }, R>(effect: Effect.Effect<unknown, E, R>) =>
  Effect.match(effect, {
    onFailure: (error): string => (error._tag === "LeaseLost" ? error._tag : String(error)),
    onSuccess: (result): string => {
      const swapped = result as { readonly _tag: string; readonly live?: number } | undefined
      return swapped === undefined
        ? "done"
        : [swapped._tag, swapped.live].filter((each) => each !== undefined).join(" ")
    }
  })

/** Whether the store holds what the plain model does. */
const same = ({ beside, name, rows, store }: ModelScene, models: PlainModels, at: string) =>
  Effect.gen(function* () {
    const projection = projectionOf(name(), models.version)
    const { building, former, live } = models
    const besideOf = (model: PlainModel | undefined): Beside =>
      model && [model.generation, model.position, model.version]
    const expected = { building: besideOf(building), former: besideOf(former) }
    assert.deepStrictEqual(yield* beside(projection), expected, `${at}: generations`)
    assert.deepStrictEqual(yield* rows(projection), listed(live?.rows ?? new Map()), `${at}: rows`)
    if (live === undefined)
      assert.isUndefined(yield* standing(yield* store.open(projection)), `${at}: no checkpoint`)
    for (const model of [live, building, former]) {
      if (model === undefined) continue
      const opened = yield* store.open(projection, model === live ? undefined : model.generation)
      const { epoch, position, version } = model
      assert.deepStrictEqual(
        yield* standing(opened),
        { position, revision: version, epoch: epoch === 0 ? undefined : epoch },
        `${at}: checkpoint`
      )
      assert.strictEqual(yield* opened.count, model.rows.size, `${at}: count`)
      const keys = [...model.rows.keys()]
      assert.deepStrictEqual(new Map(yield* opened.rows(keys)), new Map(model.rows), `${at}: rows by key`)
    }
  })
