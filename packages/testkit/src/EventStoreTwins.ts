/**
 * Two event stores that are fed the same: one under test and one that is right, the oracle. Whatever is done
 * to both must have the same result.
 *
 * Two things may differ. Positions: a database may leave numbers out, so that a position is compared by the
 * event that stands there. And which of several true answers an error gives: a failed condition may name any
 * matching event, a conflict of ids any id that is in the log. Each is checked to be true.
 */
import { assert } from "@effect/vitest"
import type { AppendCondition, StreamAppend, WriteResult } from "@millrace/core/Append"
import type { RecordedEvent } from "@millrace/core/Event"
import { matchesAny } from "@millrace/core/EventFilter"
import type { EventStore } from "@millrace/core/EventStore"
import * as Page from "@millrace/core/Page"
import { Position } from "@millrace/core/Position"
import type { WriteError } from "@millrace/core/WriteError"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { History, Operation, QueryChoice } from "./Arbitraries.js"
import { streamNames } from "./Arbitraries.js"
import { EventStoreChoices } from "./EventStoreChoices.js"

type Store = EventStore["Type"]

/** One of the twins, and where the events stand in it. */
interface Twin {
  readonly name: "oracle" | "store"
  readonly store: Store
  /** Positions of all events ever appended, in the order of the log: the same index in both twins is the same event. */
  readonly positions: Array<number>
  /** Index by position. */
  readonly indexes: Map<number, number>
}

/**
 * Applies a history to both stores and compares everything they say. Dies with an `AssertionError` at the
 * first difference.
 *
 * `name` begins the name of every category, type and tag of the history: nothing in the stores may begin
 * with it yet, and no other such name may begin with this one.
 */
export const compare = (
  store: Store,
  oracle: Store,
  name: string,
  { operations, queries }: History
): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    const twins = new Twins(store, oracle, name)
    for (const [index, operation] of operations.entries()) {
      yield* twins.apply(operation, `operation ${index} (${operation._tag})`)
    }
    yield* twins.sameState
    for (const [index, query] of queries.entries()) yield* twins.sameAnswer(query, `query ${index}`)
  })

// ---- internal ----

/** Everything of an event that must be equal; its position is compared by index, its time is the store's own. */
const content = ({ position: _position, recordedAt: _recordedAt, ...rest }: RecordedEvent): object => rest

class Twins {
  private readonly oracle: Twin
  private readonly store: Twin
  private readonly choices: EventStoreChoices
  /** As they were attempted. */
  private readonly writes: Array<ReadonlyArray<StreamAppend>> = []

  constructor(
    store: Store,
    oracle: Store,
    private readonly name: string
  ) {
    this.choices = new EventStoreChoices(name)
    this.oracle = { name: "oracle", store: oracle, positions: [], indexes: new Map() }
    this.store = { name: "store", store, positions: [], indexes: new Map() }
  }

  private versions({ store }: Twin) {
    const streamIds = streamNames.map((_, index) => this.choices.stream(index))
    return Effect.map(
      Effect.forEach(streamIds, (streamId) => store.streamVersion(streamId)),
      (versions) => new Map(streamIds.map((streamId, index) => [streamId, Number(versions[index]!)]))
    )
  }

  // ---- operations ----

  apply(operation: Operation, at: string): Effect.Effect<void, unknown> {
    switch (operation._tag) {
      case "Write":
        return Effect.flatMap(this.versions(this.oracle), (versions) => {
          const appends = this.choices.appends(operation.appends, versions)
          const { condition } = operation
          return this.write(
            appends,
            at,
            condition &&
              ((twin) => ({
                filters: condition.filters.map((filter) => this.choices.filter(filter)),
                after: this.choices.position(condition.after, twin.positions, -1)
              }))
          )
        })
      case "Repeat": {
        if (this.writes.length === 0) return Effect.void
        const appends = this.writes[operation.nth % this.writes.length]!
        return this.write(this.choices.changed(appends, operation.how), at)
      }
      case "Delete": {
        const streamId = this.choices.stream(operation.stream)
        return Effect.flatMap(this.versions(this.oracle), (versions) => {
          const expected = this.choices.expected(operation.expected, versions.get(streamId)!)
          const { tombstone } = operation
          return this.same(at, ({ store }) => store.deleteStream(streamId, { expected, tombstone }))
        })
      }
      case "Archive":
        return this.same(at, ({ store }) => store.archiveStream(this.choices.stream(operation.stream)))
      case "Erase": {
        const filter = this.choices.filter(operation.filter)
        return this.same(at, ({ store }) => store.eraseEvents(filter, operation.replacement))
      }
    }
  }

