/** Filters: what they match, and what is no filter. */
import { assert, describe, it } from "@effect/vitest"
import type { EventFilter, Filterable } from "@millrace/core/EventFilter"
import {
  commonStream,
  filterFault,
  filtersFault,
  isUnrestricted,
  matches,
  matchesAny
} from "@millrace/core/EventFilter"
import * as FC from "effect/FastCheck"

const event: Filterable = { streamId: "account/42/a", type: "Deposited", tags: ["eur", "web"] }

const streamId = FC.constantFrom("a/1", "a/12", "ab/1", "a/1/2", "%/_")
const filterable: FC.Arbitrary<Filterable> = FC.record({
  streamId,
  type: FC.constantFrom("A", "B"),
  tags: FC.subarray(["t", "u", "v"])
})
const filter: FC.Arbitrary<EventFilter> = FC.record(
  {
    category: FC.constantFrom("a", "ab", "%"),
    streamId,
    prefix: FC.constantFrom("a", "a/", "a/1", "%", "_"),
    type: FC.constantFrom("A", "B", "C"),
    tags: FC.subarray(["t", "u", "v"])
  },
  { requiredKeys: [] }
)

describe("filters", () => {
  it("a field alone matches by its meaning, literally and whole", () => {
    const matching: ReadonlyArray<EventFilter> = [
      {},
      { category: "account" },
      { streamId: "account/42/a" },
      { prefix: "acc" },
      { prefix: "account/42/a" },
      { type: "Deposited" },
      { tags: [] },
      { tags: ["web"] },
      { tags: ["web", "eur"] }
    ]
    const others: ReadonlyArray<EventFilter> = [
      { category: "acc" },
      { category: "account/42" },
      { streamId: "account/42" },
      { prefix: "account/42/ab" },
      { prefix: "%" },
      { type: "deposited" },
      { tags: ["we"] },
      { tags: ["web", "usd"] }
    ]
    for (const filter of matching) assert.isTrue(matches(filter, event), JSON.stringify(filter))
    for (const filter of others) assert.isFalse(matches(filter, event), JSON.stringify(filter))
  })

  it("fields all hold together; of a list one is enough; an empty list matches everything", () => {
    FC.assert(
      FC.property(FC.array(filter, { maxLength: 3 }), filterable, (filters, event) => {
        const alone = (filter: EventFilter) =>
          Object.entries(filter).every(([field, value]) => matches({ [field]: value }, event))
        for (const filter of filters) assert.strictEqual(matches(filter, event), alone(filter))
        assert.strictEqual(matchesAny(filters, event), filters.length === 0 || filters.some(alone))
      }),
      { numRuns: 1_000 }
    )
  })

  it("a filter without a field, or with an empty list of tags, is unrestricted", () => {
    for (const filter of [{}, { tags: [] }, { type: undefined }]) assert.isTrue(isUnrestricted(filter))
    for (const filter of [{ type: "A" }, { tags: ["t"] }, { prefix: "a" }])
      assert.isFalse(isUnrestricted(filter))
  })

  it("a list whose filters all name one stream is a read of that stream", () => {
    assert.strictEqual(commonStream([{ streamId: "a/1" }]), "a/1")
    assert.strictEqual(commonStream([{ streamId: "a/1" }, { streamId: "a/1", type: "A" }]), "a/1")
    assert.strictEqual(commonStream([{ streamId: "a/1" }, { streamId: "a/2" }]), undefined)
    assert.strictEqual(commonStream([{ streamId: "a/1" }, { type: "A" }]), undefined)
    assert.strictEqual(commonStream([{ type: "A" }]), undefined)
    assert.strictEqual(commonStream([]), undefined)
  })

  it("the field at fault is named by its path", () => {
    const field = (filter: unknown) => filterFault("filter", filter)?.field
    for (const filter of [{}, event, { category: "a", prefix: "a", type: "A", tags: ["t"] }]) {
      assert.strictEqual(field(filter), undefined)
    }
    assert.strictEqual(field(null), "filter")
    assert.strictEqual(field("a/1"), "filter")
    assert.strictEqual(field({ categories: [] }), "filter.categories")
    assert.strictEqual(field({ category: "a/b" }), "filter.category")
    assert.strictEqual(field({ streamId: "a" }), "filter.streamId")
    assert.strictEqual(field({ prefix: "" }), "filter.prefix")
    assert.strictEqual(field({ type: "x".repeat(256) }), "filter.type")
    assert.strictEqual(field({ tags: "t" }), "filter.tags")
    assert.strictEqual(field({ tags: ["t", "a\u0000"] }), "filter.tags[1]")
    assert.strictEqual(filtersFault("filters", [{}, { type: "" }])?.field, "filters[1].type")
    assert.strictEqual(filtersFault("filters", {})?.field, "filters")
    assert.strictEqual(
      filtersFault(
        "filters",
        Array.from({ length: 101 }, () => ({}))
      )?.field,
      "filters"
    )
    assert.strictEqual(
      filtersFault(
        "filters",
        Array.from({ length: 100 }, () => ({}))
      ),
      undefined
    )
  })

  it("a list is no filter: taken for one without a field it would match every event", () => {
    for (const wrong of [[], new Map(), new Date(0)]) assert.isDefined(filterFault("filter", wrong))
  })
})
