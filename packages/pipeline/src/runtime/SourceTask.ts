/**
 * A source, as one actor: batches, barriers and silence come by its mailbox, so that a barrier is always between two
 * batches. A fiber beside it reads ahead, by as much as the mailbox holds.
 */
import type { ActorRef } from "@millrace/core/ActorRef"
import type { SourceBatch } from "@millrace/core/Source"
import * as Effect from "effect/Effect"
import { InputHadEnded } from "../PipelineErrors.js"
import type { Barrier } from "./Channel.js"
import type { SourceOperator } from "./SourceOperator.js"
import type { Task } from "./Task.js"

/** What an actor of a source takes. A batch that is none is the end. */
export type SourceMessage =
  | { readonly _tag: "Batch"; readonly batch: SourceBatch<unknown> | undefined }
  | { readonly _tag: "Barrier"; readonly barrier: Barrier }
  | { readonly _tag: "Idle"; readonly nowMs: number }

/** A source and its task. */
export interface SourceParts {
  readonly pipeline: string
  readonly task: Task
  readonly source: SourceOperator
  /** Called at the end of the input, when event time is not to come to its end with it. */
  readonly onKept: (() => void) | undefined
}

/** Takes a message of a source. */
export const receive = (
  { onKept, pipeline, source, task }: SourceParts,
  message: SourceMessage
): Effect.Effect<void, unknown, unknown> => {
  switch (message._tag) {
    case "Batch": {
      const { batch } = message
      if (batch === undefined) {
        if (onKept === undefined) source.end()
        else onKept()
      } else {
        if (source.hadEnded && batch.values.length > 0)
          return Effect.fail(new InputHadEnded({ pipeline, source: source.id }))
        source.take(batch)
      }
      return task.settled
    }
    case "Barrier":
      return task.mark(message.barrier)
    case "Idle":
      source.idle(message.nowMs)
      return task.settled
  }
}

/** The actor of a source. */
export type SourceRef = ActorRef<SourceMessage, unknown>