  /** Does the same to both; the results, or the errors with all their fields, must be equal. */
  private same<A, E>(at: string, use: (twin: Twin) => Effect.Effect<A, E>): Effect.Effect<void> {
    return Effect.gen(this, function* () {
      const expected = yield* Effect.either(use(this.oracle))
      const actual = yield* Effect.either(use(this.store))
      assert.deepStrictEqual(plain(actual), plain(expected), at)
    })
  }

  private write(
    appends: ReadonlyArray<StreamAppend>,
    at: string,
    condition?: (twin: Twin) => AppendCondition
  ): Effect.Effect<void, unknown> {
    return Effect.gen(this, function* () {
      this.writes.push(appends)
      const attempt = (twin: Twin) =>
        Effect.either(
          twin.store.write(appends, condition === undefined ? {} : { condition: condition(twin) })
        )
      const expected = yield* attempt(this.oracle)
      const actual = yield* attempt(this.store)
      if (Either.isLeft(expected) || Either.isLeft(actual)) {
        assert.strictEqual(tagOf(actual), tagOf(expected), at)
        for (const [twin, result] of [
          [this.oracle, expected],
          [this.store, actual]
        ] as const) {
          if (Either.isLeft(result))
            yield* this.isTrue(twin, result.left, appends, condition, `${at}, ${twin.name}`)
        }
        if (!oneOfMany(expected)) assert.deepStrictEqual(plain(actual), plain(expected), at)
        return
      }
      yield* this.record(expected.right, actual.right, at)
    })
  }

  /** An error that has several true answers gives one of them. */
  private isTrue(
    twin: Twin,
    error: WriteError,
    appends: ReadonlyArray<StreamAppend>,
    condition: ((twin: Twin) => AppendCondition) | undefined,
    at: string
  ): Effect.Effect<void, unknown> {
    return Effect.gen(this, function* () {
      if (error._tag === "EventIdConflict") {
        const target = appends.find(({ events }) => events.some(({ id }) => id === error.id))
        assert.strictEqual(error.streamId, target?.streamId, at)
        const events = yield* this.all(twin)
        assert.isTrue(
          events.some(({ id }) => id === error.id),
          `${at}: the id in conflict is in the log`
        )
      }
      if (error._tag === "AppendConditionFailed" && condition !== undefined) {
        const { after, filters } = condition(twin)
        assert.isAbove(error.position, after, at)
        const event = (yield* this.all(twin)).find(({ position }) => position === error.position)
        assert.isTrue(event !== undefined && matchesAny(filters, event), `${at}: the event named matches`)
      }
    })
  }

  /** Compares two results of one write, and notes where its events stand. */
  private record(expected: WriteResult, actual: WriteResult, at: string): Effect.Effect<void, unknown> {
    return Effect.gen(this, function* () {
      yield* reached(this.store.store, actual.position)
      const isRepeat = this.oracle.indexes.has(expected.appends[0]!.firstPosition)
      if (!isRepeat) {
        yield* this.note(this.oracle, expected)
        yield* this.note(this.store, actual)
      }
      const byIndex = (twin: Twin, { appends, position }: WriteResult) => ({
        position: twin.indexes.get(position),
        appends: appends.map((append) => ({
          ...append,
          firstPosition: twin.indexes.get(append.firstPosition),
          position: twin.indexes.get(append.position)
        }))
      })
      const places = byIndex(this.oracle, expected)
      assert.deepStrictEqual(byIndex(this.store, actual), places, at)
      assert.notInclude(
        places.appends.flatMap((place) => [place.firstPosition, place.position]),
        undefined,
        at
      )
    })
  }

