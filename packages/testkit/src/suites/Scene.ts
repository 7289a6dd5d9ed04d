/**
 * One test's own corner of a log that other tests write to as well. Its streams are those of categories that
 * no other test has, so that many tests share one database: they read with filters, and compare with the
 * head as it was when they began.
 *
 * A database may let log readers wait for a moment after a commit (`EventStore.head`), so whatever a scene
 * writes it also waits for: a read that follows sees it.
 */
import type { Vitest } from "@effect/vitest"
import { assert } from "@effect/vitest"
import type { ExpectedVersion, StreamAppend, WriteOptions, WriteResult } from "@millrace/core/Append"
import type { ReadError } from "@millrace/core/EngineError"
import type { NewEvent, RecordedEvent } from "@millrace/core/Event"
import type { EventFilter } from "@millrace/core/EventFilter"
import { EventIds } from "@millrace/core/EventIds"
import type { EventId } from "@millrace/core/EventId"
import type { ReadQuery } from "@millrace/core/EventQuery"
import { EventStore } from "@millrace/core/EventStore"
import * as Page from "@millrace/core/Page"
import { Position } from "@millrace/core/Position"
import type { SnapshotStore } from "@millrace/core/SnapshotStore"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { StreamVersion } from "@millrace/core/StreamVersion"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import type { WriteError } from "@millrace/core/WriteError"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

/** What a test of a suite needs. */
export type Stores = EventStore | SnapshotStore | SubscriberStore

/** The `it` within a suite: time is real, since databases keep their own. `R` is what the layer gives beside the stores. */
export type SuiteIt<R = never> = Vitest.MethodsNonLive<Stores | R, true>

/** For tests that write thousands of events. Unit: milliseconds. */
export const slowTestMs = 120_000

export interface Scene {
  readonly store: EventStore["Type"]
  /** This test's category. Others of it begin with this text. */
  readonly category: string
  /** The stream `category/id`. */
  readonly stream: (id: string) => string
  /** A new event id, greater than those before. */
  readonly id: () => EventId
  /** Writes, and waits until log readers see it. */
  readonly write: (
    appends: StreamAppend | ReadonlyArray<StreamAppend>,
    options?: WriteOptions
  ) => Effect.Effect<WriteResult, WriteError>
  /** Appends events of the given types, or of type `Happened` by number, to one stream, expecting nothing. */
  readonly append: (
    streamId: string,
    ...events: ReadonlyArray<NewEvent | string>
  ) => Effect.Effect<WriteResult, WriteError>
  /** All events of this scene that a reader of the log gets. */
  readonly log: (query?: ReadQuery) => Effect.Effect<ReadonlyArray<RecordedEvent>, ReadError>
  /** All events of one stream. */
  readonly streamOf: (streamId: string) => Effect.Effect<ReadonlyArray<RecordedEvent>, ReadError>
  /** Waits until the head has come to a position. */
  readonly reached: (position: number) => Effect.Effect<void, StoreUnavailable>
}

/** A scene with a category of its own, which begins with `name`. */
export const scene = (name: string): Effect.Effect<Scene, never, EventStore> =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const ids = yield* EventIds
    const nowMs = yield* Clock.currentTimeMillis
    const category = `${name}-${ids.next(nowMs)}`

    const reached: Scene["reached"] = (position) =>
      store.head.pipe(
        Effect.repeat({ schedule: Schedule.spaced("5 millis"), until: (head) => head >= position }),
        Effect.timeoutFailCause({
          duration: "20 seconds",
          onTimeout: () => Cause.die(new Error(`head does not come to position ${position}`))
        }),
        Effect.asVoid
      )
    const write: Scene["write"] = (appends, options) =>
      Effect.tap(store.write(appends, options), (result) => reached(result.position))
    const all = (query: ReadQuery): Effect.Effect<ReadonlyArray<RecordedEvent>, ReadError> =>
      Effect.map(store.read({ page: Page.forward({ first: 10_000 }), ...query }), Page.nodes)

    return {
      store,
      category,
      stream: (id) => `${category}/${id}`,
      id: () => ids.next(nowMs),
      write,
      append: (streamId, ...events) =>
        write({
          streamId,
          events: events.map((event) => (typeof event === "string" ? happened(event) : event))
        }),
      log: (query) => all({ filters: [{ prefix: category }], ...query }),
      streamOf: (streamId) => all({ filters: [{ streamId }] }),
      reached
    }
  })

/** An event whose data says nothing. */
export const happened = (type = "Happened", more: Partial<NewEvent> = {}): NewEvent => ({
  type,
  data: {},
  ...more
})

