/**
 * A process that runs both projections, and a subscriber that writes an event `Alerted` for every seventh number
 * under its lease. Says how far they are, every few milliseconds. Ends when it is told to stop.
 */
import { deriveEventId } from "@millrace/core/EventId"
import { EventStore } from "@millrace/core/EventStore"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import * as Subscriber from "@millrace/core/Subscriber"
import { argument, orders, run, say } from "@millrace/testkit/Program"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { StoreAddress } from "../../consumers/Stores.js"
import { folded, handled, numberOf, processLayer } from "../Projections.js"

export interface ProjectingArgument {
  readonly store: StoreAddress
  readonly name: string
  readonly ttlMs: number
  readonly batchSize: number
  /** Spent inside the transaction of the handlers, at every event. */
  readonly pauseMs: number
  readonly alerts: boolean
}

/** Where the projections stand, in the order fold, handlers. */
export interface ProjectingLine {
  readonly at: ReadonlyArray<{
    readonly phase: string
    readonly position: number
    readonly handled: number
    readonly failure: string | undefined
  }>
}

const options = argument<ProjectingArgument>()

const program = Effect.gen(function* () {
  const log = yield* EventStore
  const runner = yield* ProjectionRunner
  const stop = yield* Deferred.make<void>()
  orders(() => Deferred.unsafeDone(stop, Effect.void))
  const running = yield* runner.run([folded(), handled(options.pauseMs)], {
    ttl: options.ttlMs,
    batchSize: options.batchSize,
    workerId: options.name
  })
  if (options.alerts)
    yield* Subscriber.run(
      Subscriber.make({
        key: "alerts",
        filters: [{ type: "Numbered" }],
        ttl: options.ttlMs,
        chunkSize: 100,
        onEvent: (event, { lease }) =>
          numberOf(event) % 7 === 0
            ? log.write(
                {
                  streamId: `alert/${event.streamId.split("/")[1]}`,
                  events: [
                    {
                      type: "Alerted",
                      data: { number: numberOf(event) },
                      id: deriveEventId(`alert of ${event.id}`)
                    }
                  ]
                },
                { fence: lease }
              )
            : undefined
      }),
      { workerId: options.name }
    )
  const tell = Effect.map(running.status, (all) =>
    say({
      at: all.map(({ failure, handled, phase, position }) => ({
        phase,
        position,
        handled,
        failure: failure._tag === "None" ? undefined : String(failure.value.cause)
      }))
    } satisfies ProjectingLine)
  )
  yield* Effect.raceFirst(
    Deferred.await(stop),
    Effect.forever(Effect.zipRight(tell, Effect.sleep("10 millis")))
  )
})

run(Effect.scoped(program).pipe(Effect.provide(processLayer(options.store)), Effect.orDie))
