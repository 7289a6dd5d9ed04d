/** Handlers whose model is not the store's, and projections that a store cannot keep. */
import { assert, describe } from "@effect/vitest"
import type { RecordedEvent } from "@millrace/core/Event"
import { Epoch } from "@millrace/core/Lease"
import type { Lease } from "@millrace/core/Lease"
import * as Projection from "@millrace/core/Projection"
import * as Effect from "effect/Effect"
import type { ModelIt } from "./ModelScene.js"
import { counting, feed, modelScene, standing, stepOver, tellOf, told, totals } from "./ModelScene.js"
import { refused } from "./Scene.js"

/** Handlers that note the positions they were handed, and fail where an event says so. */
const noting = (name: string, place?: "memory" | "elsewhere") => {
  const noted: Array<number> = []
  const leases: Array<Lease> = []
  const projection = Projection.handlers<string>({
    name,
    place,
    onEvent: (event, { lease }) =>
      Effect.suspend(() => {
        const { fail } = tellOf(event)
        if (fail !== undefined) return Effect.fail(fail)
        if (lease !== undefined) leases.push(lease)
        noted.push(event.position)
        return Effect.void
      })
  })
  return { projection, noted, leases }
}

/** `refusesSql`: whether handlers of place `sql` have no database here. */
export const modelHandlers = <R>(it: ModelIt<R>, refusesSql: boolean): void => {
  describe("handlers elsewhere", () => {
    it.scoped("each event is handled in order under the lease, and then the checkpoint moves", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        const { leases, noted, projection } = noting(name())
        const model = yield* store.open(projection)
        yield* feed(model, counting(7), { epoch: 4, pageEvents: 3 })
        assert.deepStrictEqual(noted, [1, 2, 3, 4, 5, 6, 7])
        assert.deepStrictEqual([...new Set(leases.map(({ epoch }) => epoch))], [4] as never)
        assert.deepStrictEqual(yield* standing(model), { position: 7, revision: 1, epoch: 4 })
        assert.strictEqual(yield* model.count, 0)
      })
    )

    it.scoped("handlers are chosen by type, may give no effect, and pass over what none takes", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        const noted: Array<string> = []
        const projection = Projection.handlers({
          name: name(),
          handlers: {
            Told: (event) => void noted.push(`told ${event.position}`),
            Asked: (event) => Effect.sync(() => void noted.push(`asked ${event.position}`))
          }
        })
        const types = ["Told", "Asked", "toString", "Told"]
        const log = counting(4).map((event, n) => ({ ...event, type: types[n]! }))
        const model = yield* store.open(projection)
        yield* feed(model, log)
        assert.deepStrictEqual(noted, ["told 1", "asked 2", "told 4"])
        assert.strictEqual((yield* standing(model))?.position, 4)
      })
    )

    it.scoped("a handler that fails, dies or throws names its event, and the checkpoint stays", () =>
      Effect.gen(function* () {
        const { name, store, unchanged } = yield* modelScene
        const log = counting(4)
        const ways: ReadonlyArray<(cause: Error) => Effect.Effect<void, Error>> = [
          (cause) => Effect.fail(cause),
          (cause) => Effect.die(cause),
          (cause) => {
            throw cause
          }
        ]
        for (const [n, way] of ways.entries()) {
          const cause = new Error(`way ${n}`)
          const projection = Projection.handlers<Error>({
            name: name(`w${n}`),
            onEvent: (event) => (event.position === 3 ? way(cause) : undefined)
          })
          const model = yield* store.open(projection)
          const error = yield* unchanged(
            projection,
            refused(model.apply(log, stepOver(log, 0, 1)), "HandlerError")
          )
          assert.strictEqual(error.position, 3)
          assert.strictEqual((error.cause as Error).message, cause.message)
        }
      })
    )

    it.scoped("a batch is handed each page once, and a failing one names an event of its page", () =>
      Effect.gen(function* () {
        const { name, store, unchanged } = yield* modelScene
        const pages: Array<ReadonlyArray<number>> = []
        const positions = (events: ReadonlyArray<RecordedEvent>) =>
          events.map(({ position }) => Number(position))
        const projection = Projection.batch<string>({
          name: name(),
          onBatch: (events) =>
            Effect.suspend(() => {
              if (events.some((event) => tellOf(event).fail !== undefined)) return Effect.fail("no")
              pages.push(positions(events))
              return Effect.void
            })
        })
        const model = yield* store.open(projection)
        yield* feed(model, counting(5), { pageEvents: 2 })
        assert.deepStrictEqual(pages, [[1, 2], [3, 4], [5]])
        const page = told({}, {}, {}, {}, {}, {}, { fail: "no" }).slice(5)
        const attempt = refused(model.apply(page, stepOver(page, 5, 1)), "HandlerError")
        const error = yield* unchanged(projection, attempt)
        assert.include(positions(page), Number(error.position))
        assert.strictEqual(error.cause, "no")
      })
    )

    it.scoped("a step from elsewhere, or by who was overtaken, leaves the checkpoint", () =>
      Effect.gen(function* () {
        const { name, store, unchanged } = yield* modelScene
        const { projection } = noting(name())
        const log = counting(6)
        const model = yield* store.open(projection)
        yield* feed(model, log.slice(0, 4), { epoch: 3 })
        const page = log.slice(4)
        yield* unchanged(projection, refused(model.apply(page, stepOver(page, 3, 3)), "ProjectionMoved"))
        yield* unchanged(projection, refused(model.apply(page, stepOver(page, 4, 2)), "LeaseLost"))
        yield* unchanged(projection, refused(model.claim(Epoch.make(2)), "LeaseLost"))
      })
    )

    it.scoped("a model that is elsewhere is not built beside itself", () =>
      Effect.gen(function* () {
        const { name, store, unchanged } = yield* modelScene
        const { noted, projection } = noting(name())
        const log = counting(3)
        yield* feed(yield* store.open(projection), log)
        const model = yield* store.open(projection, 7)
        const attempt = model.apply(log, stepOver(log, 0, 1))
        yield* unchanged(projection, refused(attempt, "ShadowUnsupported"))
        assert.deepStrictEqual(noted, [1, 2, 3])
      })
    )

    it.scoped("emptied and removed, the checkpoint begins anew", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        const { noted, projection } = noting(name())
        const model = yield* store.open(projection)
        yield* feed(model, counting(3))
        yield* store.empty(projection)
        assert.deepStrictEqual(yield* standing(model), { position: 0, revision: 1, epoch: 2 })
        yield* feed(model, counting(2), { epoch: 2 })
        assert.deepStrictEqual(noted, [1, 2, 3, 1, 2])
        yield* store.remove(projection)
        assert.isUndefined(yield* standing(yield* store.open(projection)))
      })
    )

    it.scoped("a table that was not declared fails the handler that asks for it", () =>
      Effect.gen(function* () {
        const { name, store, unchanged } = yield* modelScene
        const projection = Projection.handlers({
          name: name(),
          onEvent: (_, context) => void context.table("nobody_declared_it")
        })
        const model = yield* store.open(projection)
        const log = counting(1)
        yield* unchanged(projection, refused(model.apply(log, stepOver(log, 0, 1)), "HandlerError"))
      })
    )
  })

  describe("what is refused", () => {
    it.scoped(
      "handlers in memory run where checkpoints are gone with the process, and are refused elsewhere",
      () =>
        Effect.gen(function* () {
          const { name, store } = yield* modelScene
          const { noted, projection } = noting(name(), "memory")
          if (store.isDurable) {
            const error = yield* refused(store.open(projection), "ModelRefused")
            assert.strictEqual(error.projectionName, name())
            assert.isAbove(error.reason.length, 0)
            return
          }
          yield* feed(yield* store.open(projection), counting(2))
          assert.deepStrictEqual(noted, [1, 2])
        })
    )

    if (refusesSql)
      it.scoped("handlers that need a SQL database are refused without one", () =>
        Effect.gen(function* () {
          const { name, store } = yield* modelScene
          const { projection } = noting(name())
          const strength = { ...projection.strength, place: "sql" as const } as typeof projection.strength
          const error = yield* refused(store.open({ ...projection, strength }), "ModelRefused")
          assert.strictEqual(error.projectionName, name())
        })
      )

    it.scoped("names and tables that no store takes are refused", () =>
      Effect.gen(function* () {
        const { name, store } = yield* modelScene
        for (const bad of ["", "a~b1", "x".repeat(201), "a\u0000b"])
          yield* refused(store.open(totals(bad, { table: name() })), "ModelRefused")
        for (const table of ["", "1a", "A", "a-b", `a"b`, "x".repeat(41)])
          yield* refused(store.open(totals(name(), { table })), "ModelRefused")
        yield* refused(store.open(totals(name(), { version: -1 })), "ModelRefused")
      })
    )
  })
}
