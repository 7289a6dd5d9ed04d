/**
 * Checkpoints of projections in the memory of one process. Each write is one step that no fiber comes between.
 *
 * {@link MemoryCheckpoints} is how the models of the same process keep theirs here: a model's rows change in the
 * step in which its checkpoint moves, and a checkpoint takes another name when its model takes another's place.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ProjectionCheckpointStore } from "./ProjectionCheckpointStore.js"
import type {
  AdvanceRequest,
  ProjectionRow,
  ProjectionStamp,
  StoredInstead
} from "./ProjectionCheckpointStoreBackend.js"
import * as ProjectionCheckpointStoreBackend from "./ProjectionCheckpointStoreBackend.js"
import { isOvertaken } from "./ProjectionCheckpointStoreBackend.js"
import { compareUtf8 } from "./Text.js"

/** What a store of models needs beside the contract. Everything here that is no Effect is done at once. */
export interface MemoryCheckpoints {
  readonly store: ProjectionCheckpointStore["Type"]
  /** Whether `advanceProjectionCursors` would be refused, and by what. Nothing is written. */
  readonly check: ProjectionCheckpointStore["Type"]["advanceProjectionCursors"]
  /** `advanceProjectionCursors`; `together` runs in the same step, unless it is refused. Must not throw. */
  readonly advanceWith: (
    together: () => void
  ) => ProjectionCheckpointStore["Type"]["advanceProjectionCursors"]
  readonly find: (name: string) => ProjectionRow | undefined
  readonly names: () => ReadonlyArray<string>
  /** Replaces a checkpoint by one without cursors. */
  readonly restart: (row: ProjectionRow) => void
  /** Gives a checkpoint another name, where it replaces what was there, and another epoch. */
  readonly move: (from: string, to: string, epoch: number, nowMs: number) => void
  readonly remove: (name: string) => void
}

/** Builds an empty store, with what is behind it. */
export const makeCheckpoints: Effect.Effect<MemoryCheckpoints> = Effect.sync(() => {
  const byName = new Map<string, Stored>()
  const storedOf = (name: string): Stored => byName.get(name) ?? { row: newRow(name), cursors: new Map() }

  /** Each write is a step that nobody comes between. */
  const write = <A>(name: string, step: (stored: Stored, nowMs: number) => A): Effect.Effect<A> =>
    Effect.map(Clock.currentTimeMillis, (nowMs) => step(storedOf(name), nowMs))

  type Advance = ProjectionCheckpointStoreBackend.ProjectionCheckpointStoreBackend["advance"]

  const refusal = ({ cursors, row }: Stored, request: AdvanceRequest): StoredInstead | undefined => {
    if (isOvertaken(row, request) || request.expected !== row.position) return instead(row)
    const other = firstStream(request.moves, ({ before, streamId }) => {
      const stored = cursors.get(streamId) ?? 0
      return stored === before ? undefined : { streamId, version: stored }
    })
    return other === undefined ? undefined : instead(row, other)
  }
  const advanceWith =
    (together: () => void): Advance =>
    (request) =>
      write(request.name, (stored, nowMs) => {
        const refused = refusal(stored, request)
        if (refused !== undefined) return refused
        together()
        if (request.position === request.expected && request.moves.length === 0) return undefined
        const { cursors, row } = stored
        for (const { after, streamId } of request.moves) cursors.set(streamId, after)
        byName.set(request.name, { row: stamped(row, request, request.position, nowMs), cursors })
        return undefined
      })
  const check: Advance = (request) => Effect.sync(() => refusal(storedOf(request.name), request))

  const backend: ProjectionCheckpointStoreBackend.ProjectionCheckpointStoreBackend = {
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
    advance: advanceWith(() => undefined),
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
  }
  const storeOf = (advance: Advance): ProjectionCheckpointStore["Type"] =>
    ProjectionCheckpointStoreBackend.make({ ...backend, advance })

  return {
    store: storeOf(backend.advance),
    check: storeOf(check).advanceProjectionCursors,
    advanceWith: (together) => storeOf(advanceWith(together)).advanceProjectionCursors,
    find: (name) => byName.get(name)?.row,
    names: () => [...byName.keys()],
    restart: (row) => void byName.set(row.name, { row, cursors: new Map() }),
    move: (from, to, epoch, nowMs) => {
      const { cursors, row } = storedOf(from)
      byName.delete(from)
      byName.set(to, { row: { ...row, name: to, epoch, updatedAtMs: nowMs }, cursors })
    },
    remove: (name) => void byName.delete(name)
  }
})

/** Builds an empty store. */
export const make: Effect.Effect<ProjectionCheckpointStore["Type"]> = Effect.map(
  makeCheckpoints,
  ({ store }) => store
)

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
