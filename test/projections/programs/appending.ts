/** A process that appends numbered events to streams of its own until it is told to stop, or to the end of its count. */
import { EventStore } from "@millrace/core/EventStore"
import { argument, orders, run, say } from "@millrace/testkit/Program"
import * as Effect from "effect/Effect"
import type { StoreAddress } from "../../consumers/Stores.js"
import { processLayer } from "../Projections.js"

export interface AppendingArgument {
  readonly store: StoreAddress
  readonly name: string
}

const options = argument<AppendingArgument>()

const program = Effect.gen(function* () {
  const log = yield* EventStore
  let stopped = false
  orders(() => void (stopped = true))
  say({ ready: true })
  for (let number = 0; !stopped; number += 5) {
    yield* log.write(
      Array.from({ length: 5 }, (_, i) => ({
        streamId: `${options.name}/${(number + i) % 10}`,
        events: [{ type: "Numbered", data: { number: number + i } }]
      }))
    )
    yield* Effect.sleep("20 millis")
  }
})

run(program.pipe(Effect.provide(processLayer(options.store)), Effect.orDie))
