import { vnodeOf } from "@millrace/core/Vnode"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Memory from "@millrace/core/Memory"
import { Effect, Layer, ManagedRuntime } from "effect"
import { describe, expect, it } from "vitest"
import { makeCases } from "../src/cases.js"
import { ArgumentError, parseBenchArguments, usage } from "../src/cliArguments.js"
import type { Case, Contestant, Outcome } from "../src/contestant.js"
import { driveCalls, driveEffects } from "../src/drive.js"
import { checkTotals, foldingSession, plainFold } from "../src/folding.js"
import { amountSum, payload } from "../src/payload.js"
import { ours } from "../src/ours.js"
import { accountMap, bookingsIn, fewVnodes, firstBookings, openAccounts } from "../src/pipelines/accounts.js"
import { longest, longestTurn } from "../src/pipelines/blocking.js"
import {
  batchSource,
  check,
  counts,
  doubled,
  expectedOf,
  readings,
  windowMs
} from "../src/pipelines/records.js"
import type { Reading, Readings, Seen } from "../src/pipelines/records.js"
import { rowsByEffectStream, rowsByLoop, rowsByRxjs } from "../src/pipelines/windowPeers.js"
import { rowsByPipeline } from "../src/pipelines/windowing.js"
import { checkedPass } from "../src/readCheck.js"
import { toJsonLine, toReport, toTable } from "../src/report.js"
import { runCase } from "../src/run.js"
import type { CaseResult, ContestantResult } from "../src/run.js"
import { latency, median, percentile, ratio, rotate } from "../src/statistics.js"

describe("statistics", () => {
  it("the median of an odd number of values is the middle one, whatever their order", () => {
    expect(median([9, 1, 5])).toBe(5)
  })

  it("the median of an even number of values is the mean of the two middle ones", () => {
    expect(median([4, 1, 3, 2])).toBe(2.5)
  })

  it("values are compared as numbers, not as text", () => {
    expect(median([10, 9, 100])).toBe(10)
  })

  it("the median of nothing is refused", () => {
    expect(() => median([])).toThrow(RangeError)
  })

  it("percentiles are nearest ranks", () => {
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index)
    expect(percentile(hundred, 50)).toBe(50)
    expect(percentile(hundred, 99)).toBe(99)
    expect(percentile(hundred, 100)).toBe(100)
    expect(percentile(hundred, 0)).toBe(1)
    expect(percentile([7], 99)).toBe(7)
  })

  it("percentiles outside 0 to 100 and of nothing are refused", () => {
    expect(() => percentile([1], 101)).toThrow(RangeError)
    expect(() => percentile([1], Number.NaN)).toThrow(RangeError)
    expect(() => percentile([], 50)).toThrow(RangeError)
  })

  it("latency agrees with percentile, and is nothing where nothing was timed", () => {
    const samples = [3, 1, 2, 100, 4]
    expect(latency(samples)).toEqual({ p50: percentile(samples, 50), p99: percentile(samples, 99), max: 100 })
    expect(latency([])).toBeNull()
  })

  it("a ratio to nothing or to zero is nothing", () => {
    expect(ratio(3, 2)).toBe(1.5)
    expect(ratio(null, 2)).toBeNull()
    expect(ratio(3, null)).toBeNull()
    expect(ratio(3, 0)).toBeNull()
  })

  it("over as many rounds as contestants, everyone has every place once", () => {
    const orders = [0, 1, 2].map((index) => rotate(["a", "b", "c"], index))
    expect(orders).toEqual([
      ["a", "b", "c"],
      ["b", "c", "a"],
      ["c", "a", "b"]
    ])
    expect(rotate(["a", "b", "c"], 3)).toEqual(["a", "b", "c"])
    expect(rotate([], 1)).toEqual([])
  })
})

