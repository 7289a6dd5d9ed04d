/** The rules of every store of operator checkpoints, through the real client over HTTP; and a service that fails. */
import { assert, describe, it } from "@effect/vitest"
import { manifestOf } from "@millrace/core/CheckpointManifest"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import * as S3CheckpointStore from "@millrace/s3/S3CheckpointStore"
import { checkpointStoreSuite } from "@millrace/testkit/CheckpointStoreSuite"
import { joined, pieces } from "@millrace/testkit/suites/CheckpointScene"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as ObjectServer from "./ObjectServer.js"

checkpointStoreSuite(
  "s3",
  Layer.unwrapScoped(
    Effect.map(ObjectServer.start, ({ url }) => S3CheckpointStore.places(ObjectServer.optionsAt(url)))
  )
)

const manifest = (checkpointId: number) => manifestOf({ checkpointId, epoch: checkpointId, timestampMs: 1 })

/** A server, and a store on it. */
const scene = (maxAttempts?: number) =>
  Effect.gen(function* () {
    const server = yield* ObjectServer.start
    const context = yield* Layer.build(
      S3CheckpointStore.layer(ObjectServer.optionsAt(server.url, maxAttempts))
    )
    const store = yield* Effect.provide(
      Effect.flatMap(CheckpointStorage, (storage) => storage.forPipeline("p")),
      context
    )
    return { server, store }
  })

describe("a service that fails", () => {
  it.scopedLive(
    "what took effect although its answer was lost is sent again, and found to be one's own",
    () =>
      Effect.gen(function* () {
        const { server, store } = yield* scene()
        for (const when of ["before", "after"] as const) {
          server.fail("PUT", when, 2)
          const given = yield* store.reserveId()
          server.fail("PUT", "after", 2)
          yield* store.saveWithState(manifest(given), Stream.fromIterable(pieces(1_000)))
          server.fail("PUT", "after", 1)
          yield* store.recordCommitDecision(given)
          assert.isTrue(yield* store.commitDecision(given))
          assert.deepStrictEqual(yield* store.loadLatest, yield* store.loadById(given))
        }
        const ids = yield* store.listIds
        assert.strictEqual(new Set(ids).size, 2)
      })
  )

  it.scopedLive(
    "one that stays away is a transient error without a secret in it, and nothing is half there",
    () =>
      Effect.gen(function* () {
        const { server, store } = yield* scene(1)
        yield* store.saveWithState(manifest(1), Stream.fromIterable(pieces(10)))
        const large = Stream.range(0, 10, 1).pipe(Stream.map((n) => new Uint8Array(2_000_000).fill(n)))
        const writes = [...server.log]
        server.fail("PUT", "before", 1)
        const error = yield* Effect.flip(store.saveWithState(manifest(2), large))
        assert.isTrue(error._tag === "StoreUnavailable" && error.transient)
        assert.notInclude(String(error), "not to be told")
        assert.deepStrictEqual(server.log, writes)
        assert.strictEqual(server.openUploads(), 0)
        yield* store.saveWithState(manifest(2), large)
        assert.isTrue((yield* store.validateCheckpoint(2)).valid)
      })
  )

  it.scopedLive("a large state is sent in parts and comes back as it was, whole and in parts", () =>
    Effect.gen(function* () {
      const { server, store } = yield* scene()
      const lengths = [8_388_608, 8_388_608, 1]
      yield* store.saveWithState(manifest(1), Stream.fromIterable(pieces(...lengths)))
      const whole = joined(pieces(...lengths))
      const read = (range?: { readonly offset: number; readonly length: number }) =>
        Effect.map(
          Effect.flatMap(store.loadStateData(1, range), (chunks) =>
            Stream.runCollect(Option.getOrThrow(chunks))
          ),
          joined
        )
      assert.strictEqual(Buffer.compare(yield* read(), whole), 0)
      const part = yield* read({ offset: 8_388_600, length: 20 })
      assert.strictEqual(Buffer.compare(part, whole.subarray(8_388_600, 8_388_620)), 0)
      assert.strictEqual(server.openUploads(), 0)
    })
  )
})
