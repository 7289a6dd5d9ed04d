/** Storage that fails, answers that are lost, leases that are taken away: the model is the plain fold all the same. */
import { assert, describe } from "@effect/vitest"
import { LeaseLost } from "@millrace/core/LeaseLost"
import type { Epoch } from "@millrace/core/Lease"
import { liveKey } from "@millrace/core/ProjectionSession"
import * as Scoped from "@millrace/core/Scoped"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Faults from "../Faults.js"
import { withChance } from "../Seeds.js"
import type { ProjectingIt, ProjectingScene } from "./ProjectingScene.js"
import { projectingScene, quick, runnerOver, said, steppingThrough, until } from "./ProjectingScene.js"
import { refused } from "./Scene.js"

export const projectingFaults = (it: ProjectingIt): void => {
  describe("when storage fails", () => {
    it.effect("a commit whose answer was lost is not made twice", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(30)
        let steps = 0
        const lossy = yield* runnerOver({
          models: steppingThrough((apply) => {
            steps++
            return Effect.zipRight(apply, away)
          })
        })
        yield* lossy.catchUp(totals, { ...quick, batchSize: 10 })
        assert.isAtLeast(steps, 3)
        assert.isAtMost(steps, 4)
        yield* here.isFold(totals)
      })
    )

    it.effect("a commit that storage did not take is waited for", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(30)
        let steps = 0
        const lossy = yield* runnerOver({
          models: steppingThrough((apply) => Effect.suspend(() => (steps++ < 3 ? away : apply)))
        })
        assert.strictEqual(yield* lossy.catchUp(totals, { ...quick, ttl: "20 seconds" }), 30)
        yield* here.isFold(totals)
      })
    )

    it.effect("a fault that would come again ends it, and nothing is half done", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(30)
        let steps = 0
        const broken = yield* runnerOver({
          models: steppingThrough((apply) => Effect.suspend(() => (steps++ === 1 ? failing(false) : apply)))
        })
        const error = yield* refused(broken.catchUp(totals, { ...quick, batchSize: 10 }), "StoreUnavailable")
        assert.isFalse(error.transient)
        assert.strictEqual(yield* here.runner.catchUp(totals), 20)
        yield* here.isFold(totals)
      })
    )

    it.effect("who lost the lease in the middle writes nothing any more, and the next one goes on", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(30)
        let steps = 0
        const overtaken = yield* runnerOver({
          models: steppingThrough((apply) =>
            Effect.zipRight(
              Effect.suspend(() => (steps++ === 1 ? takeOver(here, totals) : Effect.void)),
              apply
            )
          )
        })
        const error = yield* Effect.flip(overtaken.catchUp(totals, { ...quick, batchSize: 10 }))
        assert.instanceOf(error, LeaseLost)
        assert.strictEqual(
          (yield* here.rows(totals)).reduce((sum, { row }) => sum + row.events, 0),
          10
        )
        assert.strictEqual(yield* overtaken.catchUp(totals, quick), 20)
        yield* here.isFold(totals)
      })
    )

    it.effect("one that runs takes the lease again by itself", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(5)
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const running = yield* here.runner.run([totals], quick)
            yield* here.runner.waitFor(totals, yield* here.store.head, "20 seconds")
            for (let i = 0; i < 3; i++) {
              yield* takeOver(here, totals)
              const { position } = yield* here.append(here.stream("a"), said(i))
              yield* here.runner.waitFor(totals, position, "20 seconds")
            }
            assert.strictEqual((yield* running.status)[0]!.phase, "running")
          })
        )
        yield* here.isFold(totals)
      })
    )

    it.effect("one whose lease is given to somebody else waits until that one gives it back", () =>
      Effect.gen(function* () {
        const here = yield* projectingScene
        const totals = here.totals()
        yield* here.fill(5)
        yield* Scoped.scoped(
          Effect.gen(function* () {
            yield* here.runner.run([totals], { ...quick, ttl: "500 millis", workerId: "one" })
            yield* here.runner.waitFor(totals, yield* here.store.head, "20 seconds")
            // By the name of the first: another one would be refused as long as that one renews.
            const lease = yield* here.subscribers.upsertSubscriber(liveKey(totals.name), "one", {
              ttl: "1 minute"
            })
            const taken = yield* here.models.open(totals)
            yield* taken.claim(lease.epoch)
            const { position } = yield* here.append(here.stream("a"), said(1))
            yield* here.subscribers.release(lease)
            yield* here.runner.waitFor(totals, position, "20 seconds")
          })
        )
        yield* here.isFold(totals)
      })
    )

    it.effect("everything at once, at seeded moments, while it runs and events come", () =>
      withChance((chance) =>
        Effect.gen(function* () {
          const here = yield* projectingScene
          const totals = here.totals()
          const rates = { failBefore: 0.05, failAfter: 0.05, delay: 0.1 }
          const faulty = () =>
            runnerOver({
              log: (log) => Faults.eventStore(log, chance, rates),
              subscribers: (subscribers) =>
                Faults.subscriberStore(subscribers, chance, { ...rates, expire: 0.1 }),
              models: steppingThrough((apply) => {
                if (chance.is(0.1)) return away
                return chance.is(0.1) ? Effect.zipRight(apply, away) : apply
              })
            })
          yield* Scoped.scoped(
            Effect.gen(function* () {
              const options = { ...quick, ttl: "300 millis", batchSize: 7 } as const
              yield* (yield* faulty()).run([totals], options)
              yield* (yield* faulty()).run([totals], options)
              for (let i = 0; i < 12; i++) yield* here.fill(20, 7)
              const head = yield* here.store.head
              yield* until(Effect.map(here.position(totals), (position) => position >= head))
            })
          )
          yield* here.isFold(totals)
        })
      )
    )
  })
}

// ---- internal ----

const failing = (transient: boolean) =>
  Effect.fail(
    new StoreUnavailable({ operation: "apply", transient, cause: "a fault of the test" })
  ) as Effect.Effect<never, never>

/** Every step of a model can fail like this. */
const away = failing(true)

/** Somebody claims the model and goes away again. */
const takeOver = (here: ProjectingScene, projection: ReturnType<ProjectingScene["totals"]>) =>
  Scoped.scoped(
    Effect.gen(function* () {
      const model = yield* here.models.open(projection)
      const epoch = Option.flatMap(yield* model.info, (info) => info.epoch)
      yield* model.claim((Option.getOrElse(epoch, () => 0) + 1) as Epoch)
    })
  ).pipe(Effect.orDie)
