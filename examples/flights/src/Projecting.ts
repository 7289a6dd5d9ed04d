/**
 * Brings the read models up to the head of the log, or builds them anew beside the ones that serve. Rows and
 * checkpoint are one transaction: a run that is killed leaves a model that is right as far as it is, and the next
 * one goes on there. A rebuild that is killed leaves the serving model untouched, and is gone on with by the next
 * `--rebuild`.
 */
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { Position } from "@millrace/core/Position"
import type { CatchUpError, RebuildError } from "@millrace/core/ProjectionErrors"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import type { RebuildResult } from "@millrace/core/ProjectionRunner"
import type { Projection } from "@millrace/core/Projection"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Lease from "./Lease.js"
import * as Projections from "./Projections.js"
import * as RebuildBars from "./RebuildBars.js"

/** Where a model stands: it has every event up to `position`. */
export interface Standing {
  readonly projection: Projection
  readonly position: Position
}

/** Brings both up to the head, side by side. */
export const catchUp: Effect.Effect<ReadonlyArray<Standing>, CatchUpError, ProjectionRunner> = Effect.flatMap(
  ProjectionRunner,
  (runner) =>
    Effect.forEach(
      Projections.all,
      (projection) =>
        Effect.map(
          Lease.awaited("read models", runner.catchUpPersistent(projection, settings)),
          ({ position }) => ({ projection, position })
        ),
      { concurrency: "unbounded" }
    )
)

/** Builds both anew from the whole log, side by side, with a bar for each. */
export const rebuild: Effect.Effect<void, RebuildError | InvalidArgument, ProjectionRunner> = Effect.gen(
  function* () {
    const runner = yield* ProjectionRunner
    yield* Console.error(`Rebuilding ${Projections.all.map(({ name }) => name).join(" and ")}`)
    const onProgress = yield* RebuildBars.make(Projections.all)
    /** Those that are not rebuilt yet: what another run is at is tried again, without those that are done. */
    let left: ReadonlyArray<Projection> = Projections.all
    yield* Lease.awaited(
      "rebuilds",
      Effect.gen(function* () {
        const options = { ...settings, keepFormer: false, onProgress }
        const results = yield* runner.rebuildConcurrent(left, options)
        left = left.filter((_, index) => results[index]?._tag === "Failed")
        yield* Effect.forEach(results, failureOf, { discard: true })
      })
    )
  }
).pipe(Effect.scoped)

// ---- internal ----

/** Pages of thousands: a commit for each, and each waits for the disk. */
const settings = { ttl: Lease.ttl, batchSize: 2_000 }

/** One of several fails for itself; here it fails for all. */
const failureOf = (result: RebuildResult): Effect.Effect<void, RebuildError> =>
  result._tag === "Rebuilt" ? Effect.void : Effect.failCause(result.cause)
