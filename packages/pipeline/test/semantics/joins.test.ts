/** Joins of two sources, against all pairs of their records. */
import type { KeyedFlow } from "@millrace/pipeline/Flow"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import type { Key } from "@millrace/pipeline/Records"
import * as SideOutput from "@millrace/pipeline/SideOutput"
import * as FC from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { describe } from "vitest"
import type { Input } from "./Cases.js"
import { byTime, input, keyedOf, severalHold } from "./Cases.js"
import type { Rec, Spec } from "./Oracles.js"
import { joinIntervalOf, joinTableOf, joinWindowOf, windowOf } from "./Oracles.js"

const RecSchema = Schema.Struct({
  key: Schema.Union(Schema.String, Schema.Number),
  at: Schema.Number,
  n: Schema.Number,
  v: Schema.Number,
  partition: Schema.Number
})

const side = FC.oneof(
  input({ disorder: "none", records: 10, spanMs: 40 }),
  input({ disorder: "within", records: 10, spanMs: 40, partitions: 2 })
)
const sides = FC.record({ left: side, right: side })

interface Sides {
  readonly left: Input
  readonly right: Input
}

/** Both sides by key. */
const keyed = ({ left, right }: Sides, name: string) =>
  [
    keyedOf(`${name}l`, left) as KeyedFlow<Key, Rec>,
    keyedOf(`${name}r`, right) as KeyedFlow<Key, Rec>
  ] as const

const spec: FC.Arbitrary<Spec> = FC.oneof(...byTime)

const n = (rec: Rec | undefined) => rec?.n ?? "none"

describe("joins", () => {
  severalHold("joinWindow gives every pair of one window, and what has no other as its kind says", {
    given: sides,
    variant: FC.record({
      spec,
      kind: FC.constantFrom<"inner" | "left" | "right" | "full">("inner", "left", "right", "full")
    }),
    flows: (given, name) => {
      const [left, right] = keyed(given, name)
      return ({ kind, spec }) =>
        Pipeline.joinWindow(left, right, {
          window: windowOf(spec),
          kind,
          left: RecSchema,
          right: RecSchema,
          combine: (l: Rec | undefined, r: Rec | undefined, { key, window }) => [
            key,
            window.start,
            n(l),
            n(r)
          ]
        })
    },
    expected: ({ left, right }, { kind, spec }) =>
      joinWindowOf(spec, kind, left.records, right.records).map(([key, start, l, r]) => [
        key,
        start,
        n(l),
        n(r)
      ])
  })

  const beyond = input({ disorder: "beyond", records: 10, spanMs: 40, keys: 2 })
  severalHold(
    "joinWindow: records that come too late for all their windows are given as late, and none vanishes",
    {
      given: FC.record({ left: beyond, right: beyond }),
      variant: spec,
      flows: (given, name) => {
        const [left, right] = keyed(given, name)
        return (spec) => {
          const late = SideOutput.make<Rec>("late")
          const joined = Pipeline.joinWindow(left, right, {
            window: windowOf(spec),
            kind: "full",
            late,
            left: RecSchema,
            right: RecSchema,
            combine: (l, r) => [l, r] as const
          })
          return Pipeline.union(
            joined.pipe(Pipeline.map((pair) => ({ pair }))),
            joined.pipe(
              Pipeline.sideOutput(late),
              Pipeline.map((rec) => ({ late: rec }))
            )
          )
        }
      },
      // Whether a record is late depends on how far the other source has come by then.
      canonical: () => [],
      expected: () => [],
      also: (
        { left, right },
        _,
        values: ReadonlyArray<{ readonly pair: ReadonlyArray<Rec | undefined> } | { readonly late: Rec }>
      ) => {
        const paired = values.flatMap((value) => ("pair" in value ? value.pair : []))
        const late = values.flatMap((value) => ("late" in value ? [value.late] : []))
        for (const rec of [...left.records, ...right.records]) {
          const isPaired = paired.includes(rec)
          if (isPaired === late.includes(rec))
            return `${JSON.stringify(rec)} ${isPaired ? "is late as well" : "vanished"}`
        }
        return undefined
      }
    }
  )

  severalHold("joinInterval gives every pair that is no further apart", {
    given: sides,
    variant: FC.tuple(FC.integer({ min: -15, max: 15 }), FC.integer({ min: -15, max: 15 })),
    flows: (given, name) => {
      const [left, right] = keyed(given, name)
      return (bounds) =>
        Pipeline.joinInterval(left, right, {
          lowerMs: Math.min(...bounds),
          upperMs: Math.max(...bounds),
          left: RecSchema,
          right: RecSchema,
          combine: (l, r, { key }) => [key, l.n, r.n]
        })
    },
    expected: ({ left, right }, bounds) =>
      joinIntervalOf(Math.min(...bounds), Math.max(...bounds), left.records, right.records).map(([l, r]) => [
        l.key,
        l.n,
        r.n
      ])
  })

  severalHold(
    "joinTable gives each record with the row of its time, and those of a key in the order of time",
    {
      // Of rows of one time the last one counts: of several partitions that would be any.
      given: FC.record({ left: side, right: input({ disorder: "within", records: 10, spanMs: 40 }) }),
      variant: FC.record({
        kind: FC.constantFrom<"inner" | "left">("inner", "left"),
        ttl: FC.constantFrom(undefined, undefined, 1, 5, 20)
      }),
      flows: (given, name) => {
        const [left, right] = keyed(given, name)
        return ({ kind, ttl }) =>
          Pipeline.joinTable(left, right, {
            kind,
            ttl,
            stream: RecSchema,
            table: RecSchema,
            combine: (rec: Rec, row: Rec | undefined, { key }) => [key, rec.n, n(row), rec.at]
          })
      },
      expected: ({ left, right }, { kind, ttl }) =>
        joinTableOf(kind, ttl, left.records, right.records).map(([rec, row]) => [
          rec.key,
          rec.n,
          n(row),
          rec.at
        ]),
      also: (_, __, values: ReadonlyArray<readonly [Key, number, unknown, number]>) => {
        const last = new Map<Key, number>()
        for (const [key, , , at] of values) {
          if (at < (last.get(key) ?? -Infinity)) return `not in the order of time: ${JSON.stringify(values)}`
          last.set(key, at)
        }
        return undefined
      }
    }
  )
})
