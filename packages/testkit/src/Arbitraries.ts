/**
 * Random histories of a log and random queries, for property tests. Everything in them is small and named by
 * number (streams, ids, marks), so that collisions are common and a failing case shrinks to one that can be
 * read. Texts and positions are put in when a history is applied to a store (`EventStoreModel`).
 */
import * as FC from "effect/FastCheck"

/** Streams of a history. Two of the categories begin alike, and one name is the start of another. */
export const streamNames: ReadonlyArray<string> = ["a/1", "a/1/2", "a/%", "ab/1", "🦄/\uffff", "b/🦄"]

/** The routing key that most appends to a stream name: half of the streams have one of two, half have none. */
export const routingKeyOf = (stream: number): number | undefined =>
  stream % 2 === 0 ? undefined : stream % 3 === 0 ? 0 : 1

/** Prefixes of these names, all of them first; some belong to no stream. */
export const prefixes: ReadonlyArray<string> = [
  "",
  "a",
  "a/",
  "a/1",
  "a/1/",
  "a/%",
  "ab",
  "🦄",
  "b/",
  "_",
  "a/_"
]

/** An event id: a new one, or one that was used before, counted from the first. */
export type IdChoice = "fresh" | number

/** An event of a random history. */
export interface EventChoice {
  readonly id: IdChoice
  readonly type: number
  readonly tags: ReadonlyArray<number>
  readonly data: unknown
  readonly correlated: boolean
}

/** What to expect: a word, or so many versions off from where the stream stands. */
export type ExpectedChoice = "any" | "exists" | "empty" | { readonly off: number }

/** An append of a random history. */
export interface AppendChoice {
  readonly stream: number
  readonly events: ReadonlyArray<EventChoice>
  readonly expected: ExpectedChoice
  /** Absent: the one that the stream has from the start ({@link routingKeyOf}). */
  readonly routingKey?: "none" | number
}

/** A filter by numbers; without any of them, all events of the history. */
export interface FilterChoice {
  readonly category?: number
  readonly stream?: number
  readonly prefix?: number
  readonly type?: number
  readonly tags?: ReadonlyArray<number>
}

/**
 * A position: the start, past the end, or that of the n-th event appended (also one that is gone). `beside` is
 * the number next to it on the near side, so that the n-th event itself is on the far one.
 */
export type MarkChoice = "start" | "end" | { readonly nth: number; readonly beside: boolean }

/** One step of a random history. */
export type Operation =
  | {
      readonly _tag: "Write"
      readonly appends: ReadonlyArray<AppendChoice>
      readonly condition?: { readonly filters: ReadonlyArray<FilterChoice>; readonly after: MarkChoice }
    }
  /** The n-th write once more: as it was, in part, or changed. */
  | {
      readonly _tag: "Repeat"
      readonly nth: number
      readonly how: "whole" | "part" | "reversed" | "more" | "elsewhere"
    }
  | {
      readonly _tag: "Delete"
      readonly stream: number
      readonly expected: ExpectedChoice
      readonly tombstone: boolean
    }
  | { readonly _tag: "Archive"; readonly stream: number }
  | { readonly _tag: "Erase"; readonly filter: FilterChoice; readonly replacement: unknown }

/** A random query. */
export interface QueryChoice {
  readonly filters: ReadonlyArray<FilterChoice>
  readonly routingKey: "all" | "unkeyed" | number
  readonly vnodes?: { readonly from: number; readonly to: number }
  readonly includeArchived: boolean
  readonly upTo?: MarkChoice
  readonly afterVersion: number
  readonly backward: boolean
  readonly rows: number
  /** Where the page begins, going its way; absent: at the end it comes from. */
  readonly cursor?: MarkChoice
}

/** A random history and the queries put to it afterwards. */
export interface History {
  readonly operations: ReadonlyArray<Operation>
  readonly queries: ReadonlyArray<QueryChoice>
}

const stream = FC.nat({ max: streamNames.length - 1 })
const type = FC.nat({ max: 2 })
const tag = FC.nat({ max: 3 })

/** JSON values, texts of all planes and control characters among them. */
const data: FC.Arbitrary<unknown> = FC.oneof(
  { weight: 4, arbitrary: FC.nat({ max: 9 }) as FC.Arbitrary<unknown> },
  { weight: 1, arbitrary: FC.jsonValue({ maxDepth: 2, stringUnit: "binary" }) as FC.Arbitrary<unknown> }
  // The one value of FC.jsonValue that JSON itself does not keep is -0.
).map((value) => JSON.parse(JSON.stringify(value)) as unknown)

const event: FC.Arbitrary<EventChoice> = FC.record({
  id: FC.oneof(
    { weight: 14, arbitrary: FC.constant<IdChoice>("fresh") },
    { weight: 1, arbitrary: FC.nat({ max: 20 }) as FC.Arbitrary<IdChoice> }
  ),
  type,
  tags: FC.array(tag, { maxLength: 3 }),
  data,
  correlated: FC.boolean()
})

