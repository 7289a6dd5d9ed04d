/** Events that are set aside with their key: everything else flows on, and in the end the model is the plain fold. */
import { assert, describe } from "@effect/vitest"
import type { ActorRegistry } from "@millrace/core/ActorRegistry"
import type { EventStore } from "@millrace/core/EventStore"
import { LeaseLost } from "@millrace/core/LeaseLost"
import type { ModelStore } from "@millrace/core/ModelStore"
import * as Projection from "@millrace/core/Projection"
import type { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import { liveKey } from "@millrace/core/ProjectionSession"
import * as Scoped from "@millrace/core/Scoped"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { ProjectingIt, ProjectingScene, TotalRow } from "./ProjectingScene.js"
import { projectingScene, quick, runnerOver, said, until } from "./ProjectingScene.js"
import { refused } from "./Scene.js"

const parking = { ...quick, onPoison: "park" } as const

export const projectingParked = (it: ProjectingIt): void => {
  describe("an event that is set aside", () => {
    it.effect("only its key waits, in order, also over a restart; a retry keeps the order", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const { fragile, mend } = breaking(here, 2)
        yield* here.append(here.stream("a"), said(1), said(2), said(3))
        yield* here.append(here.stream("b"), said(10), said(11))
        yield* here.runner.catchUp(fragile, parking)
        assert.deepStrictEqual(yield* counts(here, fragile), { a: 1, b: 2 })
        const again = yield* runnerOver()
        yield* here.append(here.stream("a"), said(4))
        yield* here.append(here.stream("b"), said(12))
        yield* again.catchUp(fragile, parking)
        assert.deepStrictEqual(yield* counts(here, fragile), { a: 1, b: 3 })
        assert.deepStrictEqual(yield* parkedOf(here, fragile), [1, 0, 0])
        // Still broken: the first fails again, those behind it stay where they are.
        assert.strictEqual(yield* again.requestParked(fragile, "retry"), 3)
        yield* whileRunning(
          again,
          fragile,
          until(Effect.map(parkedOf(here, fragile), (attempts) => attempts[0] === 2))
        )
        assert.deepStrictEqual(yield* parkedOf(here, fragile), [2, 0, 0])
        mend()
        assert.strictEqual(yield* here.runner.requestParked(fragile, "retry", here.stream("a")), 3)
        yield* whileRunning(
          here.runner,
          fragile,
          until(Effect.map(parkedOf(here, fragile), (attempts) => attempts.length === 0))
        )
        yield* here.isFold(fragile)
        yield* here.append(here.stream("a"), said(5))
        yield* here.runner.catchUp(fragile, parking)
        yield* here.isFold(fragile)
      })
    )

    it.effect("what is appended while parked events are taken up again comes behind them", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const { fragile, mend } = breaking(here, 1)
        yield* here.append(here.stream("a"), ...Array.from({ length: 40 }, (_, n) => said(n + 1)))
        yield* here.runner.catchUp(fragile, { ...parking, batchSize: 7 })
        assert.strictEqual((yield* parkedOf(here, fragile)).length, 40)
        mend()
        yield* here.runner.requestParked(fragile, "retry")
        yield* whileRunning(
          here.runner,
          fragile,
          Effect.gen(function* () {
            for (let n = 41; n < 80; n++) {
              yield* here.append(here.stream("a"), said(n))
              yield* here.runner.waitFor(fragile, yield* here.store.head, "20 seconds")
            }
            yield* until(Effect.map(parkedOf(here, fragile), (attempts) => attempts.length === 0))
            const last = yield* here.append(here.stream("a"), said(1_000))
            yield* here.runner.waitFor(fragile, last.position, "20 seconds")
          })
        )
        assert.deepStrictEqual(yield* parkedOf(here, fragile), [])
        yield* here.isFold(fragile)
      })
    )

    it.effect(
      "who is stopped in the middle of a retry leaves nothing behind that was parked after it was asked for",
      () =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          const { fragile, mend } = breaking(here, 1)
          yield* here.append(here.stream("a"), said(1), said(2))
          yield* here.runner.catchUp(fragile, parking)
          assert.strictEqual(yield* here.runner.requestParked(fragile, "retry"), 2)
          yield* here.append(here.stream("a"), said(3))
          yield* here.runner.catchUp(fragile, { ...parking, ttl: "20 seconds" })
          mend()
          const atThird = yield* Deferred.make<void>()
          let taken = 0
          const stopped = yield* runnerOver({
            subscribers: (subscribers) => ({
              ...subscribers,
              unpark: (lease, parkKey, position) =>
                Effect.suspend(() =>
                  taken++ === 2
                    ? Effect.zipRight(
                        Deferred.succeed(atThird, undefined),
                        Effect.fail(new LeaseLost({ key: lease.key, holder: "" }))
                      )
                    : subscribers.unpark(lease, parkKey, position)
                )
            })
          })
          yield* whileRunning(stopped, fragile, Deferred.await(atThird))
          yield* whileRunning(
            here.runner,
            fragile,
            until(Effect.map(parkedOf(here, fragile), (attempts) => attempts.length === 0))
          )
          yield* here.isFold(fragile)
        })
    )

    it.effect("what is dropped is forgotten, and its key flows again", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const { fragile } = breaking(here, 2)
        yield* here.append(here.stream("a"), said(1))
        const bad = yield* here.append(here.stream("a"), said(2))
        const behind = yield* here.append(here.stream("a"), said(3))
        yield* here.runner.catchUp(fragile, parking)
        assert.strictEqual(yield* here.runner.requestParked(fragile, "drop"), 2)
        yield* whileRunning(
          here.runner,
          fragile,
          until(Effect.map(parkedOf(here, fragile), (attempts) => attempts.length === 0))
        )
        yield* here.append(here.stream("a"), said(4))
        yield* here.runner.catchUp(fragile, parking)
        yield* here.isFold(here.totals(), new Set([bad.position, behind.position]))
      })
    )

    it.effect("more than the bound stops the projection before the event, and nothing is passed over", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const each = Projection.handlers({
          name: here.name(),
          filters: [{ category: here.category }],
          onEvent: () => Effect.fail("broken")
        })
        yield* here.append(here.stream("a"), said(1), said(2))
        const third = yield* here.append(here.stream("a"), said(3))
        const error = yield* refused(
          here.runner.catchUp(each, { ...parking, parkedMax: 2, batchSize: 1 }),
          "ParkedFull"
        )
        assert.strictEqual(error.max, 2)
        assert.isBelow(yield* here.position(each), third.position)
        assert.strictEqual((yield* parkedOf(here, each)).length, 2)
      })
    )

    for (const mode of ["shadow", "inPlace"] as const)
      it.effect(
        `${mode}: a rebuild handles what was set aside, and a retry afterwards does not handle it twice`,
        () =>
          Effect.gen(function* () {
            const here = yield* projectingScene
            const { fragile, mend } = breaking(here, 2)
            yield* here.append(here.stream("a"), said(1), said(2), said(3))
            yield* here.runner.catchUp(fragile, parking)
            mend()
            yield* here.runner.rebuild(fragile, { ...quick, mode })
            yield* here.isFold(fragile)
            yield* here.runner.requestParked(fragile, "retry")
            yield* here.append(here.stream("a"), said(4))
            yield* whileRunning(
              here.runner,
              fragile,
              Effect.gen(function* () {
                yield* until(Effect.map(parkedOf(here, fragile), (attempts) => attempts.length === 0))
                const last = yield* here.append(here.stream("a"), said(5))
                yield* here.runner.waitFor(fragile, last.position, "20 seconds")
              })
            )
            yield* here.isFold(fragile)
          })
      )

    // What the former model has set aside and the built one has not, and the other way round.
    for (const [former, next] of [
      [2, 3],
      [3, 2]
    ] as const)
      for (const dies of ["before", "behind"] as const)
        it.effect(
          `a rebuild that dies ${dies} the swap leaves the events set aside to the model that has not handled them (${former}, ${next})`,
          () =>
            Effect.gen(function* () {
              const here = yield* projectingScene
              const first = breaking(here, former)
              const second = breaking(here, next)
              yield* here.append(here.stream("a"), said(1), said(2), said(3), said(4))
              yield* here.append(here.stream("b"), said(10))
              yield* here.runner.catchUp(first.fragile, parking)
              const dying = yield* runnerOver({
                models: (models) => ({
                  ...models,
                  swap: (projection, generation, options) =>
                    dies === "before"
                      ? died
                      : Effect.zipRight(models.swap(projection, generation, options), died)
                })
              })
              yield* refused(dying.rebuild(second.fragile, parking), "StoreUnavailable")
              // Whoever comes next: a process that runs it, or one that rebuilds it.
              first.mend()
              second.mend()
              yield* here.runner.requestParked(first.fragile, "retry")
              yield* whileRunning(
                here.runner,
                first.fragile,
                Effect.gen(function* () {
                  const { position } = yield* here.append(here.stream("a"), said(5))
                  yield* here.runner.waitFor(first.fragile, position, "20 seconds")
                  // What was asked for before may have been asked of events that are none of this model's.
                  yield* here.runner.requestParked(first.fragile, "retry")
                  yield* until(Effect.map(parkedOf(here, first.fragile), (attempts) => attempts.length === 0))
                })
              )
              yield* here.isFold(first.fragile)
              yield* here.runner.rebuild(first.fragile, { ...parking, fresh: true })
              yield* here.isFold(first.fragile)
              assert.deepStrictEqual(yield* parkedOf(here, first.fragile), [])
            })
        )

    it.effect("after a rebuild that died behind the swap the next rebuild keeps apart whose they are", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const first = breaking(here, 3)
        const second = breaking(here, 2)
        yield* here.append(here.stream("a"), said(1), said(2), said(3), said(4))
        yield* here.runner.catchUp(first.fragile, parking)
        const dying = yield* runnerOver({
          models: (models) => ({
            ...models,
            swap: (projection, generation, options) =>
              Effect.zipRight(models.swap(projection, generation, options), died)
          })
        })
        yield* refused(dying.rebuild(second.fragile, parking), "StoreUnavailable")
        yield* here.runner.rebuild(second.fragile, parking)
        assert.deepStrictEqual(yield* counts(here, second.fragile), { a: 1 })
        assert.strictEqual((yield* parkedOf(here, second.fragile)).length, 3)
        second.mend()
        yield* here.runner.requestParked(second.fragile, "retry")
        yield* whileRunning(
          here.runner,
          second.fragile,
          until(Effect.map(parkedOf(here, second.fragile), (attempts) => attempts.length === 0))
        )
        yield* here.isFold(second.fragile)
      })
    )

    it.effect("an event that is set aside while its model is replaced is not handled twice", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const { fragile, mend } = breaking(here, 2)
        yield* here.append(here.stream("a"), said(1), said(2), said(3))
        const overtaken = yield* runnerOver({
          subscribers: (subscribers) => ({
            ...subscribers,
            park: (lease, parkings, options) =>
              subscribers.park(lease, parkings, options).pipe(
                // The rebuilding process has looked for parked events just before, and found none.
                Effect.zipRight(
                  Effect.sync(mend).pipe(
                    Effect.zipRight(
                      Effect.flatMap(blind, (rebuilding) => rebuilding.rebuild(fragile, parking))
                    ),
                    Effect.orDie
                  )
                )
              )
          })
        })
        const services = yield* Effect.context<ModelStore | EventStore | SubscriberStore | ActorRegistry>()
        const blind = Effect.provide(
          runnerOver({
            subscribers: (subscribers) => ({
              ...subscribers,
              parked: (key, options) =>
                key === liveKey(fragile.name) ? Effect.succeed([]) : subscribers.parked(key, options),
              parkedKeys: () => Effect.succeed([])
            })
          }),
          services
        )
        yield* refused(overtaken.catchUp(fragile, parking), "LeaseLost")
        assert.deepStrictEqual(yield* parkedOf(here, fragile), [])
        yield* here.runner.catchUp(fragile, parking)
        yield* here.isFold(fragile)
      })
    )
  })
}

