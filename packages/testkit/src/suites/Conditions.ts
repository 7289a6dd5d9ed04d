/** Append conditions: what they look at, and that they hold at the place where the events come to stand. */
import { assert, describe } from "@effect/vitest"
import type { AppendCondition } from "@millrace/core/Append"
import type { EventFilter } from "@millrace/core/EventFilter"
import { matchesAny } from "@millrace/core/EventFilter"
import { start } from "@millrace/core/Position"
import * as Effect from "effect/Effect"
import type { Scene, SuiteIt } from "./Scene.js"
import { happened, numbered, position, refused, scene, slowTestMs, unchanged, version } from "./Scene.js"

const on = (filters: EventFilter | ReadonlyArray<EventFilter>, after: number = start): AppendCondition => ({
  filters: Array.isArray(filters) ? filters : [filters as EventFilter],
  after: position(after)
})

/** Asserts that a condition does not hold, by an event that really matches, and that nothing was written. */
const fails = (here: Scene, condition: AppendCondition): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    const write = here.store.write({ streamId: here.stream("target"), events: numbered(1) }, { condition })
    const error = yield* unchanged(here, [here.stream("target")], refused(write, "AppendConditionFailed"))
    assert.isAbove(error.position, condition.after)
    const all = yield* here.log({ includeArchived: true })
    const event = all.find((event) => event.position === error.position)
    assert.isDefined(event, "an event stands at the position of the error")
    assert.isTrue(matchesAny(condition.filters, event!), "and matches the condition")
  })

/** Asserts that a condition holds. */
const holds = (here: Scene, condition: AppendCondition): Effect.Effect<void, unknown> =>
  Effect.asVoid(here.write({ streamId: here.stream("target"), events: numbered(1) }, { condition }))

