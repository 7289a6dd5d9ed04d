/** Many callers at once: no version twice, no gap, no deadlock, one winner of each race, readers that miss nothing. */
import { assert, describe } from "@effect/vitest"
import type { RecordedEvent } from "@millrace/core/Event"
import * as Page from "@millrace/core/Page"
import { start } from "@millrace/core/Position"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { SuiteIt } from "./Scene.js"
import {
  happened,
  numbered,
  ofScene,
  position,
  range,
  refused,
  scene,
  slowTestMs,
  version,
  versionsOf
} from "./Scene.js"

const unbounded = { concurrency: "unbounded" } as const

export const concurrency = (it: SuiteIt): void => {
  describe("concurrency", () => {
    it.effect(
      "32 fibers that append to one stream at once give versions 1 to n without a gap",
      () =>
        Effect.gen(function* () {
          const { reached, store, stream, streamOf } = yield* scene("gapless")
          const results = yield* Effect.forEach(
            range(0, 31),
            (fiber) =>
              Effect.forEach(range(1, 5), (turn) =>
                store.write({
                  streamId: stream("a"),
                  events: numbered(turn, "E", { tags: [`${fiber}`] }),
                  expected: "any"
                })
              ),
            unbounded
          )
          const written = results.flat()
          yield* reached(Math.max(...written.map((result) => result.position)))
          const events = yield* streamOf(stream("a"))
          assert.deepStrictEqual(versionsOf(events), range(1, 32 * 15))
          assert.strictEqual(yield* store.streamVersion(stream("a")), 32 * 15)
          for (let i = 1; i < events.length; i++) assert.isAbove(events[i]!.position, events[i - 1]!.position)
          // Each caller was told the truth about its own events.
          const byId = new Map(events.map((event) => [event.id, event]))
          for (const { appends } of written) {
            const { firstPosition, firstVersion, ids, position, version } = appends[0]!
            const own = ids.map((id) => byId.get(id)!)
            assert.deepStrictEqual(versionsOf(own), range(firstVersion, version))
            assert.strictEqual(own[0]!.position, firstPosition)
            assert.strictEqual(own[own.length - 1]!.position, position)
          }
        }),
      slowTestMs
    )

    it.effect(
      "of 16 racing appends that expect the same version exactly one wins, round after round",
      () =>
        Effect.gen(function* () {
          const { reached, store, stream, streamOf } = yield* scene("race")
          for (const round of range(0, 9)) {
            const expected = round === 0 ? ("empty" as const) : version(round)
            const results = yield* Effect.forEach(
              range(1, 16),
              () => Effect.either(store.write({ streamId: stream("a"), events: [happened()], expected })),
              unbounded
            )
            const won = results.flatMap((result) => (result._tag === "Right" ? [result.right] : []))
            assert.strictEqual(won.length, 1, `winners of round ${round}`)
            yield* reached(won[0]!.position)
            for (const result of results) {
              if (result._tag === "Right") continue
              assert.strictEqual(result.left._tag, "InvalidOriginalVersion")
              if (result.left._tag === "InvalidOriginalVersion")
                assert.strictEqual(result.left.actual, round + 1)
            }
          }
          assert.deepStrictEqual(versionsOf(yield* streamOf(stream("a"))), range(1, 10))
        }),
      slowTestMs
    )

    it.effect(
      "writes to the same streams in opposite order never deadlock",
      () =>
        Effect.gen(function* () {
          const { store, stream } = yield* scene("opposite")
          const append = (id: string) => ({ streamId: stream(id), events: [happened()] })
          yield* Effect.forEach(
            range(1, 60),
            (n) =>
              store.write(
                n % 2 === 0
                  ? [append("a"), append("b"), append("c")]
                  : [append("c"), append("b"), append("a")]
              ),
            unbounded
          )
          for (const id of ["a", "b", "c"]) assert.strictEqual(yield* store.streamVersion(stream(id)), 60)
        }),
      slowTestMs
    )

    it.effect(
      "a write that is refused among many others fails alone",
      () =>
        Effect.gen(function* () {
          const { store, stream } = yield* scene("alone")
          yield* store.deleteStream(stream("dead"), { tombstone: true })
          const results = yield* Effect.forEach(
            range(0, 79),
            (n) => {
              const events = [happened()]
              const write =
                n % 4 === 0
                  ? store.write({ streamId: stream("dead"), events })
                  : n % 4 === 1
                    ? store.write([
                        { streamId: stream("busy"), events },
                        { streamId: stream(`new ${n}`), events, expected: "exists" }
                      ])
                    : store.write({ streamId: stream("busy"), events })
              return Effect.either(write)
            },
            unbounded
          )
          const tags = results.map((result) => (result._tag === "Right" ? "Right" : result.left._tag))
          assert.deepStrictEqual(
            tags,
            range(0, 79).map((n) => ["StreamDeleted", "InvalidOriginalVersion", "Right", "Right"][n % 4])
          )
          assert.strictEqual(yield* store.streamVersion(stream("busy")), 40)
        }),
      slowTestMs
    )

    it.effect(
      "a reader that follows the log while 8 writers append misses nothing and sees nothing twice",
      () =>
        Effect.gen(function* () {
          const here = yield* scene("tail")
          const { reached, store, stream } = here
          const filters = ofScene(here)
          const total = 8 * 25 * 2
          const reader = yield* Effect.fork(
            Effect.gen(function* () {
              const seen: Array<RecordedEvent> = []
              let after = start
              while (seen.length < total) {
                const page = yield* store.read({ filters, page: Page.forward({ first: 7, after }) })
                seen.push(...Page.nodes(page))
                if (Option.isSome(page.pageInfo.endCursor)) after = page.pageInfo.endCursor.value
                else yield* Effect.sleep("1 millis")
              }
              return seen
            })
          )
          yield* Effect.forEach(
            range(1, 8),
            (writer) =>
              Effect.forEach(range(1, 25), () =>
                store.write([
                  { streamId: stream(`own ${writer}`), events: [happened()] },
                  { streamId: stream("shared"), events: [happened()] }
                ])
              ),
            unbounded
          )
          const seen = yield* Effect.timeout(Fiber.join(reader), "60 seconds")
          assert.strictEqual(new Set(seen.map((event) => event.id)).size, total)
          const versions = new Map<string, number>()
          for (const { streamId, version } of seen) {
            assert.strictEqual(version, (versions.get(streamId) ?? 0) + 1, streamId)
            versions.set(streamId, version)
          }
          assert.strictEqual(versions.get(stream("shared")), total / 2)
          yield* reached(seen[seen.length - 1]!.position)
        }),
      slowTestMs
    )

    it.effect("a write that is interrupted is there as a whole or not at all", () =>
      Effect.gen(function* () {
        const { id, store, stream } = yield* scene("interrupted")
        for (const n of range(1, 20)) {
          const ids = [id(), id()]
          const [a, b] = [stream(`a ${n}`), stream(`b ${n}`)]
          const appends = [
            { streamId: a, events: [happened("A", { id: ids[0] })] },
            { streamId: b, events: [happened("B", { id: ids[1] })] }
          ]
          const fiber = yield* Effect.fork(store.write(appends))
          if (n % 2 === 0) yield* Effect.yieldNow()
          if (n % 3 === 0) yield* Effect.sleep("1 millis")
          yield* Fiber.interrupt(fiber)
          // Whatever became of it, the same write again gives the one result.
          const result = yield* store.write(appends)
          assert.deepStrictEqual(
            result.appends.map(({ version }) => Number(version)),
            [1, 1]
          )
          assert.deepStrictEqual([yield* store.streamVersion(a), yield* store.streamVersion(b)], [1, 1])
        }
      })
    )

    it.effect(
      "a deletion that races with an append on the same expected version: exactly one takes effect",
      () =>
        Effect.gen(function* () {
          const { append, store, stream, streamOf } = yield* scene("delete")
          for (const round of range(1, 10)) {
            const streamId = stream(`${round}`)
            yield* append(streamId, "A", "B")
            const expected = version(2)
            const [deleted, appended] = yield* Effect.all(
              [
                Effect.either(store.deleteStream(streamId, { expected, tombstone: true })),
                Effect.either(store.write({ streamId, events: [happened()], expected }))
              ],
              unbounded
            )
            if (deleted._tag === "Right") {
              assert.strictEqual(deleted.right, 2)
              assert.strictEqual(appended._tag, "Left")
              assert.deepStrictEqual(yield* streamOf(streamId), [])
              yield* refused(store.write({ streamId, events: [happened()] }), "StreamDeleted")
            } else {
              assert.strictEqual(deleted.left._tag, "InvalidOriginalVersion")
              assert.strictEqual(appended._tag, "Right")
              assert.deepStrictEqual(versionsOf(yield* streamOf(streamId)), [1, 2, 3])
            }
          }
        })
    )

    it.effect("the head never falls and comes to everything that was written, while 16 fibers append", () =>
      Effect.gen(function* () {
        const { reached, store, stream } = yield* scene("head")
        const heads: Array<number> = []
        const watcher = yield* Effect.fork(
          Effect.forever(
            Effect.tap(store.head, (head) =>
              Effect.zipRight(
                Effect.sync(() => heads.push(head)),
                Effect.sleep(1)
              )
            )
          )
        )
        const results = yield* Effect.forEach(
          range(1, 64),
          (n) => store.write({ streamId: stream(`${n % 16}`), events: numbered(2) }),
          { concurrency: 16 }
        )
        const last = Math.max(...results.map((result) => result.position))
        yield* reached(last)
        yield* Fiber.interrupt(watcher)
        for (let i = 1; i < heads.length; i++) assert.isAtLeast(heads[i]!, heads[i - 1]!)
        assert.isAtLeast(yield* store.head, position(last))
      })
    )
  })
}
