/** Pages: what they hold, that their four fields are true to the data, and that walking them meets every event once. */
import { assert, describe } from "@effect/vitest"
import type { RecordedEvent } from "@millrace/core/Event"
import type { ReadQuery } from "@millrace/core/EventQuery"
import * as Page from "@millrace/core/Page"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Scene, SuiteIt } from "./Scene.js"
import { numbered, numberOf, ofScene, position, positionsOf, range, scene, version } from "./Scene.js"

/** What a page must look like: its numbers and its two flags; the cursors follow from them. */
interface Looks {
  readonly numbers: ReadonlyArray<number>
  readonly next: boolean
  readonly previous: boolean
}

/** Asserts all of a page that the query gives. */
export const looks = (
  { store }: Scene,
  query: ReadQuery,
  { next, numbers, previous }: Looks
): Effect.Effect<Page.Page<RecordedEvent>, unknown> =>
  Effect.gen(function* () {
    const page = yield* store.read(query)
    const { edges, pageInfo } = page
    assert.deepStrictEqual(Page.nodes(page).map(numberOf), numbers)
    for (const edge of edges) assert.strictEqual(edge.cursor, edge.node.position)
    assert.deepStrictEqual(pageInfo, {
      hasNextPage: next,
      hasPreviousPage: previous,
      startCursor: Option.map(Option.fromNullable(edges[0]), (edge) => edge.cursor),
      endCursor: Option.map(Option.fromNullable(edges[edges.length - 1]), (edge) => edge.cursor)
    })
    return page
  })

/** A scene of five numbered events, between and around which stand events of others. */
const five = Effect.gen(function* () {
  const here = yield* scene("paging")
  const others = yield* scene("others")
  yield* others.append(others.stream("x"), "Before")
  for (const [index, event] of numbered(5).entries()) {
    yield* here.append(here.stream(index % 2 === 0 ? "even" : "odd"), event)
    yield* others.append(others.stream("x"), "Between")
  }
  const positions = positionsOf(yield* here.log())
  const at = (n: number) => position(positions[n - 1]!)
  return { here, filters: ofScene(here), at }
})

