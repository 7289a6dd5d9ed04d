/**
 * Whether the events that a projection is handed follow one another, stream by stream. A consumer reads the log by
 * position, and the log promises that nothing appears behind a reader; this is the second look at that promise,
 * with what each stream knows of itself: its versions have no holes.
 *
 *     version ≤ cursor        handled before: passed over
 *     version = cursor + 1    the next one
 *     version > cursor + 1    a hole: right if what is missing was deleted or archived, else `StreamGap`
 *
 * Where a filter leaves events of a stream out, by type or by tag, holes are what it is for, and only the first line
 * holds.
 */
import * as Effect from "effect/Effect"
import type { ReadError } from "./EngineError.js"
import { StreamGap } from "./EngineError.js"
import type { RecordedEvent } from "./Event.js"
import type { EventStore } from "./EventStore.js"
import * as Page from "./Page.js"
import { pageRowsMax } from "./Page.js"
import type { Position } from "./Position.js"
import type { StreamId } from "./StreamId.js"
import { StreamVersion } from "./StreamVersion.js"

/** The events of a page that are still to be handled, and what the cursors of their streams become. */
export interface Fresh {
  readonly events: ReadonlyArray<RecordedEvent>
  /** The cursors of the streams of `events`, before and after them. */
  readonly before: Map<StreamId, StreamVersion>
  readonly after: Map<StreamId, StreamVersion>
  /** Events behind a hole in their stream, with the version that was expected. */
  readonly holes: ReadonlyArray<Hole>
}

/** An event behind a hole. */
export interface Hole {
  readonly event: RecordedEvent
  readonly expected: number
}

/** Looks through a page. `cursorOf` gives a stream's cursor, 0 for one that was never seen. */
export const follow = (
  events: ReadonlyArray<RecordedEvent>,
  cursorOf: (streamId: StreamId) => number,
  isWhole: boolean
): Fresh => {
  const before = new Map<StreamId, StreamVersion>()
  const after = new Map<StreamId, StreamVersion>()
  const holes: Array<Hole> = []
  let fresh: Array<RecordedEvent> | undefined
  // Hot: runs for every event of every projection.
  for (let i = 0; i < events.length; i++) {
    const event = events[i]!
    const { streamId, version } = event
    let cursor: number | undefined = after.get(streamId)
    if (cursor === undefined) {
      cursor = cursorOf(streamId)
      before.set(streamId, cursor as StreamVersion)
    }
    if (version <= cursor) {
      if (!after.has(streamId)) before.delete(streamId)
      fresh ??= events.slice(0, i)
      continue
    }
    if (isWhole && version !== cursor + 1) holes.push({ event, expected: cursor + 1 })
    after.set(streamId, version)
    fresh?.push(event)
  }
  return { events: fresh ?? events, before, after, holes }
}

/**
 * Looks in the log whether what is missing is missing for a reason. Costs reads, and happens only behind deletions
 * and archived streams.
 */
export const explain = (
  log: EventStore["Type"],
  { event, expected }: Hole
): Effect.Effect<void, StreamGap | ReadError> =>
  Effect.gen(function* () {
    const { position, streamId, version } = event
    const [info] = yield* log.listStreams({ prefix: streamId, limit: 1 })
    const deletedThrough = info !== undefined && info.streamId === streamId ? info.deletedThrough : version
    let next = Math.max(expected, deletedThrough + 1)
    // What a consumer of the log can still see before the event, and has not been handed.
    const visible = yield* log.read({
      filters: [{ streamId }, { streamId: "~/~" }],
      page: Page.backward({ last: 1, before: position })
    })
    const last = visible.edges[0]?.node
    if (last !== undefined && last.version >= next) return yield* gap(streamId, expected, version)
    // The rest must be there, archived.
    while (next < version) {
      const page = yield* log.read({
        filters: [{ streamId }],
        afterVersion: StreamVersion.make(next - 1),
        upTo: (position - 1) as Position,
        page: Page.forward({ first: Math.min(version - next, pageRowsMax) })
      })
      for (const { node } of page.edges) {
        if (node.version !== next) return yield* gap(streamId, next, node.version)
        next++
      }
      if (page.edges.length === 0) return yield* gap(streamId, next, version)
    }
  })

// ---- internal ----

const gap = (streamId: StreamId, expected: number, actual: number): Effect.Effect<never, StreamGap> =>
  Effect.fail(
    new StreamGap({
      streamId,
      expected: StreamVersion.make(expected),
      actual: StreamVersion.make(actual)
    })
  )