/** Events of one type, numbered from 1 in their data. */
export const numbered = (count: number, type = "Happened", more: Partial<NewEvent> = {}): Array<NewEvent> =>
  Array.from({ length: count }, (_, i) => ({ type, data: { n: i + 1 }, ...more }))

/** The number that {@link numbered} gave to an event. */
export const numberOf = (event: RecordedEvent): number => (event.data as { readonly n: number }).n

export const version = (value: number): StreamVersion => StreamVersion.make(value)
export const position = (value: number): Position => Position.make(value)
export const versionsOf = (events: ReadonlyArray<RecordedEvent>): ReadonlyArray<number> =>
  events.map((event) => event.version)
export const typesOf = (events: ReadonlyArray<RecordedEvent>): ReadonlyArray<string> =>
  events.map((event) => event.type)
export const idsOf = (events: ReadonlyArray<RecordedEvent>): ReadonlyArray<string> =>
  events.map((event) => event.id)
export const positionsOf = (events: ReadonlyArray<RecordedEvent>): ReadonlyArray<number> =>
  events.map((event) => event.position)

/** The whole numbers from `from` to `to`. */
export const range = (from: number, to: number): ReadonlyArray<number> =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)

/** A value that the types forbid: what a caller without TypeScript may pass. */
export const wrong = <A>(value: unknown): A => value as A

/** The error of an effect that must fail with `tag`, typed. */
export const refused = <A, E extends { readonly _tag: string }, R, Tag extends E["_tag"]>(
  effect: Effect.Effect<A, E, R>,
  tag: Tag
): Effect.Effect<Extract<E, { readonly _tag: Tag }>, never, R> =>
  Effect.matchEffect(effect, {
    onSuccess: () => Effect.die(new Error(`expected ${tag}, but it succeeded`)),
    onFailure: (error) =>
      error._tag === tag
        ? Effect.succeed(error as Extract<E, { readonly _tag: Tag }>)
        : Effect.die(new Error(`expected ${tag}, but it failed with ${error._tag}: ${String(error)}`))
  })

/**
 * Runs an effect that must leave no trace: afterwards the head, the scene's events, and the versions of the
 * streams named are what they were.
 */
export const unchanged = <A, E, R>(
  { log, store }: Scene,
  streamIds: ReadonlyArray<string>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | ReadError | WriteError, R> =>
  Effect.gen(function* () {
    const look = Effect.all({
      head: store.head,
      events: log({ includeArchived: true }),
      versions: Effect.forEach(streamIds, (streamId) => store.streamVersion(streamId))
    })
    const before = yield* look
    const result = yield* effect
    const after = yield* look
    assert.deepStrictEqual(after.versions, before.versions, "stream versions")
    assert.deepStrictEqual(after.events, before.events, "events of the log")
    assert.strictEqual(after.head, before.head, "head")
    return result
  })

/**
 * Asserts that each append is an `InvalidArgument` at the field named, and that nothing is written: neither it
 * nor the good append that stands before it in the write.
 */
export const invalidAppends = (
  here: Scene,
  cases: ReadonlyArray<readonly [field: string, append: unknown, options?: WriteOptions]>
): Effect.Effect<void, ReadError | WriteError> => {
  const good = { streamId: here.stream("good"), events: numbered(1) }
  const attempts = Effect.forEach(cases, ([field, append, options]) =>
    Effect.map(
      refused(here.store.write([good, wrong<StreamAppend>(append)], options), "InvalidArgument"),
      (error) => {
        assert.strictEqual(error.field, field)
        assert.isAbove(error.allowed.length, 0)
        assert.isAtMost(error.actual.length, 80)
      }
    )
  )
  return Effect.asVoid(unchanged(here, [here.stream("good"), here.stream("bad")], attempts))
}

/** Asserts that an append conflicts, and what the error says. */
export const conflicts = (
  scene: Scene,
  append: StreamAppend & { readonly expected: ExpectedVersion },
  actual: number
): Effect.Effect<void, ReadError | WriteError> =>
  Effect.gen(function* () {
    const { store } = scene
    const error = yield* unchanged(
      scene,
      [append.streamId],
      refused(store.write(append), "InvalidOriginalVersion")
    )
    assert.strictEqual(error.streamId, append.streamId)
    assert.strictEqual(error.expected, append.expected)
    assert.strictEqual(error.actual, actual)
  })

/** A filter list that means all events of a scene. */
export const ofScene = ({ category }: Scene): ReadonlyArray<EventFilter> => [{ prefix: category }]
