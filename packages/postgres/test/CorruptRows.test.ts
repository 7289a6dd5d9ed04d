/**
 * Rows that somebody broke by hand, through the door that repairs use. A reader is told which one, as a
 * `SerializationError` that names the position, and what does not meet the row goes on.
 */
import { assert, describe } from "@effect/vitest"
import * as Page from "@millrace/core/Page"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { appendTo, database, happened, open, position, query, connection, test } from "./writer/Fixtures.js"

/** What is done to the second of three events. */
const damages: ReadonlyArray<readonly [string, string]> = [
  ["metadata that is null", "metadata = 'null'"],
  ["metadata that is a list", "metadata = '[1]'"],
  ["metadata that is a text", `metadata = '"x"'`],
  ["metadata that is a number", "metadata = '5'"],
  ["a correlation id that is a number", `metadata = '{"correlationId": 5}'`],
  ["a causation id that is an object", `metadata = '{"causationId": {}}'`],
  ["a version past 2^53", "version = 9007199254740993"],
  ["the greatest version", "version = 9223372036854775807"],
  ["a time that is infinite", "recorded_at = 'infinity'"],
  ["a time before all times", "recorded_at = '-infinity'"],
  ["tags in two dimensions", `tags = '{{a,b},{c,d}}'`],
  ["a tag that is NULL", "tags = ARRAY['a', NULL]"],
  ["tags that begin at 0", `tags = '[0:1]={a,b}'`]
]

describe("corrupt rows", () => {
  for (const [what, change] of damages) {
    test(`${what}: a reader is told the position, or gets an event as its type promises`, 30, () =>
      Effect.gen(function* () {
        const url = yield* database
        const { store } = yield* open(url)
        for (const n of [1, 2, 3]) yield* store.write(appendTo("broken/1", { data: { n } }))
        yield* store.write({ streamId: "sound/1", events: [happened()] })
        const client = yield* connection(url)
        yield* query(client, "SET millrace.repair_millrace = 'on'")
        yield* query(client, `UPDATE millrace.events SET ${change} WHERE position = 2`)

        for (const filters of [[], [{ streamId: "broken/1" }]]) {
          const exits = [
            yield* Effect.exit(Effect.map(store.read({ filters }), Page.nodes)),
            yield* Effect.exit(
              Effect.map(Stream.runCollect(store.stream({ filters })), (chunk) => [...chunk])
            )
          ]
          for (const exit of exits) {
            if (Exit.isSuccess(exit)) {
              // Nobody was told, so it must be what the types say.
              for (const event of exit.value) {
                assert.isTrue(Number.isSafeInteger(event.version))
                assert.isTrue(Number.isFinite(event.recordedAt.epochMillis))
                assert.isTrue(
                  event.tags.every((tag) => typeof tag === "string" && !/[{}=]/.test(tag)),
                  `tags ${JSON.stringify(event.tags)}`
                )
                assert.isTrue(
                  typeof event.metadata === "object" &&
                    event.metadata !== null &&
                    !Array.isArray(event.metadata),
                  `metadata ${JSON.stringify(event.metadata)}`
                )
                for (const id of [event.correlationId, event.causationId])
                  assert.isTrue(
                    id._tag === "None" || typeof id.value === "string",
                    `id ${JSON.stringify(id)}`
                  )
              }
              continue
            }
            const failure = Cause.failureOption(exit.cause)
            if (failure._tag === "None") return assert.fail(`a defect: ${Cause.pretty(exit.cause)}`)
            if (failure.value._tag !== "SerializationError") return assert.fail(failure.value.message)
            assert.strictEqual(failure.value.position, 2)
            assert.strictEqual(failure.value.streamId, "broken/1")
          }
        }
        // Who does not meet the row is not concerned.
        assert.strictEqual(Page.nodes(yield* store.read({ filters: [{ category: "sound" }] })).length, 1)
        assert.strictEqual(
          Page.nodes(yield* store.read({ page: Page.forward({ after: position(2) }) })).length,
          2
        )
      })
    )
  }

  test("a position past 2^53 is an error of the reader of its stream, not the end of the process", 30, () =>
    Effect.gen(function* () {
      const url = yield* database
      const { store } = yield* open(url)
      yield* store.write([appendTo("broken/1"), appendTo("sound/1")])
      const client = yield* connection(url)
      yield* query(client, "SET millrace.repair_millrace = 'on'")
      yield* query(
        client,
        "UPDATE millrace.events SET position = 9007199254740993 WHERE stream_id = 'broken/1'"
      )
      const exit = yield* Effect.exit(store.read({ filters: [{ streamId: "broken/1" }] }))
      const failure = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : undefined
      if (failure?._tag !== "Some") return assert.fail(String(exit))
      assert.strictEqual(failure.value._tag, "SerializationError")
      // Readers of the log stop at the head, far before it.
      assert.strictEqual(Page.nodes(yield* store.read()).length, 1)
      assert.strictEqual(yield* store.head, 2)
    })
  )

  test("a stream whose row says less than its events is refused, typed, and nothing is written", 30, () =>
    Effect.gen(function* () {
      const url = yield* database
      const { store } = yield* open(url, { writeTimeout: "5 seconds" })
      yield* store.write(appendTo("behind/1"))
      yield* store.write(appendTo("behind/1"))
      const client = yield* connection(url)
      yield* query(client, "UPDATE millrace.streams SET version = 1 WHERE stream_id = 'behind/1'")
      const since = performance.now()
      const outcome = yield* Effect.either(store.write(appendTo("behind/1")))
      if (outcome._tag !== "Left" || outcome.left._tag !== "StoreUnavailable")
        return assert.fail(outcome._tag)
      // It needs repair: no use in trying until the timeout.
      assert.isFalse(outcome.left.transient)
      assert.isBelow(performance.now() - since, 3_000)
      yield* store.write(appendTo("other/1"))
      const [row] = yield* query<{ readonly n: number }>(
        client,
        "SELECT count(*)::int AS n FROM millrace.events"
      )
      assert.strictEqual(row!.n, 3)
    })
  )

  test("events cannot be changed, removed or truncated by hand without the setting", 30, () =>
    Effect.gen(function* () {
      const url = yield* database
      const { store } = yield* open(url)
      yield* store.write(appendTo("kept/1"))
      const client = yield* connection(url)
      for (const statement of [
        "UPDATE millrace.events SET data = '{}'",
        "UPDATE millrace.events SET data = '{}' WHERE false",
        "DELETE FROM millrace.events",
        "TRUNCATE millrace.events",
        `INSERT INTO millrace.events (position, stream_id, version, type, id, data, vnode)
           SELECT position, stream_id, version, 'X', id, data, vnode FROM millrace.events ON CONFLICT (position) DO UPDATE SET type = 'X'`
      ]) {
        const exit = yield* Effect.exit(query(client, statement))
        assert.isTrue(Exit.isFailure(exit), statement)
        assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "append-only", statement)
      }
      // A deletion opens the door for itself alone.
      yield* store.deleteStream("kept/1")
      yield* store.write(appendTo("kept/1"))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(query(client, "DELETE FROM millrace.events"))))
      assert.strictEqual(Page.nodes(yield* store.read()).length, 1)
    })
  )
})
