/**
 * A process of its own that reads a whole log and watches its memory; started with `--expose-gc` by `measure.ts`.
 *
 * Idle is taken after the first events were read once (connections are open, code is compiled) and two full
 * collections. From then on the greatest resident size and the greatest heap are kept, sampled at most every 5 ms
 * from within the reader's loop, so that a reader that never yields is seen as well.
 */
import type { MemoryAnswer, MemoryReader, MemoryReport, MemoryRequest } from "./childProtocol.js"

const warmUpEvents = 20_000
const sampleEveryMs = 5

const measure = async (request: MemoryRequest): Promise<MemoryReport> => {
  const { reader } = (await import(request.module)) as { readonly reader: MemoryReader }
  const open = await reader.open(request.target)
  try {
    await open.read(warmUpEvents, () => {})
    await collect()
    const idle = process.memoryUsage()
    let rss = idle.rss
    let heap = idle.heapUsed
    let sampledMs = 0
    const sample = (): void => {
      const nowMs = performance.now()
      if (nowMs - sampledMs < sampleEveryMs) return
      sampledMs = nowMs
      const usage = process.memoryUsage()
      rss = Math.max(rss, usage.rss)
      heap = Math.max(heap, usage.heapUsed)
    }
    const timer = setInterval(sample, sampleEveryMs)
    let events = 0
    await open.read(request.events, (more) => {
      events += more
      sample()
    })
    clearInterval(timer)
    await collect()
    const after = process.memoryUsage()
    return {
      events,
      peakRssBytes: rss - idle.rss,
      peakHeapBytes: heap - idle.heapUsed,
      retainedBytes: after.heapUsed + after.external - idle.heapUsed - idle.external
    }
  } finally {
    await open.close()
  }
}

const collect = async (): Promise<void> => {
  if (globalThis.gc === undefined) throw new Error("start this process with --expose-gc")
  for (let pass = 0; pass < 2; pass++) {
    globalThis.gc()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

const answer = (message: MemoryAnswer): void => {
  process.send?.(message, () => process.disconnect())
}

process.once("message", (request: MemoryRequest) => {
  measure(request).then(
    (report) => answer({ ok: true, report }),
    (cause: unknown) =>
      answer({ ok: false, error: cause instanceof Error ? String(cause.stack) : String(cause) })
  )
})
