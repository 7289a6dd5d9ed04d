/**
 * A log that several rebuilds read at once. Those that want the same events go through them side by side, so that
 * a page which one has read, or is reading, is the next one's too; a few pages are kept, and who falls farther
 * behind reads again by itself.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type { CursorAheadOfLog, ReadError } from "./EngineError.js"
import type { LogPage, LogQuery } from "./EventQuery.js"
import type { EventStore } from "./EventStore.js"
import type { Projection } from "./Projection.js"

/** Events that are kept, about: how far one may run ahead of another. With large pages there are 8 of them. */
const keptEventsMax = 20_000
const pagesMin = 8

/** The log for rebuilds of these projections. Alone it changes nothing. */
export const make = (
  log: EventStore["Type"],
  projections: ReadonlyArray<Projection<unknown, unknown>>
): EventStore["Type"] => {
  const wants = projections.map(({ filters, routingKey }) => JSON.stringify([filters, routingKey]))
  if (new Set(wants).size === wants.length) return log
  const pages = new Map<string, Deferred.Deferred<LogPage, ReadError | CursorAheadOfLog>>()
  const readAfter = (query: LogQuery): Effect.Effect<LogPage, ReadError | CursorAheadOfLog> =>
    Effect.suspend(() => {
      const name = JSON.stringify([query.after, query.limit, query.filters, query.routingKey, query.vnodes])
      const known = pages.get(name)
      if (known !== undefined) return Deferred.await(known)
      const page = Deferred.unsafeMake<LogPage, ReadError | CursorAheadOfLog>(FiberId.none)
      pages.set(name, page)
      if (pages.size > Math.max(pagesMin, keptEventsMax / query.limit))
        pages.delete(pages.keys().next().value!)
      return Effect.onExit(log.readAfter(query), (exit) => {
        // What failed is asked again, and so is the end of the log, which will have moved.
        const isPassing = Exit.isFailure(exit) || exit.value.through >= exit.value.head
        if (isPassing && pages.get(name) === page) pages.delete(name)
        return Deferred.done(page, exit)
      })
    })
  const shared = (query: LogQuery): Effect.Effect<LogPage, ReadError | CursorAheadOfLog> =>
    // Who read it was interrupted: somebody else reads it now.
    Effect.catchAllCause(readAfter(query), (cause) =>
      Cause.isInterruptedOnly(cause) ? log.readAfter(query) : Effect.failCause(cause)
    )
  return { ...log, readAfter: shared }
}