  private note(twin: Twin, { appends }: WriteResult): Effect.Effect<void, unknown> {
    return Effect.gen(this, function* () {
      for (const { firstPosition, ids, streamId } of appends) {
        const page = Page.forward({ first: ids.length, after: Position.make(firstPosition - 1) })
        const events = Page.nodes(yield* twin.store.read({ filters: [{ streamId }], page }))
        for (const { position } of events) {
          assert.isAbove(
            position,
            twin.positions[twin.positions.length - 1] ?? 0,
            `positions rise, ${twin.name}`
          )
          twin.indexes.set(position, twin.positions.length)
          twin.positions.push(position)
        }
      }
    })
  }

  // ---- queries ----

  private all({ store }: Twin): Effect.Effect<ReadonlyArray<RecordedEvent>, unknown> {
    const query = { filters: [{ prefix: this.name }], includeArchived: true }
    return Effect.map(store.read({ ...query, page: Page.forward({ first: 10_000 }) }), Page.nodes)
  }

  private compareEvents(
    actual: ReadonlyArray<RecordedEvent>,
    expected: ReadonlyArray<RecordedEvent>,
    at: string
  ): void {
    assert.deepStrictEqual(actual.map(content), expected.map(content), at)
    assert.deepStrictEqual(
      actual.map(({ position }) => this.store.indexes.get(position)),
      expected.map(({ position }) => this.oracle.indexes.get(position)),
      `${at}: places in the log`
    )
  }

  /** The whole log, every stream, every version and the listing. */
  get sameState(): Effect.Effect<void, unknown> {
    return Effect.gen(this, function* () {
      this.compareEvents(yield* this.all(this.store), yield* this.all(this.oracle), "the log")
      assert.deepStrictEqual(yield* this.versions(this.store), yield* this.versions(this.oracle))
      for (const limit of [2, 100]) {
        yield* this.same("listing", ({ store }) => store.listStreams({ prefix: this.name, limit }))
      }
      for (const [index] of streamNames.entries()) {
        const filters = [{ streamId: this.choices.stream(index) }]
        const read = ({ store }: Twin) => Effect.map(store.read({ filters }), Page.nodes)
        this.compareEvents(yield* read(this.store), yield* read(this.oracle), this.choices.stream(index))
      }
    })
  }

  /** One page, and the stream of all that the query matches. */
  sameAnswer(choice: QueryChoice, at: string): Effect.Effect<void, unknown> {
    return Effect.gen(this, function* () {
      const page = (twin: Twin) => twin.store.read(this.choices.query(choice, twin.positions))
      const [actual, expected] = [yield* page(this.store), yield* page(this.oracle)]
      this.compareEvents(Page.nodes(actual), Page.nodes(expected), `${at}: page`)
      const info = ({ indexes }: Twin, { edges, pageInfo }: Page.Page<RecordedEvent>) => ({
        ...pageInfo,
        startCursor: Option.map(pageInfo.startCursor, (cursor) => indexes.get(cursor)),
        endCursor: Option.map(pageInfo.endCursor, (cursor) => indexes.get(cursor)),
        cursors: edges.map((edge) => indexes.get(edge.cursor))
      })
      assert.deepStrictEqual(info(this.store, actual), info(this.oracle, expected), `${at}: page info`)
      const streamed = (twin: Twin) =>
        Effect.map(
          Stream.runCollect(twin.store.stream(this.choices.query(choice, twin.positions))),
          Chunk.toReadonlyArray
        )
      this.compareEvents(yield* streamed(this.store), yield* streamed(this.oracle), `${at}: stream`)
    })
  }
}

/** Without prototypes and classes, which two equal errors may not share. */
const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, part: unknown) => (part instanceof Error ? { ...part } : part)))

const tagOf = (result: Either.Either<WriteResult, WriteError>): string =>
  Either.isLeft(result) ? result.left._tag : "Success"

/** Whether the error may rightly name another event. */
const oneOfMany = (result: Either.Either<WriteResult, WriteError>): boolean =>
  ["EventIdConflict", "AppendConditionFailed"].includes(tagOf(result))

const reached = (store: Store, position: number): Effect.Effect<void, unknown> =>
  store.head.pipe(
    Effect.repeat({ schedule: Schedule.spaced("2 millis"), until: (head) => head >= position }),
    Effect.timeoutFailCause({
      duration: "20 seconds",
      onTimeout: () => Cause.die(new Error(`head does not come to position ${position}`))
    })
  )