describe("folding", () => {
  it("the plain fold counts and sums every stream by itself", () => {
    const totals = plainFold(3_000, "-")
    expect(totals.size).toBe(1_000)
    expect(totals.get("account-7")).toEqual({
      events: 3,
      amountSum: payload(7).amount + payload(1_007).amount + payload(2_007).amount
    })
  })

  it("a model that lacks a row, has one more or another value is refused", () => {
    const fold = plainFold(2_000)
    const without = new Map(fold)
    without.delete("account/999")
    const other = new Map(fold).set("account/0", { events: 2, amountSum: 0 })
    const more = new Map(fold).set("account/1000", { events: 1, amountSum: 10 })
    expect(() => checkTotals("model=m", new Map(fold), fold)).not.toThrow()
    for (const model of [without, other, more])
      expect(() => checkTotals("model=m", model, fold)).toThrow(/model=m/)
  })

  it("every call makes a model of its own; all are checked, and dropped before the next turn", async () => {
    const expected = plainFold(1_000)
    const models = new Set<string>()
    const checked: Array<string> = []
    const session = foldingSession({
      events: 1_000,
      expected,
      catchUp: async (model) => {
        models.add(model)
      },
      rows: async (model) => {
        checked.push(model)
        return expected
      },
      drop: async (model) => {
        models.delete(model)
      },
      close: async () => {}
    })
    const { events } = await session.drive({ callers: 1, seconds: 0.001 })
    expect(events).toBe(models.size * 1_000)
    await session.check!()
    expect(checked).toEqual([...models])
    await session.reset!()
    expect(models.size).toBe(0)
  })
})

describe("payload", () => {
  it("is 200 bytes of JSON, whatever the index", () => {
    for (const index of [0, 1, 99_999, 899_999, 900_000, 5_000_000]) {
      expect(Buffer.byteLength(JSON.stringify(payload(index)))).toBe(200)
    }
  })

  it("a pass that lost an event or its data is refused", async () => {
    const whole = { events: 100, amountSum: amountSum(100) }
    expect(checkedPass(() => whole, 100)(0)).toBe(100)
    await expect(checkedPass(async () => whole, 100)(0)).resolves.toBe(100)
    expect(() => checkedPass(() => ({ ...whole, events: 99 }), 100)(0)).toThrow(/something else/)
    expect(() => checkedPass(() => ({ ...whole, amountSum: 0 }), 100)(0)).toThrow(/something else/)
  })
})

/** The sums as one would compute them by hand: no window is closed before all records have come. */
const sumsOf = ({ all }: Readings): Seen => {
  const sums = new Map<string, number>()
  for (const reading of all) {
    const value = doubled(reading)
    if (!counts(value)) continue
    const window = `${reading.key} ${Math.floor(reading.time / windowMs)}`
    sums.set(window, (sums.get(window) ?? 0) + value)
  }
  return { rows: sums.size, sum: [...sums.values()].reduce((a, b) => a + b, 0) }
}

/** Two whole windows, and a third one in which some keys have no record. */
const someReadings = readings(1_200_300)

const inMemory = () => Layer.merge(Memory.layer(), ActorRegistry.layer)

describe("window", () => {
  it("what is expected of the records is what they give", () => {
    expect(expectedOf(1_200_300)).toEqual(sumsOf(someReadings))
    expect(expectedOf(1_200_300).rows).toBeGreaterThan(2_000)
  })

  it("the pipeline, the loop and RxJS give the same rows", async () => {
    const expected = expectedOf(1_200_300)
    expect(rowsByLoop(someReadings)).toEqual(expected)
    expect(await rowsByRxjs(someReadings)).toEqual(expected)
    const source = batchSource(someReadings.batches)
    const seen = await Effect.runPromise(Effect.provide(rowsByPipeline("once", source), inMemory()))
    expect(seen).toEqual(expected)
  })

  it("Effect's streams give them too", async () => {
    expect(await rowsByEffectStream(readings(3_000))).toEqual(expectedOf(3_000))
  })

  it("records that come again come later, as many times as they are asked for", async () => {
    const { batches } = readings(700_000)
    const source = batchSource(batches, { passes: 2, spanMs: 70_000 })
    const seen = await Effect.runPromise(Effect.provide(rowsByPipeline("twice", source), inMemory()))
    expect(seen).toEqual(expectedOf(700_000, 2))
    const reader = await Effect.runPromise(
      Effect.scoped(
        batchSource<Reading>([], { passes: 3 }).open({}, { pipeline: "none", vnodes: { from: 0, to: 255 } })
      )
    )
    expect(await Effect.runPromise(reader.next)).toBeUndefined()
  })

  it("rows that are missing, or of another sum, are refused", () => {
    const seen = { rows: 2, sum: 10 }
    expect(() => check("who", { ...seen }, seen)).not.toThrow()
    expect(() => check("who", { ...seen, rows: 1 }, seen)).toThrow(/who gave something else/)
    expect(() => check("who", { ...seen, sum: 9 }, seen)).toThrow(/sum=9 expected rows=2 sum=10/)
  })
})