export const conditions = (it: SuiteIt): void => {
  describe("append conditions", () => {
    it.effect("each field alone and all together: a match makes it fail, none lets it hold", () =>
      Effect.gen(function* () {
        const here = yield* scene("condition")
        const { append, category, stream } = here
        const [type, tag] = [`${category}!type`, `${category}!tag`]
        yield* append(`${category}-seats/7/a`, happened(type, { tags: [tag, "more"] }), happened("Other"))
        const all = { category: `${category}-seats`, prefix: category, type, tags: [tag, "more"] }
        const matching: ReadonlyArray<EventFilter> = [
          { type },
          { tags: [tag] },
          { tags: ["more", tag] },
          { category: `${category}-seats` },
          { streamId: `${category}-seats/7/a` },
          { prefix: `${category}-seats/7` },
          { prefix: `${category}-s` },
          { ...all, streamId: `${category}-seats/7/a` },
          { category: `${category}-seats`, type },
          { category: `${category}-seats`, tags: [tag] },
          { type, tags: [tag] },
          { streamId: `${category}-seats/7/a`, type: "Other" }
        ]
        for (const filter of matching) yield* fails(here, on(filter))
        const others: ReadonlyArray<EventFilter> = [
          { type: `${type}x` },
          { tags: [`${tag}x`] },
          { tags: [tag, `${tag}x`] },
          { category: `${category}-seat` },
          { streamId: `${category}-seats/7` },
          { prefix: `${category}-seats/7/b` },
          { prefix: `${category}%` },
          { ...all, type: `${type}x` },
          { type: "Other", tags: [tag] },
          { category: `${category}-seats`, type: "Nobody" },
          { streamId: stream("nobody"), type }
        ]
        for (const filter of others) yield* holds(here, on(filter))
      })
    )

    it.effect("of several filters one match is enough", () =>
      Effect.gen(function* () {
        const here = yield* scene("condition")
        const { append, category, stream } = here
        yield* append(stream("a"), happened("A", { tags: ["t"] }))
        const none = [
          { category, type: "No" },
          { category, tags: ["no"] }
        ]
        yield* holds(here, on(none))
        yield* fails(here, on([...none, { category, tags: ["t"] }]))
        yield* fails(here, on([{ streamId: stream("a") }, ...none]))
      })
    )

    it.effect("a filter without a field matches every event", () =>
      Effect.gen(function* () {
        const here = yield* scene("condition")
        const { append, store, stream } = here
        const { position } = yield* append(stream("a"), "A")
        const write = (after: number) =>
          store.write({ streamId: stream("b"), events: numbered(1) }, { condition: on({}, after) })
        yield* unchanged(here, [stream("b")], refused(write(position - 1), "AppendConditionFailed"))
        yield* write(yield* store.head)
      })
    )

    it.effect("only events past after count", () =>
      Effect.gen(function* () {
        const here = yield* scene("condition")
        const { append, category, stream } = here
        const filter = { category, type: "Watched" }
        const { position: first } = yield* append(stream("a"), "Watched")
        const { position: second } = yield* append(stream("a"), "Watched")
        yield* append(stream("a"), "Other")
        yield* fails(here, on(filter, 0))
        yield* fails(here, on(filter, first - 1))
        yield* fails(here, on(filter, first))
        yield* fails(here, on(filter, second - 1))
        yield* holds(here, on(filter, second))
        yield* holds(here, on(filter, Number.MAX_SAFE_INTEGER))
      })
    )

    it.effect("the events of the write itself do not count, though they match", () =>
      Effect.gen(function* () {
        const here = yield* scene("condition")
        const { category, store, stream, write } = here
        const condition = on({ category, type: "Taken" }, yield* store.head)
        const appends = [
          { streamId: stream("a"), events: [happened("Taken")] },
          { streamId: stream("b"), events: [happened("Taken")] }
        ]
        const { position } = yield* write(appends, { condition })
        // Now they do, until the caller has read them.
        yield* refused(store.write(appends, { condition }), "AppendConditionFailed")
        yield* write(appends, { condition: on({ category, type: "Taken" }, position) })
      })
    )

    it.effect("a condition is looked at before the expected version, and both must hold", () =>
      Effect.gen(function* () {
        const here = yield* scene("condition")
        const { append, category, store, stream } = here
        yield* append(stream("a"), "A")
        const stale = { streamId: stream("a"), events: numbered(1), expected: version(0) }
        const [bad, good] = [on({ category }), on({ category, type: "No" })]
        const look = [stream("a")]
        yield* unchanged(here, look, refused(store.write(stale, { condition: bad }), "AppendConditionFailed"))
        yield* unchanged(
          here,
          look,
          refused(store.write(stale, { condition: good }), "InvalidOriginalVersion")
        )
        yield* here.write({ ...stale, expected: version(1) }, { condition: good })
      })
    )

    it.effect("archived and erased events count, deleted ones do not", () =>
      Effect.gen(function* () {
        const here = yield* scene("condition")
        const { append, category, store, stream } = here
        yield* append(stream("a"), happened("A", { tags: ["t"] }))
        yield* store.archiveStream(stream("a"))
        yield* fails(here, on({ category, tags: ["t"] }))
        yield* store.eraseEvents({ streamId: stream("a") }, {})
        yield* fails(here, on({ category, tags: ["t"] }))
        yield* store.deleteStream(stream("a"))
        yield* holds(here, on({ category, tags: ["t"] }))
      })
    )

    // ---- races ----

    const race = (what: string, filterOf: (category: string, round: number) => EventFilter) =>
      it.effect(
        `of 16 racing appends under one condition ${what} exactly one wins, round after round`,
        () =>
          Effect.gen(function* () {
            const { category, log, reached, store, stream } = yield* scene("race")
            for (let round = 0; round < 8; round++) {
              const condition = on(filterOf(category, round), yield* store.head)
              const event = happened(`${category} ${round}`, { tags: [`${category} ${round}`] })
              const results = yield* Effect.all(
                Array.from({ length: 16 }, (_, i) =>
                  Effect.either(
                    store.write({ streamId: stream(`${round}-${i}`), events: [event] }, { condition })
                  )
                ),
                { concurrency: "unbounded" }
              )
              const won = results.flatMap((result) => (result._tag === "Right" ? [result.right] : []))
              assert.strictEqual(won.length, 1, `winners of round ${round}`)
              yield* reached(won[0]!.position)
              for (const result of results) {
                if (result._tag === "Right") continue
                assert.strictEqual(result.left._tag, "AppendConditionFailed")
                if (result.left._tag === "AppendConditionFailed") {
                  assert.strictEqual(result.left.position, won[0]!.position)
                }
              }
            }
            assert.strictEqual((yield* log()).length, 8)
          }),
        slowTestMs
      )
    race("by tags alone", (category, round) => ({ tags: [`${category} ${round}`] }))
    race("by type alone", (category, round) => ({ type: `${category} ${round}` }))
    race("by category", (category) => ({ category }))
    race("by prefix", (category, round) => ({ prefix: `${category}/${round}-` }))
    race("by several fields", (category, round) => ({
      category,
      type: `${category} ${round}`,
      tags: [`${category} ${round}`]
    }))

    it.effect(
      "racing conditions of several callers: replaying the log, each held at its place",
      () =>
        Effect.gen(function* () {
          const { category, log, reached, store, stream } = yield* scene("replay")
          const filterOf = (n: number): EventFilter =>
            n % 3 === 0 ? { category, type: `T${n % 4}` } : { category, tags: [`t${n % 4}`] }
          // Each caller reads, decides and appends, again and again; who comes too late tries with the next.
          const caller = (n: number) =>
            Effect.gen(function* () {
              const accepted: Array<{ readonly condition: AppendCondition; readonly at: number }> = []
              for (let turn = 0; turn < 6; turn++) {
                const condition = on(filterOf(n + turn), yield* store.head)
                const event = happened(`T${(n + turn) % 4}`, { tags: [`t${n % 4}`, `t${turn % 4}`] })
                const write = store.write({ streamId: stream(`${n}`), events: [event] }, { condition })
                const result = yield* Effect.either(write)
                if (result._tag === "Right") accepted.push({ condition, at: result.right.position })
                else assert.strictEqual(result.left._tag, "AppendConditionFailed")
              }
              return accepted
            })
          const accepted = (yield* Effect.forEach(
            Array.from({ length: 12 }, (_, n) => n),
            caller,
            {
              concurrency: "unbounded"
            }
          )).flat()
          assert.isAbove(accepted.length, 0)
          yield* reached(Math.max(...accepted.map(({ at }) => at)))
          const events = yield* log()
          assert.strictEqual(events.length, accepted.length)
          for (const { at, condition } of accepted) {
            const between = events.filter((event) => event.position > condition.after && event.position < at)
            assert.deepStrictEqual(
              between.filter((event) => matchesAny(condition.filters, event)),
              []
            )
          }
        }),
      slowTestMs
    )
  })
}
