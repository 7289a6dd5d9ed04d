import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import type { Place } from "../src/contestant.js"
import { eventsPerTurn, latencyContestant, pauseMs, sendSome } from "../src/latency/measure.js"

const progress = () => {}

const hourMs = 3_600_000
const hourNs = 3_600_000_000_000n

/** A contestant by the way of a fixture, in a folder of its own. */
const withContestant = async (
  fixture: string,
  use: (contestant: ReturnType<typeof latencyContestant>, place: Place) => Promise<void>
): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-bench-"))
  const module = new URL(`./fixtures/${fixture}.ts`, import.meta.url)
  const address = async () => join(folder, "way")
  try {
    await use(latencyContestant({ name: "socket", role: "limit", module }), {
      quick: true,
      progress,
      database: address,
      folder: address
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

describe("from an append to a handler", () => {
  it("events go one by one, and the time of each ends in the handler and not when the append returns", async () => {
    const sent: Array<number> = []
    let next = 10
    const outcome = await sendSome(
      { quick: true, progress },
      {
        send: async (sequence) => {
          expect(sequence).toBe(10 + sent.length)
          sent.push(sequence)
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      },
      // So far ahead that no stall of this process makes a difference.
      { handled: async () => process.hrtime.bigint() + hourNs },
      () => next++
    )
    expect(sent.length).toBe(eventsPerTurn(true))
    expect(outcome.events).toBe(sent.length)
    expect(outcome.latenciesMs.length).toBe(sent.length)
    for (const latencyMs of outcome.latenciesMs) expect(Math.round(latencyMs / hourMs)).toBe(1)
    // In the case's unit, microseconds.
    expect(Math.round(outcome.value / 1000 / hourMs)).toBe(1)
  })

  it("pauses are longer than notifications are joined for, and change from one event to the next", () => {
    for (let index = 0; index < 200; index++) {
      expect(pauseMs(index)).toBeGreaterThan(25)
      expect(pauseMs(index)).toBeLessThan(60)
      expect(pauseMs(index)).not.toBe(pauseMs(index + 1))
    }
    expect(3 * eventsPerTurn(true)).toBeGreaterThanOrEqual(20)
    expect(5 * eventsPerTurn(false)).toBe(200)
  })

  it("the handler is in another process, which ends with the session", async () => {
    await withContestant("socketWay", async (contestant, place) => {
      const session = await contestant.open(place)
      const turn = { callers: 1, seconds: 0 }
      const outcomes = [await session.drive(turn), await session.drive(turn)]
      await session.close()
      for (const { events, latenciesMs } of outcomes) {
        expect(events).toBe(eventsPerTurn(true))
        expect(latenciesMs.length).toBe(events)
        expect(latenciesMs.every((latencyMs) => latencyMs > 0)).toBe(true)
      }
    })
  })

  it("a far end that does not open is told with its reason", async () => {
    await withContestant("brokenWay", async (contestant, place) => {
      await expect(contestant.open(place)).rejects.toThrow("the far end is closed")
    })
  })
})