describe("blocking", () => {
  it("of the longest turn, what was garbage collection does not count, and none of it twice", () => {
    expect(longest([], [[0, 5]])).toBe(0)
    expect(longest([[0, 30]], [])).toBe(30)
    expect(
      longest(
        [
          [0, 30],
          [40, 65]
        ],
        [
          [12, 20],
          [10, 15],
          [29, 45]
        ]
      )
    ).toBe(20)
  })

  it("a turn that holds the event loop is seen", async () => {
    const heldMs = await longestTurn(async () => {
      await new Promise((resolve) => setImmediate(resolve))
      const untilMs = performance.now() + 60
      while (performance.now() < untilMs);
      await new Promise((resolve) => setImmediate(resolve))
    })
    expect(heldMs).toBeGreaterThanOrEqual(50)
  })

  it("work that fails is not measured", async () => {
    await expect(longestTurn(() => Promise.reject(new Error("refused")))).rejects.toThrow("refused")
  })
})

describe("accounts", () => {
  it("one record for each vnode that is to change, and one for each key at first", () => {
    expect(
      bookingsIn(fewVnodes)
        .map(({ key }) => vnodeOf(key))
        .sort()
    ).toEqual([0, 1, 2])
    expect(new Set(bookingsIn(256).map(({ key }) => vnodeOf(key))).size).toBe(256)
    expect([...accountMap(50)]).toEqual(
      firstBookings(50).map(({ amount, key }) => [key, { events: 1, sum: amount }])
    )
  })

  it("a pipeline of accounts has all that was booked, writes what has changed, and finds it again", async () => {
    const runtime = ManagedRuntime.make(Memory.layer())
    const storage = Layer.effectContext(runtime.runtimeEffect.pipe(Effect.map(({ context }) => context)))
    const first = await openAccounts(storage)
    await first.book(firstBookings(5_000))
    const whole = await first.checkpoint()
    expect(await first.size()).toBe(5_000)
    await first.book(bookingsIn(fewVnodes))
    const part = await first.checkpoint()
    expect(part).toBeGreaterThan(0)
    expect(part).toBeLessThan(whole / 20)
    await first.close()
    const second = await openAccounts(storage)
    expect(await second.size()).toBe(5_000)
    await second.close()
    await runtime.dispose()
  })
})

describe("drive", () => {
  it("adds the events of every caller's calls, also when they overlap", async () => {
    let made = 0
    const call = async () => {
      await new Promise((resolve) => setImmediate(resolve))
      made += 3
      return 3
    }
    const outcome = await driveCalls(call)({ callers: 8, seconds: 0.01 })
    expect(outcome.events).toBe(made)
    expect(outcome.latenciesMs.length).toBe(made / 3)
  })

  it("counts Effects like promises", async () => {
    const runtime = ManagedRuntime.make(Layer.empty)
    const callers = new Set<number>()
    let made = 0
    const call = (caller: number) =>
      Effect.map(Effect.yieldNow(), () => {
        callers.add(caller)
        made += 2
        return 2
      })
    const outcome = await driveEffects(runtime, call)({ callers: 4, seconds: 0.01 })
    await runtime.dispose()
    expect(outcome.events).toBe(made)
    expect([...callers].sort()).toEqual([0, 1, 2, 3])
  })

  it("makes at least one call, however short the time", async () => {
    const outcome = await driveCalls(() => 1)({ callers: 1, seconds: 0 })
    expect(outcome.events).toBe(1)
  })

  it("a call that fails ends the turn for all callers, once their calls are back", async () => {
    let running = 0
    const call = async (caller: number) => {
      running++
      await new Promise((resolve) => setImmediate(resolve))
      running--
      if (caller === 1) throw new Error("refused")
      return 1
    }
    await expect(driveCalls(call)({ callers: 3, seconds: 60 })).rejects.toThrow("refused")
    expect(running).toBe(0)
  })
})

