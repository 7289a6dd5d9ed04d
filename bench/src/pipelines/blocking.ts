/**
 * How long the event loop was held at a stretch: what a timer or a socket would have waited. Told by an immediate that
 * asks for the next one as soon as it runs, so that every turn of the loop is seen and none waits for anything.
 * Collecting garbage is taken off; it is the whole process's, whoever was at work. So that all of it is seen, it is not
 * done in steps meanwhile: Node tells of whole collections, and not of the steps of marking, which with a million keys
 * make turns of 100 to 300 ms.
 */
import { PerformanceObserver } from "node:perf_hooks"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** From, to. Unit: milliseconds since the process began. */
export type Stretch = readonly [fromMs: number, toMs: number]

/** Longest turn while the work was done, without garbage collection. Unit: milliseconds. */
export const longestTurn = async (work: () => Promise<unknown>): Promise<number> => {
  setFlagsFromString("--no-incremental-marking")
  collectGarbage()
  const collections: Array<Stretch> = []
  const observer = new PerformanceObserver((entries) => {
    for (const { duration, startTime } of entries.getEntries())
      collections.push([startTime, startTime + duration])
  })
  observer.observe({ entryTypes: ["gc"] })
  const turns: Array<Stretch> = []
  let isOver = false
  let lastMs = performance.now()
  const turn = (): void => {
    const nowMs = performance.now()
    if (nowMs - lastMs > seenFromMs) turns.push([lastMs, nowMs])
    lastMs = nowMs
    if (!isOver) setImmediate(turn)
  }
  setImmediate(turn)
  try {
    await work()
  } finally {
    isOver = true
    setFlagsFromString("--incremental-marking")
    // Observers are told a little later.
    await new Promise((resolve) => setTimeout(resolve, 20))
    observer.disconnect()
  }
  return longest(turns, collections)
}

/** The longest of the turns, when what lies in any of the collections does not count. 0 of none. */
export const longest = (turns: ReadonlyArray<Stretch>, collections: ReadonlyArray<Stretch>): number => {
  const apart = joined(collections)
  let longestMs = 0
  for (const [fromMs, toMs] of turns) {
    let heldMs = toMs - fromMs
    for (const [began, ended] of apart) heldMs -= Math.max(0, Math.min(toMs, ended) - Math.max(fromMs, began))
    longestMs = Math.max(longestMs, heldMs)
  }
  return longestMs
}

// ---- internal ----

/** A collection that is under way is brought to its end. */
const collectGarbage = (): void => {
  setFlagsFromString("--expose-gc")
  ;(runInNewContext("gc") as () => void)()
}

/** Shorter turns are not looked at. Unit: milliseconds. */
const seenFromMs = 0.5

/** The same time in stretches that do not overlap. */
const joined = (stretches: ReadonlyArray<Stretch>): ReadonlyArray<Stretch> => {
  const apart: Array<Stretch> = []
  for (const [from, to] of [...stretches].sort(([a], [b]) => a - b)) {
    const last = apart.at(-1)
    if (last === undefined || from > last[1]) apart.push([from, to])
    else apart[apart.length - 1] = [last[0], Math.max(last[1], to)]
  }
  return apart
}
