/**
 * Racing conditions. Every round 16 writers, spread over three pools, have decided on the same state of the
 * log, each with a condition that the event of every other breaks: exactly one may win. At the end the log is
 * replayed, and every accepted condition must have held at its place.
 */
import { assert, describe } from "@effect/vitest"
import type { AppendCondition, WriteResult } from "@millrace/core/Append"
import type { NewEvent } from "@millrace/core/Event"
import type { EventFilter } from "@millrace/core/EventFilter"
import { matchesAny } from "@millrace/core/EventFilter"
import type { WriteError } from "@millrace/core/WriteError"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import type { Chance, Row } from "./Fixtures.js"
import {
  appendTo,
  checkLog,
  checkResults,
  happened,
  position,
  range,
  sized,
  stores,
  tagOf,
  test,
  unbounded
} from "./Fixtures.js"

const writers = 16

interface Contender {
  readonly streamId: string
  readonly event: NewEvent
  readonly filters: ReadonlyArray<EventFilter>
  /** Of each group exactly one wins. */
  readonly group: number
}

type Round = (n: number, chance: Chance) => ReadonlyArray<Contender>

const all = (make: (i: number) => Contender): ReadonlyArray<Contender> => range(0, writers - 1).map(make)

/** What the contenders share, and so what their conditions are about. */
const rounds: Readonly<Record<string, Round>> = {
  "one tag": (n) =>
    all((i) => ({
      streamId: `seat/${n}-${i}`,
      event: happened({ tags: [`seat ${n}`] }),
      filters: [{ tags: [`seat ${n}`] }],
      group: 0
    })),
  "two tags together": (n, chance) =>
    all((i) => ({
      streamId: `pair/${n}-${i}`,
      event: happened({ tags: chance.shuffle([`left ${n}`, `right ${n}`, `own ${i}`]) }),
      filters: [{ tags: chance.shuffle([`left ${n}`, `right ${n}`]) }],
      group: 0
    })),
  // Each names some of eight tags and writes all: every condition meets every event, mostly over different tags.
  "overlapping tags": (n, chance) => {
    const tags = range(1, 8).map((k) => `overlap ${n} ${k}`)
    return all((i) => ({
      streamId: `overlap/${n}-${i}`,
      event: happened({ tags: chance.shuffle(tags) }),
      filters: chance.some(tags, 1 + chance.int(3)).map((tag) => ({ tags: [tag] })),
      group: 0
    }))
  },
  "disjoint tags": (n) =>
    all((i) => ({
      streamId: `room/${n}-${i}`,
      event: happened({ tags: [`room ${n} ${i % 4}`] }),
      filters: [{ tags: [`room ${n} ${i % 4}`] }],
      group: i % 4
    })),
  "the type alone": (n) =>
    all((i) => ({
      streamId: `type/${n}-${i}`,
      event: happened({ type: `Opened${n}` }),
      filters: [{ type: `Opened${n}` }],
      group: 0
    })),
  "the category alone": (n) =>
    all((i) => ({
      streamId: `category-${n}/${i}`,
      event: happened(),
      filters: [{ category: `category-${n}` }],
      group: 0
    })),
  "a prefix": (n) =>
    all((i) => ({
      streamId: `prefix/${n}-${i}`,
      event: happened(),
      filters: [{ prefix: i % 2 === 0 ? `prefix/${n}-` : `prefix/${n}` }, { type: `Never${n}` }],
      group: 0
    })),
  "a part of the category": (n) =>
    all((i) => ({
      streamId: `part${n}x${i}/1`,
      event: happened(),
      filters: [{ prefix: `part${n}x` }],
      group: 0
    })),
  "one stream": (n) =>
    all(() => ({
      streamId: `only/${n}`,
      event: happened(),
      filters: [{ streamId: `only/${n}` }],
      group: 0
    })),
  // Each looks at another side of the same events.
  "different sides": (n) =>
    all((i) => ({
      streamId: `sides-${n}/${i}`,
      event: happened({ type: `Sided${n}`, tags: [`side ${n}`] }),
      filters: [
        [
          { tags: [`side ${n}`] },
          { type: `Sided${n}` },
          { category: `sides-${n}` },
          { type: `Sided${n}`, tags: [`side ${n}`], category: `sides-${n}` }
        ][i % 4]!
      ],
      group: 0
    }))
}

interface Accepted {
  readonly condition: AppendCondition
  readonly result: WriteResult
}

/** No event between what the decision had seen and what it wrote breaks the condition. */
const checkAccepted = (rows: ReadonlyArray<Row>, accepted: ReadonlyArray<Accepted>): void => {
  for (const { condition, result } of accepted) {
    const first = Math.min(...result.appends.map((append) => append.firstPosition))
    const breaking = rows.find(
      (row) => row.position > condition.after && row.position < first && matchesAny(condition.filters, row)
    )
    assert.strictEqual(
      breaking,
      undefined,
      `accepted at ${first}, after ${condition.after}: ${JSON.stringify(condition.filters)}`
    )
  }
}