const noServer = () => Promise.reject(new Error("no server in this test"))

const settings = { rounds: 3, seconds: 0, quick: true, server: noServer, progress: () => {} }

const fakeCase = (contestants: ReadonlyArray<Contestant>, goals: Case["goals"] = []): Case => ({
  name: "fake",
  group: "append",
  about: "",
  unit: "events/s",
  callers: 1,
  goals,
  contestants
})

describe("runCase", () => {
  it("empties before every turn, rotates who begins, keeps every value, and closes all", async () => {
    const log: Array<string> = []
    const values = new Map([
      ["a", [5, 1, 3]],
      ["b", [10, 30, 20]]
    ])
    const contestant = (name: string): Contestant => ({
      name,
      role: "peer",
      open: async () => ({
        reset: async () => void log.push(`reset ${name}`),
        drive: async (): Promise<Outcome> => {
          log.push(`drive ${name}`)
          return { value: values.get(name)!.shift()!, events: 1, latenciesMs: [1, 2] }
        },
        close: async () => void log.push(`close ${name}`)
      })
    })
    const contestants = [contestant("a"), contestant("b")]
    const result = await runCase({ ...fakeCase(contestants), warmUp: false }, contestants, settings)
    const turn = (name: string) => [`reset ${name}`, `drive ${name}`]
    expect(log).toEqual([..."abbaab"].flatMap(turn).concat("close b", "close a"))
    expect(result.contestants.map(({ median }) => median)).toEqual([3, 20])
    expect(result.contestants[0]?.latencyMs).toEqual({ p50: 1, p99: 2, max: 2 })
  })

  it("fails when a contestant stored another number of events than it acknowledged, and still closes it", async () => {
    let closed = false
    const contestant: Contestant = {
      name: "boastful",
      role: "peer",
      open: async () => ({
        drive: async () => ({ value: 1, events: 10, latenciesMs: [] }),
        count: async () => 9,
        close: async () => {
          closed = true
        }
      })
    }
    const running = runCase(fakeCase([contestant]), [contestant], settings)
    await expect(running).rejects.toThrow("acknowledged=10 stored=9")
    expect(closed).toBe(true)
  })
})

const result = (name: string, role: ContestantResult["role"], value: number, p99 = 1): ContestantResult => ({
  name,
  role,
  values: [value],
  median: value,
  latencyMs: { p50: 0.5, p99, max: 2 }
})

