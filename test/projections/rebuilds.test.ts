/**
 * A fold is rebuilt beside the live one while two processes append, one projects and readers read; the rebuilding
 * process is killed at seeded moments, around the swap above all. It builds two versions by turns, whose rows differ,
 * so that readers can tell: they never see less than before nor rows of both. Whatever is left, the next rebuild
 * comes to a plain fold of the log.
 */
import { assert, describe, it } from "@effect/vitest"
import { ModelStore } from "@millrace/core/ModelStore"
import * as Children from "@millrace/testkit/Children"
import { sized, withChance } from "@millrace/testkit/Seeds"
import * as Effect from "effect/Effect"
import { newStore } from "../consumers/Stores.js"
import { checkModels, filled, standing, until, withStore } from "./Attacks.js"
import type { RebuildingArgument, RebuildingLine } from "./programs/rebuilding.js"
import { folded } from "./Projections.js"

const projecting = new URL("./programs/projecting.ts", import.meta.url)
const appending = new URL("./programs/appending.ts", import.meta.url)
const rebuilding = new URL("./programs/rebuilding.ts", import.meta.url)

const eventsCount = sized(1_000, 10_000)
const killsCount = sized(2, 20)
const testMs = sized(180_000, 1_800_000)

for (const kind of ["postgres", "sqlite"] as const) {
  describe(`rebuilding on ${kind}`, () => {
    it.scopedLive(
      `killed at ${killsCount} moments while others append and read, there is the old model or the new one`,
      () =>
        withChance((chance) =>
          Effect.gen(function* () {
            const store = yield* newStore(kind)
            yield* filled(store, eventsCount)
            const projector = yield* Children.start(projecting, {
              store,
              name: "live",
              ttlMs: 1_000,
              batchSize: 100,
              pauseMs: 0,
              alerts: false
            })
            yield* until(
              () => (standing(projector, 0)?.handled ?? 0) >= eventsCount,
              "the live model is made"
            )
            // Takes over whenever the live model is of the second version, while the first is superseded.
            const newer = yield* Children.start(projecting, {
              store,
              name: "newer",
              ttlMs: 1_000,
              batchSize: 100,
              pauseMs: 0,
              alerts: false,
              version: 2
            })
            const writers = yield* Effect.forEach(["east", "west"], (name) =>
              Children.start(appending, { store, name })
            )
            let looks = 0
            yield* withStore(
              store,
              Effect.gen(function* () {
                const models = yield* ModelStore
                const seen = new Map<string, number>()
                const versions = new Set<number>()
                const look = Effect.gen(function* () {
                  const rows = yield* models.list(folded(), { limit: 10_000 })
                  assert.isAtLeast(rows.length, seen.size, "rows")
                  const present = [...new Set(rows.map(({ row }) => row.version))]
                  assert.strictEqual(present.length, 1, `a mix of versions ${present.join(", ")}`)
                  versions.add(present[0]!)
                  for (const { key, row } of rows) {
                    assert.isAtLeast(row.events, seen.get(key) ?? 0, key)
                    seen.set(key, row.events)
                  }
                  looks++
                  yield* Effect.sleep("2 millis")
                })
                const attacks = Effect.forEach(
                  Array.from({ length: killsCount }, (_, index) => index),
                  (index) =>
                    Effect.scoped(
                      Effect.gen(function* () {
                        const diesAt = (["beforeSwap", "inSwap", "afterSwap", undefined] as const)[index % 4]
                        const options: RebuildingArgument = {
                          store,
                          ttlMs: 500,
                          batchSize: 100,
                          diesAt,
                          diesAfterMs: chance.int(0, 8),
                          // The second of a version goes on with what the first has left.
                          version: index % 4 < 2 ? 2 : 1
                        }
                        const child = yield* Children.start(rebuilding, options)
                        yield* child.ready
                        const enough = chance.int(0, eventsCount)
                        const ended = Effect.ignore(child.ended)
                        if (diesAt === undefined)
                          yield* Effect.raceFirst(
                            until(() => processedBy(child) >= enough, "it has rebuilt so much"),
                            ended
                          )
                        else yield* ended
                        yield* child.kill
                        yield* ended
                      })
                    ),
                  { discard: true }
                )
                // A rebuild that is left alone ends, once the lease of the one that was killed runs out.
                const rebuilt = (version: number) =>
                  Effect.scoped(
                    Effect.gen(function* () {
                      const child = yield* Children.start(rebuilding, {
                        store,
                        // Nobody attacks it: a busy machine alone must not take its lease away.
                        ttlMs: 10_000,
                        batchSize: 100,
                        diesAt: undefined,
                        diesAfterMs: 0,
                        version
                      } satisfies RebuildingArgument)
                      yield* child.ended
                      assert.isTrue(
                        (child.lines as ReadonlyArray<RebuildingLine>).some((line) => "done" in line)
                      )
                      const before = looks
                      yield* until(() => looks > before + 1, "readers see it")
                      assert.isTrue(versions.has(version))
                    })
                  )
                yield* Effect.raceFirst(
                  Effect.zipRight(attacks, Effect.zipRight(rebuilt(1), rebuilt(2))),
                  Effect.forever(look)
                )
                assert.isAbove(looks, killsCount)
                for (const writer of writers) {
                  yield* writer.say("stop")
                  yield* writer.ended
                }
              })
            )
            yield* projector.say("stop")
            yield* projector.ended
            assert.strictEqual(standing(projector, 0)?.failure, undefined)
            yield* newer.say("stop")
            yield* newer.ended
            yield* checkModels(store, 2)
          })
        ),
      testMs
    )
  })
}

// ---- internal ----

const processedBy = (child: Children.Child): number =>
  (child.lines as ReadonlyArray<RebuildingLine>).reduce(
    (most, line) => ("processed" in line ? Math.max(most, line.processed) : most),
    0
  )
