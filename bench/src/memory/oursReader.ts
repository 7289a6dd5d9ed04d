/** Millrace's `stream()` over Postgres, as a process of its own, for its memory. */
import { EventStore } from "@millrace/core/EventStore"
import * as Postgres from "@millrace/postgres/Postgres"
import { ManagedRuntime, Redacted, Sink, Stream } from "effect"
import type { MemoryReader } from "./childProtocol.js"

export const reader: MemoryReader = {
  open: async (target) => {
    const runtime = ManagedRuntime.make(Postgres.layer({ url: Redacted.make(target) }))
    const store = await runtime.runPromise(EventStore)
    return {
      read: (eventsMax, seen) =>
        runtime.runPromise(
          store
            .stream()
            .pipe(
              Stream.take(eventsMax),
              Stream.run(Sink.foldLeftChunks<void, unknown>(undefined, (_, chunk) => seen(chunk.length)))
            )
        ),
      close: () => runtime.dispose()
    }
  }
}
