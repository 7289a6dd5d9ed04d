/** Millrace's way: `write` in one process, a subscriber in the other. */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { EventStore } from "@millrace/core/EventStore"
import * as Subscriber from "@millrace/core/Subscriber"
import * as Postgres from "@millrace/postgres/Postgres"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import { eventType, payload, streamName } from "../payload.js"
import type { Payload } from "../payload.js"
import type { Way } from "./protocol.js"

/** What a payload's number begins with. */
const sequenceBase = payload(0).sequence

export const way: Way = {
  prepare: async (url) => {
    const runtime = ManagedRuntime.make(Postgres.layer({ url: Redacted.make(url) }))
    await runtime.runPromise(EventStore)
    await runtime.dispose()
  },
  sender: async (url) => {
    const runtime = ManagedRuntime.make(Postgres.layer({ url: Redacted.make(url) }))
    const store = await runtime.runPromise(EventStore)
    return {
      send: async (sequence) => {
        const event = { type: eventType, data: payload(sequence) }
        await runtime.runPromise(store.write({ streamId: streamName(0), events: [event] }))
      },
      close: () => runtime.dispose()
    }
  },
  listener: async (url, handled) => {
    const subscriber = Subscriber.make({
      key: "latency",
      onEvent: (event) => handled((event.data as Payload).sequence - sequenceBase)
    })
    const services = Layer.merge(Postgres.layer({ url: Redacted.make(url) }), ActorRegistry.layer)
    const runtime = ManagedRuntime.make(
      Layer.provideMerge(Layer.scopedDiscard(Subscriber.run(subscriber)), services)
    )
    await runtime.runPromise(Effect.void)
    return { close: () => runtime.dispose() }
  }
}
