/** The process whose handler events come to; started by `measure.ts`. It ends when the one that started it lets go. */
import type { ListenAnswer, ListenRequest, Way } from "./protocol.js"

const answer = (message: ListenAnswer): void => {
  if (process.connected) process.send?.(message)
}

const listen = async (request: ListenRequest): Promise<void> => {
  const { way } = (await import(request.module)) as { readonly way: Way }
  const open = await way.listener(request.url, (sequence) => {
    const atNs = process.hrtime.bigint().toString()
    answer({ kind: "handled", sequence, atNs })
  })
  process.once("disconnect", () => void open.close().finally(() => process.exit(0)))
  answer({ kind: "listening" })
}

process.once("message", (request: ListenRequest) => {
  listen(request).catch((cause: unknown) => {
    answer({ kind: "failed", error: cause instanceof Error ? String(cause.stack) : String(cause) })
    process.disconnect()
  })
})
