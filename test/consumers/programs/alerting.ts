/**
 * A process that runs one subscriber of the events `Numbered` and writes an event `Alerted` for every seventh
 * of them, under its lease and with an id that is derived from what it alerts of. Notes every event that it
 * handles in a file of its own, before anything else: a note survives SIGKILL. Ends when it has nothing left to do,
 * or when it is told to.
 */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { deriveEventId } from "@millrace/core/EventId"
import { EventStore } from "@millrace/core/EventStore"
import * as Subscriber from "@millrace/core/Subscriber"
import { argument, orders, run, say } from "@millrace/testkit/Program"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { appendFileSync } from "node:fs"
import type { StoreAddress } from "../Stores.js"
import { storeLayer } from "../Stores.js"

export interface AlertingArgument {
  readonly store: StoreAddress
  readonly name: string
  /** One line an event handled: its epoch, its stream and its number. */
  readonly notes: string
  readonly partitions: number
  readonly ttlMs: number
  readonly chunkSize: number
  readonly ackEvery: number
  /** Drains and ends; else runs until it is told to stop. */
  readonly drains: boolean
  /** Pause at each event. Unit: milliseconds. */
  readonly pauseMs: number
}

/** What it says: `ready`, then every answer of a fenced write that was refused, and the partitions it has. */
export type AlertingLine =
  | { readonly ready: true }
  | { readonly refused: string }
  | { readonly handled: number }
  | { readonly partitions: number }

const options = argument<AlertingArgument>()

const program = Effect.gen(function* () {
  const log = yield* EventStore
  const subscriber = Subscriber.make({
    key: "alerts",
    filters: [{ type: "Numbered" }],
    partitions: options.partitions,
    ttl: options.ttlMs,
    chunkSize: options.chunkSize,
    ackEvery: options.ackEvery,
    onEvent: (event, { lease }) => {
      const { number } = event.data as { readonly number: number }
      appendFileSync(options.notes, `${lease.key} ${lease.epoch} ${event.streamId} ${number}\n`)
      const pause = options.pauseMs === 0 ? Effect.void : Effect.sleep(options.pauseMs)
      if (number % 7 !== 0) return options.pauseMs === 0 ? undefined : pause
      return Effect.zipRight(
        pause,
        Effect.tapError(
          log.write(
            {
              streamId: `alert/${event.streamId.split("/")[1]}`,
              events: [{ type: "Alerted", data: { number }, id: deriveEventId(`alert of ${event.id}`) }]
            },
            { fence: lease }
          ),
          (error) => Effect.sync(() => say({ refused: error._tag }))
        )
      )
    }
  })
  if (options.drains) {
    say({ handled: yield* Subscriber.drain(subscriber, { workerId: options.name }) })
    return
  }
  const stop = yield* Deferred.make<void>()
  orders(() => Deferred.unsafeDone(stop, Effect.void))
  const running = yield* Subscriber.run(subscriber, { workerId: options.name })
  say({ ready: true })
  yield* Effect.raceFirst(
    Deferred.await(stop),
    Effect.forever(
      Effect.zipRight(
        Effect.flatMap(running.status, (all) => Effect.sync(() => say({ partitions: all.length }))),
        Effect.sleep("50 millis")
      )
    )
  )
  yield* running.stop
})

run(
  Effect.scoped(program).pipe(
    Effect.provide(Layer.merge(storeLayer(options.store), ActorRegistry.layer)),
    Effect.orDie
  )
)
