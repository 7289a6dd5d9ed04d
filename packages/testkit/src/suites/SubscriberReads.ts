/** What it is handed: every event of its filter once and in order, by the handler that it is for. */
import { assert, describe } from "@effect/vitest"
import type { RecordedEvent } from "@millrace/core/Event"
import type { Position } from "@millrace/core/Position"
import * as Scoped from "@millrace/core/Scoped"
import * as Subscriber from "@millrace/core/Subscriber"
import type { SubscriberOptions } from "@millrace/core/Subscriber"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { scene } from "./Scene.js"
import type { SubscribingIt } from "./SubscribingScene.js"
import { numbered, subscribe } from "./SubscribingScene.js"

export const handling = (it: SubscribingIt): void => {
  describe("handling", () => {
    it.effect("handles every event of its filter once and in order, and the next time only what is new", () =>
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
          const same = yield* Effect.flip(Scoped.scoped(Subscriber.run(subscriber)))
          assert.strictEqual(same._tag === "InvalidArgument" ? same.field : same._tag, field)
        }
      })
    )
  })
}
