/** What running, awaiting and rebuilding projections can fail with, beside what every engine can. */
import * as Schema from "effect/Schema"
import type { CursorAheadOfLog, HandlerError, ReadError, StreamGap } from "./EngineError.js"
import type { LeaseHeld } from "./LeaseHeld.js"
import type { LeaseLost } from "./LeaseLost.js"
import type { ParkedFull } from "./ParkedEvent.js"
import { Position } from "./Position.js"

/**
 * The projection cannot be kept here: its model is in memory and the checkpoint would not be, its handlers need
 * a database that this store is not, or its rows do not fit a table. Nothing was done. Choose another strength,
 * place or store, as `reason` says.
 */
export class ModelRefused extends Schema.TaggedError<ModelRefused>()("ModelRefused", {
  projectionName: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `the projection cannot run on this store. projectionName=${this.projectionName} reason="${this.reason}"`
  }
}

/**
 * A model cannot be built beside the live one, because its handlers do not ask `context.table(…)` for the names
 * of their tables, or have none declared. Nothing was changed. Declare and ask, or rebuild in place.
 */
export class ShadowUnsupported extends Schema.TaggedError<ShadowUnsupported>()("ShadowUnsupported", {
  projectionName: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `the model cannot be built beside the live one. projectionName=${this.projectionName} reason="${this.reason}"`
  }
}

/** The projection did not come so far in time. It goes on: wait again, or look at its status for what holds it up. */
export class ProjectionBehind extends Schema.TaggedError<ProjectionBehind>()("ProjectionBehind", {
  projectionName: Schema.String,
  /** Where it was to come. */
  wanted: Position,
  /** Where it is. */
  reached: Position
}) {
  override get message(): string {
    return `projection has not come so far yet. projectionName=${this.projectionName} wanted=${this.wanted} reached=${this.reached}`
  }
}

/**
 * The stored model was built with a newer version of the projection than this code has: an older process runs
 * beside newer ones, or the code was rolled back. Deploy the newer code, or roll the model back.
 */
export class ProjectionSuperseded extends Schema.TaggedError<ProjectionSuperseded>()("ProjectionSuperseded", {
  projectionName: Schema.String,
  version: Schema.Number,
  stored: Schema.Number
}) {
  override get message(): string {
    return `stored model is of a newer version. projectionName=${this.projectionName} version=${this.version} stored=${this.stored}`
  }
}

/** The stored model was built with an older version of the projection. `rebuild` it; `run` does so by itself. */
export class ProjectionOutdated extends Schema.TaggedError<ProjectionOutdated>()("ProjectionOutdated", {
  projectionName: Schema.String,
  version: Schema.Number,
  stored: Schema.Number
}) {
  override get message(): string {
    return `stored model is of an older version, rebuild it. projectionName=${this.projectionName} version=${this.version} stored=${this.stored}`
  }
}

/**
 * The model that was built is not what the events say, and did not take the live one's place. A fold whose
 * functions are not pure, or a row that the database does not give back as it was written.
 */
export class VerificationFailed extends Schema.TaggedError<VerificationFailed>()("VerificationFailed", {
  projectionName: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `the built model is wrong and was thrown away. projectionName=${this.projectionName} reason="${this.reason}"`
  }
}

/** There is no former model to go back to: none was kept, or it is of another version than the projection given. */
export class NoFormerModel extends Schema.TaggedError<NoFormerModel>()("NoFormerModel", {
  projectionName: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `no former model to go back to. projectionName=${this.projectionName} reason="${this.reason}"`
  }
}

/** What handling events for a projection can end with. */
export type ProjectionError =
  HandlerError | StreamGap | ShadowUnsupported | ParkedFull | LeaseLost | CursorAheadOfLog | ReadError

/** What a catch-up can fail with. */
export type CatchUpError =
  ProjectionError | LeaseHeld | ModelRefused | ProjectionSuperseded | ProjectionOutdated

/** What a rebuild can fail with. */
export type RebuildError = ProjectionError | LeaseHeld | ModelRefused | VerificationFailed
