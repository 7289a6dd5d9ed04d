/**
 * A process that runs both projections, and a subscriber that writes an event `Alerted` for every seventh number
 * under its lease. Says how far they are, every few milliseconds. Ends when it is told to stop.
 *
 * It can be made to halt before what it does in the name of a lease, or within a transaction: it says so, stands
 * there until it is told to go on, and says what became of what it then did. Nothing interrupts it meanwhile.
 */
import type { EventId } from "@millrace/core/EventId"
import { deriveEventId } from "@millrace/core/EventId"
import { EventStore } from "@millrace/core/EventStore"
import { ModelStore } from "@millrace/core/ModelStore"
import type { Projection } from "@millrace/core/Projection"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import * as Subscriber from "@millrace/core/Subscriber"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import { argument, orders, run, say } from "@millrace/testkit/Program"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { StoreAddress } from "../../consumers/Stores.js"
import { folded, handled, numberOf, processLayer } from "../Projections.js"

/** Where it can be made to halt: before the commit of each projection, before a fenced append, in a transaction. */
export type Halt = "folded" | "handled" | "append" | "inside"

/** What became of something that it did after a halt: the tag of the error, or null when it was done. */
export interface Outcome {
  readonly tried: Exclude<Halt, "inside"> | "acknowledge"
  readonly refused: string | null
}

export interface ProjectingArgument {
  readonly store: StoreAddress
  readonly name: string
  readonly ttlMs: number
  readonly batchSize: number
  /** Spent inside the transaction of the handlers, at every event. */
  readonly pauseMs: number
  readonly alerts: boolean
  /** The version of the fold; others than the first run the fold alone, whenever its model is of this version. */
  readonly version?: number | undefined
  /** Where it halts, at the first event from this number on. */
  readonly halts?: { readonly at: ReadonlyArray<Halt>; readonly from: number } | undefined
}

/** Where one projection stands. */
export interface ProjectingStanding {
  readonly phase: string
  readonly position: number
  readonly handled: number
  readonly failure: string | undefined
}

/** Where the projections stand, in the order fold, handlers; or what it halts before, or what became of that. */
export type ProjectingLine =
  { readonly at: ReadonlyArray<ProjectingStanding> } | { readonly halted: Halt } | Outcome

const options = argument<ProjectingArgument>()
const version = options.version ?? 1
const tell = (line: ProjectingLine): void => say(line)

const program = Effect.gen(function* () {
  const log = yield* EventStore
  const subscribers = yield* SubscriberStore
  const models = yield* ModelStore
  const stop = yield* Deferred.make<void>()
  const go = yield* Deferred.make<void>()
  orders((order) => Deferred.unsafeDone(order === "go" ? go : stop, Effect.void))

  const left = new Set<Halt>(options.halts?.at ?? [])
  /** Whether it halts here: once for each place. */
  const halts = (halt: Halt, numbers: ReadonlyArray<number>): boolean =>
    numbers.some((number) => number >= (options.halts?.from ?? Infinity)) && left.delete(halt)
  const halted = (halt: Halt) =>
    Effect.zipRight(
      Effect.sync(() => tell({ halted: halt })),
      Deferred.await(go)
    )
  const trying = <A, E extends { readonly _tag: string }, R>(
    tried: Outcome["tried"],
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.tapBoth(effect, {
      onFailure: ({ _tag }) => Effect.sync(() => tell({ tried, refused: _tag })),
      onSuccess: () => Effect.sync(() => tell({ tried, refused: null }))
    })

  const halting: ModelStore["Type"] = {
    ...models,
    open: (projection, generation) =>
      Effect.map(models.open(projection, generation), (model) => ({
        ...model,
        apply: (events, step) => {
          const apply = model.apply(events, step)
          const name = projection.name as "folded" | "handled"
          return Effect.suspend(() =>
            halts(name, events.map(numberOf))
              ? Effect.uninterruptible(Effect.zipRight(halted(name), trying(name, apply)))
              : apply
          )
        }
      }))
  }
  const runner = yield* Effect.provideService(
    Effect.provide(ProjectionRunner, ProjectionRunner.layer),
    ModelStore,
    halting
  )

  const both: ReadonlyArray<Projection<unknown, SqlClient.SqlClient>> =
    version > 1
      ? [folded(version)]
      : [
          folded(),
          handled((event) =>
            halts("inside", [numberOf(event)])
              ? halted("inside")
              : options.pauseMs > 0
                ? Effect.sleep(options.pauseMs)
                : Effect.void
          )
        ]
  /** Runs them until all have failed, as those do whose model is of an older version. */
  const running = Effect.scoped(
    Effect.gen(function* () {
      const { ended, status } = yield* runner.run(both, {
        ttl: options.ttlMs,
        batchSize: options.batchSize,
        workerId: options.name,
        onNewVersion: "fail"
      })
      const telling = Effect.map(status, (all) =>
        tell({
          at: all.map(({ failure, handled, phase, position }) => ({
            phase,
            position,
            handled,
            failure: failure._tag === "None" ? undefined : String(failure.value.cause)
          }))
        })
      )
      yield* Effect.raceFirst(
        Effect.forever(Effect.zipRight(telling, Effect.sleep("10 millis"))),
        version > 1 ? ended : Effect.never
      )
    })
  )

  if (options.alerts)
    yield* Subscriber.run(
      Subscriber.make({
        key: "alerts",
        filters: [{ type: "Numbered" }],
        ttl: options.ttlMs,
        chunkSize: 100,
        onEvent: (event, { lease }) => {
          if (numberOf(event) % 7 !== 0) return undefined
          const append = (id: EventId | undefined) =>
            log.write(
              {
                streamId: `alert/${event.streamId.split("/")[1]}`,
                events: [
                  { type: "Alerted", data: { number: numberOf(event) }, ...(id === undefined ? {} : { id }) }
                ]
              },
              { fence: lease }
            )
          const alert = append(deriveEventId(`alert of ${event.id}`))
          if (!halts("append", [numberOf(event)])) return alert
          // By another id: one that was written already would be found, and nothing tried.
          return halted("append").pipe(
            Effect.zipRight(
              Effect.ignore(trying("acknowledge", subscribers.acknowledge(lease, event.position)))
            ),
            Effect.zipRight(trying("append", append(undefined))),
            Effect.uninterruptible
          )
        }
      }),
      { workerId: options.name }
    )
  yield* Effect.raceFirst(
    Deferred.await(stop),
    Effect.forever(Effect.zipRight(running, Effect.sleep("50 millis")))
  )
})

run(Effect.scoped(program).pipe(Effect.provide(processLayer(options.store)), Effect.orDie))
