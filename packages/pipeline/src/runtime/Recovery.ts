/** Which checkpoint a run begins from, and whether its sinks can go back to it. */
import type { CheckpointManifest } from "@millrace/core/CheckpointManifest"
import type { CheckpointStore } from "@millrace/core/CheckpointStore"
import type { Sink } from "@millrace/core/Sink"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { SavepointNotFound, SinkCannotRewind } from "../PipelineErrors.js"

/** For whom a checkpoint is looked for. */
export interface RecoveryOptions {
  readonly pipeline: string
  readonly store: CheckpointStore
  readonly savepoint: string | undefined
  readonly sinks: ReadonlyArray<Sink<unknown, unknown, unknown>>
  readonly allowRepeats: boolean
}

/** The checkpoint to begin from; undefined = from the beginning. */
export const choose = ({ allowRepeats, pipeline, savepoint, sinks, store }: RecoveryOptions) =>
  Effect.gen(function* () {
    const chosen =
      savepoint === undefined
        ? Option.getOrUndefined((yield* store.recoverLatestValidated).chosen)
        : yield* savepointOf(pipeline, store, savepoint)
    const checkpointId = chosen?.checkpointId ?? 0
    const rigid = allowRepeats ? undefined : sinks.find(({ rewind }) => rewind === "none")
    if (rigid !== undefined) {
      const committedId = yield* committedAfter(store, checkpointId)
      if (committedId !== undefined)
        return yield* new SinkCannotRewind({ pipeline, sink: rigid.name, checkpointId, committedId })
    }
    return chosen
  })

// ---- internal ----

const savepointOf = (pipeline: string, store: CheckpointStore, savepoint: string) =>
  Effect.gen(function* () {
    const entries = yield* store.list
    const named = entries.filter((entry) => Option.getOrUndefined(entry.savepoint) === savepoint)
    const newest = named.at(-1)
    if (newest === undefined) return yield* new SavepointNotFound({ pipeline, savepoint })
    const manifest: Option.Option<CheckpointManifest> = yield* store.loadById(newest.checkpointId)
    return yield* Option.match(manifest, {
      onNone: () => new SavepointNotFound({ pipeline, savepoint }),
      onSome: (found) => Effect.succeed(found)
    })
  })

/**
 * The newest checkpoint past this one whose results are visible. One that cannot be read any more counts: nobody can
 * say that they are not. One whose sinks are pending and that nobody decided on does not.
 */
const committedAfter = (store: CheckpointStore, checkpointId: number) =>
  Effect.gen(function* () {
    const later = (yield* store.listIds).filter((id) => id > checkpointId)
    for (const id of later.reverse()) {
      if (yield* store.commitDecision(id)) return id
      const { valid } = yield* store.validateCheckpoint(id)
      if (!valid) return id
      const manifest = Option.getOrUndefined(yield* store.loadById(id))
      const statuses = Object.values(manifest?.sinkCommitStatuses ?? {})
      if (!statuses.some(({ _tag }) => _tag === "Pending")) return id
    }
    return undefined
  })
