/**
 * A source, as one actor: what was read, barriers and silence come by its mailbox, so that a barrier is always between
 * two batches. A fiber beside it reads ahead, by a few batches; one message says that there are some.
 */
import type { ActorRef } from "@millrace/core/ActorRef"
import type { SourceBatch } from "@millrace/core/Source"
import * as Effect from "effect/Effect"
import { InputHadEnded } from "../PipelineErrors.js"
import type { Barrier } from "./Channel.js"
import type { SourceOperator } from "./SourceOperator.js"
import type { Task } from "./Task.js"

/** What an actor of a source takes. */
export type SourceMessage =
  | { readonly _tag: "Ready" }
  | { readonly _tag: "Barrier"; readonly barrier: Barrier }
  | { readonly _tag: "Idle"; readonly nowMs: number }

/** The actor of a source. */
export type SourceRef = ActorRef<SourceMessage, unknown>

/** Batches that are read before they are asked for. */
const batchesAhead = 4

/** Batches between reader and actor. The last one is none: the input has ended. */
export class Feed {
  private isTold = false
  private batches: Array<SourceBatch<unknown> | undefined> = []
  private waiting: (() => void) | undefined = undefined

  /** Adds a batch, and waits while there are too many. */
  add(batch: SourceBatch<unknown> | undefined, self: SourceRef): Effect.Effect<void> {
    this.batches.push(batch)
    if (this.batches.length === 1) self.unsafeTell(ready)
    return this.batches.length < batchesAhead ? Effect.void : this.room
  }

  /** Takes all there are. */
  take(): ReadonlyArray<SourceBatch<unknown> | undefined> {
    const { batches, waiting } = this
    this.batches = []
    this.waiting = undefined
    waiting?.()
    return batches
  }

  /** Tells it what time it is, for partitions that are silent. Once, also when it cannot listen for a while. */
  tellTime(nowMs: number, self: SourceRef): void {
    if (this.isTold) return
    this.isTold = true
    self.unsafeTell({ _tag: "Idle", nowMs })
  }

  /** It has heard. */
  heard(): void {
    this.isTold = false
  }

  private readonly room: Effect.Effect<void> = Effect.async((resume) => {
    if (this.batches.length < batchesAhead) return resume(Effect.void)
    this.waiting = () => resume(Effect.void)
    return Effect.sync(() => {
      this.waiting = undefined
    })
  })
}

/** A source and its task. */
export interface SourceParts {
  readonly pipeline: string
  readonly task: Task
  readonly source: SourceOperator
  readonly feed: Feed
  /** Called at the end of the input, when event time is not to come to its end with it. */
  readonly onKept: (() => void) | undefined
}

/** Takes a message of a source. */
export const receive = (
  { feed, onKept, pipeline, source, task }: SourceParts,
  message: SourceMessage
): Effect.Effect<void, unknown, unknown> => {
  switch (message._tag) {
    case "Ready":
      for (const batch of feed.take()) {
        if (batch === undefined) {
          if (onKept === undefined) source.end()
          else onKept()
        } else {
          if (source.hadEnded && batch.values.length > 0)
            return Effect.fail(new InputHadEnded({ pipeline, source: source.id }))
          source.take(batch)
        }
      }
      return task.settled
    case "Barrier":
      return task.mark(message.barrier)
    case "Idle":
      feed.heard()
      source.idle(message.nowMs)
      return task.settled
  }
}

// ---- internal ----

const ready: SourceMessage = { _tag: "Ready" }