export const paging = (it: SuiteIt): void => {
  describe("paging", () => {
    it.effect("forward pages at every size: fewer rows than there are, exactly as many, and more", () =>
      Effect.gen(function* () {
        const { filters, here } = yield* five
        const page = (first: number) => ({ filters, page: Page.forward({ first }) })
        yield* looks(here, page(1), { numbers: [1], next: true, previous: false })
        yield* looks(here, page(4), { numbers: [1, 2, 3, 4], next: true, previous: false })
        yield* looks(here, page(5), { numbers: [1, 2, 3, 4, 5], next: false, previous: false })
        yield* looks(here, page(6), { numbers: [1, 2, 3, 4, 5], next: false, previous: false })
        yield* looks(here, page(10_000), { numbers: [1, 2, 3, 4, 5], next: false, previous: false })
      })
    )

    it.effect("backward pages at every size, ascending as well", () =>
      Effect.gen(function* () {
        const { filters, here } = yield* five
        const page = (last: number) => ({ filters, page: Page.backward({ last }) })
        yield* looks(here, page(1), { numbers: [5], next: false, previous: true })
        yield* looks(here, page(4), { numbers: [2, 3, 4, 5], next: false, previous: true })
        yield* looks(here, page(5), { numbers: [1, 2, 3, 4, 5], next: false, previous: false })
        yield* looks(here, page(6), { numbers: [1, 2, 3, 4, 5], next: false, previous: false })
      })
    )

    it.effect("a forward page begins behind its cursor, and says whether rows stand before it", () =>
      Effect.gen(function* () {
        const { at, filters, here } = yield* five
        const page = (first: number, after: number) => ({
          filters,
          page: Page.forward({ first, after: position(after) })
        })
        yield* looks(here, page(2, 0), { numbers: [1, 2], next: true, previous: false })
        yield* looks(here, page(2, at(1)), { numbers: [2, 3], next: true, previous: true })
        yield* looks(here, page(2, at(3)), { numbers: [4, 5], next: false, previous: true })
        // A cursor need not be the place of a matching event.
        yield* looks(here, page(2, at(1) - 1), { numbers: [1, 2], next: true, previous: false })
        yield* looks(here, page(2, at(3) - 1), { numbers: [3, 4], next: true, previous: true })
      })
    )

    it.effect("a backward page ends before its cursor, and says whether rows stand behind it", () =>
      Effect.gen(function* () {
        const { at, filters, here } = yield* five
        const page = (last: number, before: number) => ({
          filters,
          page: Page.backward({ last, before: position(before) })
        })
        yield* looks(here, page(2, at(5)), { numbers: [3, 4], next: true, previous: true })
        yield* looks(here, page(2, at(3)), { numbers: [1, 2], next: true, previous: false })
        yield* looks(here, page(2, at(2)), { numbers: [1], next: true, previous: false })
        yield* looks(here, page(2, at(5) + 1), { numbers: [4, 5], next: false, previous: true })
        yield* looks(here, page(2, at(4) + 1), { numbers: [3, 4], next: true, previous: true })
        yield* looks(here, page(2, Number.MAX_SAFE_INTEGER), { numbers: [4, 5], next: false, previous: true })
      })
    )

    it.effect("past the end and before the first a page is empty, and its flags say where the rows are", () =>
      Effect.gen(function* () {
        const { at, filters, here } = yield* five
        const none = { numbers: [] }
        const after = (after: number) => ({ filters, page: Page.forward({ after: position(after) }) })
        yield* looks(here, after(at(5)), { ...none, next: false, previous: true })
        yield* looks(here, after(Number.MAX_SAFE_INTEGER), { ...none, next: false, previous: true })
        const before = (before: number) => ({ filters, page: Page.backward({ before: position(before) }) })
        yield* looks(here, before(at(1)), { ...none, next: true, previous: false })
        yield* looks(here, before(1), { ...none, next: true, previous: false })
        yield* looks(here, before(0), { ...none, next: true, previous: false })
      })
    )

    it.effect("a page of no match at all is empty with no neighbours", () =>
      Effect.gen(function* () {
        const { at, here } = yield* five
        const filters = [{ category: `${here.category}-nobody` }]
        const none = { numbers: [], next: false, previous: false }
        yield* looks(here, { filters }, none)
        yield* looks(here, { filters, page: Page.backward() }, none)
        yield* looks(here, { filters, page: Page.forward({ after: at(3) }) }, none)
        yield* looks(here, { filters, page: Page.backward({ before: at(3) }) }, none)
      })
    )

    it.effect("pages of one stream have true flags as well", () =>
      Effect.gen(function* () {
        const here = yield* scene("paging")
        const streamId = here.stream("one")
        yield* here.append(streamId, ...numbered(5))
        const filters = [{ streamId }]
        const [, second, , , last] = yield* here.streamOf(streamId)
        const forward = (first: number, after?: number) => ({
          filters,
          page: Page.forward({ first, ...(after === undefined ? {} : { after: position(after) }) })
        })
        yield* looks(here, forward(5), { numbers: [1, 2, 3, 4, 5], next: false, previous: false })
        yield* looks(here, forward(4), { numbers: [1, 2, 3, 4], next: true, previous: false })
        yield* looks(here, forward(3, second!.position), { numbers: [3, 4, 5], next: false, previous: true })
        yield* looks(here, forward(3, last!.position), { numbers: [], next: false, previous: true })
        const before = { filters, page: Page.backward({ last: 2, before: last!.position }) }
        yield* looks(here, before, { numbers: [3, 4], next: true, previous: true })
      })
    )

    it.effect(
      "afterVersion bounds pages of a stream on that side: what is not behind it is no neighbour",
      () =>
        Effect.gen(function* () {
          const here = yield* scene("paging")
          const streamId = here.stream("one")
          yield* here.append(streamId, ...numbered(5))
          const positions = positionsOf(yield* here.streamOf(streamId))
          const at = (n: number) => position(positions[n - 1]!)
          const query = { filters: [{ streamId }], afterVersion: version(2) }
          const forward = (after: number) => ({
            ...query,
            page: Page.forward({ first: 2, after: at(after) })
          })
          yield* looks(here, query, { numbers: [3, 4, 5], next: false, previous: false })
          yield* looks(here, forward(1), { numbers: [3, 4], next: true, previous: false })
          yield* looks(here, forward(2), { numbers: [3, 4], next: true, previous: false })
          yield* looks(here, forward(3), { numbers: [4, 5], next: false, previous: true })
          yield* looks(here, forward(5), { numbers: [], next: false, previous: true })
          const backward = (last: number, before: number) => ({
            ...query,
            page: Page.backward({ last, before: at(before) })
          })
          yield* looks(here, backward(2, 5), { numbers: [3, 4], next: true, previous: false })
          yield* looks(here, backward(1, 5), { numbers: [4], next: true, previous: true })
          yield* looks(here, backward(2, 3), { numbers: [], next: true, previous: false })
        })
    )

    it.effect("upTo ends a read at a position, itself included, and pages know of nothing behind it", () =>
      Effect.gen(function* () {
        const { at, filters, here } = yield* five
        const query = { filters, upTo: at(3) }
        const forward = (first: number) => ({ ...query, page: Page.forward({ first }) })
        yield* looks(here, query, { numbers: [1, 2, 3], next: false, previous: false })
        yield* looks(here, forward(3), { numbers: [1, 2, 3], next: false, previous: false })
        yield* looks(here, forward(2), { numbers: [1, 2], next: true, previous: false })
        const last = { ...query, page: Page.backward({ last: 2 }) }
        yield* looks(here, last, { numbers: [2, 3], next: false, previous: true })
        const before = (n: number) => ({ ...query, page: Page.backward({ last: 2, before: at(n) }) })
        yield* looks(here, before(3), { numbers: [1, 2], next: true, previous: false })
        yield* looks(here, before(5), { numbers: [2, 3], next: false, previous: true })
        const past = { ...query, page: Page.forward({ after: at(4) }) }
        yield* looks(here, past, { numbers: [], next: false, previous: true })
        yield* looks(here, { filters, upTo: position(0) }, { numbers: [], next: false, previous: false })
        const most = position(Number.MAX_SAFE_INTEGER)
        yield* looks(
          here,
          { filters, upTo: most },
          { numbers: [1, 2, 3, 4, 5], next: false, previous: false }
        )
      })
    )

    it.effect("a page that does not say how many has 40 rows", () =>
      Effect.gen(function* () {
        const here = yield* scene("paging")
        yield* here.append(here.stream("a"), ...numbered(41))
        const filters = ofScene(here)
        yield* looks(here, { filters }, { numbers: range(1, 40), next: true, previous: false })
        const backward = { filters, page: Page.backward() }
        yield* looks(here, backward, { numbers: range(2, 41), next: false, previous: true })
      })
    )

    it.effect("walking pages by their cursors meets every event once, in both directions", () =>
      Effect.gen(function* () {
        const here = yield* scene("paging")
        for (const [index, event] of numbered(23).entries()) {
          yield* here.append(here.stream(`${index % 4}`), event)
        }
        const filters = ofScene(here)
        for (const size of [1, 2, 5, 22, 23, 24]) {
          const forward: Array<number> = []
          let after: Option.Option<number> = Option.some(0)
          while (Option.isSome(after)) {
            const request = Page.forward({ first: size, after: position(after.value) })
            const page: Page.Page<RecordedEvent> = yield* here.store.read({ filters, page: request })
            forward.push(...Page.nodes(page).map(numberOf))
            after = page.pageInfo.hasNextPage ? page.pageInfo.endCursor : Option.none()
          }
          assert.deepStrictEqual(forward, range(1, 23))
          const backward: Array<number> = []
          let before: Option.Option<number> = Option.some(Number.MAX_SAFE_INTEGER)
          while (Option.isSome(before)) {
            const request = Page.backward({ last: size, before: position(before.value) })
            const page: Page.Page<RecordedEvent> = yield* here.store.read({ filters, page: request })
            backward.unshift(...Page.nodes(page).map(numberOf))
            before = page.pageInfo.hasPreviousPage ? page.pageInfo.startCursor : Option.none()
          }
          assert.deepStrictEqual(backward, range(1, 23))
        }
      })
    )
  })
}
