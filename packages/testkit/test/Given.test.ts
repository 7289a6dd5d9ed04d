/** `given(…).when(…).then(…)`: what passes, and what it says of what does not. */
import { assert, describe, it } from "@effect/vitest"
import type { RecordedEvent } from "@millrace/core/Event"
import * as Projection from "@millrace/core/Projection"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { GivenEvent } from "../src/Given.js"
import { given, GivenFailed } from "../src/Given.js"
import { counting } from "../src/suites/ModelScene.js"

const centsOf = (event: RecordedEvent): number => (event.data as { readonly cents: number }).cents

const balances = Projection.fold({
  name: "balances",
  filters: [{ category: "account" }],
  row: Schema.Struct({ cents: Schema.Int, since: Schema.DateTimeUtc }),
  key: (event) => event.streamId,
  initial: () => ({ cents: 0, since: DateTime.unsafeMake(0) }),
  evolve: (row, event) => {
    if (event.type === "Closed") return undefined
    if (centsOf(event) === 0) throw new Error("nothing moved")
    return { ...row, cents: row.cents + centsOf(event) }
  }
})

const since = DateTime.unsafeMake(0)
const moved = (id: number, cents: number): GivenEvent => ({
  streamId: `account/${id}`,
  type: "Moved",
  data: { cents }
})
const closed = (id: number): GivenEvent => ({ streamId: `account/${id}`, type: "Closed", data: null })

const messageOf = (attempt: Effect.Effect<unknown, GivenFailed>): Effect.Effect<string, unknown> =>
  Effect.map(Effect.flip(attempt), (error) => {
    assert.instanceOf(error, GivenFailed)
    return error.message
  })

describe("given", () => {
  it.effect("the rows are those of the events that the filters match", () =>
    given([moved(1, 500), moved(2, 7), { ...moved(1, 9), streamId: "other/1" }, moved(1, -100), closed(2)])
      .when(balances)
      .then({ "account/1": { cents: 400, since } })
  )

  it("serves a plain test as well", () =>
    Effect.runPromise(
      given([moved(1, 500)])
        .when(balances)
        .then(new Map([["account/1", { cents: 500, since }]]))
    ))

  it.effect("no events leave no rows", () => given([]).when(balances).then({}))

  it.effect("recorded events are taken as they are", () =>
    Effect.gen(function* () {
      const positions = Projection.fold({
        name: "positions",
        row: Schema.Array(Schema.Int),
        key: () => "all",
        initial: (): ReadonlyArray<number> => [],
        evolve: (row, event) => [...row, event.position]
      })
      yield* given(counting(5).slice(2))
        .when(positions)
        .then({ all: [3, 4, 5] })
    })
  )

  it.effect("each row that differs has a line, in the form in which it is stored", () =>
    Effect.gen(function* () {
      const attempt = given([moved(1, 5), moved(2, 6), moved(3, 7)])
        .when(balances)
        .then({
          "account/1": { cents: 5, since },
          "account/2": { cents: 1, since },
          "account/9": { cents: 0, since }
        })
      assert.deepStrictEqual((yield* messageOf(attempt)).split("\n"), [
        "3 of the rows of balances differ:",
        `  account/2: expected {"cents":1,"since":"1970-01-01T00:00:00.000Z"}, is {"cents":6,"since":"1970-01-01T00:00:00.000Z"}`,
        `  account/3: expected no row, is {"cents":7,"since":"1970-01-01T00:00:00.000Z"}`,
        `  account/9: expected {"cents":0,"since":"1970-01-01T00:00:00.000Z"}, there is no row`
      ])
    })
  )

  it.effect("an event on which the fold fails can be what is expected", () =>
    Effect.gen(function* () {
      const here = given([moved(1, 5), moved(2, 0)]).when(balances)
      const error = yield* here.thenFails({ position: 2, cause: /^nothing moved$/ })
      assert.strictEqual(error.streamId, "account/2")
      yield* here.thenFails()
      assert.match(yield* messageOf(here.then({})), /on Moved of account\/2 at position 2: nothing moved$/)
      assert.match(
        yield* messageOf(here.thenFails({ position: 1 })),
        /does not fail on the event at position 1, but:\n/
      )
      assert.match(yield* messageOf(here.thenFails({ cause: /other/ })), /with \/other\/, but:\n/)
      const good = given([moved(1, 5)]).when(balances)
      assert.match(
        yield* messageOf(good.thenFails()),
        /does not fail, and leaves:\n {2}account\/1: {"cents":5/
      )
    })
  )

  it.effect("a row that does not fit its schema is a failure of its event", () =>
    given([moved(1, 5), moved(1, 0.5), moved(1, 0.5)])
      .when(balances)
      .thenFails({ position: 2 })
  )

  it.effect("a fold that remembers, or changes its rows, is found", () =>
    Effect.gen(function* () {
      let calls = 0
      const remembering = Projection.fold({
        name: "remembering",
        row: Schema.Int,
        key: () => "all",
        initial: () => 0,
        evolve: () => ++calls
      })
      const message = yield* messageOf(given(counting(3)).when(remembering).then({ all: 3 }))
      assert.match(message, /^the fold is not pure[^]*all: expected 6, event by event it is 3$/)

      const shared = { seen: [] as Array<number> }
      const sharing = Projection.fold({
        name: "sharing",
        row: Schema.Struct({ seen: Schema.mutable(Schema.Array(Schema.Int)) }),
        key: (event) => event.streamId,
        initial: () => shared,
        evolve: (row, event) => {
          row.seen.push(event.position)
          return row
        }
      })
      assert.match(yield* messageOf(given(counting(3)).when(sharing).then({})), /^the fold is not pure/)
    })
  )

  it("who awaits it too early is told so", async () => {
    // A projection that takes events is no promise, though `await` takes it for one.
    const early = given([]).when(balances) as unknown as PromiseLike<void>
    const error: unknown = await Promise.resolve(early).catch((error: unknown) => error)
    assert.match(String(error), /await then\(rows\)/)
  })
})