describe("report", () => {
  const goals: Case["goals"] = [
    { kind: "timesContestant", contestant: "emmett", atLeast: 20 },
    { kind: "timesContestant", contestant: "limit", atLeast: 0.7 },
    { kind: "p99", atMostMs: 20 }
  ]
  const measured: CaseResult = {
    name: "pg-append-256",
    contestants: [
      result("ours", "ours", 60_000.4, 25),
      result("emmett", "peer", 3000),
      result("messageDb", "peer", 4000),
      result("limit", "limit", 100_000),
      result("limit2", "reference", 120_000)
    ]
  }

  it("is what the JSON promises", () => {
    const report = toReport(fakeCase([], goals), measured)
    expect(report).toMatchObject({
      name: "pg-append-256",
      unit: "events/s",
      ours: 60_000,
      peers: { emmett: 3000, messageDb: 4000 },
      limit: 100_000,
      ratioToLimit: 0.6,
      ratioToBestPeer: 15,
      references: { limit2: 120_000 }
    })
    const line = toJsonLine([report])
    expect(line).not.toContain("\n")
    expect(Object.keys(JSON.parse(line))).toEqual(["cases"])
  })

  it("judges every goal against the contestant it names", () => {
    const { goals: judged } = toReport(fakeCase([], goals), measured)
    expect(judged.map(({ ok }) => ok)).toEqual([true, false, false])
    expect(judged.map(({ measured }) => measured)).toEqual([20, 0.6, 25])
  })

  it("without ours, ratios are null and goals not measured", () => {
    const peersOnly = { ...measured, contestants: measured.contestants.slice(1) }
    const report = toReport(fakeCase([], goals), peersOnly)
    expect(report).toMatchObject({ ours: null, ratioToLimit: null, ratioToBestPeer: null })
    expect(report.goals.every(({ ok }) => ok === null)).toBe(true)
  })

  it("of memory, less is better", () => {
    const memory: Case = { ...fakeCase([], [{ kind: "value", below: 64 }]), unit: "MB over idle" }
    const contestants = [result("ours", "ours", 20.04), result("a", "peer", 40), result("b", "peer", 80)]
    const report = toReport(memory, { name: "memory-stream", contestants })
    expect(report).toMatchObject({ ours: 20, ratioToBestPeer: 0.501, goals: [{ goal: "< 64", ok: true }] })
  })

  it("of time on the way, less is better", () => {
    const atMost: Case["goals"] = [{ kind: "atMostTimesContestant", contestant: "limit", atMost: 2 }]
    const latencies: Case = { ...fakeCase([], atMost), unit: "µs" }
    const report = (us: number) =>
      toReport(latencies, {
        name: "pg-append-to-handler",
        contestants: [
          result("ours", "ours", us),
          result("a", "peer", 3000),
          result("b", "peer", 4000),
          result("limit", "limit", 500)
        ]
      })
    expect(report(900.4)).toMatchObject({
      ours: 900,
      ratioToBestPeer: 0.3,
      goals: [{ goal: "≤ 2 × limit", measured: 1.801, ok: true }]
    })
    expect(report(1001).goals[0]?.ok).toBe(false)
    expect(toTable([report(1001)])).toContain("≤ 2 × limit")
  })

  it("the longest of all calls may have a goal", () => {
    const held: Case["goals"] = [{ kind: "max", atMostMs: 20 }]
    const report = (max: number) => {
      const ours = { ...result("ours", "ours", 50), latencyMs: { p50: 1, p99: 2, max } }
      return toReport(
        { ...fakeCase([], held), unit: "keys/s" },
        { name: "checkpoint-full", contestants: [ours] }
      )
    }
    expect(report(20).goals).toEqual([{ goal: "max ≤ 20 ms", measured: 20, ok: true }])
    expect(report(20.5).goals[0]?.ok).toBe(false)
    expect(toTable([report(21)])).toContain("max ≤ 20 ms")
  })

  it("a goal may be another contestant's", () => {
    const both: Case["goals"] = [
      { kind: "timesContestant", contestant: "limit", atLeast: 0.65 },
      { kind: "timesContestant", contestant: "limit", atLeast: 0.65, of: "ours2000" }
    ]
    const report = toReport(fakeCase([], both), {
      name: "pg-subscriber-catch-up",
      contestants: [
        result("ours", "ours", 50),
        result("limit", "limit", 100),
        result("ours2000", "reference", 80)
      ]
    })
    expect(report.goals).toEqual([
      { goal: "≥ 0.65 × limit", measured: 0.5, ok: false },
      { goal: "ours2000 ≥ 0.65 × limit", measured: 0.8, ok: true }
    ])
    expect(toTable([report])).toContain("ours2000 ≥ 0.65 × limit")
  })

  it("the table names every contestant, goal and verdict", () => {
    const table = toTable([toReport(fakeCase([], goals), measured)])
    for (const text of [
      "ours",
      "emmett",
      "messageDb",
      "limit2",
      "≥ 20 × emmett",
      "p99 ≤ 20 ms",
      "ok",
      "miss"
    ]) {
      expect(table).toContain(text)
    }
  })
})

