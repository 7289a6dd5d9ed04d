/** Saving, reading back, updating, pruning. */
import { assert, describe } from "@effect/vitest"
import type { CheckpointStoreError } from "@millrace/core/CheckpointErrors"
import { encodeManifest, inlineBytesMax } from "@millrace/core/CheckpointManifest"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { CheckpointIt } from "./CheckpointScene.js"
import { fenceOf, joined, manifest, pieces, pipeline } from "./CheckpointScene.js"
import { range, refused } from "./Scene.js"

/** Something that is tried and must be refused. */
type Attempt = Effect.Effect<unknown, CheckpointStoreError>

export const checkpointSaves = (it: CheckpointIt): void => {
  describe("saving", () => {
    it.effect("where nothing was saved there is nothing, and no error", () =>
      Effect.gen(function* () {
        const { ids, latestId, state, store } = yield* pipeline
        assert.strictEqual(yield* latestId, 0)
        assert.isTrue(Option.isNone(yield* store.loadById(1)))
        assert.deepStrictEqual(yield* store.list, [])
        assert.deepStrictEqual(yield* ids, [])
        assert.isUndefined(yield* state(1))
        assert.isFalse(yield* store.commitDecision(1))
        assert.strictEqual(yield* store.prune(3), 0)
        assert.strictEqual(yield* store.cleanupOrphans(), 0)
        const report = yield* store.recoverLatestValidated
        assert.deepStrictEqual([report.chosenId, report.skipped, report.examined], [Option.none(), [], 0])
      })
    )

    it.effect("a manifest comes back as it was, here and for others; the greatest id is the latest", () =>
      Effect.gen(function* () {
        const { again, latestId, store } = yield* pipeline
        const second = manifest(2, {
          operatorStates: { count: { _tag: "Inline", data: Uint8Array.of(0, 255, 7) } },
          sinkCommitStatuses: { table: { _tag: "Failed", reason: "no \u0000 disk ☃" } }
        })
        yield* store.save(second)
        yield* store.save(manifest(1))
        const other = yield* again
        assert.strictEqual(yield* latestId, 2)
        assert.deepStrictEqual(yield* other.loadById(2), Option.some(second))
        assert.deepStrictEqual(yield* other.loadLatest, Option.some(second))
        assert.deepStrictEqual(
          (yield* store.list).map(({ checkpointId, epoch, timestampMs }) => [
            checkpointId,
            epoch,
            timestampMs
          ]),
          [
            [1, 1, 1_000_001],
            [2, 2, 1_000_002]
          ]
        )
      })
    )

    it.effect("pipelines do not see each other's, whatever their names are", () =>
      Effect.gen(function* () {
        const { name } = yield* pipeline
        const storage = yield* CheckpointStorage
        const names = [
          name,
          `${name}/`,
          `${name}/x`,
          `../${name}`,
          `${name} ☃`,
          `${name}%`,
          name.toUpperCase()
        ]
        const stores = yield* Effect.forEach(names, (one) => storage.forPipeline(one))
        yield* Effect.forEach(stores, (store, n) =>
          store.saveWithState(manifest(n + 1), Stream.fromIterable(pieces(n + 1)))
        )
        for (const [n, store] of stores.entries()) {
          assert.deepStrictEqual((yield* store.listIds).map(Number), [n + 1], names[n]!)
          assert.isTrue((yield* store.validateCheckpoint(n + 1)).valid, names[n]!)
        }
      })
    )

    it.effect("state comes back byte by byte, whole and in parts, however it was cut", () =>
      Effect.gen(function* () {
        const { again, saveState, state, store } = yield* pipeline
        const lengths = [1, 0, 70_000, 3, 1_048_577, 2_500_000]
        const saved = yield* saveState(1, lengths)
        const bytes = joined(pieces(...lengths))
        assert.strictEqual(saved.stateLength, bytes.length)
        assert.match(saved.stateChecksum!, /^[0-9a-f]{64}$/)
        assert.isTrue(Buffer.from(yield* Effect.map(state(1), (all) => all!)).equals(Buffer.from(bytes)))
        for (const [offset, length] of [
          [0, 1],
          [1, 70_001],
          [69_999, 5],
          [bytes.length - 1, 1],
          [bytes.length - 1, 100],
          [bytes.length + 5, 100],
          [1_000_000, 1_200_000],
          [5, 0]
        ] as const) {
          const part = yield* state(1, { offset, length })
          assert.isTrue(
            Buffer.from(part!).equals(Buffer.from(bytes.subarray(offset, offset + length))),
            `${offset} +${length}`
          )
        }
        const chunks = Option.getOrThrow(yield* (yield* again).loadStateData(1))
        const longest = yield* Stream.runFold(chunks, 0, (most, { length }) => Math.max(most, length))
        assert.isAtMost(longest, 1_048_576)
        assert.deepStrictEqual((yield* store.validateCheckpoint(1)).issues, [])
      })
    )

    it.effect("a state of no bytes is a state, and no chunks are none", () =>
      Effect.gen(function* () {
        const { state, store } = yield* pipeline
        const empty = yield* store.saveWithState(manifest(1), Stream.empty)
        assert.strictEqual(empty.stateLength, 0)
        assert.deepStrictEqual(yield* state(1), new Uint8Array())
        const none = yield* store.saveWithState(manifest(2))
        assert.isUndefined(none.stateLength)
        assert.isUndefined(yield* state(2))
        for (const id of [1, 2]) assert.deepStrictEqual((yield* store.validateCheckpoint(id)).issues, [])
      })
    )

    it.effect(
      "the same again changes nothing; another one under its id is a conflict and changes nothing",
      () =>
        Effect.gen(function* () {
          const { place, saveState, state, store } = yield* pipeline
          const saved = yield* saveState(3, [100, 20])
          assert.deepStrictEqual(yield* saveState(3, [60, 60]), saved)
          assert.deepStrictEqual(yield* saveState(3, [120]), saved)
          yield* store.save(saved)
          const text = yield* place.readManifest(3)
          for (const attempt of [
            saveState(3, [121]),
            saveState(3, [120], { epoch: 4 }),
            store.save(manifest(3)),
            store.saveStateData(3, Stream.make(Uint8Array.of(1)))
          ])
            assert.strictEqual((yield* refused(attempt, "CheckpointConflict")).checkpointId, 3)
          assert.deepStrictEqual(yield* store.saveStateData(3, Stream.fromIterable(pieces(120))), {
            length: 120,
            checksum: saved.stateChecksum
          })
          assert.strictEqual(yield* place.readManifest(3), text)
          assert.deepStrictEqual(yield* state(3), joined(pieces(120)))
        })
    )

    it.effect("of many who save another one under one id at once one wins", () =>
      Effect.gen(function* () {
        const { again, place, store } = yield* pipeline
        const others = yield* Effect.all([again, again, again])
        const tries = yield* Effect.forEach(
          range(1, 12),
          (n) => Effect.either(others[n % 3]!.save(manifest(5, { timestampMs: n }))),
          { concurrency: "unbounded" }
        )
        const won = tries.flatMap((one, n) => (one._tag === "Right" ? [n + 1] : []))
        assert.strictEqual(won.length, 1)
        for (const one of tries)
          if (one._tag === "Left") assert.strictEqual(one.left._tag, "CheckpointConflict")
        assert.strictEqual(
          yield* place.readManifest(5),
          encodeManifest(manifest(5, { timestampMs: won[0]! }))
        )
        assert.strictEqual(Option.getOrThrow(yield* store.loadLatest).timestampMs, won[0])
      })
    )

    it.effect("what a piece fails with is the caller's, and nothing was saved", () =>
      Effect.gen(function* () {
        const { ids, place, saveState, store } = yield* pipeline
        yield* saveState(1, [10])
        const failing = Stream.concat(
          Stream.fromIterable(pieces(100_000)),
          Stream.fail("out of state" as const)
        )
        assert.strictEqual(yield* Effect.flip(store.saveWithState(manifest(2), failing)), "out of state")
        assert.strictEqual(yield* Effect.flip(store.saveStateData(3, failing)), "out of state")
        assert.deepStrictEqual(yield* ids, [1])
        assert.deepStrictEqual(yield* place.states, [1])
        assert.strictEqual(yield* store.cleanupOrphans(), 0)
      })
    )

    it.effect("an update replaces the manifest and leaves the pointer; there must be one", () =>
      Effect.gen(function* () {
        const { latestId, saveState, store } = yield* pipeline
        const first = yield* saveState(1, [10], { sinkCommitStatuses: { table: { _tag: "Pending" } } })
        yield* saveState(2, [10])
        const updated = { ...first, sinkCommitStatuses: { table: { _tag: "Committed" as const } } }
        yield* store.updateManifest(updated)
        assert.deepStrictEqual(yield* store.loadById(1), Option.some(updated))
        assert.strictEqual(yield* latestId, 2)
        yield* refused(store.updateManifest(manifest(3)), "CheckpointNotFound")
        assert.isTrue(Option.isNone(yield* store.loadById(3)))
      })
    )

    it.effect("ids are given once: to many at once, above what is there, and after everything is gone", () =>
      Effect.gen(function* () {
        const { again, saveState, store } = yield* pipeline
        const others = yield* Effect.all([again, again])
        const first = yield* Effect.forEach(range(1, 20), (n) => others[n % 2]!.reserveId(), {
          concurrency: "unbounded"
        })
        assert.strictEqual(new Set(first).size, 20)
        yield* saveState(90, [1])
        const second = yield* store.reserveId()
        assert.isAbove(second, 90)
        yield* saveState(second, [1])
        assert.strictEqual(yield* store.prune(0), 2)
        assert.isAbove(yield* (yield* again).reserveId(), second)
      })
    )

    it.effect("decisions are kept with their checkpoint, and for no other", () =>
      Effect.gen(function* () {
        const { again, saveState, store } = yield* pipeline
        yield* saveState(1, [1])
        yield* saveState(2, [1])
        yield* store.recordCommitDecision(1)
        yield* store.recordCommitDecision(1)
        assert.isTrue(yield* (yield* again).commitDecision(1))
        assert.isFalse(yield* store.commitDecision(2))
        yield* refused(store.recordCommitDecision(3), "CheckpointNotFound")
        yield* store.prune(1)
        assert.isFalse(yield* store.commitDecision(1))
      })
    )
  })

  describe("pruning", () => {
    it.effect("keeps the newest, and removes the sidecars of the others", () =>
      Effect.gen(function* () {
        const { ids, latestId, place, saveState, store } = yield* pipeline
        for (const id of range(1, 6)) yield* saveState(id, [id])
        assert.strictEqual(yield* store.prune(2), 4)
        assert.deepStrictEqual(yield* ids, [5, 6])
        assert.deepStrictEqual(yield* place.states, [5, 6])
        assert.strictEqual(yield* latestId, 6)
        assert.strictEqual(yield* store.prune(2), 0)
        assert.strictEqual(yield* store.prune(0), 2)
        assert.deepStrictEqual([yield* ids, yield* place.states, yield* latestId], [[], [], 0])
      })
    )

    it.effect("never a savepoint, and never a sidecar that a kept checkpoint needs", () =>
      Effect.gen(function* () {
        const { ids, place, saveState, store } = yield* pipeline
        const first = yield* saveState(1, [500])
        yield* saveState(2, [10], { savepoint: "before the move" })
        yield* saveState(3, [10])
        const { stateChecksum, stateLength } = first
        yield* saveState(4, [10], {
          operatorStates: {
            old: { _tag: "Sidecar", checkpointId: first.checkpointId, offset: 0, length: 500 },
            count: { _tag: "Sidecar", offset: 0, length: 10 }
          },
          sidecars: [{ checkpointId: first.checkpointId, length: stateLength!, checksum: stateChecksum! }]
        })
        assert.strictEqual(yield* store.prune(1), 2)
        assert.deepStrictEqual(yield* ids, [2, 4])
        assert.deepStrictEqual(yield* place.states, [1, 2, 4])
        assert.deepStrictEqual((yield* store.validateCheckpoint(4)).issues, [])
        assert.deepStrictEqual(
          (yield* store.list).map(({ savepoint }) => Option.getOrUndefined(savepoint)),
          ["before the move", undefined]
        )
        assert.strictEqual(yield* store.prune(0), 1)
        assert.deepStrictEqual([yield* ids, yield* place.states], [[2], [2]])
      })
    )

    it.effect(
      "leaves the sidecar of a checkpoint under way, and removes older ones that nothing refers to",
      () =>
        Effect.gen(function* () {
          const { place, saveState, store } = yield* pipeline
          yield* store.saveStateData(1, Stream.fromIterable(pieces(3)))
          for (const id of [2, 3]) yield* saveState(id, [id])
          yield* store.saveStateData(4, Stream.fromIterable(pieces(4)))
          assert.strictEqual(yield* store.prune(1), 1)
          assert.deepStrictEqual(yield* place.states, [3, 4])
          assert.strictEqual(yield* store.cleanupOrphans(), 1)
          assert.deepStrictEqual(yield* place.states, [3])
        })
    )
  })

  describe("fences", () => {
    it.effect(
      "whoever comes with a lower epoch than one that wrote is refused everything, and changes nothing",
      () =>
        Effect.gen(function* () {
          const { again, ids, place, saveState, store } = yield* pipeline
          const old = { fence: fenceOf(3) }
          const chunks = Stream.fromIterable(pieces(5))
          yield* store.saveWithState(manifest(1), chunks, old)
          yield* (yield* again).reserveId({ fence: fenceOf(4) })
          const text = yield* place.readManifest(1)
          const attempts: ReadonlyArray<Attempt> = [
            store.reserveId(old),
            store.save(manifest(2), old),
            store.saveWithState(manifest(2), chunks, old),
            store.saveStateData(2, chunks, old),
            store.updateManifest(manifest(1, { timestampMs: 9 }), old),
            store.recordCommitDecision(1, old),
            store.prune(0, old)
          ]
          for (const attempt of attempts)
            assert.strictEqual((yield* refused(attempt, "LeaseLost")).key, "pipeline")
          assert.strictEqual(yield* place.readManifest(1), text)
          assert.deepStrictEqual([yield* ids, yield* place.states], [[1], [1]])
          assert.isFalse(yield* store.commitDecision(1))
          yield* store.saveWithState(manifest(2), chunks, { fence: fenceOf(4) })
          yield* saveState(3, [1])
          yield* store.prune(1, { fence: fenceOf(9) })
          yield* refused(store.save(manifest(4), { fence: fenceOf(8) }), "LeaseLost")
          assert.deepStrictEqual(yield* ids, [3])
        })
    )
  })

  describe("bad input", () => {
    it.effect("is refused by the name of its field, and nothing is written", () =>
      Effect.gen(function* () {
        const storage = yield* CheckpointStorage
        const { ids, place, store } = yield* pipeline
        const big = new Uint8Array(inlineBytesMax + 1)
        const attempts: ReadonlyArray<readonly [Attempt, string]> = [
          [storage.forPipeline(""), "name"],
          [storage.forPipeline("x".repeat(256)), "name"],
          [storage.forPipeline("x", { vnodeCount: 0 }), "vnodeCount"],
          [storage.forPipeline("x", { vnodeCount: 1.5 }), "vnodeCount"],
          [store.save(manifest(0)), "manifest.checkpointId"],
          [store.save(manifest(1, { epoch: 0 })), "manifest.epoch"],
          [store.save(manifest(-1)), "manifest.checkpointId"],
          [store.save(manifest(1, { savepoint: "" })), "manifest.savepoint"],
          [store.save(manifest(1, { watermark: Number.NaN })), "manifest.watermark"],
          [
            store.save(manifest(1, { sourceWatermarks: { orders: Number.POSITIVE_INFINITY } })),
            "manifest.sourceWatermarks.orders"
          ],
          [store.save(manifest(1, { sinkEpochs: { table: -1 } })), "manifest.sinkEpochs.table"],
          [store.save(manifest(1, { sourceNames: [5 as never] })), "manifest.sourceNames.0"],
          [
            store.saveWithState(manifest(1, { operatorStates: { a: { _tag: "Inline", data: big } } })),
            `manifest.operatorStates["a"].data`
          ],
          [store.updateManifest(manifest(0)), "manifest.checkpointId"],
          [store.saveStateData(0, Stream.empty), "checkpointId"],
          [store.loadStateData(Number.NaN), "checkpointId"],
          [store.loadStateData(1, { offset: -1, length: 1 }), "range.offset"],
          [store.loadStateData(1, { offset: 0, length: 0.5 }), "range.length"],
          [store.loadById(1.5), "checkpointId"],
          [store.validateCheckpoint(0), "checkpointId"],
          [store.recordCommitDecision(0), "checkpointId"],
          [store.commitDecision(2 ** 53), "checkpointId"],
          [store.prune(-1), "keep"],
          [store.prune(1_000_001), "keep"]
        ]
        for (const [attempt, field] of attempts)
          assert.strictEqual((yield* refused(attempt, "InvalidArgument")).field, field)
        assert.deepStrictEqual([yield* ids, yield* place.states], [[], []])
      })
    )
  })
}
