/**
 * Processes that save checkpoints are killed at every step and at seeded moments. Whatever happens, the newest that
 * was decided, or a newer one, can be started from, and is byte by byte what was saved; nothing is damaged; and no id
 * is given twice.
 */
import { assert, describe, it } from "@effect/vitest"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import * as Children from "@millrace/testkit/Children"
import { sized, withChance } from "@millrace/testkit/Seeds"
import { joined } from "@millrace/testkit/suites/CheckpointScene"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { newPlace, stateOf, storageAt } from "./Places.js"
import type { PlaceAddress } from "./Places.js"
import type { SavingArgument, SavingLine } from "./programs/saving.js"

const killsCount = sized(1, 30)
const program = new URL("./programs/saving.ts", import.meta.url)

const steps = ["sidecar", "manifest", "pointer", "decision", "update"] as const
const windows = steps.flatMap((step) => (["before", "after"] as const).map((at) => ({ at, step })))

/** Looks at what is there, as the next process will. */
const checked = (place: PlaceAddress, atLeast: number) =>
  Effect.gen(function* () {
    const store = yield* (yield* CheckpointStorage).forPipeline("attacked")
    const report = yield* store.recoverLatestValidated
    const chosenId = Option.getOrElse(report.chosenId, () => 0)
    assert.isAtLeast(chosenId, atLeast)
    for (const { reason } of report.skipped)
      assert.strictEqual(reason, "sinks are pending, and nobody decided to commit")
    if (chosenId > 0) {
      const state = yield* Stream.runCollect(Option.getOrThrow(yield* store.loadStateData(chosenId)))
      assert.strictEqual(Buffer.compare(joined(state), joined(stateOf(chosenId))), 0)
    }
    return chosenId
  }).pipe(Effect.provide(storageAt(place)))

for (const kind of ["files", "sqlite", "postgres", "s3"] as const) {
  describe(`checkpoints: ${kind}`, () => {
    it.scopedLive(
      `killed at every step and at ${killsCount} moments, what was decided is there, and nothing is damaged`,
      () =>
        withChance((chance) =>
          Effect.gen(function* () {
            const place = yield* newPlace(kind)
            const given = new Set<number>()
            let decided = 0
            let found = 0
            // The gate has its share of the steps, another one in each run.
            const first = chance.int(0, windows.length - 1)
            const attacks = Array.from({ length: sized(2, windows.length) + killsCount }, (_, n) =>
              n < sized(2, windows.length)
                ? { ...windows[(first + 3 * n) % windows.length]!, checkpoint: chance.int(0, 4) }
                : undefined
            )
            for (const killAt of attacks) {
              const child = yield* Children.start(program, { place, killAt } satisfies SavingArgument)
              yield* child.ready
              if (killAt === undefined) {
                yield* Effect.sleep(chance.int(0, 400))
                yield* child.kill
              }
              yield* Effect.exit(child.ended)
              const lines = child.lines as ReadonlyArray<SavingLine>
              assert.deepStrictEqual(lines[0], { recovered: found })
              for (const line of lines) {
                if ("reserved" in line) {
                  assert.isFalse(given.has(line.reserved), `${line.reserved} is given twice`)
                  given.add(line.reserved)
                }
                if ("decided" in line) decided = line.decided
              }
              found = yield* checked(place, decided)
            }
            assert.isAbove(decided, 0)
          })
        ),
      sized(90_000, 600_000)
    )
  })
}
