/**
 * Many small cases of a property, some dozens of them as flows of one pipeline, since starting a pipeline costs more than
 * the few records of a case. A case that fails is run alone and made as short as it can be; its seed stands in the
 * message: `MILLRACE_SEED=… npx vitest run …` brings it back.
 */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import type { Source, SourceBatch } from "@millrace/core/Source"
import type { Flow } from "@millrace/pipeline/Flow"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import type { Key } from "@millrace/pipeline/Records"
import * as Watermarks from "@millrace/pipeline/Watermarks"
import { sized } from "@millrace/testkit/Seeds"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FC from "effect/FastCheck"
import { randomBytes } from "node:crypto"
import { it } from "vitest"
import type { Rec, Spec } from "./Oracles.js"

/** A property of flows. */
export interface Property<C> {
  readonly arbitrary: FC.Arbitrary<C>
  readonly parallelism: (given: C) => number
  /** What is run. Names of its sources begin with the one that is given. */
  readonly flow: (given: C, name: string) => Flow<unknown, unknown>
  /** What should come of it, in any order. */
  readonly expected: (given: C) => ReadonlyArray<unknown>
  /** What is compared, of what was given and what was expected. Default: all of it, sorted. */
  readonly canonical?: ((values: ReadonlyArray<unknown>) => ReadonlyArray<unknown>) | undefined
  /** What else must hold; a text says what does not. */
  readonly also?: ((given: C, values: ReadonlyArray<never>) => string | undefined) | undefined
  /** Share of the usual number of cases. Default: 1. */
  readonly share?: number | undefined
}

/**
 * The same for several variants of each case, which share its sources: on average five, so that a fifth of the runs
 * makes as many cases.
 */
export const severalHold = <C, V>(
  title: string,
  property: {
    readonly given: FC.Arbitrary<C>
    readonly variant: FC.Arbitrary<V>
    readonly parallelism?: number
    readonly flows: (given: C, name: string) => (variant: V) => Flow<unknown, unknown>
    readonly expected: (given: C, variant: V) => ReadonlyArray<unknown>
    readonly canonical?: Property<unknown>["canonical"]
    readonly also?: (given: C, variant: V, values: ReadonlyArray<never>) => string | undefined
    readonly share?: number
  }
): void => {
  const { also, canonical = sorted, expected, flows, given, parallelism = 4, share = 1, variant } = property
  const of = (i: number, values: ReadonlyArray<unknown>) =>
    (values as ReadonlyArray<readonly [number, never]>).filter(([at]) => at === i).map(([, value]) => value)
  holds(title, {
    share: share / 5,
    arbitrary: FC.record({
      given,
      variants: FC.array(variant, { minLength: 1, maxLength: variantsMax, size: "max" }),
      parallelism: FC.integer({ min: 1, max: parallelism })
    }),
    parallelism: ({ parallelism }) => parallelism,
    flow: ({ given, variants }, name) => {
      const flow = flows(given, name)
      const all = variants.map((variant, i) =>
        flow(variant).pipe(Pipeline.map((value) => [i, value] as const))
      )
      return Pipeline.union(...(all as [(typeof all)[0], ...typeof all]))
    },
    expected: ({ given, variants }) =>
      variants.flatMap((variant, i) => expected(given, variant).map((value) => [i, value])),
    canonical: (values) => Array.from({ length: variantsMax }, (_, i) => canonical(of(i, values))),
    also: ({ given, variants }, values) => {
      for (const [i, variant] of variants.entries()) {
        const fault = also?.(given, variant, of(i, values))
        if (fault !== undefined) return fault
      }
      return undefined
    }
  })
}

/** Variants of one case. */
const variantsMax = 9

/** Cases in the gate and in the long run. */
const casesOf = (share: number): number => Math.ceil(share * sized(1_000, 10_000))

/** Flows of one pipeline. */
const flowsAtOnce = 50

