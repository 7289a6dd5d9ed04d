/**
 * A contestant of `pg-append-to-handler`: sends events one by one, with pauses between, to a handler in a process of
 * its own, and tells how long each was on its way. The clock starts before the call of the append, so that its commit
 * is part of the figure, and ends as the first thing in the handler.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { setTimeout as delay } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import type { Contestant, Outcome, Place, Role } from "../contestant.js"
import { median } from "../statistics.js"
import type { ListenAnswer, ListenRequest, Sender, Way } from "./protocol.js"

interface LatencyContestant {
  readonly name: string
  readonly role: Role
  /** A module that exports `way: Way`. */
  readonly module: URL
}

/** Events of one turn: five turns make 200, the three of `--quick` 21. */
export const eventsPerTurn = (quick: boolean): number => (quick ? 7 : 40)

/**
 * Pause before event `index`. Unit: milliseconds. Range: 40 to 59: longer than the 25 ms in which a store joins its
 * notifications, and never the same twice in a row, so as to keep step with no poll.
 */
export const pauseMs = (index: number): number => 40 + ((index * 7) % 20)

export const latencyContestant = ({ module, name, role }: LatencyContestant): Contestant => ({
  name,
  role,
  open: async (place) => {
    const url = await place.database()
    const { way } = (await import(module.href)) as { readonly way: Way }
    await way.prepare(url)
    const listener = await startListener({ module: module.href, url })
    const sender = await way.sender(url).catch(async (cause: unknown) => {
      await listener.stop()
      throw cause
    })
    let sequence = 0
    return {
      drive: () => sendSome(place, sender, listener, () => sequence++),
      close: async () => {
        await sender.close()
        await listener.stop()
      }
    }
  }
})

/** Sends the events of one turn, the next when the one before it was handled. */
export const sendSome = async (
  place: Pick<Place, "quick" | "progress">,
  sender: Pick<Sender, "send">,
  listener: Pick<Listener, "handled">,
  nextSequence: () => number
): Promise<Outcome> => {
  const events = eventsPerTurn(place.quick)
  const latenciesMs: Array<number> = []
  const appendsMs: Array<number> = []
  for (let index = 0; index < events; index++) {
    await delay(pauseMs(index))
    const sequence = nextSequence()
    const handled = listener.handled(sequence)
    const startNs = process.hrtime.bigint()
    const [storedNs, handledNs] = await Promise.all([
      sender.send(sequence).then(() => process.hrtime.bigint()),
      handled
    ])
    latenciesMs.push(inMs(handledNs - startNs))
    appendsMs.push(inMs(storedNs - startNs))
  }
  place.progress(`  of it the append ${Math.round(median(appendsMs) * 1000).toLocaleString("en")} µs`)
  return { value: median(latenciesMs) * 1000, events, latenciesMs }
}

// ---- internal ----

/** Longest wait for one event. Every way has some fallback that is faster. Unit: milliseconds. */
const handledMaxMs = 10_000

const inMs = (ns: bigint): number => Number(ns) / 1e6

export interface Listener {
  /** The time at which the handler is given the event, by `process.hrtime`. To be called before it is sent. */
  readonly handled: (sequence: number) => Promise<bigint>
  readonly stop: () => Promise<void>
}

const startListener = async (request: ListenRequest): Promise<Listener> => {
  const child = fork(fileURLToPath(new URL("./child.ts", import.meta.url)), [], {
    execArgv: ["--conditions=millrace-source", "--import", "tsx"],
    stdio: ["ignore", process.stderr, process.stderr, "ipc"]
  })
  const exited = once(child, "exit")
  const waiting = new Map<number, (atNs: bigint) => void>()
  let fail: (cause: Error) => void = () => {}
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  // Heard by whoever waits at that moment.
  failed.catch(() => {})
  child.once("error", fail)
  child.once("exit", (code) => fail(new Error(`the listening process ended. code=${code}`)))
  const listening = new Promise<void>((resolve) => {
    child.on("message", (answer: ListenAnswer) => {
      if (answer.kind === "listening") resolve()
      else if (answer.kind === "failed") fail(new Error(answer.error))
      else {
        waiting.get(answer.sequence)?.(BigInt(answer.atNs))
        waiting.delete(answer.sequence)
      }
    })
  })
  child.send(request)
  await Promise.race([listening, failed])
  return {
    handled: (sequence) => {
      const limit = new AbortController()
      const late = delay(handledMaxMs, undefined, { signal: limit.signal }).then(() => {
        throw new Error(`an event was never handled. sequence=${sequence} ms=${handledMaxMs}`)
      })
      const came = new Promise<bigint>((resolve) => waiting.set(sequence, resolve))
      return Promise.race([came, late, failed]).finally(() => limit.abort())
    },
    stop: async () => {
      if (child.connected) child.disconnect()
      await exited
    }
  }
}
