/** What tests of subscribers have in common: a subscriber of a scene's events, and ways to run it. */
import type { Vitest } from "@effect/vitest"
import type { ActorRegistry } from "@millrace/core/ActorRegistry"
import type { EventStore } from "@millrace/core/EventStore"
import * as Scoped from "@millrace/core/Scoped"
import type { SnapshotStore } from "@millrace/core/SnapshotStore"
import * as Subscriber from "@millrace/core/Subscriber"
import type { SubscriberOptions } from "@millrace/core/Subscriber"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Scene } from "./Scene.js"

/** What a test of a subscriber needs. */
export type SubscriberServices = EventStore | SnapshotStore | SubscriberStore | ActorRegistry

/** Declares tests that have it. */
export type SubscribingIt = Vitest.MethodsNonLive<SubscriberServices, true>

/** Types of events by number. */
export const numbered = (from: number, to: number): Array<string> =>
  Array.from({ length: to - from }, (_, i) => `E${from + i}`)

let subscribers = 0

/** A subscriber of this scene's events, with a key of its own. */
export const subscribe = <E = never, R = never>(
  here: Scene,
  options: Partial<SubscriberOptions<E, R>>
): Subscriber.Subscriber<E, R> =>
  Subscriber.make<E, R>({
    key: `${here.category}-${++subscribers}`,
    filters: [{ category: here.category }],
    ...options
  })

/** Runs it beside `use`, and stops it in order afterwards. */
export const withRunning = <E, R, A, E2, R2>(
  subscriber: Subscriber.Subscriber<E, R>,
  use: Effect.Effect<A, E2, R2>
) => Scoped.scoped(Effect.zipRight(Subscriber.run(subscriber), use))

/** Waits until it is so; a test that never gets there fails by its time limit. */
export const until = <E, R>(is: () => Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.asVoid(
    Effect.repeat(Effect.suspend(is), { schedule: Schedule.spaced("10 millis"), until: (done) => done })
  )
