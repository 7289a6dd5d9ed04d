/** Running, pausing, stopping, being overtaken, and the partitions of several processes. */
import { assert, describe } from "@effect/vitest"
import * as Scoped from "@millrace/core/Scoped"
import * as Subscriber from "@millrace/core/Subscriber"
import type { SubscriberOptions } from "@millrace/core/Subscriber"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { scene } from "./Scene.js"
import type { SubscribingIt } from "./SubscribingScene.js"
import { numbered, subscribe, until, withRunning } from "./SubscribingScene.js"

export const running = (it: SubscribingIt): void => {
  describe("running", () => {
    it.effect("runs live: what is appended is handled at once, not at the next poll", () =>
      Effect.gen(function* () {
        const here = yield* scene("subscribed")
        const seen: Array<string> = []
        const subscriber = subscribe(here, {
          pollInterval: "1 hour",
          onEvent: (event) => void seen.push(event.type)
        })
        yield* withRunning(
          subscriber,
          Effect.gen(function* () {
            for (let i = 0; i < 5; i++) {
              yield* here.append(here.stream("a"), `E${i}`)
              yield* until(() => Effect.sync(() => seen.length === i + 1))
            }
          })
        )
        assert.deepStrictEqual(seen, numbered(0, 5))
      })
    )

    it.effect(
      "work that takes longer than the lease keeps it, also where the store never lets go of the thread",
      () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          yield* here.append(here.stream("a"), ...numbered(0, 180))
          const clock = yield* Effect.clock
          let handled = 0
          const subscriber = subscribe(here, {
            ttl: "500 millis",
            chunkSize: 2,
            onEvent: () => {
              const untilMs = clock.unsafeCurrentTimeMillis() + 8
              while (clock.unsafeCurrentTimeMillis() < untilMs);
              handled++
            }
          })
          assert.strictEqual(yield* Subscriber.drain(subscriber), 180)
          assert.strictEqual(handled, 180)
        })
    )

    it.effect("paused it handles nothing, here and after a restart; resumed it goes on", () =>
      Effect.gen(function* () {
        const here = yield* scene("subscribed")
        const seen: Array<string> = []
        const subscriber = subscribe(here, { onEvent: (event) => void seen.push(event.type) })
        assert.isFalse(yield* Subscriber.pause(subscriber.options))
        yield* here.append(here.stream("a"), "E0")
        yield* withRunning(
          subscriber,
          Effect.gen(function* () {
            yield* until(() => Effect.sync(() => seen.length === 1))
            assert.isTrue(yield* Subscriber.pause(subscriber.options))
            const store = yield* SubscriberStore
            yield* until(() =>
              Effect.map(store.listSubscribers({ prefix: subscriber.options.key, limit: 1 }), ([row]) =>
                Option.isNone(row!.holder)
              )
            )
            yield* here.append(here.stream("a"), "E1")
            yield* Effect.sleep("300 millis")
          })
        )
        yield* withRunning(subscriber, Effect.sleep("300 millis"))
        assert.deepStrictEqual(seen, ["E0"])
        assert.isTrue(yield* Subscriber.resume(subscriber.options))
        yield* withRunning(
          subscriber,
          until(() => Effect.sync(() => seen.length === 2))
        )
        assert.deepStrictEqual(seen, ["E0", "E1"])
      })
    )

    it.effect("stopped in the middle of a page, the next one goes on with the very next event", () =>
      Effect.gen(function* () {
        const here = yield* scene("subscribed")
        yield* here.append(here.stream("a"), ...numbered(0, 40))
        const seen: Array<string> = []
        const subscriber = subscribe(here, {
          onEvent: (event) =>
            Effect.zipRight(
              Effect.sleep("5 millis"),
              Effect.sync(() => void seen.push(event.type))
            )
        })
        yield* withRunning(
          subscriber,
          until(() => Effect.sync(() => seen.length >= 5))
        )
        const first = seen.length
        assert.isBelow(first, 40)
        yield* Subscriber.drain(subscriber)
        assert.deepStrictEqual(seen, numbered(0, 40))
      })
    )

    it.effect("overtaken, its fenced writes are refused, and it takes its place again", () =>
      Effect.gen(function* () {
        const here = yield* scene("subscribed")
        const store = yield* SubscriberStore
        const answers: Array<string> = []
        const subscriber = subscribe(here, {
          retry: Schedule.stop,
          onEvent: (event, { lease }) =>
            Effect.gen(function* () {
              if (answers.length === 0)
                yield* store.upsertSubscriber(lease.key, lease.workerId, { ttl: "10 seconds" })
              const written = yield* Effect.either(
                here.store.write(
                  {
                    streamId: `out-${here.category}/${event.type}`,
                    events: [{ type: "Seen", data: lease.epoch }]
                  },
                  { fence: lease }
                )
              )
              answers.push(written._tag === "Left" ? written.left._tag : "written")
              return yield* written
            })
        })
        yield* here.append(here.stream("a"), "E0")
        yield* withRunning(
          subscriber,
          until(() => Effect.sync(() => answers.length === 2))
        )
        assert.deepStrictEqual(answers, ["LeaseLost", "written"])
        assert.strictEqual(yield* here.store.streamVersion(`out-${here.category}/E0`), 1)
      })
    )

    it.effect("overtaken, what goes wrong while a handler is undone is no failure", () =>
      Effect.gen(function* () {
        const here = yield* scene("subscribed")
        const store = yield* SubscriberStore
        const seen: Array<string> = []
        let turns = 0
        const subscriber = subscribe(here, {
          ttl: "500 millis",
          onEvent: (event, { lease }) =>
            event.type === "E1" && ++turns === 1
              ? store.upsertSubscriber(lease.key, lease.workerId, { ttl: "10 seconds" }).pipe(
                  Effect.zipRight(Effect.never),
                  // As a transaction does whose connection is gone when it is to be rolled back.
                  Effect.onInterrupt(() => Effect.die(new Error("the connection is gone")))
                )
              : void seen.push(event.type)
        })
        yield* here.append(here.stream("a"), ...numbered(0, 3))
        const running = yield* Scoped.scoped(
          Effect.zipLeft(
            Subscriber.run(subscriber),
            until(() => Effect.sync(() => seen.includes("E2")))
          )
        )
        assert.strictEqual((yield* running.ended)._tag, "Shutdown")
        assert.deepStrictEqual(seen.slice(-2), ["E1", "E2"])
        assert.deepStrictEqual([...new Set(seen)], numbered(0, 3))
      })
    )

    it.effect(
      "partitions are spread over processes, and taken over from one that stops: each event once, each stream in order",
      () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          const seen: Array<{ readonly worker: string; readonly streamId: string; readonly type: string }> =
            []
          const of = (worker: string) =>
            subscribe(here, {
              key: `shared-${here.category}`,
              partitions: 8,
              ttl: "3 seconds",
              onEvent: ({ streamId, type }) => void seen.push({ worker, streamId, type })
            })
          const write = (from: number, to: number) =>
            Effect.forEach(
              Array.from({ length: 24 }, (_, stream) => stream),
              (stream) => here.append(here.stream(`s${stream}`), ...numbered(from, to)),
              { concurrency: 8, discard: true }
            )
          const shares = (running: ReadonlyArray<Subscriber.RunningSubscriber>) =>
            Effect.map(
              Effect.forEach(running, (one) => one.status),
              (all) => all.map((partitions) => partitions.length)
            )
          yield* write(0, 5)
          yield* Scoped.scoped(
            Effect.gen(function* () {
              const running = yield* Effect.forEach(["one", "two", "three"], (worker) =>
                Subscriber.run(of(worker), { workerId: worker })
              )
              yield* until(() =>
                Effect.map(shares(running), (counts) => counts.toSorted().join() === "2,3,3")
              )
              yield* write(5, 10)
              yield* until(() => Effect.sync(() => seen.length === 240))
              yield* running[1]!.stop
              yield* until(() =>
                Effect.map(shares([running[0]!, running[2]!]), (counts) => counts.join() === "4,4")
              )
              yield* write(10, 12)
              yield* until(() => Effect.sync(() => seen.length === 288))
            })
          )
          for (let stream = 0; stream < 24; stream++) {
            const types = seen
              .filter((one) => one.streamId === here.stream(`s${stream}`))
              .map((one) => one.type)
            assert.deepStrictEqual(types, numbered(0, 12))
          }
          assert.strictEqual(new Set(seen.map((one) => one.worker)).size, 3)
        })
    )

    it.effect(
      "with another number of partitions it goes on where the former ended, and leaves nothing out",
      () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          const seen: Array<string> = []
          const of = (partitions: number, more: Partial<SubscriberOptions<never, never>> = {}) =>
            subscribe(here, {
              key: `resized-${here.category}`,
              partitions,
              onEvent: (event) => void seen.push(event.type),
              ...more
            })
          yield* here.append(here.stream("a"), "E0")
          yield* Subscriber.drain(of(1))
          yield* here.append(here.stream("b"), "E1")
          yield* Subscriber.drain(of(4))
          yield* here.append(here.stream("c"), "E2")
          yield* Subscriber.drain(of(3))
          assert.deepStrictEqual(seen, ["E0", "E1", "E2"])
          // Parked events belong to the keys of their partitions.
          yield* here.append(here.stream("d"), "Bad")
          const onEvent = (): void => {
            throw new Error("broken")
          }
          yield* Subscriber.drain(of(3, { onPoison: "park", retry: Schedule.stop, onEvent }))
          const error = yield* Effect.flip(Subscriber.drain(of(2)))
          assert.strictEqual(error._tag === "InvalidArgument" ? error.field : error._tag, "partitions")
        })
    )
  })
}
