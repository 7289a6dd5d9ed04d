/** Contestants that move a projection's checkpoint: ten streams a step, of many that it has seen. */
import { Position } from "@millrace/core/Position"
import type { GlobalProjectionCheckpoint } from "@millrace/core/ProjectionCheckpoint"
import { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import type { StreamId } from "@millrace/core/StreamId"
import { StreamVersion } from "@millrace/core/StreamVersion"
import type { Layer } from "effect"
import { Effect, ManagedRuntime } from "effect"
import type { Contestant, Place, Role } from "./contestant.js"
import { driveEffects } from "./drive.js"
import { streamName } from "./payload.js"

type Stores = (place: Place) => Promise<Layer.Layer<ProjectionCheckpointStore, unknown>>

interface Moving {
  readonly name: string
  readonly role: Role
  readonly stores: Stores
  /** Streams that the projection has seen before. */
  readonly streams: number
  /**
   * - `advance`: what moved, from what the caller knows.
   * - `loadAndAdvance`: the same, with the cursors of those streams loaded first.
   * - `save`: the whole checkpoint, with what moved in it.
   */
  readonly how: "advance" | "loadAndAdvance" | "save"
}

/** Streams that move with one step. */
const touchedStreams = 10

const projectionName = "totals"

/** Moves a checkpoint one step a call. */
export const moving = ({ how, name, role, stores, streams }: Moving): Contestant => ({
  name,
  role,
  open: async (place) => {
    const runtime = ManagedRuntime.make(await stores(place))
    const store = await runtime.runPromise(ProjectionCheckpointStore)
    const ids = Array.from({ length: streams }, (_, i) => streamName(i) as StreamId)
    const whole = new Map(ids.map((id) => [id, StreamVersion.make(1)]))
    let position = Position.make(1)
    await runtime.runPromise(store.saveProjectionCheckpoint(projectionName, { position, cursors: whole }))

    let step = 0
    const nextStep = () => {
      const previous = new Map<StreamId, StreamVersion>()
      const current = new Map<StreamId, StreamVersion>()
      for (let i = 0; i < touchedStreams; i++) {
        const id = ids[(step * 7_919 + i * 97) % streams]!
        const version = whole.get(id)!
        previous.set(id, version)
        current.set(id, StreamVersion.make(version + 1))
      }
      step++
      return {
        previous: { position, cursors: previous },
        current: { position: Position.make(position + touchedStreams), cursors: current }
      }
    }
    const moved = ({ cursors, position: reached }: GlobalProjectionCheckpoint): number => {
      for (const [id, version] of cursors) whole.set(id, version)
      position = reached
      return 1
    }
    const move = Effect.suspend((): Effect.Effect<number, unknown> => {
      const { current, previous } = nextStep()
      switch (how) {
        case "advance":
          return Effect.map(store.advanceProjectionCursors(projectionName, previous, current), () =>
            moved(current)
          )
        case "loadAndAdvance":
          return store.loadProjectionCursors(projectionName, [...current.cursors.keys()]).pipe(
            Effect.flatMap((cursors) =>
              store.advanceProjectionCursors(projectionName, { ...previous, cursors }, current)
            ),
            Effect.map(() => moved(current))
          )
        case "save":
          moved(current)
          return Effect.as(store.saveProjectionCheckpoint(projectionName, { position, cursors: whole }), 1)
      }
    })
    return { drive: driveEffects(runtime, () => move), close: () => runtime.dispose() }
  }
})

/** Ours at 10 000 streams, against saving the whole of them. */
export const advanceAgainstSave = (stores: Stores): ReadonlyArray<Contestant> => [
  moving({ name: "ours", role: "ours", stores, streams: 10_000, how: "advance" }),
  moving({ name: "saveWhole", role: "reference", stores, streams: 10_000, how: "save" }),
  moving({ name: "loadFirst", role: "reference", stores, streams: 10_000, how: "loadAndAdvance" })
]

/** Ours at 100 000 streams, against the same at 1 000. */
export const manyAgainstFew = (stores: Stores): ReadonlyArray<Contestant> => [
  moving({ name: "ours", role: "ours", stores, streams: 100_000, how: "loadAndAdvance" }),
  moving({ name: "thousand", role: "reference", stores, streams: 1_000, how: "loadAndAdvance" })
]
