/** A contestant of `memory-stream`: fills a log, then has a child process read it and tell its peak memory. */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Contestant, Place, Role } from "../contestant.js"
import type { MemoryAnswer, MemoryReport, MemoryRequest } from "./childProtocol.js"

/** Events read: 1 000 000, with `--quick` 200 000. */
export const memoryEvents = (quick: boolean): number => (quick ? 200_000 : 1_000_000)

interface MemoryContestant {
  readonly name: string
  readonly role: Role
  /** Stores `events` events; gives what `MemoryReader.open` takes. */
  readonly load: (place: Place, events: number) => Promise<string>
  /** A module that exports `reader: MemoryReader`. */
  readonly module: URL
}

export const memoryContestant = ({ load, module, name, role }: MemoryContestant): Contestant => ({
  name,
  role,
  open: async (place) => {
    const events = memoryEvents(place.quick)
    const target = await load(place, events)
    return {
      drive: async () => {
        const report = await measureInChild({ module: module.href, target, events })
        if (report.events !== events) {
          throw new Error(`the child read another number of events. read=${report.events} stored=${events}`)
        }
        place.progress(
          `  of it heap ${inMegabytes(report.peakHeapBytes)} MB, kept after collection ${inMegabytes(report.retainedBytes)} MB`
        )
        return { value: report.peakRssBytes / 2 ** 20, events, latenciesMs: [] }
      },
      close: async () => {}
    }
  }
})

// ---- internal ----

const inMegabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)

const measureInChild = (request: MemoryRequest): Promise<MemoryReport> =>
  new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL("./child.ts", import.meta.url)), [], {
      execArgv: ["--conditions=millrace-source", "--import", "tsx", "--expose-gc"],
      stdio: ["ignore", process.stderr, process.stderr, "ipc"]
    })
    child.once("error", reject)
    child.once("message", (answer: MemoryAnswer) =>
      answer.ok ? resolve(answer.report) : reject(new Error(answer.error))
    )
    child.once("exit", (code) =>
      reject(new Error(`the measuring process ended without an answer. code=${code}`))
    )
    child.send(request)
  })
