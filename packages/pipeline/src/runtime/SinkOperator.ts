/** A sink at work: writes what comes, and says at a barrier what is to be committed with it. */
import type { SinkWriter } from "@millrace/core/Sink"
import * as Effect from "effect/Effect"
import { endOfTime } from "../Records.js"
import type { Records } from "../Records.js"
import { EffectOperator } from "./EffectOperator.js"
import type { OperatorContext } from "./Operator.js"
import type { Snapshot } from "./Snapshot.js"

/** A sink. */
export class SinkOperator extends EffectOperator {
  constructor(
    context: OperatorContext,
    /** There before the first record. */
    private readonly writer: () => SinkWriter<unknown, unknown, unknown>,
    /** Called once when all of the input has come. */
    private readonly onEnded: () => void
  ) {
    super(context)
  }

  perform(records: Records): Effect.Effect<void, unknown, unknown> {
    const values =
      records.values.length === records.count ? records.values : records.values.slice(0, records.count)
    return this.writer().write(values)
  }

  prepare(checkpointId: number): Effect.Effect<Snapshot | undefined, unknown, unknown> {
    return Effect.map(this.writer().prepare(checkpointId), (data) => ({ _tag: "Plain", data }))
  }

  protected override onWatermark(watermark: number): boolean {
    if (watermark >= endOfTime) this.onEnded()
    return true
  }
}
