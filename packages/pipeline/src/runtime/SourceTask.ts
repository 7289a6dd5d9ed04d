/**
 * A source, as one actor: batches, barriers and silence come by its mailbox, so that a barrier is always between two
 * batches. A fiber beside it reads ahead, by as much as the mailbox holds.
 */
import type { ActorRef } from "@millrace/core/ActorRef"
import type { SourceBatch } from "@millrace/core/Source"
import type * as Effect from "effect/Effect"
import type { Barrier } from "./Channel.js"
import type { SourceOperator } from "./SourceOperator.js"
import type { Task } from "./Task.js"

/** What an actor of a source takes. A batch that is none is the end. */
export type SourceMessage =
  | { readonly _tag: "Batch"; readonly batch: SourceBatch<unknown> | undefined }
  | { readonly _tag: "Barrier"; readonly barrier: Barrier }
  | { readonly _tag: "Idle"; readonly nowMs: number }

/** Takes a message of a source. */
export const receive = (
  task: Task,
  source: SourceOperator,
  message: SourceMessage
): Effect.Effect<void, unknown, unknown> => {
  switch (message._tag) {
    case "Batch":
      if (message.batch === undefined) source.end()
      else source.take(message.batch)
      return task.settled
    case "Barrier":
      return task.mark(message.barrier)
    case "Idle":
      source.idle(message.nowMs)
      return task.settled
  }
}

/** The actor of a source. */
export type SourceRef = ActorRef<SourceMessage, unknown>
