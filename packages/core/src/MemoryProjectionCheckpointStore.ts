/** Checkpoints of projections in the memory of one process. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ProjectionCheckpointStore } from "./ProjectionCheckpointStore.js"
import type { ProjectionRow, ProjectionStamp, StoredInstead } from "./ProjectionCheckpointStoreBackend.js"
import * as ProjectionCheckpointStoreBackend from "./ProjectionCheckpointStoreBackend.js"
import { isOvertaken } from "./ProjectionCheckpointStoreBackend.js"
import { compareUtf8 } from "./Text.js"

/** Builds an empty store. */
export const make: Effect.Effect<ProjectionCheckpointStore["Type"]> = Effect.sync(() => {
  const byName = new Map<string, Stored>()
  const storedOf = (name: string): Stored => byName.get(name) ?? { row: newRow(name), cursors: new Map() }

  /** Each write is a step that nobody comes between. */
  const write = <A>(name: string, step: (stored: Stored, nowMs: number) => A): Effect.Effect<A> =>
    Effect.map(Clock.currentTimeMillis, (nowMs) => step(storedOf(name), nowMs))

  return ProjectionCheckpointStoreBackend.make({
    find: (name) => Effect.sync(() => byName.get(name)?.row),
    load: (name) =>
      Effect.sync(() => {
        const stored = byName.get(name)
        return stored === undefined ? undefined : { row: stored.row, cursors: new Map(stored.cursors) }
      }),
    cursors: (name, streamIds) =>
      Effect.sync(() => {
        const { cursors } = storedOf(name)
        const found = new Map<string, number>()
        for (const streamId of streamIds) {
          const version = cursors.get(streamId)
          if (version !== undefined) found.set(streamId, version)
        }
        return found
      }),
    save: (request) =>
      write(request.name, ({ cursors, row }, nowMs) => {
        if (isOvertaken(row, request) || request.position < row.position) return instead(row)
        const ahead = firstStream(request.cursors, ([streamId, version]) => {
          const stored = cursors.get(streamId) ?? 0
          return stored > version ? { streamId, version: stored } : undefined
        })
        if (ahead !== undefined) return instead(row, ahead)
        byName.set(request.name, {
          row: stamped(row, request, request.position, nowMs),
          cursors: new Map([...request.cursors].filter(([, version]) => version > 0))
        })
        return undefined
      }),
    advance: (request) =>
      write(request.name, ({ cursors, row }, nowMs) => {
        if (isOvertaken(row, request) || request.expected !== row.position) return instead(row)
        const other = firstStream(request.moves, ({ before, streamId }) => {
          const stored = cursors.get(streamId) ?? 0
          return stored === before ? undefined : { streamId, version: stored }
        })
        if (other !== undefined) return instead(row, other)
        if (request.position === request.expected && request.moves.length === 0) return undefined
        for (const { after, streamId } of request.moves) cursors.set(streamId, after)
        byName.set(request.name, { row: stamped(row, request, request.position, nowMs), cursors })
        return undefined
      }),
    reset: (name, stamp) =>
      write(name, ({ row }, nowMs) => {
        if (isOvertaken(row, stamp)) return instead(row)
        if (!byName.has(name)) return undefined
        const former = { ...row, revision: undefined }
        byName.set(name, { row: stamped(former, stamp, 0, nowMs), cursors: new Map() })
        return undefined
      }),
    claim: (name, epoch, revision) =>
      write(name, ({ cursors, row }, nowMs) => {
        if (row.epoch > epoch) return undefined
        const claimed = stamped(row, { epoch, revision }, row.position, nowMs)
        byName.set(name, { row: claimed, cursors })
        return claimed
      }),
    list: ({ after, limit, prefix = "" }) =>
      Effect.sync(() =>
        [...byName.values()]
          .map(({ row }) => row)
          .filter(
            ({ name }) => name.startsWith(prefix) && (after === undefined || compareUtf8(name, after) > 0)
          )
          .sort((a, b) => compareUtf8(a.name, b.name))
          .slice(0, limit)
      )
  })
})

/** An empty store for each build of the layer. */
export const layer: Layer.Layer<ProjectionCheckpointStore> = Layer.effect(ProjectionCheckpointStore, make)

// ---- internal ----

interface Stored {
  readonly row: ProjectionRow
  readonly cursors: Map<string, number>
}

type StreamInTheWay = NonNullable<StoredInstead["stream"]>

const newRow = (name: string): ProjectionRow => ({
  name,
  position: 0,
  revision: undefined,
  epoch: 0,
  updatedAtMs: 0
})

const stamped = (
  row: ProjectionRow,
  { epoch, revision }: ProjectionStamp,
  position: number,
  nowMs: number
): ProjectionRow => ({
  name: row.name,
  position,
  revision: row.revision ?? revision,
  epoch: Math.max(row.epoch, epoch ?? 0),
  updatedAtMs: nowMs
})

const instead = ({ epoch, position }: ProjectionRow, stream?: StreamInTheWay): StoredInstead => ({
  position,
  epoch,
  stream
})

/** The first in byte order of those that `inTheWay` finds. */
const firstStream = <A>(
  entries: Iterable<A>,
  inTheWay: (entry: A) => StreamInTheWay | undefined
): StreamInTheWay | undefined => {
  let first: StreamInTheWay | undefined
  for (const entry of entries) {
    const found = inTheWay(entry)
    if (found === undefined) continue
    if (first === undefined || compareUtf8(found.streamId, first.streamId) < 0) first = found
  }
  return first
}
