/** An operator that does effects with what it gets: always the first of its task, so that the task can wait for it. */
import type * as Effect from "effect/Effect"
import type { Records } from "../Records.js"
import { Operator } from "./Operator.js"
import type { Snapshot } from "./Snapshot.js"

/** An operator with effects. */
export abstract class EffectOperator extends Operator {
  /** Does what it does with the records; ends when it has. */
  abstract perform(records: Records): Effect.Effect<void, unknown, unknown>

  /** The barrier: what it has to keep. */
  abstract prepare(checkpointId: number): Effect.Effect<Snapshot | undefined, unknown, unknown>

  protected onRecords(): void {
    throw new Error(`${this.id} takes records by perform`)
  }
}
