/**
 * Tests of a fold in its own words: given these events, when this projection takes them, then these are its rows.
 * Nothing but memory is needed, and nothing is left behind.
 *
 * Events may be new ones, which are written to a fresh log in the order in which they stand, or recorded ones. The
 * projection gets those that its filters match. They are folded twice, event by event and all in one page, since a
 * store may cut its pages anywhere: a fold whose rows then differ, because it changes the row that it was handed or
 * remembers something, fails the test, and so does a row that does not come back from its encoded form.
 *
 * @example
 * ```ts
 * it.effect("a deposit raises the balance", () =>
 *   given([{ streamId: "account/1", type: "Deposited", data: { cents: 500 } }])
 *     .when(balances)
 *     .then({ "account/1": { cents: 500 } }))
 *
 * // Without @effect/vitest:
 * it("a deposit raises the balance", () => Effect.runPromise(given([…]).when(balances).then({ … })))
 * ```
 */
import type { HandlerError } from "@millrace/core/EngineError"
import type { NewEvent, RecordedEvent } from "@millrace/core/Event"
import { matchesAny } from "@millrace/core/EventFilter"
import { EventStore } from "@millrace/core/EventStore"
import { Epoch } from "@millrace/core/Lease"
import * as Memory from "@millrace/core/Memory"
import * as MemoryModelStore from "@millrace/core/MemoryModelStore"
import * as MemoryProjectionCheckpointStore from "@millrace/core/MemoryProjectionCheckpointStore"
import * as Page from "@millrace/core/Page"
import { start } from "@millrace/core/Position"
import type { FoldProjection } from "@millrace/core/Projection"
import * as Scoped from "@millrace/core/Scoped"
import { compareUtf8 } from "@millrace/core/Text"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"

/** An event for a fresh log. */
export interface GivenEvent extends NewEvent {
  readonly streamId: string
}

/** What was expected is not what came. The message has a line for each row that differs. */
export class GivenFailed extends Data.TaggedError("GivenFailed")<{ readonly message: string }> {}

/** Events that a projection is to take. */
export interface Given {
  readonly when: <Row>(projection: FoldProjection<Row>) => When<Row>
}

/** A projection that takes events. Not a promise, in spite of its `then`: await what that gives, run. */
export interface When<Row> {
  /** All rows of the model, by key. Events, projections and rows that no store takes are defects. */
  readonly then: (
    rows: Readonly<Record<string, Row>> | ReadonlyMap<string, Row>
  ) => Effect.Effect<void, GivenFailed>
  /** The fold fails on an event: the one at `position` (given anew, events are counted from 1), with a cause whose text `cause` finds. */
  readonly thenFails: (expected?: {
    readonly position?: number | undefined
    readonly cause?: RegExp | undefined
  }) => Effect.Effect<HandlerError, GivenFailed>
}

/** Begins a test. New and recorded events do not mix. */
export const given = (events: ReadonlyArray<GivenEvent> | ReadonlyArray<RecordedEvent>): Given => ({
  when: (projection) => {
    const outcome = Effect.flatMap(recorded(events), (log) =>
      outcomeOf(
        projection,
        log.filter((event) => matchesAny(projection.filters, event))
      )
    )
    return {
      // The word belongs to given and when, and who awaits too early is told.
      // eslint-disable-next-line unicorn/no-thenable
      then: (rows) => {
        // `await` calls a method of this name with two functions; it would wait for them for ever.
        if (typeof rows === "function") throw new Error("await then(rows), not when(projection)")
        const expected = isMap(rows) ? rows : new Map(Object.entries(rows))
        return Effect.flatMap(outcome, (actual) =>
          Either.isLeft(actual)
            ? failed(`the fold of ${projection.name} fails`, [failureText(actual.left)])
            : same(projection, "is", expected, actual.right)
        )
      },
      thenFails: ({ cause, position } = {}) =>
        Effect.flatMap(outcome, (actual) => {
          if (Either.isRight(actual))
            return failed(
              `the fold of ${projection.name} does not fail, and leaves`,
              [...actual.right].map(([key, row]) => `${key}: ${textOf(projection, row)}`)
            )
          const error = actual.left
          const isOther =
            (position !== undefined && position !== error.position) ||
            (cause !== undefined && !cause.test(causeText(error)))
          if (!isOther) return Effect.succeed(error)
          const where = position === undefined ? "an event" : `the event at position ${position}`
          const wanted = cause === undefined ? where : `${where} with ${String(cause)}`
          return failed(`the fold of ${projection.name} does not fail on ${wanted}, but`, [
            failureText(error)
          ])
        })
    }
  }
})

// ---- internal: folding ----

type Rows<Row> = ReadonlyMap<string, Row>

/** The events as a log has them. */
const recorded = (
  events: ReadonlyArray<GivenEvent> | ReadonlyArray<RecordedEvent>
): Effect.Effect<ReadonlyArray<RecordedEvent>> =>
  isRecorded(events)
    ? Effect.succeed(events)
    : Effect.gen(function* () {
        const store = yield* EventStore
        for (const { streamId, ...event } of events) yield* store.write({ streamId, events: [event] })
        const log: Array<RecordedEvent> = []
        while (log.length < events.length) {
          const after = log[log.length - 1]?.position
          const page = Page.forward({ first: Page.pageRowsMax, after: after ?? start })
          log.push(...Page.nodes(yield* store.read({ page })))
        }
        return log
      }).pipe(Effect.provide(Memory.layer()), Effect.orDie)

