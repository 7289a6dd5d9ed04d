/** A subscriber on stores whose calls fail, lose their answers, take their time, and whose leases are taken away. */
import { assert, it } from "@effect/vitest"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { deriveEventId } from "@millrace/core/EventId"
import { EventStore } from "@millrace/core/EventStore"
import * as Memory from "@millrace/core/Memory"
import * as Subscriber from "@millrace/core/Subscriber"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Faults from "@millrace/testkit/Faults"
import { sized, withChance } from "@millrace/testkit/Seeds"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"

const eventsCount = 500

const program = Effect.gen(function* () {
  const store = yield* EventStore
  const handled: Array<number> = []
  const subscriber = Subscriber.make({
    key: "echo",
    filters: [{ category: "number" }],
    chunkSize: 17,
    ackEvery: 23,
    ttl: "1 second",
    pollInterval: "20 millis",
    retry: Schedule.intersect(Schedule.spaced("1 millis"), Schedule.recurs(50)),
    onEvent: (event, { lease }) => {
      const { number } = event.data as { readonly number: number }
      handled.push(number)
      return store.write(
        {
          streamId: `echo/${number % 7}`,
          events: [{ type: "Echoed", data: { number }, id: deriveEventId(`echo of ${event.id}`) }]
        },
        { fence: lease }
      )
    }
  })
  const done = Effect.map(
    Stream.runCollect(store.stream({ filters: [{ category: "echo" }] })),
    (echoes) => echoes.length === eventsCount
  )
  yield* Effect.scoped(
    Effect.zipRight(
      Subscriber.run(subscriber),
      Effect.repeat(
        Effect.orElseSucceed(done, () => false),
        {
          schedule: Schedule.spaced("20 millis"),
          until: (is) => is
        }
      )
    )
  )
  return handled
})

it.scopedLive(
  "whatever its stores do, everything is handled, each key's events in order, and what it writes is exactly right",
  () =>
    withChance((chance) =>
      Effect.gen(function* () {
        const stores = yield* Layer.build(Memory.layer())
        const plain = Layer.succeedContext(stores)
        const store = yield* Effect.provide(EventStore, plain)
        yield* Effect.forEach(
          Array.from({ length: eventsCount }, (_, number) => number),
          (number) =>
            store.write({
              streamId: `number/${number % 7}`,
              events: [{ type: "Numbered", data: { number } }]
            }),
          { discard: true }
        )
        const faulty = Faults.layer(
          Layer.merge(
            Layer.effect(EventStore, Effect.succeed(store)),
            Layer.effect(SubscriberStore, Effect.provide(SubscriberStore, plain))
          ),
          chance,
          { failBefore: 0.05, failAfter: 0.05, delay: 0.02, delayMsMax: 5, expire: 0.2 }
        )
        const handled = yield* Effect.provide(program, Layer.merge(faulty, ActorRegistry.layer))
        assert.strictEqual(new Set(handled).size, eventsCount)
        const echoes = yield* Stream.runCollect(store.stream({ filters: [{ category: "echo" }] }))
        for (let key = 0; key < 7; key++) {
          const numbers = Array.from(echoes)
            .filter((event) => event.streamId === `echo/${key}`)
            .map((event) => (event.data as { readonly number: number }).number)
          const expected = Array.from({ length: eventsCount }, (_, number) => number).filter(
            (number) => number % 7 === key
          )
          assert.deepStrictEqual(numbers, expected)
        }
      })
    ),
  sized(60_000, 120_000)
)