// ---- internal ----

/** The process that does it is gone. */
const died = new StoreUnavailable({ operation: "swap", transient: false, cause: "a fault of the test" })

/** Totals that break on one number until they are mended. */
const breaking = (here: ProjectingScene, n: number) => {
  const sound = here.totals()
  let mended = false
  const fragile = here.totals({
    evolve: (row, event, key) => {
      if ((event.data as { readonly n: number }).n === n && !mended) throw new Error("broken\u0000")
      return sound.strength.evolve(row, event, key)
    }
  })
  return { fragile, mend: () => void (mended = true) }
}

const counts = (here: ProjectingScene, projection: Projection.FoldProjection<TotalRow>) =>
  Effect.map(here.rows(projection), (rows) =>
    Object.fromEntries(rows.map(({ key, row }) => [key.slice(key.indexOf("/") + 1), row.events]))
  )

/** How often each parked event was tried, in order. */
const parkedOf = (here: ProjectingScene, { name }: { readonly name: string }) =>
  Effect.map(here.subscribers.parked(liveKey(name), { limit: 1_000 }), (rows) =>
    rows.map((row) => row.attempts)
  )

const whileRunning = <A, E, R>(
  runner: ProjectionRunner["Type"],
  projection: Projection.Projection,
  use: Effect.Effect<A, E, R>
) => Scoped.scoped(Effect.zipRight(runner.run([projection], parking), use))
