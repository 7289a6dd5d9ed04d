/** Wrong fields of events: refused by their paths, and nothing is written. */
import { assert, describe } from "@effect/vitest"
import type { NewEvent } from "@millrace/core/Event"
import * as Effect from "effect/Effect"
import { badTexts } from "./OddTexts.js"
import type { Scene, SuiteIt } from "./Scene.js"
import { happened, invalidAppends, numbered, refused, scene, slowTestMs, unchanged, wrong } from "./Scene.js"

/** Each event stands second in an append that stands second in its write. */
const badEvents = (here: Scene, cases: ReadonlyArray<readonly [field: string, event: unknown]>) =>
  invalidAppends(
    here,
    cases.map(([field, event]) => [
      `appends[1].events[1]${field}`,
      { streamId: here.stream("bad"), events: [happened(), wrong<NewEvent>(event)] }
    ])
  )

const cycle: Record<string, unknown> = {}
cycle["self"] = cycle

/** Texts that are there, but are no type. */
const nonEmpty = badTexts.filter((text) => text !== "")

export const badEventFields = (it: SuiteIt): void => {
  describe("bad events", () => {
    it.effect("an event with a wrong field is refused by the path of the field", () =>
      Effect.gen(function* () {
        const here = yield* scene("event")
        const noEvents = [null, undefined, "Happened", 5]
        const noData = [undefined, 1n, () => 1, Symbol("s"), cycle, { deep: [1n] }]
        const noMetadata = [null, [], "text", 5, cycle, { big: 1n }, { toJSON: () => "text" }]
        const noTexts = [null, 5, {}, ["a"]]
        yield* badEvents(here, [
          ...noEvents.map((event) => ["", event] as const),
          ...nonEmpty.map((type) => [".type", { type, data: 1 }] as const),
          [".data", { type: "E" }],
          ...noData.map((data) => [".data", { type: "E", data }] as const),
          ...noMetadata.map((metadata) => [".metadata", { type: "E", data: 1, metadata }] as const),
          ...noTexts.flatMap((id) => [
            [".metadata.correlationId", { type: "E", data: 1, metadata: { correlationId: id } }] as const,
            [".metadata.causationId", { type: "E", data: 1, metadata: { causationId: id } }] as const
          ])
        ])
      })
    )

    it.effect("tags that no store keeps are refused, and more than 64", () =>
      Effect.gen(function* () {
        const here = yield* scene("tags")
        const lists = [null, "text", 5, {}, Array.from({ length: 65 }, (_, i) => `${i}`)]
        yield* badEvents(here, [
          ...badTexts.map((tag) => [".tags[1]", { type: "E", data: 1, tags: ["good", tag] }] as const),
          ...lists.map((tags) => [".tags", { type: "E", data: 1, tags }] as const)
        ])
      })
    )

    it.effect("an event id that has not the form is refused, and one that stands twice in a write", () =>
      Effect.gen(function* () {
        const here = yield* scene("ids")
        const { stream } = here
        const good: string = here.id()
        const bad = [
          "",
          good.slice(1),
          `${good}0`,
          good.toLowerCase(),
          `8${good.slice(1)}`,
          `${good.slice(0, -1)}U`,
          `${good.slice(0, -1)}I`,
          `${good.slice(0, -1)}\n`,
          `${good}\n`,
          "018f3f8a-7b0c-7000-8000-000000000000",
          null,
          5,
          {}
        ]
        yield* badEvents(
          here,
          bad.map((id) => [".id", { type: "E", data: 1, id }])
        )
        const id = here.id()
        const twice = { streamId: stream("bad"), events: [happened("A", { id }), happened("B", { id })] }
        yield* invalidAppends(here, [["appends[1].events[1].id", twice]])
        const apart = here.store.write([
          { streamId: stream("good"), events: [happened("A", { id })] },
          { streamId: stream("bad"), events: [happened("B", { id })] }
        ])
        const error = yield* unchanged(here, [stream("good")], refused(apart, "InvalidArgument"))
        assert.strictEqual(error.field, "appends[1].events[0].id")
      })
    )

    it.effect(
      "an event of more bytes than the store takes is refused; one of just as many is kept",
      () =>
        Effect.gen(function* () {
          const here = yield* scene("bytes")
          const { store, stream, streamOf, write } = here
          const most = 1_048_576
          // In JSON: two quotes around the text; é is two bytes, the emoji four, the quote as \" two.
          const fits: ReadonlyArray<readonly [string, NewEvent]> = [
            ["letters", happened("E", { data: "x".repeat(most - 2) })],
            ["two-byte letters", happened("E", { data: "é".repeat((most - 2) / 2) })],
            ["emoji", happened("E", { data: `🦄${"🦄".repeat((most - 8) / 4)}xx` })],
            ["quotes", happened("E", { data: '"'.repeat((most - 2) / 2) })],
            ["metadata", happened("E", { data: 1, metadata: { m: "x".repeat(most - 1 - 8) } })]
          ]
          for (const [index, [what, event]] of fits.entries()) {
            const bytes = (value: unknown) => Buffer.byteLength(JSON.stringify(value))
            assert.strictEqual(bytes(event.data) + (event.metadata ? bytes(event.metadata) : 0), most, what)
            yield* write({ streamId: stream(`${index}`), events: [event] })
            const [kept] = yield* streamOf(stream(`${index}`))
            assert.isTrue(kept?.data === event.data, what)
            const larger = event.metadata
              ? { ...event, data: 10 }
              : { ...event, data: `${event.data as string}x`, metadata: undefined }
            const refusal = refused(
              store.write([
                { streamId: stream("good"), events: numbered(1) },
                { streamId: stream("bad"), events: [happened(), larger] }
              ]),
              "EventTooLarge"
            )
            const error = yield* refusal
            assert.strictEqual(yield* store.streamVersion(stream("good")), 0)
            assert.strictEqual(yield* store.streamVersion(stream("bad")), 0)
            assert.strictEqual(error.streamId, stream("bad"))
            assert.strictEqual(error.index, 1)
            assert.strictEqual(error.bytes, most + 1)
            assert.strictEqual(error.maxBytes, most)
          }
        }),
      slowTestMs
    )
  })
}
