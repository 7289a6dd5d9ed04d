/**
 * What every subscriber promises, on any pair of an event store and a subscriber store: nothing is left out, nothing
 * comes out of order, and a process that was overtaken changes nothing any more. Time is the real one.
 *
 * @example
 * ```ts
 * subscriberSuite("sqlite", Sqlite.layer({ filename: ":memory:" }))
 * ```
 */
import { layer as testsWith } from "@effect/vitest"
import * as ActorRegistries from "@millrace/core/ActorRegistry"
import type { EventStore } from "@millrace/core/EventStore"
import type { SnapshotStore } from "@millrace/core/SnapshotStore"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Layer from "effect/Layer"
import { poison } from "./suites/SubscriberPoison.js"
import { handling } from "./suites/SubscriberReads.js"
import { running } from "./suites/SubscriberRuns.js"
import type { SubscribingIt } from "./suites/SubscribingScene.js"

/** Declares the tests for one pair of stores. */
export const subscriberSuite = <E>(
  name: string,
  stores: Layer.Layer<EventStore | SnapshotStore | SubscriberStore, E>
): void =>
  testsWith(Layer.merge(stores, ActorRegistries.layer), { timeout: "60 seconds", excludeTestServices: true })(
    `Subscriber / ${name}`,
    (it: SubscribingIt) => {
      handling(it)
      poison(it)
      running(it)
    }
  )
