/**
 * The machine against a world that answers in any order: pages of any size, hints at any time, acknowledgements
 * that are slow, stops and lost leases anywhere. Whatever the order, the promises of the header hold.
 */
import type { RecordedEvent } from "@millrace/core/Event"
import type { ConsumerCommand, ConsumerInput, ConsumerState } from "@millrace/core/ConsumerMachine"
import * as ConsumerMachine from "@millrace/core/ConsumerMachine"
import type { LogPage } from "@millrace/core/EventQuery"
import type { Position } from "@millrace/core/Position"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"

const at = (position: number): Position => position as Position
const event = (position: number): RecordedEvent => ({ position: at(position) }) as RecordedEvent

type Input = ConsumerInput<string>
type Command = ConsumerCommand<string>

/** A log in which some positions hold a wanted event, and all that the machine asked for and was not told yet. */
class World {
  state: ConsumerState<string>
  readonly inHand: Array<Command> = []
  readonly handled: Array<number> = []
  stored: number
  head: number
  ended: string | undefined
  mostHeld = 0

  constructor(
    readonly wanted: ReadonlyArray<number>,
    head: number,
    readonly ackEvery: number,
    readonly pageEvents: number,
    stored = 0,
    readonly drainTo?: number
  ) {
    this.head = head
    this.stored = stored
    const { commands, state } = ConsumerMachine.begin<string>()
    this.state = state
    this.inHand.push(...commands)
  }

  tell(input: Input): void {
    const drainTo = this.drainTo === undefined ? undefined : at(this.drainTo)
    const { commands, state } = ConsumerMachine.step(this.state, input, { ackEvery: this.ackEvery, drainTo })
    this.state = state
    for (const command of commands) {
      if (command._tag === "End") this.ended = command.reason._tag
      this.inHand.push(command)
    }
    const open = (tag: Command["_tag"]) => this.inHand.filter((command) => command._tag === tag).length
    for (const tag of ["Read", "Handle", "Acknowledge", "DoChore"] as const)
      expect(open(tag), `${tag} under way`).toBeLessThanOrEqual(1)
    expect(open("Handle") + open("DoChore"), "handling beside a chore").toBeLessThanOrEqual(1)
    expect(this.unstored(), "finished and not acknowledged").toBeLessThanOrEqual(this.ackEvery)
    this.mostHeld = Math.max(this.mostHeld, (state.page ? 1 : 0) + (state.ahead ? 1 : 0))
  }

  /** Events that are finished, or may be by now, and that the store does not know to be. */
  unstored(): number {
    const begun = this.inHand.flatMap((command) =>
      command._tag === "Handle" ? command.events.map((one) => one.position as number) : []
    )
    return new Set([...this.handled, ...begun].filter((position) => position > this.stored)).size
  }

  take(tag: Command["_tag"]): Command | undefined {
    const index = this.inHand.findIndex((command) => command._tag === tag)
    return index < 0 ? undefined : this.inHand.splice(index, 1)[0]
  }

  page(after: number, known: number | undefined): LogPage {
    const head = known !== undefined && after < known ? known : this.head
    const all = this.wanted.filter((position) => position > after && position <= head)
    const events = all.slice(0, this.pageEvents)
    const through = events.length === this.pageEvents ? events[events.length - 1]! : head
    return { events: events.map(event), through: at(through), head: at(head) }
  }

  /** Answers one command, if any of this kind is in hand. */
  answer(tag: Command["_tag"], finished?: number): boolean {
    const command = this.take(tag)
    if (command === undefined) return false
    if (command._tag === "Acquire") this.tell({ _tag: "Acquired", cursor: at(this.stored), paused: false })
    if (command._tag === "Read") this.tell({ _tag: "PageRead", page: this.page(command.after, command.head) })
    if (command._tag === "Handle") {
      const done = command.events.slice(0, finished ?? command.events.length)
      const interrupted = this.take("Interrupt") !== undefined
      this.handled.push(...done.map((one) => one.position))
      if (done.length === command.events.length) this.tell({ _tag: "Handled" })
      else if (interrupted) this.tell({ _tag: "Interrupted", finished: done.length })
      else this.tell({ _tag: "Broken", finished: done.length, error: "poison" })
    }
    if (command._tag === "Acknowledge") {
      expect(command.cursor, "a cursor moves forward").toBeGreaterThan(this.stored)
      this.stored = command.cursor
      this.tell({ _tag: "Acknowledged" })
    }
    if (command._tag === "DoChore") this.tell({ _tag: "ChoreDone" })
    return true
  }

  /** Answers until nothing is in hand. */
  settle(): void {
    for (let turn = 0; turn < 10_000; turn++) {
      const answered = (["Acquire", "Acknowledge", "Handle", "DoChore", "Read"] as const).some((tag) =>
        this.answer(tag)
      )
      if (!answered) return
    }
    throw new Error("the machine never comes to rest")
  }
}

const worlds = fc.record({
  wanted: fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 40 }),
  ackEvery: fc.integer({ min: 1, max: 12 }),
  pageEvents: fc.integer({ min: 1, max: 9 })
})
const acts = fc.array(
  fc.constantFrom("Acquire", "Read", "Handle", "Acknowledge", "DoChore", "hint", "grow", "chore"),
  { maxLength: 120 }
)
const ascending = (numbers: ReadonlyArray<number>) => [...numbers].sort((a, b) => a - b)