const expected: FC.Arbitrary<ExpectedChoice> = FC.oneof(
  { weight: 6, arbitrary: FC.constant<ExpectedChoice>("any") },
  { weight: 3, arbitrary: FC.constant<ExpectedChoice>({ off: 0 }) },
  { weight: 1, arbitrary: FC.constantFrom<ExpectedChoice>("exists", "empty") },
  { weight: 1, arbitrary: FC.record({ off: FC.constantFrom(-1, 1) }) as FC.Arbitrary<ExpectedChoice> }
)

const append: FC.Arbitrary<AppendChoice> = FC.record({
  stream,
  events: FC.array(event, { minLength: 1, maxLength: 4 }),
  expected,
  routingKey: FC.oneof(
    { weight: 12, arbitrary: FC.constant("own" as const) },
    { weight: 1, arbitrary: FC.constantFrom<"none" | number>("none", 0, 1) }
  )
}).map(({ routingKey, ...rest }) => (routingKey === "own" ? rest : { ...rest, routingKey }))

/** Random filters over the names that histories use. */
export const filter: FC.Arbitrary<FilterChoice> = FC.oneof(
  FC.record({ category: stream }),
  FC.record({ stream }),
  FC.record({ prefix: FC.nat({ max: prefixes.length - 1 }) }),
  FC.record({ type }),
  FC.record({ tags: FC.array(tag, { minLength: 1, maxLength: 2 }) }),
  FC.record(
    {
      category: stream,
      stream,
      prefix: FC.nat({ max: prefixes.length - 1 }),
      type,
      tags: FC.array(tag, { maxLength: 2 })
    },
    { requiredKeys: [] }
  )
)

const mark: FC.Arbitrary<MarkChoice> = FC.oneof(
  { weight: 1, arbitrary: FC.constantFrom<MarkChoice>("start", "end") },
  {
    weight: 5,
    arbitrary: FC.record({ nth: FC.nat({ max: 40 }), beside: FC.boolean() })
  }
)

const write: FC.Arbitrary<Operation> = FC.record(
  {
    _tag: FC.constant("Write" as const),
    appends: FC.array(append, { minLength: 1, maxLength: 3 }),
    condition: FC.record({ filters: FC.array(filter, { minLength: 1, maxLength: 3 }), after: mark })
  },
  { requiredKeys: ["_tag", "appends"] }
).map((choice) => {
  const { condition, ...rest } = choice
  // Two thirds without: most conditions on so small a log fail.
  return condition === undefined || condition.filters.length < 3 ? rest : { ...rest, condition }
})

const operation: FC.Arbitrary<Operation> = FC.oneof(
  { weight: 12, arbitrary: write },
  {
    weight: 2,
    arbitrary: FC.record({
      _tag: FC.constant("Repeat" as const),
      nth: FC.nat({ max: 10 }),
      how: FC.constantFrom("whole" as const, "part", "reversed", "more", "elsewhere")
    }) as FC.Arbitrary<Operation>
  },
  {
    weight: 1,
    arbitrary: FC.record({
      _tag: FC.constant("Delete" as const),
      stream,
      expected,
      tombstone: FC.nat({ max: 3 }).map((n) => n === 3)
    })
  },
  { weight: 1, arbitrary: FC.record({ _tag: FC.constant("Archive" as const), stream }) },
  {
    weight: 1,
    arbitrary: FC.record({ _tag: FC.constant("Erase" as const), filter, replacement: data })
  }
)

/** Random queries. */
export const query: FC.Arbitrary<QueryChoice> = FC.record(
  {
    filters: FC.array(filter, { maxLength: 3 }),
    routingKey: FC.constantFrom<QueryChoice["routingKey"]>("all", "all", "all", "unkeyed", 0, 1),
    vnodes: FC.tuple(FC.nat({ max: 255 }), FC.nat({ max: 255 })).map(([a, b]) => ({
      from: Math.min(a, b),
      to: Math.max(a, b)
    })),
    includeArchived: FC.boolean(),
    upTo: mark,
    afterVersion: FC.nat({ max: 4 }),
    backward: FC.boolean(),
    rows: FC.integer({ min: 1, max: 12 }),
    cursor: mark
  },
  { requiredKeys: ["filters", "routingKey", "includeArchived", "afterVersion", "backward", "rows"] }
)

/** A history of up to 20 operations, and up to 12 queries of what came out. */
export const history: FC.Arbitrary<History> = FC.record({
  operations: FC.array(operation, { minLength: 1, maxLength: 20, size: "max" }),
  queries: FC.array(query, { minLength: 1, maxLength: 12, size: "max" })
})
