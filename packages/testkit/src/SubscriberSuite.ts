/**
 * What every subscriber promises, on any pair of an event store and a subscriber store: nothing is left out, nothing
 * comes out of order, and a process that was overtaken changes nothing any more. Time is the real one.
 *
 * @example
 * ```ts
 * subscriberSuite("sqlite", Sqlite.layer({ filename: ":memory:" }))
 * ```
 */
import type { Vitest } from "@effect/vitest"
import { assert, layer as testsWith } from "@effect/vitest"
import * as ActorRegistries from "@millrace/core/ActorRegistry"
import type { ActorRegistry } from "@millrace/core/ActorRegistry"
import type { RecordedEvent } from "@millrace/core/Event"
import type { EventStore } from "@millrace/core/EventStore"
import type { Position } from "@millrace/core/Position"
import type { SnapshotStore } from "@millrace/core/SnapshotStore"
import * as Subscriber from "@millrace/core/Subscriber"
import type { SubscriberOptions } from "@millrace/core/Subscriber"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { Scene } from "./suites/Scene.js"
import { scene } from "./suites/Scene.js"

/** What a test of a subscriber needs. */
export type SubscriberServices = EventStore | SnapshotStore | SubscriberStore | ActorRegistry

/** Declares the tests for one pair of stores. */
export const subscriberSuite = <E>(
  name: string,
  stores: Layer.Layer<EventStore | SnapshotStore | SubscriberStore, E>
): void =>
  testsWith(Layer.merge(stores, ActorRegistries.layer), { timeout: "60 seconds", excludeTestServices: true })(
    `Subscriber / ${name}`,
    (it: Vitest.MethodsNonLive<SubscriberServices, true>) => {
      it.effect(
        "handles every event of its filter once and in order, and the next time only what is new",
        () =>
          Effect.gen(function* () {
            const here = yield* scene("subscribed")
            const other = yield* scene("unwanted")
            for (let i = 0; i < 25; i++) {
              yield* here.append(here.stream(`s${i % 4}`), `E${i}`)
              yield* other.append(other.stream("x"), `X${i}`)
            }
            const seen: Array<string> = []
            const subscriber = subscribe(here, {
              chunkSize: 7,
              onEvent: (event) => void seen.push(event.type)
            })
            assert.strictEqual(yield* Subscriber.drain(subscriber), 25)
            assert.deepStrictEqual(seen, numbered(0, 25))
            assert.strictEqual(yield* Subscriber.drain(subscriber), 0)
            yield* here.append(here.stream("s0"), "E25")
            assert.strictEqual(yield* Subscriber.drain(subscriber), 1)
            assert.deepStrictEqual(seen, numbered(0, 26))
          })
      )

      it.effect("its cursor passes events that it does not want", () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          const { position } = yield* here.append(here.stream("a"), "A", "B")
          const subscriber = subscribe(here, {
            filters: [{ category: here.category, type: "Never" }],
            onEvent: () => assert.fail("no event was wanted")
          })
          assert.strictEqual(yield* Subscriber.drain(subscriber), 0)
          const store = yield* SubscriberStore
          const cursor = yield* store.getSubscriberCursor(subscriber.options.key)
          assert.isAtLeast(Option.getOrThrow(cursor), position)
        })
      )

      it.effect("a new key begins where it is told: at the beginning, the end, or a position", () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          const first = yield* here.append(here.stream("a"), "E0")
          yield* here.append(here.stream("a"), "E1")
          const from = (startFrom: "beginning" | "end" | Position) =>
            Effect.gen(function* () {
              const seen: Array<string> = []
              const subscriber = subscribe(here, {
                startFrom,
                onEvent: (event) => void seen.push(event.type)
              })
              yield* Subscriber.drain(subscriber)
              return seen
            })
          assert.deepStrictEqual(yield* from("beginning"), ["E0", "E1"])
          assert.deepStrictEqual(yield* from("end"), [])
          assert.deepStrictEqual(yield* from(first.position), ["E1"])
        })
      )

      it.effect("a handler that fails is tried again, and the event counts once", () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          yield* here.append(here.stream("a"), "E0", "E1")
          const tries: Array<string> = []
          const subscriber = subscribe(here, {
            retry: Schedule.recurs(3),
            onEvent: (event) =>
              Effect.suspend(() => {
                tries.push(event.type)
                return tries.length < 3 ? Effect.fail("not yet") : Effect.void
              })
          })
          assert.strictEqual(yield* Subscriber.drain(subscriber), 2)
          assert.deepStrictEqual(tries, ["E0", "E0", "E0", "E1"])
        })
      )

      it.effect("a handler that interrupts itself has failed, and is not handed the event for ever", () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          yield* here.append(here.stream("a"), "E0", "E1", "E2")
          let tries = 0
          const subscriber = subscribe(here, {
            retry: Schedule.recurs(2),
            onEvent: (event) => (event.type === "E1" ? (tries++, Effect.interrupt) : Effect.void)
          })
          const error = yield* Effect.flip(Effect.timeout(Subscriber.drain(subscriber), "20 seconds"))
          assert.strictEqual(error._tag, "HandlerError")
          assert.strictEqual(tries, 3)
        })
      )

      it.effect("stop: ends at the event that fails for good, with those before it acknowledged", () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          yield* here.append(here.stream("a"), "E0", "E1", "E2")
          const seen: Array<string> = []
          let mended = false
          const subscriber = subscribe(here, {
            retry: Schedule.recurs(1),
            onEvent: (event) => {
              if (event.type === "E1" && !mended) throw new Error("broken")
              seen.push(event.type)
            }
          })
          const error = yield* Effect.flip(Subscriber.drain(subscriber))
          assert.strictEqual(error._tag, "HandlerError")
          if (error._tag === "HandlerError") assert.strictEqual(error.eventType, "E1")
          assert.deepStrictEqual(seen, ["E0"])
          mended = true
          assert.strictEqual(yield* Subscriber.drain(subscriber), 2)
          assert.deepStrictEqual(seen, ["E0", "E1", "E2"])
        })
      )

      it.effect("skip: goes on without the event", () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          yield* here.append(here.stream("a"), "E0", "E1", "E2")
          const seen: Array<string> = []
          const subscriber = subscribe(here, {
            onPoison: "skip",
            retry: Schedule.stop,
            onEvent: (event) =>
              event.type === "E1" ? Effect.fail("broken") : Effect.sync(() => void seen.push(event.type))
          })
          yield* Subscriber.drain(subscriber)
          assert.deepStrictEqual(seen, ["E0", "E2"])
        })
      )

      it.effect(
        "park: the key waits in order, every other key flows, also over a restart; a retry drains it in order",
        () =>
          Effect.gen(function* () {
            const here = yield* scene("subscribed")
            const seen: Array<string> = []
            let mended = false
            const subscriber = subscribe(here, {
              onPoison: "park",
              retry: Schedule.stop,
              onEvent: (event) => {
                if (event.type === "E1" && !mended) throw new Error("broken\u0000")
                seen.push(`${event.streamId.slice(-1)}:${event.type}`)
              }
            })
            yield* here.append(here.stream("a"), "E0", "E1", "E2")
            yield* here.append(here.stream("b"), "E0", "E2")
            yield* Subscriber.drain(subscriber)
            yield* here.append(here.stream("a"), "E3")
            yield* here.append(here.stream("b"), "E3")
            yield* Subscriber.drain(subscriber)
            assert.deepStrictEqual(seen, ["a:E0", "b:E0", "b:E2", "b:E3"])
            const parked = yield* Subscriber.parked(subscriber.options)
            assert.deepStrictEqual(
              parked.map((one) => [one.parkKey, one.attempts]),
              [
                [here.stream("a"), 1],
                [here.stream("a"), 0],
                [here.stream("a"), 0]
              ]
            )
            // Still broken: the first fails again, those behind it stay.
            assert.strictEqual(yield* Subscriber.retryParked(subscriber.options), 3)
            yield* withRunning(
              subscriber,
              until(() =>
                Effect.map(Subscriber.parked(subscriber.options), ([first]) => first?.attempts === 2)
              )
            )
            assert.strictEqual((yield* Subscriber.parked(subscriber.options)).length, 3)
            mended = true
            assert.strictEqual(yield* Subscriber.retryParked(subscriber.options, here.stream("a")), 3)
            yield* here.append(here.stream("a"), "E4")
            yield* withRunning(
              subscriber,
              until(() => Effect.sync(() => seen.includes("a:E4")))
            )
            assert.deepStrictEqual(
              seen.filter((one) => one.startsWith("a:")),
              ["a:E0", "a:E1", "a:E2", "a:E3", "a:E4"]
            )
            assert.deepStrictEqual(yield* Subscriber.parked(subscriber.options), [])
          })
      )

      it.effect("park: what is dropped is forgotten, and the key flows again", () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          const seen: Array<string> = []
          const subscriber = subscribe(here, {
            onPoison: "park",
            retry: Schedule.stop,
            onEvent: (event) => {
              if (event.type === "E0") throw new Error("broken")
              seen.push(event.type)
            }
          })
          yield* here.append(here.stream("a"), "E0", "E1")
          yield* Subscriber.drain(subscriber)
          assert.strictEqual(yield* Subscriber.dropParked(subscriber.options, here.stream("a")), 2)
          yield* withRunning(
            subscriber,
            until(() => Effect.map(Subscriber.parked(subscriber.options), (rows) => rows.length === 0))
          )
          yield* here.append(here.stream("a"), "E2")
          yield* Subscriber.drain(subscriber)
          assert.deepStrictEqual(seen, ["E2"])
        })
      )

      it.effect("park: more than the bound stops the subscriber, and nothing is passed over", () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          yield* here.append(here.stream("a"), "E0", "E1", "E2", "E3")
          const subscriber = subscribe(here, {
            onPoison: "park",
            parkedMax: 2,
            chunkSize: 1,
            retry: Schedule.stop,
            onEvent: () => {
              throw new Error("broken")
            }
          })
          const error = yield* Effect.flip(Subscriber.drain(subscriber))
          assert.strictEqual(error._tag, "ParkedFull")
          assert.strictEqual((yield* Subscriber.parked(subscriber.options)).length, 2)
        })
      )

      it.effect("strict: an event that no handler takes ends it; else it is passed over", () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          yield* here.append(here.stream("a"), "E0", "Odd", "E1")
          const seen: Array<string> = []
          const note = (event: RecordedEvent): void => void seen.push(event.type)
          const handlers = { types: { E0: note, E1: note } }
          const strict = subscribe(here, { strict: true, handlers })
          const error = yield* Effect.flip(Subscriber.drain(strict))
          assert.strictEqual(error._tag, "UnhandledEvent")
          assert.deepStrictEqual(seen, ["E0"])
          seen.length = 0
          yield* Subscriber.drain(subscribe(here, { handlers }))
          assert.deepStrictEqual(seen, ["E0", "E1"])
        })
      )

      it.effect("of several handlers the most precise one takes an event: type, alias, category, all", () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          yield* here.append(here.stream("a"), "Exact", "Former", "Other")
          const seen: Array<string> = []
          const by =
            (name: string) =>
            (event: RecordedEvent): void =>
              void seen.push(`${name}:${event.type}`)
          const categories = { [here.category]: by("category") }
          yield* Subscriber.drain(
            subscribe(here, {
              handlers: {
                types: { Exact: by("type") },
                aliases: { Former: "Exact" },
                categories,
                all: by("all")
              }
            })
          )
          assert.deepStrictEqual(seen, ["type:Exact", "type:Former", "category:Other"])
          seen.length = 0
          yield* Subscriber.drain(
            subscribe(here, { handlers: { types: { Exact: by("type") }, all: by("all") } })
          )
          assert.deepStrictEqual(seen, ["type:Exact", "all:Former", "all:Other"])
        })
      )

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
            yield* Effect.scoped(
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

      it.effect("wrong options are refused by the name of the field, and nothing runs", () =>
        Effect.gen(function* () {
          const here = yield* scene("subscribed")
          const onEvent = (): void => undefined
          const wrong: ReadonlyArray<readonly [field: string, options: object]> = [
            ["key", { key: "", onEvent }],
            ["key", { key: "a#b", onEvent }],
            ["key", { key: "x".repeat(201), onEvent }],
            ["onEvent", {}],
            ["onEvent", { onEvent, handlers: {} }],
            ["partitions", { onEvent, partitions: 0 }],
            ["partitions", { onEvent, partitions: 257 }],
            ["chunkSize", { onEvent, chunkSize: 10_001 }],
            ["ackEvery", { onEvent, ackEvery: 0 }],
            ["onPoison", { onEvent, onPoison: "ignore" }],
            ["startFrom", { onEvent, startFrom: -1 }],
            ["ttl", { onEvent, ttl: "1 millis" }],
            ["ttl", { onEvent, ttl: "forever" }],
            ["pollInterval", { onEvent, pollInterval: 0 }],
            ["parkedMax", { onEvent, parkedMax: 0 }],
            ["filters[0].kind", { onEvent, filters: [{ kind: "x" }] }]
          ]
          for (const [field, options] of wrong) {
            const subscriber = Subscriber.make({
              key: `wrong-${here.category}`,
              ...options
            } as SubscriberOptions<never, never>)
            const error = yield* Effect.flip(Subscriber.drain(subscriber))
            assert.strictEqual(error._tag === "InvalidArgument" ? error.field : error._tag, field)
            const same = yield* Effect.flip(Effect.scoped(Subscriber.run(subscriber)))
            assert.strictEqual(same._tag === "InvalidArgument" ? same.field : same._tag, field)
          }
        })
      )
    }
  )

// ---- internal ----

const numbered = (from: number, to: number): Array<string> =>
  Array.from({ length: to - from }, (_, i) => `E${from + i}`)

let subscribers = 0

/** A subscriber of this scene's events, with a key of its own. */
const subscribe = <E = never, R = never>(
  here: Scene,
  options: Partial<SubscriberOptions<E, R>>
): Subscriber.Subscriber<E, R> =>
  Subscriber.make<E, R>({
    key: `${here.category}-${++subscribers}`,
    filters: [{ category: here.category }],
    ...options
  })

/** Runs it beside `use`, and stops it in order afterwards. */
const withRunning = <E, R, A, E2, R2>(
  subscriber: Subscriber.Subscriber<E, R>,
  use: Effect.Effect<A, E2, R2>
) => Effect.scoped(Effect.zipRight(Subscriber.run(subscriber), use))

/** Waits until it is so; a test that never gets there fails by its time limit. */
const until = <E, R>(is: () => Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.asVoid(
    Effect.repeat(Effect.suspend(is), { schedule: Schedule.spaced("10 millis"), until: (done) => done })
  )