describe("ConsumerMachine", () => {
  it("in whatever order things happen, every event is handled once and in order, and the cursor reaches the head", () => {
    fc.assert(
      fc.property(worlds, acts, ({ ackEvery, pageEvents, wanted }, plan) => {
        const world = new World(ascending(wanted), 30, ackEvery, pageEvents)
        for (const act of plan) {
          if (act === "hint") world.tell({ _tag: "Hinted" })
          else if (act === "chore") world.tell({ _tag: "ChoreAsked" })
          else if (act === "grow") {
            world.head = Math.min(60, world.head + 7)
            world.tell({ _tag: "Hinted", head: world.head as Position })
          } else world.answer(act as Command["_tag"])
        }
        world.tell({ _tag: "Hinted" })
        world.settle()
        expect(world.handled).toEqual(ascending(wanted).filter((position) => position <= world.head))
        expect(world.stored).toBe(world.head)
        expect(world.mostHeld).toBeLessThanOrEqual(2)
        expect(world.ended).toBeUndefined()
      }),
      { numRuns: 500 }
    )
  })

  it("stopped, paused, broken or overtaken anywhere, the next one repeats no more than ackEvery events and skips none", () => {
    fc.assert(
      fc.property(
        worlds,
        acts,
        fc.constantFrom<Input["_tag"]>("Stopped", "Paused", "LeaseLost", "Failed"),
        fc.nat(8),
        ({ ackEvery, pageEvents, wanted }, plan, way, finished) => {
          const first = new World(ascending(wanted), 60, ackEvery, pageEvents)
          for (const act of plan) first.answer(act as Command["_tag"])
          first.tell(way === "Failed" ? { _tag: "Failed", error: "gone" } : ({ _tag: way } as Input))
          first.answer("Handle", finished)
          first.settle()
          const reason = {
            Stopped: "Shutdown",
            Paused: "Paused",
            LeaseLost: "LostOwnership",
            Failed: "Failed"
          }
          expect(first.ended).toBe(reason[way as keyof typeof reason])
          const last = first.handled[first.handled.length - 1] ?? 0
          // Whoever lost the lease stores nothing; everybody else all that is finished.
          expect(first.stored).toBeGreaterThanOrEqual(way === "LeaseLost" ? 0 : last)
          const second = new World(ascending(wanted), 60, ackEvery, pageEvents, first.stored)
          second.settle()
          const repeated = second.handled.filter((position) => first.handled.includes(position))
          expect(repeated.length).toBeLessThanOrEqual(ackEvery)
          expect(ascending([...new Set([...first.handled, ...second.handled])])).toEqual(ascending(wanted))
        }
      ),
      { numRuns: 500 }
    )
  })

  it("an event that cannot be handled ends the consumer after those before it were acknowledged", () => {
    const world = new World([3, 5, 8, 9], 20, 10, 10)
    world.answer("Acquire")
    world.answer("Read")
    world.answer("Handle", 2)
    world.settle()
    expect(world.ended).toBe("Failed")
    expect(world.stored).toBe(5)
  })

  it("while a page is handled the next one is read, and no third one", () => {
    const world = new World([1, 2, 3, 4, 5, 6, 7, 8], 8, 100, 2)
    world.answer("Acquire")
    world.answer("Read")
    expect(world.answer("Read")).toBe(true)
    expect(world.answer("Read")).toBe(false)
    world.answer("Handle")
    expect(world.answer("Read")).toBe(true)
  })

  it("at the head nothing is done until a hint comes", () => {
    const world = new World([1], 4, 10, 10)
    world.settle()
    expect(world.inHand).toEqual([])
    world.tell({ _tag: "Hinted" })
    expect(world.inHand.map((command) => command._tag)).toEqual(["Read"])
  })

  it("a hint that says the head is read up to without asking for it, an old one is a look", () => {
    const world = new World([1], 4, 10, 10)
    world.settle()
    world.head = 6
    world.tell({ _tag: "Hinted", head: 6 as Position })
    expect(world.inHand).toEqual([{ _tag: "Read", after: 4, head: 6 }])
    world.settle()
    world.tell({ _tag: "Hinted", head: 5 as Position })
    expect(world.inHand).toEqual([{ _tag: "Read", after: 6, head: undefined }])
  })

  it("a hint that comes during a read leads to another one", () => {
    const world = new World([1], 4, 10, 10)
    world.answer("Acquire")
    world.tell({ _tag: "Hinted" })
    world.answer("Read")
    expect(world.inHand.some((command) => command._tag === "Read")).toBe(true)
  })

  it("events that are not wanted are passed, and the cursor is stored behind them", () => {
    const world = new World([], 55, 10, 10)
    world.settle()
    expect(world.handled).toEqual([])
    expect(world.stored).toBe(55)
  })

  it("a drain ends by itself at the head it was given, with everything up to there acknowledged", () => {
    const world = new World([1, 2, 3, 50], 40, 10, 2, 0, 40)
    world.settle()
    expect(world.ended).toBe("Drained")
    expect(world.stored).toBe(40)
  })

  it("after an acknowledgement that failed for good nothing more is handled or stored", () => {
    const world = new World([1, 2, 3, 4], 4, 2, 2)
    world.answer("Acquire")
    world.answer("Read")
    world.answer("Handle")
    world.take("Acknowledge")
    world.tell({ _tag: "AcknowledgeFailed", error: "gone" })
    world.settle()
    expect(world.ended).toBe("Failed")
    expect(world.handled).toEqual([1, 2])
    expect(world.stored).toBe(0)
  })
})