const isRecorded = (
  events: ReadonlyArray<GivenEvent> | ReadonlyArray<RecordedEvent>
): events is ReadonlyArray<RecordedEvent> => events[0] !== undefined && "position" in events[0]

const isMap = <Row>(rows: Readonly<Record<string, Row>> | Rows<Row>): rows is Rows<Row> => rows instanceof Map

/** The rows, the same whether the events come one by one or in a page; or on what the fold fails. */
const outcomeOf = <Row>(
  projection: FoldProjection<Row>,
  log: ReadonlyArray<RecordedEvent>
): Effect.Effect<Either.Either<Rows<Row>, HandlerError>, GivenFailed> =>
  Effect.gen(function* () {
    const oneByOne = yield* Effect.either(foldOn(projection, log, 1))
    const atOnce = yield* Effect.either(foldOn(projection, log, Math.max(1, log.length)))
    if (Either.isLeft(oneByOne)) return oneByOne
    if (Either.isLeft(atOnce))
      return yield* failed(`the fold of ${projection.name} fails only when events come in one page`, [
        failureText(atOnce.left)
      ])
    yield* same(projection, "event by event it is", atOnce.right, oneByOne.right).pipe(
      Effect.mapError(
        ({ message }) =>
          new GivenFailed({
            message: `the fold is not pure: its rows depend on how events come in pages (expected: all in one).\n${message}`
          })
      )
    )
    return oneByOne
  })

/** Folds on a memory model of its own. */
const foldOn = <Row>(
  projection: FoldProjection<Row>,
  log: ReadonlyArray<RecordedEvent>,
  pageEvents: number
): Effect.Effect<Rows<Row>, HandlerError> =>
  Effect.gen(function* () {
    const store = yield* Effect.flatMap(
      MemoryProjectionCheckpointStore.makeCheckpoints,
      MemoryModelStore.make
    )
    const model = yield* store.open<never, never>(projection)
    let from = start
    for (let at = 0; at < log.length; at += pageEvents) {
      const page = log.slice(at, at + pageEvents)
      const to = page[page.length - 1]!.position
      yield* model.apply(page, {
        previous: { position: from, cursors: new Map() },
        current: { position: to, cursors: new Map() },
        lease
      })
      from = to
    }
    const rows = new Map<string, Row>()
    for (let after: string | undefined; ;) {
      const page = yield* store.list(projection, { after, limit: Page.pageRowsMax })
      for (const { key, row } of page) rows.set(key, row)
      after = page[page.length - 1]?.key
      if (page.length < Page.pageRowsMax) return rows
    }
  }).pipe(
    Scoped.scoped,
    Effect.catchAll((error) => (error._tag === "HandlerError" ? Effect.fail(error) : Effect.die(error)))
  )

const lease = {
  key: "given",
  workerId: "given",
  epoch: Epoch.make(1),
  ttl: Duration.hours(1),
  expiresAt: DateTime.unsafeMake(0),
  paused: false
}

// ---- internal: differences ----

const same = <Row>(
  projection: FoldProjection<Row>,
  is: string,
  expected: Rows<Row>,
  actual: Rows<Row>
): Effect.Effect<void, GivenFailed> => {
  const isSame = Schema.equivalence(projection.strength.row)
  const text = (row: Row): string => textOf(projection, row)
  const lines: Array<string> = []
  for (const key of [...new Set([...expected.keys(), ...actual.keys()])].sort(compareUtf8)) {
    const [wanted, found] = [expected.get(key), actual.get(key)]
    if (!expected.has(key)) lines.push(`${key}: expected no row, ${is} ${text(found!)}`)
    else if (!actual.has(key)) lines.push(`${key}: expected ${text(wanted!)}, there is no row`)
    else if (!isSame(wanted!, found!)) lines.push(`${key}: expected ${text(wanted!)}, ${is} ${text(found!)}`)
  }
  return lines.length === 0
    ? Effect.void
    : failed(
        `${lines.length} of the rows of ${projection.name} ${lines.length === 1 ? "differs" : "differ"}`,
        lines
      )
}

/** Most lines of a difference. */
const linesMax = 20

const failed = (title: string, lines: ReadonlyArray<string>): Effect.Effect<never, GivenFailed> => {
  const shown = lines.slice(0, linesMax)
  if (lines.length > linesMax) shown.push(`… and ${lines.length - linesMax} more`)
  return Effect.fail(new GivenFailed({ message: [`${title}:`, ...shown].join("\n  ") }))
}

/** A row as a database would have it; an expected one need not have the form of a row. */
const textOf = <Row>({ strength }: FoldProjection<Row>, row: Row): string =>
  Either.match(Schema.encodeEither(strength.row)(row), {
    onLeft: () => String(JSON.stringify(row)),
    onRight: (encoded) => String(JSON.stringify(encoded))
  })

const failureText = (error: HandlerError): string =>
  `on ${error.eventType} of ${error.streamId} at position ${error.position}: ${causeText(error)}`

const causeText = ({ cause }: HandlerError): string =>
  cause instanceof Error ? cause.message : String(cause)
