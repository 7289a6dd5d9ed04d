/**
 * A process that saves one checkpoint after another, as the coordinator of a pipeline does: state, manifest, decision,
 * update; and keeps the newest three. Says each step that it has done. Kills itself at the step that it is told.
 */
import { manifestOf } from "@millrace/core/CheckpointManifest"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import type { CheckpointStep } from "@millrace/core/CheckpointStoreBackend"
import { CheckpointSteps } from "@millrace/core/CheckpointStoreBackend"
import { argument, orders, run, say } from "@millrace/testkit/Program"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { PlaceAddress } from "../Places.js"
import { stateOf, storageAt } from "../Places.js"

export interface SavingArgument {
  readonly place: PlaceAddress
  /** At which step of which of its checkpoints, counted from 0, it kills itself; else it goes on until it is killed. */
  readonly killAt?:
    | { readonly at: "before" | "after"; readonly step: CheckpointStep; readonly checkpoint: number }
    | undefined
}

/** What it says: where it began, the ids that it was given, and what is done for good. */
export type SavingLine =
  { readonly recovered: number } | { readonly reserved: number } | { readonly decided: number }

const { killAt, place } = argument<SavingArgument>()
orders(() => undefined)
const tell = (line: SavingLine): void => say(line)

const program = Effect.gen(function* () {
  const store = yield* (yield* CheckpointStorage).forPipeline("attacked")
  const report = yield* store.recoverLatestValidated
  tell({ recovered: Option.getOrElse(report.chosenId, () => 0) })
  yield* store.cleanupOrphans()
  for (let checkpoint = 0; ; checkpoint++) {
    const save = Effect.gen(function* () {
      const checkpointId = yield* store.reserveId()
      tell({ reserved: checkpointId })
      const state = stateOf(checkpointId)
      const length = state.reduce((sum, piece) => sum + piece.length, 0)
      const saved = yield* store.saveWithState(
        manifestOf({
          checkpointId,
          epoch: checkpointId,
          timestampMs: checkpointId,
          operatorStates: { count: { _tag: "Sidecar", offset: 0, length } },
          sinkNames: ["table"],
          sinkEpochs: { table: checkpointId },
          sinkCommitStatuses: { table: { _tag: "Pending" } }
        }),
        Stream.fromIterable(state)
      )
      yield* store.recordCommitDecision(checkpointId)
      tell({ decided: checkpointId })
      yield* store.updateManifest({ ...saved, sinkCommitStatuses: { table: { _tag: "Committed" } } })
      yield* store.prune(3)
    })
    yield* Effect.provideService(save, CheckpointSteps, (at, step) =>
      Effect.sync(() => {
        if (killAt?.at === at && killAt.step === step && killAt.checkpoint === checkpoint)
          process.kill(process.pid, "SIGKILL")
      })
    )
  }
})

run(program.pipe(Effect.provide(storageAt(place)), Effect.orDie))
