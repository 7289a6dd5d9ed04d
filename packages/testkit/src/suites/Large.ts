/** As many events as one write takes, and more than one page holds. */
import { assert, describe } from "@effect/vitest"
import type { StreamAppend } from "@millrace/core/Append"
import type { ReadQuery } from "@millrace/core/EventQuery"
import * as Page from "@millrace/core/Page"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { looks } from "./Paging.js"
import type { SuiteIt } from "./Scene.js"
import { numbered, numberOf, ofScene, range, scene, slowTestMs, versionsOf } from "./Scene.js"

export const large = (it: SuiteIt): void => {
  describe("large writes and reads", () => {
    it.effect(
      "a write may have 1 000 appends and 10 000 events",
      () =>
        Effect.gen(function* () {
          const { log, stream, write } = yield* scene("large")
          const appends = range(1, 1_000).map((n): StreamAppend => ({
            streamId: stream(`${n % 250}`),
            events: numbered(10)
          }))
          const result = yield* write(appends)
          assert.strictEqual(result.appends.length, 1_000)
          const events = yield* log()
          assert.strictEqual(events.length, 10_000)
          assert.strictEqual(events[9_999]!.position, result.position)
          const versions = new Map<string, number>()
          for (const event of events) {
            assert.strictEqual(event.version, (versions.get(event.streamId) ?? 0) + 1)
            versions.set(event.streamId, event.version)
          }
          assert.strictEqual(versions.size, 250)
          assert.isTrue(Array.from(versions.values()).every((version) => version === 40))
        }),
      slowTestMs
    )

    it.effect(
      "more than 10 000 events: pages of 10 000 and streams in both directions give each event once, in order",
      () =>
        Effect.gen(function* () {
          const here = yield* scene("large")
          const { store, stream, write } = here
          const total = 10_050
          const perWrite = 2_010
          for (let n = 0; n < total; n += perWrite) {
            const events = numbered(perWrite).map((event, i) => ({ ...event, data: { n: n + i + 1 } }))
            yield* write(
              [0, 1, 2].map((k) => ({
                streamId: stream(`${k}`),
                events: events.slice((k * perWrite) / 3, ((k + 1) * perWrite) / 3)
              }))
            )
          }
          const filters = ofScene(here)
          const most = { filters, page: Page.forward({ first: 10_000 }) }
          const page = yield* looks(here, most, { numbers: range(1, 10_000), next: true, previous: false })
          const after = Option.getOrThrow(page.pageInfo.endCursor)
          const rest = { filters, page: Page.forward({ first: 10_000, after }) }
          yield* looks(here, rest, { numbers: range(10_001, total), next: false, previous: true })

          const streamed = (query: ReadQuery) =>
            Effect.map(Stream.runCollect(store.stream({ filters, ...query })), (chunk) =>
              Array.from(chunk, numberOf)
            )
          const down = range(1, total).toReversed()
          assert.deepStrictEqual(yield* streamed({}), range(1, total))
          assert.deepStrictEqual(yield* streamed({ page: Page.forward({ first: 10_000 }) }), range(1, total))
          assert.deepStrictEqual(yield* streamed({ page: Page.backward() }), down)
          const one = yield* Stream.runCollect(store.stream({ filters: [{ streamId: stream("1") }] }))
          assert.deepStrictEqual(versionsOf(Array.from(one)), range(1, total / 3))
        }),
      slowTestMs
    )
  })
}
