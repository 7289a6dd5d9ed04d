/** What becomes of a write before it reaches a database: checked, with ids, as JSON text. */
import { assert, describe, it } from "@effect/vitest"
import type { StreamAppend } from "@millrace/core/Append"
import type { NewEvent } from "@millrace/core/Event"
import * as EventIds from "@millrace/core/EventIds"
import type { PreparedWrite } from "@millrace/core/PreparedWrite"
import { isExpected, prepare, toJson } from "@millrace/core/PreparedWrite"
import { utf8Bytes } from "@millrace/core/Text"
import { vnodeOf } from "@millrace/core/Vnode"
import type { WriteError } from "@millrace/core/WriteError"
import * as Clock from "effect/Clock"
import * as FC from "effect/FastCheck"

const clock: Clock.Clock = Object.assign(Clock.make(), { unsafeCurrentTimeMillis: () => 5 })

const prepared = (appends: StreamAppend | ReadonlyArray<StreamAppend>, eventBytesMax = 1_000) =>
  prepare(appends, undefined, { ids: EventIds.seeded(1), clock, eventBytesMax })

const good = (appends: StreamAppend | ReadonlyArray<StreamAppend>): PreparedWrite => {
  const result = prepared(appends)
  if ("_tag" in result) throw result
  return result
}

const refusal = (appends: StreamAppend | ReadonlyArray<StreamAppend>, eventBytesMax?: number): WriteError => {
  const result = prepared(appends, eventBytesMax)
  if (!("_tag" in result)) throw new Error("expected a refusal")
  return result
}

const append = (...events: ReadonlyArray<Partial<NewEvent>>): StreamAppend => ({
  streamId: "account/42",
  events: events.map((event) => ({ type: "E", data: 1, ...event }))
})

describe("prepared writes", () => {
  it("a bare append gets its defaults, an id and the category and vnode of its stream", () => {
    const { appends, condition, eventCount, namesIds, nowMs } = good(append({}))
    assert.deepStrictEqual(appends[0], {
      streamId: appends[0]!.streamId,
      category: "account",
      vnode: vnodeOf("account/42"),
      expected: "any",
      routingKey: null,
      events: [{ id: EventIds.seeded(1).next(5), type: "E", data: "1", metadata: null, tags: null }]
    })
    assert.deepStrictEqual(
      { condition, eventCount, namesIds, nowMs },
      {
        condition: undefined,
        eventCount: 1,
        namesIds: false,
        nowMs: 5
      }
    )
  })

  it("events of all appends are counted, and one id given is enough to look ids up", () => {
    const id = EventIds.seeded(2).next(1)
    const write = good([append({}, {}), append({ id }), append({})])
    assert.strictEqual(write.eventCount, 4)
    assert.isTrue(write.namesIds)
    assert.strictEqual(write.appends[1]!.events[0]!.id, id)
  })

  it("data and metadata become JSON text, tags lose their repeats, empty ones are null", () => {
    const [full, empty] = good(
      append({ data: { a: [1] }, metadata: { b: 2 }, tags: ["x", "y", "x"] }, { metadata: {}, tags: [] })
    ).appends[0]!.events
    assert.deepStrictEqual([full!.data, full!.metadata, full!.tags], [`{"a":[1]}`, `{"b":2}`, ["x", "y"]])
    assert.deepStrictEqual([empty!.metadata, empty!.tags], [null, null])
  })

  it("an event is refused from the first byte too many on, whatever its characters", () => {
    const json = FC.oneof(FC.string({ unit: "binary", maxLength: 60 }), FC.jsonValue({ maxDepth: 2 }))
    FC.assert(
      FC.property(json, FC.option(FC.string({ unit: "binary", maxLength: 30 })), (data, note) => {
        const metadata = note === null ? undefined : { note }
        const bytes =
          utf8Bytes(JSON.stringify(data)) + (metadata === undefined ? 0 : utf8Bytes(JSON.stringify(metadata)))
        const event = metadata === undefined ? { data } : { data, metadata }
        assert.isFalse("_tag" in prepared(append(event), bytes))
        if (bytes === 1) return
        const error = refusal(append({}, event), bytes - 1)
        assert.strictEqual(error._tag, "EventTooLarge")
        if (error._tag === "EventTooLarge") {
          assert.deepStrictEqual([error.index, error.bytes, error.maxBytes], [1, bytes, bytes - 1])
        }
      }),
      { numRuns: 1_000 }
    )
  })

  it("limits hold from the first too many on: 1 000 appends, 10 000 events, 64 tags", () => {
    const many = (count: number) => append(...Array.from({ length: count }, () => ({})))
    const list = (count: number) => Array.from({ length: count }, () => append({}))
    const tags = (count: number) => append({ tags: Array.from({ length: count }, (_, i) => `${i}`) })
    assert.strictEqual(good(list(1_000)).appends.length, 1_000)
    assert.strictEqual(refusal(list(1_001))._tag, "InvalidArgument")
    assert.strictEqual(good(many(10_000)).eventCount, 10_000)
    assert.strictEqual(refusal(many(10_001))._tag, "InvalidArgument")
    assert.strictEqual(good([many(5_000), many(5_000)]).eventCount, 10_000)
    assert.strictEqual(refusal([many(5_000), many(5_001)])._tag, "InvalidArgument")
    assert.strictEqual(good(tags(64)).appends[0]!.events[0]!.tags!.length, 64)
    assert.strictEqual(refusal(tags(65))._tag, "InvalidArgument")
  })

  it("no argument makes it throw, and what is refused says where", () => {
    const anything = FC.anything({ withNullPrototype: true, withBigInt: true, withDate: true, withMap: true })
    FC.assert(
      FC.property(
        anything,
        FC.constantFrom("streamId", "events", "expected", "routingKey"),
        (value, field) => {
          const result = prepared({ ...append({}), [field]: value } as StreamAppend)
          if ("_tag" in result && result._tag === "InvalidArgument") {
            assert.isTrue(result.field.startsWith("appends[0]"), result.field)
          }
        }
      ),
      { numRuns: 2_000 }
    )
    FC.assert(
      FC.property(anything, FC.constantFrom("type", "data", "metadata", "tags", "id"), (value, field) => {
        const result = prepared(append({ [field]: value }), 10_000)
        if ("_tag" in result && result._tag === "InvalidArgument") {
          assert.isTrue(result.field.startsWith(`appends[0].events[0].${field}`), result.field)
        }
      }),
      { numRuns: 2_000 }
    )
    FC.assert(
      FC.property(anything, (value) => void prepared(value as StreamAppend)),
      { numRuns: 1_000 }
    )
  })

  it("an expected version is a word of three or a safe integer from 0", () => {
    for (const value of ["any", "exists", "empty", 0, 1, Number.MAX_SAFE_INTEGER])
      assert.isTrue(isExpected(value))
    for (const value of ["none", "", -1, 0.5, NaN, 2 ** 53, "0", null, undefined, 1n, {}]) {
      assert.isFalse(isExpected(value), String(value))
    }
  })

  it("toJson gives nothing for what has no JSON text, and never throws", () => {
    const cycle: Record<string, unknown> = {}
    cycle["self"] = cycle
    const trap = {
      toJSON: () => {
        throw new Error("no")
      }
    }
    for (const value of [undefined, () => 1, Symbol("s"), 1n, cycle, [cycle], trap]) {
      assert.strictEqual(toJson(value), undefined)
    }
    assert.strictEqual(toJson(null), "null")
    assert.strictEqual(toJson("\ud800\u0000"), `"\\ud800\\u0000"`)
  })
})