/** Checks a property. */
export const holds = <C>(title: string, property: Property<C>): void =>
  it(`${title}`, { timeout: sized(30_000, 300_000) }, async () => {
    const named = process.env.MILLRACE_SEED
    const seed = named === undefined || named === "" ? randomBytes(4).readUInt32BE(0) >>> 1 : Number(named)
    const numRuns = casesOf(property.share ?? 1)
    const cases = FC.sample(property.arbitrary, { seed, numRuns })
    for (const parallelism of new Set(cases.map(property.parallelism))) {
      const all = cases.filter((given) => property.parallelism(given) === parallelism)
      for (let i = 0; i < all.length; i += flowsAtOnce) {
        const some = all.slice(i, i + flowsAtOnce)
        const faults = await faultsOf(property, some, parallelism)
        const failing = faults.findIndex((fault) => fault !== undefined)
        if (failing < 0) continue
        const shortest = await shrink(property, seed, cases.indexOf(some[failing]!), numRuns)
        throw new Error(
          `MILLRACE_SEED=${seed} brings this back.\n${shortest ?? `${JSON.stringify(some[failing])}\n${faults[failing]}\n(only together with others)`}`
        )
      }
    }
  })

/** Same texts in the same order. */
const sorted = (values: ReadonlyArray<unknown>): ReadonlyArray<unknown> =>
  values.map((value) => JSON.stringify(value)).sort()

/** Runs cases as one pipeline, and says of each what is wrong with it. */
const faultsOf = async <C>(
  { also, canonical = sorted, expected, flow }: Property<C>,
  cases: ReadonlyArray<C>,
  parallelism: number
): Promise<ReadonlyArray<string | undefined>> => {
  const flows = cases.map((given, i) =>
    flow(given, `case${i}`).pipe(Pipeline.map((value) => [i, value] as const))
  )
  const exit = await Effect.runPromiseExit(
    Pipeline.collect(Pipeline.union(...(flows as [(typeof flows)[0], ...typeof flows])), {
      parallelism
    }).pipe(Effect.timeout("20 seconds"), Effect.provide(ActorRegistry.layer))
  )
  return cases.map((given, i) => {
    const wanted = canonical(expected(given)).map((value) => JSON.stringify(value))
    if (Exit.isFailure(exit)) return `${Cause.pretty(exit.cause)}\nexpected ${wanted.join(" ")}`
    const values = exit.value.filter(([of]) => of === i).map(([, value]) => value)
    const got = canonical(values).map((value) => JSON.stringify(value))
    if (JSON.stringify(got) !== JSON.stringify(wanted))
      return `missing  ${without(wanted, got).join(" ")}\nunwanted ${without(got, wanted).join(" ")}\nexpected ${wanted.join(" ")}\n     got ${got.join(" ")}`
    return also?.(given, values as Array<never>)
  })
}

