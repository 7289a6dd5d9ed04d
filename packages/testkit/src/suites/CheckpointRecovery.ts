/** What is found when something is not as it was saved, and what is there after a crash between any two steps. */
import { assert, describe } from "@effect/vitest"
import { CheckpointId, encodeManifest, vnodeCountDefault } from "@millrace/core/CheckpointManifest"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import type { CheckpointStep } from "@millrace/core/CheckpointStoreBackend"
import { CheckpointSteps } from "@millrace/core/CheckpointStoreBackend"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { CheckpointIt } from "./CheckpointScene.js"
import { joined, manifest, pieces, pipeline } from "./CheckpointScene.js"
import { range, refused } from "./Scene.js"

/** Manifests as earlier code wrote them, and what they lack. */
const earlier = {
  "of the first four fields": `{"version":1,"checkpointId":7,"epoch":3,"timestampMs":5}`,
  "of a version before, with a field that is no more": `{"version":0,"checkpointId":7,"epoch":3,"timestampMs":5,"tableOffsets":{"a":"1"},"sourceNames":["orders"],"vnodeCount":64}`
}

export const checkpointRecovery = (it: CheckpointIt): void => {
  describe("what earlier code wrote", () => {
    for (const [name, text] of Object.entries(earlier))
      it.effect(`a manifest ${name} is read, and what it lacks has its default`, () =>
        Effect.gen(function* () {
          const { place, store } = yield* pipeline
          yield* place.createManifest(7, text, undefined)
          yield* place.point(7, undefined)
          const read = Option.getOrThrow(yield* store.loadLatest)
          assert.deepStrictEqual(
            [
              read.checkpointId,
              read.epoch,
              read.timestampMs,
              read.sourceOffsets,
              read.operatorStates,
              read.sidecars
            ],
            [CheckpointId.make(7), 3, 5, {}, {}, []]
          )
          assert.include([vnodeCountDefault, 64], read.vnodeCount)
          assert.isTrue((yield* store.validateCheckpoint(7)).valid)
          assert.deepStrictEqual(
            (yield* store.recoverLatestValidated).chosenId,
            Option.some(read.checkpointId)
          )
        })
      )
  })

  describe("validation", () => {
    it.effect("everything that is wrong with a checkpoint is a result, and says what", () =>
      Effect.gen(function* () {
        const { place, replaceState, saveState, store } = yield* pipeline
        const reasons = (id: number) =>
          Effect.map(store.validateCheckpoint(id), ({ issues, valid }) => [
            valid,
            issues.map(({ fatal, reason }) => `${fatal ? "!" : ""}${reason}`).join("; ")
          ])
        const text = (fields: object) =>
          JSON.stringify({ ...(JSON.parse(encodeManifest(manifest(1))) as object), ...fields })
        assert.deepStrictEqual(yield* reasons(1), [false, "!the manifest is missing"])
        for (const [id, stored, expected] of [
          [1, "{", /^!the manifest cannot be read/],
          [2, "", /^!the manifest cannot be read/],
          [3, text({ checkpointId: "x" }), /^!the manifest cannot be read: checkpointId/],
          [4, text({ checkpointId: 0 }), /^!its id is 0$/],
          [5, text({ checkpointId: 5, epoch: 0 }), /^!its epoch is 0$/],
          [6, text({ checkpointId: 1 }), /^!it is the manifest of checkpoint 1$/],
          [7, text({ checkpointId: 7, stateLength: 3 }), /^!the sidecar is missing$/],
          [8, text({ checkpointId: 8, stateChecksum: "00" }), /^!the sidecar is missing$/],
          [
            9,
            text({
              checkpointId: 9,
              operatorStates: { a: { _tag: "Sidecar", checkpointId: 1, offset: 0, length: 1 } }
            }),
            /^!the state "a" is in a sidecar that the manifest does not list$/
          ],
          [
            10,
            text({ checkpointId: 10, sidecars: [{ checkpointId: 99, length: 1, checksum: "00" }] }),
            /^!the sidecar of checkpoint 99 is missing$/
          ]
        ] as const) {
          yield* place.createManifest(id, stored, undefined)
          const [valid, found] = yield* reasons(id)
          assert.isFalse(valid, stored)
          assert.match(String(found), expected)
        }
        for (const [id, fields, expected] of [
          [11, { vnodeCount: 128 }, "it has 128 vnodes, and the pipeline 256"],
          [12, { timestampMs: 0 }, "it has no time"],
          [13, { sinkCommitStatuses: {} }, `sink "table" has an epoch and no status`],
          [14, { sourceNames: [] }, `source "orders" has offsets and is not named`]
        ] as const) {
          yield* store.save(manifest(id, fields))
          assert.deepStrictEqual(yield* reasons(id), [true, expected])
        }
        for (const [id, damage, expected] of [
          [21, replaceState(21, joined(pieces(99))), "!the sidecar has 99 bytes instead of 100"],
          [
            22,
            replaceState(22, new Uint8Array(100)),
            "!the sidecar is not the one that was saved: its checksum is another one"
          ],
          [23, place.removeState(23, undefined), "!the sidecar is missing"]
        ] as const) {
          yield* saveState(id, [60, 40])
          yield* damage
          assert.deepStrictEqual(yield* reasons(id), [false, expected])
        }
        yield* saveState(24, [10], {
          operatorStates: { count: { _tag: "Sidecar", offset: 5, length: 6 } }
        })
        assert.deepStrictEqual(yield* reasons(24), [
          false,
          `!the state "count" reaches beyond the end of its sidecar`
        ])
        const inline = yield* store.saveWithState(
          manifest(25, { operatorStates: { a: { _tag: "Inline", data: Uint8Array.of(1, 2, 3) } } })
        )
        yield* store.updateManifest({
          ...inline,
          operatorStates: { a: { _tag: "Inline", data: Uint8Array.of(1, 2, 4) } }
        })
        assert.deepStrictEqual(yield* reasons(25), [
          false,
          "!the states in the manifest are not those that were saved"
        ])
      })
    )

    it.effect("a manifest that cannot be read is told by reads of it, and left out of the list", () =>
      Effect.gen(function* () {
        const { ids, place, saveState, store } = yield* pipeline
        for (const id of [1, 2, 3]) yield* saveState(id, [id])
        yield* place.replaceManifest(3, `{"version":1,`, undefined)
        assert.strictEqual((yield* refused(store.loadById(3), "Serde")).checkpointId, 3)
        yield* refused(store.loadLatest, "Serde")
        assert.deepStrictEqual(yield* ids, [1, 2, 3])
        assert.deepStrictEqual(
          (yield* store.list).map(({ checkpointId }) => Number(checkpointId)),
          [1, 2]
        )
        assert.strictEqual(yield* store.prune(1), 2)
        assert.deepStrictEqual(yield* ids, [3])
      })
    )
  })

  describe("recovery", () => {
    it.effect(
      "goes back to the newest that can be started from, and says what was wrong with the others",
      () =>
        Effect.gen(function* () {
          const { latestId, place, replaceState, saveState, store } = yield* pipeline
          const pending = { sinkCommitStatuses: { table: { _tag: "Pending" } } } as const
          yield* saveState(1, [10])
          yield* saveState(2, [20], pending)
          yield* store.recordCommitDecision(2)
          yield* saveState(3, [30], pending)
          yield* saveState(4, [40])
          yield* replaceState(4, new Uint8Array(40))
          yield* saveState(5, [50])
          yield* place.removeState(5, undefined)
          yield* saveState(6, [60])
          yield* place.replaceManifest(6, "nothing", undefined)
          const report = yield* store.recoverLatestValidated
          assert.deepStrictEqual(Option.map(report.chosenId, Number), Option.some(2))
          assert.strictEqual(Option.getOrThrow(report.chosen).stateLength, 20)
          assert.deepStrictEqual(
            report.skipped.map(({ checkpointId }) => Number(checkpointId)),
            [6, 5, 4, 3]
          )
          for (const [n, word] of ["cannot be read", "missing", "checksum", "pending"].entries())
            assert.include(report.skipped[n]!.reason, word)
          assert.strictEqual(report.examined, 5)
          // It only looks.
          yield* refused(store.loadLatest, "Serde")
          yield* place.replaceManifest(6, encodeManifest(manifest(6)), undefined)
          assert.strictEqual(yield* latestId, 6)
        })
    )

    it.effect("where nothing can be started from it begins anew, and still says why", () =>
      Effect.gen(function* () {
        const { place, saveState, store } = yield* pipeline
        for (const id of [1, 2]) {
          yield* saveState(id, [10])
          yield* place.removeState(id, undefined)
        }
        const report = yield* store.recoverLatestValidated
        assert.isTrue(Option.isNone(report.chosen))
        assert.deepStrictEqual([report.examined, report.skipped.length], [2, 2])
      })
    )
  })

  describe("crashes", () => {
    const steps: ReadonlyArray<readonly ["before" | "after", CheckpointStep]> = [
      ["before", "sidecar"],
      ["after", "sidecar"],
      ["before", "manifest"],
      ["after", "manifest"],
      ["before", "pointer"],
      ["after", "pointer"]
    ]
    for (const [at, step] of steps)
      it.effect(
        `${at} the ${step}: the checkpoint before or the new one is there, whole, and the save can be repeated`,
        () =>
          Effect.gen(function* () {
            const { again, latestId, saveState, state } = yield* pipeline
            yield* saveState(1, [1_000])
            const crashed = yield* Effect.exit(
              Effect.provideService(saveState(2, [2_000]), CheckpointSteps, (where, which) =>
                where === at && which === step ? Effect.die("crash") : Effect.void
              )
            )
            assert.isTrue(Exit.isFailure(crashed))
            const isPointed = at === "after" && step === "pointer"
            const isSaved = isPointed || step === "pointer" || (at === "after" && step === "manifest")
            assert.strictEqual(yield* latestId, isPointed ? 2 : 1)
            const next = yield* again
            const report = yield* next.recoverLatestValidated
            assert.deepStrictEqual(Option.map(report.chosenId, Number), Option.some(isSaved ? 2 : 1))
            assert.deepStrictEqual(report.skipped, [])
            assert.strictEqual((yield* next.validateCheckpoint(1)).valid, true)
            yield* saveState(2, [2_000])
            assert.strictEqual(yield* latestId, 2)
            assert.deepStrictEqual(yield* state(2), joined(pieces(2_000)))
            assert.strictEqual(yield* next.cleanupOrphans(), 0)
          })
      )

    it.effect("between sidecar and manifest, and another state at the next attempt: that one is saved", () =>
      Effect.gen(function* () {
        const { saveState, state, store } = yield* pipeline
        yield* Effect.exit(
          Effect.provideService(saveState(1, [2_000]), CheckpointSteps, (where, which) =>
            where === "after" && which === "sidecar" ? Effect.die("crash") : Effect.void
          )
        )
        yield* saveState(1, [10])
        assert.deepStrictEqual(yield* state(1), joined(pieces(10)))
        assert.deepStrictEqual((yield* store.validateCheckpoint(1)).issues, [])
      })
    )

    it.effect("between decision and update the decision stands", () =>
      Effect.gen(function* () {
        const { again, saveState, store } = yield* pipeline
        const first = yield* saveState(1, [10], { sinkCommitStatuses: { table: { _tag: "Pending" } } })
        yield* store.recordCommitDecision(1)
        const update = store.updateManifest({
          ...first,
          sinkCommitStatuses: { table: { _tag: "Committed" } }
        })
        for (const where of ["before", "after"] as const) {
          yield* Effect.exit(
            Effect.provideService(update, CheckpointSteps, (at, step) =>
              at === where && step === "update" ? Effect.die("crash") : Effect.void
            )
          )
          const report = yield* (yield* again).recoverLatestValidated
          assert.deepStrictEqual(Option.map(report.chosenId, Number), Option.some(1))
          assert.isTrue(yield* store.commitDecision(1))
        }
        assert.strictEqual(
          Option.getOrThrow(yield* store.loadById(1)).sinkCommitStatuses.table!._tag,
          "Committed"
        )
      })
    )
  })

  describe("many", () => {
    it.effect("a hundred checkpoints of several pipelines, saved and pruned at once", () =>
      Effect.gen(function* () {
        const { name } = yield* pipeline
        const storage = yield* CheckpointStorage
        yield* Effect.forEach(
          range(1, 4),
          (n) =>
            Effect.gen(function* () {
              const store = yield* storage.forPipeline(`${name}-${n}`)
              for (let i = 0; i < 25; i++) {
                const id = yield* store.reserveId()
                yield* store.save(manifest(id))
                yield* store.prune(3)
              }
              assert.strictEqual((yield* store.listIds).length, 3)
              assert.deepStrictEqual(
                Option.map(yield* store.loadLatest, ({ checkpointId }) => checkpointId),
                Option.some((yield* store.listIds).at(-1)!)
              )
            }),
          { concurrency: "unbounded", discard: true }
        )
      })
    )
  })
}
