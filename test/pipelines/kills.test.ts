/**
 * Pipelines that are killed, again and again: between any two steps of a checkpoint, and at any moment; with the newest
 * checkpoint damaged; with other shares of the keys from run to run. What is there in the end is what is there when
 * nothing of that happens.
 */
import { assert, describe, it } from "@effect/vitest"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Children from "@millrace/testkit/Children"
import * as Databases from "@millrace/testkit/Databases"
import { sized, withChance } from "@millrace/testkit/Seeds"
import type { Chance } from "@millrace/testkit/Seeds"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { newStore } from "../consumers/Stores.js"
import type { RunningArgument, RunningLine } from "./programs/running.js"
import type { Work } from "./Works.js"
import * as Works from "./Works.js"

const program = new URL("./programs/running.ts", import.meta.url)

/** Kills of each pipeline: at steps, and at moments. */
const stepKills = sized(2, 14)
const momentKills = sized(1, 8)

/** The steps that there are: where rows and checkpoint are one transaction, nothing is decided or updated after it. */
const stepsOf = ({ kind }: Work) =>
  (
    [
      "sidecar",
      "manifest",
      "pointer",
      ...(kind === "query" ? (["decision", "update"] as const) : [])
    ] as const
  ).flatMap((step) => (["before", "after"] as const).map((at) => ({ at, step })))

const query = (query: "q3" | "q5" | "q7" | "q8") => (seed: number) =>
  Effect.map(Databases.folder, (folder): Work => ({
    kind: "query",
    query,
    events: sized(30_000, 150_000),
    seed,
    folder
  }))
const flights = (kind: "sqlite" | "postgres") => () =>
  Effect.map(newStore(kind), (store): Work => ({ kind: "flights", store }))

const works: ReadonlyArray<{
  readonly name: string
  readonly make: (seed: number) => Effect.Effect<Work, unknown, Scope.Scope>
  /** Whether the gate has it as well. */
  readonly isQuick: boolean
}> = [
  { name: "flights on SQLite", make: flights("sqlite"), isQuick: true },
  { name: "flights on Postgres", make: flights("postgres"), isQuick: false },
  { name: "Nexmark q3: a join with a table", make: query("q3"), isQuick: false },
  { name: "Nexmark q5: hopping windows, twice", make: query("q5"), isQuick: true },
  { name: "Nexmark q7: the greatest of a window", make: query("q7"), isQuick: false },
  { name: "Nexmark q8: a join of windows", make: query("q8"), isQuick: false }
]

/** Makes the newest checkpoint that there is unusable. Gives whether there was one before it to go back to. */
const damage = (work: Work, chance: Chance): Effect.Effect<boolean, unknown> =>
  Effect.gen(function* () {
    const store = yield* (yield* CheckpointStorage).forPipeline(Works.pipelineName)
    const chosenId = Option.getOrUndefined((yield* store.recoverLatestValidated).chosenId)
    if (chosenId === undefined || (yield* store.listIds).length < 2) return false
    if (work.kind === "query") {
      const folder = join(
        work.folder,
        "checkpoints",
        Works.pipelineName,
        `checkpoint_${String(chosenId).padStart(6, "0")}`
      )
      writeFileSync(join(folder, chance.pick(["manifest.json", "state.bin"])), "damaged")
    } else {
      const sql = yield* SqlClient.SqlClient
      const table = work.store.kind === "sqlite" ? sql("millrace_checkpoints") : sql("millrace.checkpoints")
      yield* sql`UPDATE ${table} SET manifest = ${"damaged"} WHERE pipeline = ${Works.pipelineName} AND id = ${chosenId}`
    }
    return true
  }).pipe(Effect.provide(Works.services(work))) as Effect.Effect<boolean, unknown>

describe("pipelines under SIGKILL", () => {
  for (const { isQuick, make, name } of works) {
    if (!isQuick && sized(0, 1) === 0) continue
    it.scopedLive(
      `${name}: killed at ${stepKills} steps and ${momentKills} moments, with damaged checkpoints, the results are those of an undisturbed run`,
      () =>
        withChance((chance) =>
          Effect.gen(function* () {
            const calm = yield* make(chance.seed)
            yield* Works.fill(calm)
            yield* Works.run(calm, { checkpointEvery: "1 hour" })
            const expected = yield* Works.output(calm)
            assert.isAbove(expected.length, 10)

            const work = yield* make(chance.seed)
            yield* Works.fill(work)
            const steps = stepsOf(work)
            const first = chance.int(0, steps.length - 1)
            let kills = 0
            let damages = 0
            for (let n = 0; n < stepKills + momentKills; n++) {
              const killAt =
                n < stepKills
                  ? { ...steps[(first + 3 * n) % steps.length]!, checkpoint: chance.int(0, 2) }
                  : undefined
              const parallelism = chance.pick([1, 2, 4, 7])
              const child = yield* Children.start(program, {
                work,
                parallelism,
                killAt
              } satisfies RunningArgument)
              yield* child.ready
              if (killAt === undefined) {
                yield* Effect.sleep(chance.int(0, 500))
                yield* child.kill
              }
              yield* Effect.exit(child.ended)
              if ((child.lines as ReadonlyArray<RunningLine>).some((line) => "ended" in line)) continue
              kills++
              // Now and then what it has written last is lost as well.
              if (n % 3 === 1 && (yield* damage(work, chance))) damages++
            }
            assert.isAbove(kills, 0)
            yield* Effect.logDebug(`${name}: ${kills} kills, ${damages} damaged checkpoints`)
            yield* Works.run(work, { checkpointEvery: "100 millis", parallelism: 3 })
            assert.deepStrictEqual(yield* Works.output(work), expected)
          })
        ),
      sized(120_000, 600_000)
    )
  }
})
