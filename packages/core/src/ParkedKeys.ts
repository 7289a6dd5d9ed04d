/**
 * The keys that are set aside under one lease, as whoever handles events holds them in memory: which ones there
 * are, and what was asked for them. What is done with an event is the handler's; the order in which parked events
 * are taken up again is decided here, for subscribers and projections alike.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ReadError } from "./EngineError.js"
import { HandlerError } from "./EngineError.js"
import type { RecordedEvent } from "./Event.js"
import type { EventStore } from "./EventStore.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { LeaseLost } from "./LeaseLost.js"
import type { Lease } from "./Lease.js"
import * as Page from "./Page.js"
import type { ParkedEvent, ParkedFull, Parking } from "./ParkedEvent.js"
import { parkingsMax } from "./ParkedEvent.js"
import type { Position } from "./Position.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { SubscriberStore } from "./SubscriberStore.js"

/** The parked keys of one lease. */
export interface ParkedKeys {
  /** The keys. Whoever parks an event adds its key. */
  readonly keys: Set<string>
  /** Writes what is to be set aside, however much it is. */
  readonly park: (
    parkings: ReadonlyArray<Parking>,
    max: number
  ) => Effect.Effect<void, ParkedFull | LeaseLost | InvalidArgument | StoreUnavailable>
  /**
   * Does what was asked: hands the events of a key to `again`, in order, until one gives false (its key stays
   * parked), or forgets them. `again` is handed `undefined` for an event that was deleted meanwhile, and takes
   * the event out of the parked ones when it is done.
   */
  readonly serve: <E, R>(
    again: (event: RecordedEvent | undefined, parking: ParkedPlace) => Effect.Effect<boolean, E, R>
  ) => Effect.Effect<void, E | LeaseLost | InvalidArgument | StoreUnavailable | ReadError, R>
}

/** Where a parked event stands. */
export interface ParkedPlace {
  readonly parkKey: string
  readonly position: Position
}

/** Loads the keys that are parked already: their number is bounded by what may be parked. */
export const make = (
  log: EventStore["Type"],
  subscribers: SubscriberStore["Type"],
  lease: Lease
): Effect.Effect<ParkedKeys, InvalidArgument | StoreUnavailable> =>
  Effect.map(loadKeys(subscribers, lease.key), (keys) => ({
    keys,
    park: (parkings, max) =>
      Effect.forEach(
        Arr.chunksOf(parkings, parkingsMax),
        (piece) => subscribers.park(lease, piece, { max }),
        { discard: true }
      ),
    serve: (again) => {
      const serveKey = (parkKey: string, request: "retry" | "drop") =>
        Effect.gen(function* () {
          // Also of what was parked since it was asked for: else, when the lease is lost in between, that would
          // be left behind without anybody asking for it.
          yield* subscribers.requestParked(lease.key, request, parkKey)
          for (;;) {
            const rows = yield* subscribers.parked(lease.key, { parkKey, limit: pageRows })
            if (rows.length === 0) {
              keys.delete(parkKey)
              return
            }
            for (const { position } of rows) {
              if (request === "drop") yield* subscribers.unpark(lease, parkKey, position)
              else if (!(yield* again(yield* eventAt(log, position), { parkKey, position }))) return
            }
          }
        })
      return Effect.flatMap(
        subscribers.parkedKeys(lease.key, { limit: pageRows, requested: true }),
        Effect.forEach(
          ({ parkKey, request }) => (request === undefined ? Effect.void : serveKey(parkKey, request)),
          { discard: true }
        )
      )
    }
  }))

/**
 * What ends a consumer and is no fault of the event: the lease is lost. A handler that interrupts itself is none of
 * it; who is really being stopped is interrupted from outside, and never comes to ask.
 */
export const lossOf = (cause: Cause.Cause<unknown>): Effect.Effect<never, LeaseLost> | undefined => {
  const failure = Option.getOrUndefined(Cause.failureOption(cause))
  return failure instanceof LeaseLost ? Effect.fail(failure) : undefined
}

/** Everything that is parked under a key, in the order of park keys and positions: bounded by what may be parked. */
export const allParked = (
  subscribers: SubscriberStore["Type"],
  key: string
): Effect.Effect<ReadonlyArray<ParkedEvent>, InvalidArgument | StoreUnavailable> =>
  Effect.gen(function* () {
    const all: Array<ParkedEvent> = []
    for (;;) {
      const page = yield* subscribers.parked(key, { after: all[all.length - 1], limit: 1_000 })
      all.push(...page)
      if (page.length < 1_000) return all
    }
  })

/** Takes parked events out, one after another. */
export const unparkAll = (
  subscribers: SubscriberStore["Type"],
  lease: Lease,
  rows: ReadonlyArray<ParkedPlace>
): Effect.Effect<void, LeaseLost | InvalidArgument | StoreUnavailable> =>
  Effect.forEach(rows, ({ parkKey, position }) => subscribers.unpark(lease, parkKey, position), {
    discard: true
  })

/** The failure of a handler, with its event. */
export const handlerError = ({ position, streamId, type }: RecordedEvent, cause: unknown): HandlerError =>
  new HandlerError({ eventType: type, streamId, position, cause })

/** What is kept of a failure for whoever looks at the parked events. */
export const reasonText = (reason: unknown): string =>
  reason instanceof Error ? reason.message : String(reason)

// ---- internal ----

const pageRows = 100

const loadKeys = (
  subscribers: SubscriberStore["Type"],
  key: string
): Effect.Effect<Set<string>, InvalidArgument | StoreUnavailable> =>
  Effect.gen(function* () {
    const keys = new Set<string>()
    let after: string | undefined
    for (;;) {
      const page = yield* subscribers.parkedKeys(key, { after, limit: 1_000 })
      for (const { parkKey } of page) keys.add(parkKey)
      after = page[page.length - 1]?.parkKey
      if (page.length < 1_000 || after === undefined) return keys
    }
  })

/** The event at a position; undefined when it was deleted. */
const eventAt = (
  log: EventStore["Type"],
  position: Position
): Effect.Effect<RecordedEvent | undefined, ReadError> =>
  Effect.map(
    log.read({
      page: Page.forward({ first: 1, after: (position - 1) as Position }),
      upTo: position,
      includeArchived: true
    }),
    (page) => page.edges[0]?.node
  )
