/** What becomes of a query before it reaches a database. */
import { assert, describe, it } from "@effect/vitest"
import * as Page from "@millrace/core/Page"
import { Position } from "@millrace/core/Position"
import { planOf } from "@millrace/core/ReadPlan"
import * as RoutingKey from "@millrace/core/RoutingKey"
import { StreamVersion } from "@millrace/core/StreamVersion"

const at = Position.make(7)

describe("plans of queries", () => {
  it("an empty query is the log from its beginning", () => {
    assert.deepStrictEqual(planOf({}, 40), {
      filters: [],
      ids: undefined,
      streamId: undefined,
      routingKey: RoutingKey.all,
      after: 0,
      before: undefined,
      upTo: undefined,
      afterVersion: 0,
      vnodes: undefined,
      includeArchived: false,
      backward: false,
      limit: 40,
      lookBehind: false
    })
  })

  it("filters that all name one stream make a read of it, archived events included", () => {
    const plan = planOf({ filters: [{ streamId: "a/1" }], afterVersion: StreamVersion.make(3) }, 40)
    assert.isFalse("_tag" in plan)
    if ("_tag" in plan) return
    assert.strictEqual(plan.streamId, "a/1")
    assert.isTrue(plan.includeArchived)
    assert.strictEqual(plan.afterVersion, 3)
  })

  it("one filter without a field makes the whole list match everything", () => {
    const plan = planOf({ filters: [{ type: "A" }, {}] }, 40)
    assert.deepStrictEqual("_tag" in plan ? plan : plan.filters, [])
  })

  it("a page that goes one way does not look at the bounds of the other", () => {
    const forward = planOf({ page: Object.assign(Page.forward({ first: 5 }), { before: at, last: 0 }) }, 40)
    assert.isTrue(!("_tag" in forward) && forward.before === undefined && forward.limit === 5)
    const backward = planOf({ page: Object.assign(Page.backward({ before: at }), { after: at }) }, 40)
    assert.isTrue(
      !("_tag" in backward) && backward.after === 0 && backward.before === 7 && backward.limit === 40
    )
  })
})