describe("arguments", () => {
  const cases = makeCases({})
  const parse = (...args: ReadonlyArray<string>) => parseBenchArguments(args, cases)

  it("each group runs its own cases", () => {
    expect(parse("append").selection.map(({ benchCase }) => benchCase.name)).toContain("pg-append-256")
    expect(parse("read").selection.map(({ benchCase }) => benchCase.name)).toContain("pg-stream")
    expect(parse("read").selection.every(({ benchCase }) => benchCase.group === "read")).toBe(true)
    expect(parse("subscribe", "--quick").selection.map(({ benchCase }) => benchCase.name)).toEqual([
      "pg-subscriber-catch-up",
      "pg-append-to-handler"
    ])
    const named = (cases: ReturnType<typeof parse>) => cases.selection.map(({ benchCase }) => benchCase.name)
    const all = (group: string) => named(parseBenchArguments([group], makeCases(ours)))
    expect(all("pipeline")).toEqual([
      "pipeline-window",
      "pipeline-window-checkpoints",
      ...["q1", "q2", "q3", "q5", "q7", "q8"].map((query) => `nexmark-${query}`)
    ])
    expect(all("checkpoint")).toEqual(["checkpoint-full", "checkpoint-incremental", "checkpoint-restore"])
  })

  it("--quick shortens, --rounds and --seconds win over it", () => {
    expect(parse("append")).toMatchObject({ rounds: 5, seconds: 2, quick: false, json: false })
    expect(parse("append", "--quick", "--json")).toMatchObject({
      rounds: 3,
      seconds: 0.7,
      quick: true,
      json: true
    })
    expect(parse("append", "--quick", "--rounds", "7", "--seconds=1.5")).toMatchObject({
      rounds: 7,
      seconds: 1.5
    })
  })

  it("--only takes a case, a contestant, or several", () => {
    const named = (...only: ReadonlyArray<string>) =>
      parse("append", ...only.flatMap((name) => ["--only", name])).selection.flatMap(
        ({ benchCase, contestants }) => contestants.map(({ name }) => `${benchCase.name}/${name}`)
      )
    expect(named("pg-append-1")).toEqual(["pg-append-1/emmett", "pg-append-1/messageDb", "pg-append-1/limit"])
    expect(named("pg-append-1/limit", "sqlite-append-32")).toEqual([
      "pg-append-1/limit",
      "sqlite-append-32/limit"
    ])
  })

  it("a wrong argument says what is allowed", () => {
    const refused: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
      [[], /append, read, project, rebuild, subscribe, pipeline, checkpoint/],
      [["write"], /append, read, project, rebuild, subscribe, pipeline, checkpoint/],
      [["append", "read"], /append, read, project, rebuild, subscribe, pipeline, checkpoint/],
      [["append", "--fast"], /--fast/],
      [["append", "--rounds", "2"], /3 to 99/],
      [["append", "--rounds", "3.5"], /3 to 99/],
      [["append", "--rounds", ""], /3 to 99/],
      [["append", "--seconds", "zero"], /0.1 to 600/],
      [["append", "--only", "pg-stream"], /allowed=pg-append-1, pg-append-1\/emmett/],
      [["append", "--only", "pg-append-1/nobody"], /allowed=/]
    ]
    for (const [args, message] of refused) {
      expect(() => parse(...args)).toThrow(message)
      expect(() => parse(...args)).toThrow(ArgumentError)
    }
  })

  it("the usage names every group", () => {
    for (const group of new Set(makeCases(ours).map((benchCase) => benchCase.group)))
      expect(usage).toContain(group)
  })

  it("every case has a contestant of ours", () => {
    for (const { contestants, name } of makeCases(ours)) {
      const own = contestants.filter(({ role }) => role === "ours")
      expect([name, ...own.map((contestant) => contestant.name)]).toEqual([name, "ours"])
    }
  })

  it("every goal names a contestant that its case has", () => {
    for (const { contestants, goals } of makeCases(ours)) {
      for (const goal of goals) {
        if (goal.kind !== "timesContestant" && goal.kind !== "atMostTimesContestant") continue
        expect(contestants.map((contestant) => contestant.name)).toContain(goal.contestant)
      }
    }
  })

  it("a goal that is not for ours is for a contestant of its case", () => {
    for (const { contestants, goals } of makeCases(ours)) {
      for (const goal of goals) {
        if (goal.kind !== "timesContestant" || goal.of === undefined) continue
        expect(contestants.map((contestant) => contestant.name)).toContain(goal.of)
      }
    }
  })
})
