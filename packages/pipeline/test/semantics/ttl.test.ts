/** What is forgotten when event time has gone on for long enough. */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as State from "@millrace/pipeline/State"
import * as Effect from "effect/Effect"
import * as FC from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import type { Input } from "./Cases.js"
import { input, keyedOf, recordsOf, severalHold } from "./Cases.js"
import type { Rec } from "./Oracles.js"
import { dedupeOf, processOf, watermarksOf } from "./Oracles.js"

const watermarks = ({ bound, partitions, records }: Input) => watermarksOf(records, bound, partitions)

describe("ttl", () => {
  it("a key whose time ends within a batch is forgotten", async () => {
    const times = [0, 100, 101]
    const given = {
      records: times.map((at, n): Rec => ({ key: n === 0 ? "a" : "b", at, n, v: 0, partition: 0 })),
      partitions: 1,
      sizes: [7],
      pauses: [0],
      bound: 0
    }
    const values = await Effect.runPromise(
      recordsOf("s", given).pipe(
        Pipeline.dedupe({ by: ({ key }) => key, ttl: 10 }),
        Pipeline.map(({ n }) => n),
        Pipeline.collect,
        Effect.provide(ActorRegistry.layer)
      )
    )
    expect(values).toEqual([0, 1])
  })

  severalHold("dedupe lets each thing through once, and again when it was not there for its ttl", {
    given: input({ disorder: "within", partitions: 2 }),
    variant: FC.constantFrom(undefined, 1, 5, 20),
    flows: (given, name) => {
      const records = recordsOf(name, given)
      return (ttl) =>
        records.pipe(
          Pipeline.dedupe({ by: ({ key }) => key, ttl }),
          Pipeline.map(({ n }) => n)
        )
    },
    expected: (given, ttl) => dedupeOf(given.records, watermarks(given), ttl)
  })

  severalHold("a process forgets a key at the end of its ttl, after the timers of that moment", {
    given: input({ disorder: "within", partitions: 2 }),
    variant: FC.record({
      ttl: FC.constantFrom(1, 5, 20),
      inMs: FC.array(FC.constantFrom(undefined, 1, 3, 5, 7, 12, 20, 25), { minLength: 1, maxLength: 4 })
    }),
    flows: (given, name) => {
      const keyed = keyedOf(name, given)
      return ({ inMs, ttl }) =>
        keyed.pipe(
          Pipeline.process({
            ttl,
            state: { count: State.value(Schema.Number, { initial: () => 0 }) },
            onRecord: ({ at, n }: Rec, { key, state, timers }) => {
              state.count.set(state.count.get() + 1)
              const wait = inMs[n % inMs.length]
              if (wait !== undefined) timers.at("x", at + wait)
              return [[key, `record ${n} ${state.count.get()}`]]
            },
            onTimer: ({ name, timeMs }, { key, state }) => [
              [key, `timer ${name} ${timeMs} ${state.count.get()}`]
            ]
          })
        )
    },
    expected: (given, { inMs, ttl }) =>
      processOf(
        given.records,
        inMs.map((wait) => (wait === undefined ? { kind: "none" } : { kind: "set", name: "x", inMs: wait })),
        watermarks(given),
        ttl
      )
  })
})
