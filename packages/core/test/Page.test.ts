/** Page requests, and a page without its cursors. */
import { assert, describe, it } from "@effect/vitest"
import * as Page from "@millrace/core/Page"
import { Position } from "@millrace/core/Position"
import * as Option from "effect/Option"

const at = Position.make(7)

describe("pages", () => {
  it("requests carry what was asked and nothing else", () => {
    assert.deepStrictEqual(Page.forward(), { _tag: "Forward" })
    assert.deepStrictEqual(Page.forward({ first: 5, after: at }), { _tag: "Forward", first: 5, after: at })
    assert.deepStrictEqual(Page.backward(), { _tag: "Backward" })
    assert.deepStrictEqual(Page.backward({ last: 5, before: at }), { _tag: "Backward", last: 5, before: at })
  })

  it("nodes gives the rows in their order", () => {
    const pageInfo = {
      hasNextPage: false,
      hasPreviousPage: false,
      startCursor: Option.none(),
      endCursor: Option.none()
    }
    const edges = ["a", "b"].map((node) => ({ cursor: at, node }))
    assert.deepStrictEqual(Page.nodes({ edges, pageInfo }), ["a", "b"])
    assert.deepStrictEqual(Page.nodes({ edges: [], pageInfo }), [])
  })
})
