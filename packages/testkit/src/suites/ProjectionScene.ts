/** One test's own projection in a store that other tests use as well, and short words for what is done to it. */
import type { Vitest } from "@effect/vitest"
import { assert } from "@effect/vitest"
import { EventIds } from "@millrace/core/EventIds"
import { Epoch } from "@millrace/core/Lease"
import type {
  GlobalProjectionCheckpoint,
  ProjectionWriteOptions,
  StoredProjectionCheckpoint
} from "@millrace/core/ProjectionCheckpoint"
import { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import type { StreamId } from "@millrace/core/StreamId"
import { compareUtf8 } from "@millrace/core/Text"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { position, version } from "./Scene.js"

/** The `it` within the suite: time is real, since databases keep their own. */
export type ProjectionIt = Vitest.MethodsNonLive<ProjectionCheckpointStore, true>

/** Versions by stream: what a test writes for cursors. */
export type Versions = Readonly<Record<string, number>>

/** A checkpoint in plain words: `[position, versions]`. */
export type Plain = readonly [position: number, versions: Versions]

/** A checkpoint at `at`, with versions by stream. */
export const checkpoint = (at: number, versions: Versions = {}): GlobalProjectionCheckpoint => ({
  position: position(at),
  cursors: new Map(Object.entries(versions).map(([id, at]) => [id as StreamId, version(at)]))
})

/** A checkpoint as it can be compared: streams in byte order. */
export const plain = ({ cursors, position }: GlobalProjectionCheckpoint): Plain => [
  position,
  Object.fromEntries([...cursors].sort(([a], [b]) => compareUtf8(a, b)))
]

export const epoch = (value: number): Epoch => Epoch.make(value)

/** Position, revision and epoch of what a store gave back; nothing for what is none. */
export const stamped = ({
  epoch,
  position,
  revision
}: Pick<StoredProjectionCheckpoint, "position" | "revision" | "epoch">) => ({
  position: Number(position),
  revision: Option.getOrUndefined(revision),
  epoch: Option.getOrUndefined(epoch) as number | undefined
})

/** A projection of this test alone. Others of it have names that begin with this one's. */
export const projection = Effect.gen(function* () {
  const store = yield* ProjectionCheckpointStore
  const ids = yield* EventIds
  const name = `projection-${ids.next(yield* Clock.currentTimeMillis)}`
  const stored = Effect.map(store.loadProjectionCheckpoint(name), plain)
  return {
    store,
    name,
    stored,
    info: store.getProjection(name),
    save: (at: number, versions?: Versions, options?: ProjectionWriteOptions) =>
      store.saveProjectionCheckpoint(name, checkpoint(at, versions), options),
    advance: ([from, before]: Plain, [to, after]: Plain, options?: ProjectionWriteOptions) =>
      store.advanceProjectionCursors(name, checkpoint(from, before), checkpoint(to, after), options),
    reset: (options?: ProjectionWriteOptions) => store.resetProjectionCheckpoint(name, options),
    claim: (value: number, revision?: number) => store.claimProjection(name, epoch(value), { revision }),
    /** Runs an effect that must leave no trace: the projection is what it was, and was not even touched. */
    unchanged: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.gen(function* () {
        const look = Effect.all([store.loadProjectionCheckpoint(name), store.getProjection(name)])
        const before = yield* look
        const result = yield* effect
        assert.deepStrictEqual(yield* look, before)
        return result
      })
  }
})
