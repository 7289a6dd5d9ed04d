/** What a store says before anything was written to it. */
import { assert, describe } from "@effect/vitest"
import { EventStore } from "@millrace/core/EventStore"
import * as Page from "@millrace/core/Page"
import * as Scoped from "@millrace/core/Scoped"
import { position, scene, type Stores, type SuiteIt } from "./Scene.js"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** `layer` is built anew for each test here, and must then give an empty log. */
export const emptyLog = <E>(it: SuiteIt, layer: Layer.Layer<Stores, E>): void => {
  describe("an empty log", () => {
    const test = <A, E2>(name: string, effect: Effect.Effect<A, E2, Stores>) =>
      it.effect(name, () => Scoped.scoped(Effect.provide(effect, Layer.fresh(layer))), 60_000)

    test(
      "has head 0, no streams and pages without rows or neighbours",
      Effect.gen(function* () {
        const store = yield* EventStore
        assert.strictEqual(yield* store.head, 0)
        assert.deepStrictEqual(yield* store.listStreams({ limit: 10 }), [])
        assert.strictEqual(yield* store.streamVersion("a/b"), 0)
        const none = {
          edges: [],
          pageInfo: {
            hasNextPage: false,
            hasPreviousPage: false,
            startCursor: Option.none(),
            endCursor: Option.none()
          }
        }
        for (const page of [
          undefined,
          Page.forward(),
          Page.forward({ after: position(5) }),
          Page.backward(),
          Page.backward({ before: position(5) })
        ]) {
          assert.deepStrictEqual(yield* store.read({ page }), none)
        }
        assert.strictEqual((yield* Stream.runCollect(store.stream())).length, 0)
        assert.strictEqual((yield* Stream.runCollect(store.stream({ page: Page.backward() }))).length, 0)
        assert.strictEqual(yield* store.deleteStream("a/b"), 0)
        assert.strictEqual(yield* store.archiveStream("a/b"), 0)
        assert.strictEqual(yield* store.eraseEvents({ category: "a" }, null), 0)
      })
    )

    test(
      "keeps head 0 when a write is refused, and gives all of the log once there is one",
      Effect.gen(function* () {
        const { append, store, stream } = yield* scene("first")
        const refused = yield* Effect.either(
          store.write({ streamId: stream("a"), events: [{ type: "A", data: 1 }], expected: "exists" })
        )
        assert.isTrue(refused._tag === "Left")
        assert.strictEqual(yield* store.head, 0)
        const { position: last } = yield* append(stream("a"), "A", "B")
        assert.strictEqual(yield* store.head, last)
        const page = yield* store.read()
        assert.strictEqual(page.edges.length, 2)
        assert.strictEqual(page.edges[0]!.cursor > 0, true)
        assert.isFalse(page.pageInfo.hasNextPage || page.pageInfo.hasPreviousPage)
        assert.strictEqual((yield* store.listStreams({ limit: 10 })).length, 1)
        assert.strictEqual((yield* Stream.runCollect(store.stream())).length, 2)
        yield* store.deleteStream(stream("a"))
        assert.strictEqual(yield* store.head, last)
        assert.deepStrictEqual((yield* store.read()).edges, [])
      })
    )
  })
}