const without = (all: ReadonlyArray<string>, others: ReadonlyArray<string>): ReadonlyArray<string> => {
  const left = [...others]
  return all.filter((one) => {
    const at = left.indexOf(one)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
}

/** The shortest case that fails by itself. */
const shrink = async <C>(property: Property<C>, seed: number, at: number, numRuns: number) => {
  const details = await FC.check(
    FC.asyncProperty(property.arbitrary, async (given) => {
      const [fault] = await faultsOf(property, [given], property.parallelism(given))
      if (fault !== undefined) throw new Error(fault)
    }),
    { seed, path: String(at), numRuns: numRuns - at, interruptAfterTimeLimit: 12_000 }
  )
  return details.failed && details.counterexample !== null
    ? `${JSON.stringify(details.counterexample[0])}\n${(details as { errorInstance?: unknown }).errorInstance}`
    : undefined
}

// ---- input ----

/** Texts, numbers, and a text that looks like one of the numbers. */
export const keys: ReadonlyArray<Key> = ["a", 1, "1", "b"]

/** Records, and how they are given. */
export interface Input {
  /** In order of arrival. */
  readonly records: ReadonlyArray<Rec>
  readonly partitions: number
  /** Sizes of batches, one after another, over and over; 0 is an empty one. */
  readonly sizes: ReadonlyArray<number>
  /** Turns that are let to others before each batch, over and over. */
  readonly pauses: ReadonlyArray<number>
  /** Of the watermark. */
  readonly bound: number
}

/** How records lie in time. */
export interface InputOptions {
  readonly records?: number
  readonly keys?: number
  readonly spanMs?: number
  readonly partitions?: number
  /** `none`: in order. `within`: as far as the bound allows. `beyond`: further. */
  readonly disorder?: "none" | "within" | "beyond"
}

/** Random input. */
export const input = ({
  disorder = "within",
  keys: keyCount = 3,
  partitions: partitionsMax = 1,
  records: recordsMax = 14,
  spanMs = 60
}: InputOptions = {}): FC.Arbitrary<Input> =>
  FC.record({
    drawn: FC.array(
      FC.record({
        key: FC.nat({ max: keyCount - 1 }),
        at: FC.nat({ max: spanMs }),
        v: FC.integer({ min: -5, max: 9 }),
        delay: FC.oneof(FC.constant(0), FC.nat({ max: 100 })),
        partition: FC.nat({ max: partitionsMax - 1 })
      }),
      { maxLength: recordsMax, size: "max" }
    ),
    sizes: FC.array(FC.nat({ max: 7 }), { minLength: 1, maxLength: 3 }),
    pauses: FC.array(FC.nat({ max: 3 }), { minLength: 1, maxLength: 3 }),
    bound: disorder === "none" ? FC.constant(0) : FC.nat({ max: disorder === "beyond" ? 5 : 20 }),
    // How much later than by the bound records may come. Unit: milliseconds.
    excess: disorder === "beyond" ? FC.nat({ max: 80 }) : FC.constant(0)
  }).map(({ bound, drawn, excess, pauses, sizes }) => ({
    records: drawn
      // Who comes at + delay, with no delay above the bound, has nobody before it that is more than the bound newer.
      .map((one) => ({ ...one, arrival: one.at + (one.delay * (bound + excess)) / 100 }))
      .sort((a, b) => a.arrival - b.arrival)
      .map(({ at, key, partition, v }, n): Rec => ({
        key: keys[key]!,
        at: at - spanMs / 4,
        n,
        v,
        partition
      })),
    partitions: partitionsMax,
    sizes,
    pauses,
    bound
  }))

/** Batches of a chosen size each, none of two partitions. */
export const batchesOf = ({ records, sizes }: Input): ReadonlyArray<SourceBatch<Rec>> => {
  const batches: Array<SourceBatch<Rec>> = []
  let left = 0
  let turn = 0
  for (const record of records) {
    const last = batches.at(-1)
    const partition = String(record.partition)
    if (last === undefined || left === 0 || last.partition !== partition) {
      left = sizes[turn++ % sizes.length]!
      if (left === 0) {
        batches.push({ values: [], partition, offset: String(record.n) })
        left = Math.max(1, sizes[turn++ % sizes.length]!)
      }
      batches.push({ values: [record], partition, offset: String(record.n + 1) })
    } else
      batches[batches.length - 1] = {
        ...last,
        values: [...last.values, record],
        offset: String(record.n + 1)
      }
    left--
  }
  return batches
}

/** A source of exactly these batches. */
export const sourceOf = (name: string, given: Input): Source<Rec> => ({
  name,
  isReplayable: true,
  open: () =>
    Effect.sync(() => {
      const batches = batchesOf(given)
      let at = 0
      return {
        partitions: Array.from({ length: given.partitions }, (_, i) => String(i)),
        next: Effect.suspend(() => {
          const batch = batches[at]
          const pauses = given.pauses[at % given.pauses.length]!
          at++
          return pauses === 0
            ? Effect.succeed(batch)
            : Effect.as(Effect.repeatN(Effect.yieldNow(), pauses), batch)
        })
      }
    })
})

/** The records of a source, with their times and its watermark. */
export const recordsOf = (name: string, given: Input): Flow<Rec> =>
  Pipeline.from(sourceOf(name, given), {
    timestamp: ({ at }) => at,
    watermarks: Watermarks.bounded(given.bound)
  })

/** The same by key. */
export const keyedOf = (name: string, given: Input) =>
  recordsOf(name, given).pipe(Pipeline.keyBy(({ key }) => key))

/** Windows of each kind but those by number. */
export const byTime: ReadonlyArray<FC.Arbitrary<Spec>> = [
  FC.record({
    kind: FC.constant("tumbling" as const),
    size: FC.integer({ min: 1, max: 20 }),
    offset: FC.constantFrom(0, 3)
  }),
  FC.tuple(FC.integer({ min: 1, max: 20 }), FC.integer({ min: 1, max: 20 })).map(([a, b]): Spec => ({
    kind: "hopping",
    size: Math.max(a, b),
    hop: Math.min(a, b),
    offset: 0
  })),
  FC.record({ kind: FC.constant("session" as const), gap: FC.integer({ min: 1, max: 12 }) }),
  FC.constant({ kind: "global" } as const)
]
