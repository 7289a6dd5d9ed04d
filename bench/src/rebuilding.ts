/** Contestants that build four projections anew, beside their live models: at once, or one after another. */
import type * as Projection from "@millrace/core/Projection"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import { Effect } from "effect"
import type { Contestant, Role } from "./contestant.js"
import { driveCalls } from "./drive.js"
import { checkTotals, plainFold } from "./folding.js"
import type { Total } from "./folding.js"
import { openRuntime, totals, totalsOf } from "./projecting.js"
import type { Projecting } from "./projecting.js"

/** Events of `rebuild-four`, which every projection takes: 50 000, with `--quick` 10 000. */
const rebuiltEvents = (quick: boolean): number => (quick ? 10_000 : 50_000)

/** At once against one after another. */
export const rebuildingFour = (projecting: Projecting): ReadonlyArray<Contestant> => [
  rebuilding({ ...projecting, name: "ours", role: "ours", rebuild: atOnce }),
  rebuilding({ ...projecting, name: "oneByOne", role: "reference", rebuild: oneByOne })
]

// ---- internal ----

type Rebuild = (
  projections: ReadonlyArray<Projection.FoldProjection<Total>>
) => Effect.Effect<ReadonlyArray<number>, unknown, ProjectionRunner>

interface Rebuilding extends Projecting {
  readonly name: string
  readonly role: Role
  /** Gives the number of events that each of them was built from. */
  readonly rebuild: Rebuild
}

const projections = ["first", "second", "third", "fourth"].map((name) => totals(`${name}_totals`))

const atOnce: Rebuild = (given) =>
  Effect.gen(function* () {
    const runner = yield* ProjectionRunner
    const results = yield* runner.rebuildConcurrent(given, { concurrency: given.length })
    return yield* Effect.forEach(results, (result) =>
      result._tag === "Rebuilt" ? Effect.succeed(result.rebuilt.processed) : Effect.failCause(result.cause)
    )
  })

const oneByOne: Rebuild = (given) =>
  Effect.gen(function* () {
    const runner = yield* ProjectionRunner
    return yield* Effect.forEach(given, (projection) =>
      Effect.map(runner.rebuild(projection), ({ processed }) => processed)
    )
  })

/** One call is one rebuild of all four; from the second on there is a live model that each takes the place of. */
const rebuilding = ({ name, rebuild, role, ...projecting }: Rebuilding): Contestant => ({
  name,
  role,
  open: async (place) => {
    const events = rebuiltEvents(place.quick)
    const runtime = await openRuntime(projecting, place, events)
    const expected = plainFold(events)
    return {
      drive: driveCalls(async () => {
        const processed = await runtime.runPromise(rebuild(projections))
        if (processed.some((one) => one !== events)) {
          throw new Error(`a rebuild took other events than there are. events=${events} took=${processed}`)
        }
        return events * projections.length
      }),
      check: async () => {
        for (const projection of projections) {
          checkTotals(`model=${projection.name}`, await totalsOf(runtime, projection), expected)
        }
      },
      close: () => runtime.dispose()
    }
  }
})
