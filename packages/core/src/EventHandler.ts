/**
 * What is done with an event, and which of several handlers does it. A handler is a function of the event; what
 * it gives back may be nothing, when it was done at once, or an Effect, which is then run. An Effect for each
 * event costs fifty times as much as none, so a handler that only counts should give none.
 *
 * Of several handlers the most precise one takes an event, and only that one: by the name of its type, by a
 * former name of a type (an *alias*), by its category, or the one for everything.
 */
import type * as Effect from "effect/Effect"
import type { RecordedEvent } from "./Event.js"
import type { Lease } from "./Lease.js"
import { categoryOf } from "./StreamId.js"

/** What a handler knows beside the event. */
export interface HandlerContext {
  /** The lease of the consumer: for `store.write(…, { fence: context.lease })`, which a consumer that was overtaken cannot make. */
  readonly lease: Lease
}

/** Does something with an event, at once or as an Effect. What it throws counts as its failure. */
export type EventHandler<E = never, R = never> = (
  event: RecordedEvent,
  context: HandlerContext
) => Effect.Effect<unknown, E, R> | void

/** Several handlers. */
export interface EventHandlers<E = never, R = never> {
  /** By type, under the name that is stored in the log. */
  readonly types?: Readonly<Record<string, EventHandler<E, R>>> | undefined
  /** Former names: `{ MoneyDeposited: "Deposited" }` hands events of the former type to the handler of the latter. */
  readonly aliases?: Readonly<Record<string, string>> | undefined
  /** By category, for events that none of the types takes. */
  readonly categories?: Readonly<Record<string, EventHandler<E, R>>> | undefined
  /** For what is left. */
  readonly all?: EventHandler<E, R> | undefined
}

/**
 * The choice among handlers, as a function of the event; `undefined` when none takes it.
 *
 * @example
 * ```ts
 * const handlerOf = EventHandler.choose({ types: { Deposited: onDeposited }, categories: { audit: onAudit } })
 * ```
 */
export const choose = <E, R>(
  handlers: EventHandlers<E, R>
): ((event: Pick<RecordedEvent, "streamId" | "type">) => EventHandler<E, R> | undefined) => {
  const types = new Map(Object.entries(handlers.types ?? {}))
  for (const [former, present] of Object.entries(handlers.aliases ?? {})) {
    const handler = types.get(present)
    if (handler !== undefined && !types.has(former)) types.set(former, handler)
  }
  const categories = new Map(Object.entries(handlers.categories ?? {}))
  return ({ streamId, type }) =>
    types.get(type) ??
    (categories.size === 0 ? undefined : categories.get(categoryOf(streamId))) ??
    handlers.all
}
