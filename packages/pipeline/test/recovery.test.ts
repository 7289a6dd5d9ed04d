/**
 * Pipelines that fail and go on, against one that does not: in one process, where every failure can be had at every
 * place. What real kills do is in `test/pipelines`.
 */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { CheckpointSteps } from "@millrace/core/CheckpointStoreBackend"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import * as Memory from "@millrace/core/Memory"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import { collect } from "@millrace/pipeline/sinks/CollectSink"
import { sized, withChance } from "@millrace/testkit/Seeds"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { calm, pipeline, readings } from "./Flows.js"

const layer = Layer.merge(Memory.layer(), ActorRegistry.layer)

const count = sized(6_000, 30_000)

/** What comes of an undisturbed run. */
const undisturbed = (all: ReturnType<typeof readings>) =>
  Effect.gen(function* () {
    const { sink, values } = yield* collect<string>("out")
    yield* Pipeline.run(pipeline(all, sink, calm, "undisturbed"), { checkpointEvery: "1 hour" })
    return [...(yield* values)].sort()
  })

describe("a pipeline goes on where it was", () => {
  it.live(
    "whatever fails, the results are those of a run that did not",
    () =>
      withChance((chance) =>
        Effect.gen(function* () {
          const all = readings(chance.seed, count)
          const expected = yield* undisturbed(all)
          const kinds = new Set(expected.map((line) => line.split(" ")[0]))
          expect([...kinds].sort()).toEqual(["hop", "minute", "session", "silent", "swing"])
          let failures = 0
          const { sink, values } = yield* collect<string>("out")
          const fails = (share: number): boolean => {
            if (failures >= 60 || !chance.is(share)) return false
            failures++
            return true
          }
          const disturbed = pipeline(all, sink, {
            beforeBatch: Effect.suspend(() =>
              fails(1 / 25) ? Effect.die(new Error("the source fails")) : Effect.sleep("1 millis")
            ),
            onRecord: () => {
              if (fails(1 / 1_500)) throw new Error("the operator fails")
            }
          })
          yield* Pipeline.run(disturbed, {
            checkpointEvery: "20 millis",
            parallelism: chance.int(1, 4),
            supervision: Schedule.spaced("1 millis")
          }).pipe(
            Effect.provideService(CheckpointSteps, () =>
              Effect.suspend(() => (fails(1 / 40) ? Effect.die(new Error("the store fails")) : Effect.void))
            )
          )
          expect(failures).toBeGreaterThan(0)
          expect([...(yield* values)].sort()).toEqual(expected)
        })
      ).pipe(Effect.provide(layer)),
    120_000
  )

  it.live(
    "with other shares of the keys from run to run: 4, 7, 2",
    () =>
      Effect.gen(function* () {
        const all = readings(7, count)
        const expected = yield* undisturbed(all)
        const { sink, values } = yield* collect<string>("out")
        const slow = pipeline(all, sink, { ...calm, beforeBatch: Effect.sleep("2 millis") })
        for (const parallelism of [4, 7]) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const running = yield* Pipeline.start(slow, { parallelism, checkpointEvery: "30 millis" })
              yield* Effect.sleep("60 millis")
              yield* running.checkpoint
              yield* Effect.sleep("40 millis")
              const status = yield* running.status
              expect(status.checkpoints).toBeGreaterThan(0)
              expect(status.operators.find(({ id }) => id === "perMinute")?.parallelism).toBe(parallelism)
              yield* running.stop
            })
          )
        }
        yield* Pipeline.run(pipeline(all, sink), { parallelism: 2 })
        expect([...(yield* values)].sort()).toEqual(expected)
      }).pipe(Effect.provide(layer)),
    120_000
  )

  it.live(
    "from a savepoint: results after it are taken back and come again",
    () =>
      Effect.gen(function* () {
        const all = readings(8, count)
        const expected = yield* undisturbed(all)
        const { sink, values } = yield* collect<string>("out")
        const slow = pipeline(all, sink, { ...calm, beforeBatch: Effect.sleep("1 millis") })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const running = yield* Pipeline.start(slow, { checkpointEvery: "20 millis" })
            yield* Effect.sleep("50 millis")
            yield* running.savepoint("before the change")
            yield* running.await
          })
        )
        expect([...(yield* values)].sort()).toEqual(expected)
        yield* Pipeline.run(pipeline(all, sink), { savepoint: "before the change" })
        expect([...(yield* values)].sort()).toEqual(expected)
        const storage = yield* CheckpointStorage
        const store = yield* storage.forPipeline("readings")
        const named = (yield* store.list).filter(({ savepoint }) => Option.isSome(savepoint))
        expect(named.map(({ savepoint }) => Option.getOrThrow(savepoint))).toEqual(["before the change"])
      }).pipe(Effect.provide(layer)),
    120_000
  )
})