/** A refusal names an event that does break the condition. */
const checkRefused = (rows: ReadonlyArray<Row>, condition: AppendCondition, error: WriteError): void => {
  if (error._tag !== "AppendConditionFailed") return assert.fail(`${error._tag}: ${error.message}`)
  const named = rows.find((row) => row.position === error.position)
  assert.isTrue(
    named !== undefined && named.position > condition.after && matchesAny(condition.filters, named),
    `refused for position ${error.position}`
  )
}

interface Tried {
  readonly condition: AppendCondition
  readonly outcome: Either.Either<WriteResult, WriteError>
}

const accepted = (tried: ReadonlyArray<Tried>): ReadonlyArray<Accepted> =>
  tried.flatMap(({ condition, outcome }) =>
    outcome._tag === "Right" ? [{ condition, result: outcome.right }] : []
  )

describe("conditions", () => {
  test(
    "of 16 racing conditional appends exactly one wins, round after round, and every accepted condition held at its place",
    sized(60, 300),
    (chance) =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(3)
        const kinds = Object.keys(rounds)
        const tried: Array<Tried> = []
        let seen = 0
        for (const n of range(1, sized(100, 600))) {
          const kind = kinds[n % kinds.length]!
          const contenders = chance.shuffle(rounds[kind]!(n, chance))
          // Some have read the log to its end, some never: none of them has seen anything of this round.
          const round = yield* Effect.forEach(
            contenders,
            ({ event, filters, streamId }, i) => {
              const condition = { filters, after: position(chance.percent(50) ? seen : 0) }
              return Effect.map(
                Effect.either(
                  opened[i % opened.length]!.store.write({ streamId, events: [event] }, { condition })
                ),
                (outcome) => ({ condition, outcome })
              )
            },
            unbounded
          )
          for (const group of new Set(contenders.map((contender) => contender.group))) {
            const won = round.filter(
              ({ outcome }, i) => contenders[i]!.group === group && outcome._tag === "Right"
            )
            assert.strictEqual(
              won.length,
              1,
              `winners of round ${n} (${kind}): ${round.map(({ outcome }) => tagOf(outcome)).join(" ")}`
            )
          }
          for (const { result } of accepted(round)) seen = Math.max(seen, result.position)
          tried.push(...round)
        }
        const rows = yield* checkLog(url)
        checkResults(
          rows,
          accepted(tried).map(({ result }) => result)
        )
        checkAccepted(rows, accepted(tried))
        for (const { condition, outcome } of tried)
          if (outcome._tag === "Left") checkRefused(rows, condition, outcome.left)
        assert.strictEqual(rows.length, accepted(tried).length)
      })
  )

  test(
    "conditions that race with unconditional appends that match them hold at their place, or are refused",
    sized(45, 300),
    (chance) =>
      Effect.gen(function* () {
        const { opened, url } = yield* stores(3)
        const tried: Array<Tried> = []
        const plain: Array<WriteResult> = []
        let after = 0
        for (const n of range(1, sized(60, 500))) {
          const tags = range(1, 4).map((k) => `t ${n % 7} ${k}`)
          const type = `Kind${n % 5}`
          const condition = (): AppendCondition => ({
            filters: chance.pick<ReadonlyArray<EventFilter>>([
              [{ tags: [chance.pick(tags)] }],
              [{ type }],
              [{ tags: [tags[0]!] }, { tags: [tags[1]!] }],
              [{ category: `mixed-${n % 3}` }],
              [{ type, tags: [chance.pick(tags)] }]
            ]),
            after: position(after)
          })
          const event = () => happened({ type, tags: chance.some(tags, 1 + chance.int(4)) })
          const stream = () => `mixed-${n % 3}/${chance.int(6)}`
          yield* Effect.forEach(
            range(1, 20),
            (i) => {
              const { store } = opened[i % opened.length]!
              if (chance.percent(40)) {
                const held = condition()
                return Effect.map(
                  Effect.either(store.write({ streamId: stream(), events: [event()] }, { condition: held })),
                  (outcome) => void tried.push({ condition: held, outcome })
                )
              }
              // Several streams in one write: not the fast form.
              const appends = range(1, 1 + chance.int(2)).map(() => ({
                streamId: stream(),
                events: [event()]
              }))
              return Effect.map(store.write(appends), (result) => void plain.push(result))
            },
            unbounded
          )
          const known = [...plain, ...accepted(tried).map(({ result }) => result)]
          after = Math.max(0, ...known.slice(-40).map((result) => result.position))
        }
        const rows = yield* checkLog(url)
        checkResults(rows, [...plain, ...accepted(tried).map(({ result }) => result)])
        checkAccepted(rows, accepted(tried))
        for (const { condition, outcome } of tried)
          if (outcome._tag === "Left") checkRefused(rows, condition, outcome.left)
        // Both happened, or this proves nothing.
        assert.isAbove(accepted(tried).length, 10)
        assert.isBelow(accepted(tried).length, tried.length - 10)
      })
  )

  test("texts that mean something to SQL, to arrays or to formats mean themselves in a condition", 30, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(1)
      const { store } = opened[0]!
      const texts = [
        `'`,
        `''`,
        `"`,
        `\\`,
        `\\'`,
        `\\\\'; DROP TABLE millrace.events; --`,
        `$1`,
        `$$`,
        `%`,
        `_`,
        `%s`,
        `{}`,
        `{a,"b"}`,
        `,`,
        `NULL`,
        `null`,
        ` `,
        `\t`,
        `\n`,
        `é`,
        `e\u0301`,
        `ß`,
        `SS`,
        `🦄`,
        `\uffff`,
        `E'x'`,
        `U&'x'`,
        `/* */`,
        `--`,
        `a`,
        `A`
      ]
      for (const [n, text] of texts.entries()) {
        const before = (yield* store.write({ streamId: "before/1", events: [happened()] })).position
        const event = { type: text, data: {}, tags: [text, `n${n}`] }
        const streamId = `c${text.replaceAll("/", "|")}/${n}${text}`
        yield* store.write({ streamId, events: [event] })
        const same: ReadonlyArray<EventFilter> = [
          { tags: [text] },
          { type: text },
          { category: `c${text.replaceAll("/", "|")}` },
          { streamId },
          { prefix: streamId },
          { tags: [text, `n${n}`], type: text, prefix: streamId.slice(0, -text.length) }
        ]
        for (const filter of same) {
          const outcome = yield* Effect.either(
            store.write(appendTo("never/1"), { condition: { filters: [filter], after: before } })
          )
          assert.strictEqual(tagOf(outcome), "AppendConditionFailed", JSON.stringify(filter))
        }
        const other: ReadonlyArray<EventFilter> = [
          { tags: [`${text}x`] },
          { tags: [text, "x"] },
          { type: `${text}x` },
          { category: `c${text.replaceAll("/", "|")}x` },
          { streamId: `${streamId}x` },
          { prefix: `${streamId}x` }
        ]
        yield* store.write(appendTo("after/1"), { condition: { filters: other, after: before } })
      }
      assert.strictEqual((yield* checkLog(url)).length, texts.length * 3)
    })
  )

  test("a condition waits for an open transaction whose append would break it, and then is refused", 20, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(2)
      const [one, other] = opened
      const condition = { filters: [{ tags: ["held"] }], after: position(0) }
      const outcome = yield* one!.sql.withTransaction(
        Effect.gen(function* () {
          yield* one!.store.write({ streamId: "held/1", events: [happened({ tags: ["held"] })] })
          const fiber = yield* Effect.forkDaemon(
            Effect.either(
              other!.store.write(
                { streamId: "held/2", events: [happened({ tags: ["held"] })] },
                { condition }
              )
            )
          )
          yield* Effect.sleep("300 millis")
          assert.strictEqual(fiber.unsafePoll(), null)
          return fiber
        })
      )
      const result = yield* outcome.await.pipe(Effect.flatten)
      assert.strictEqual(tagOf(result), "AppendConditionFailed")
      assert.deepStrictEqual(
        (yield* checkLog(url)).map((row) => row.streamId),
        ["held/1"]
      )
    })
  )

  test("a condition that waits for an open transaction holds when that one rolls back", 20, () =>
    Effect.gen(function* () {
      const { opened, url } = yield* stores(2)
      const [one, other] = opened
      const condition = { filters: [{ type: "Held" }], after: position(0) }
      const rolledBack = one!.sql.withTransaction(
        Effect.gen(function* () {
          yield* one!.store.write({ streamId: "held/1", events: [happened({ type: "Held" })] })
          const fiber = yield* Effect.forkDaemon(
            other!.store.write({ streamId: "held/2", events: [happened({ type: "Held" })] }, { condition })
          )
          yield* Effect.sleep("200 millis")
          return yield* Effect.fail(fiber)
        })
      )
      const fiber = yield* Effect.flip(rolledBack)
      if (!("await" in fiber)) return assert.fail("the transaction failed by itself")
      yield* fiber.await.pipe(Effect.flatten)
      assert.deepStrictEqual(
        (yield* checkLog(url)).map((row) => row.streamId),
        ["held/2"]
      )
    })
  )
})
