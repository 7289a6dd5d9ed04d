/** The queries of the Nexmark benchmark: as pipelines, and by hand, over the same events in memory. */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Memory from "@millrace/core/Memory"
import { byHand } from "@millrace/example-nexmark/ByHand"
import { countingSink } from "@millrace/example-nexmark/CountingSink"
import * as Generator from "@millrace/example-nexmark/Generator"
import { eventsOf, queries } from "@millrace/example-nexmark/Queries"
import type { QueryName } from "@millrace/example-nexmark/Queries"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import { Layer, ManagedRuntime } from "effect"
import type { Contestant } from "../contestant.js"
import { driveCalls } from "../drive.js"
import { batchSource } from "./records.js"

/** Events of the cases: 100 s of event time, or 50. */
export const nexmarkEvents = (quick: boolean): number => (quick ? 500_000 : 2_000_000)

/** The loop that one would write for this query alone. */
export const nexmarkByHand = (query: QueryName): Contestant => ({
  name: "limit",
  role: "limit",
  open: async (place) => {
    const batches = eventsFor(place.quick).map(({ values }) => values)
    const expected = rowsOf(query, place.quick)
    return {
      drive: driveCalls(
        async () => {
          let rows = 0
          byHand[query](batches, (more) => {
            rows += more.length
          })
          checkRows("limit", rows, expected)
          return nexmarkEvents(place.quick)
        },
        { callers: 1 }
      ),
      close: async () => {}
    }
  }
})

/** The pipeline, with what there is without asking: a checkpoint every ten seconds, in memory, and one at the end. */
export const nexmark = (query: QueryName): ReadonlyArray<Contestant> => [
  {
    name: "ours",
    role: "ours",
    open: async (place) => {
      const batches = eventsFor(place.quick)
      const expected = rowsOf(query, place.quick)
      const runtime = ManagedRuntime.make(Layer.merge(Memory.layer(), ActorRegistry.layer))
      let runs = 0
      return {
        drive: driveCalls(
          async () => {
            let rows = 0
            const sink = countingSink("rows", (more: ReadonlyArray<object>) => {
              rows += more.length
            })
            const flow = queries[query](eventsOf(batchSource(batches)))
            // A name of its own each time: a pipeline that has ended goes on from its end.
            const pipeline = Pipeline.make(`nexmark-${query}-${runs++}`, Pipeline.to(sink)(flow))
            await runtime.runPromise(Pipeline.run(pipeline))
            checkRows("ours", rows, expected)
            return nexmarkEvents(place.quick)
          },
          { callers: 1 }
        ),
        close: () => runtime.dispose()
      }
    }
  }
]

// ---- internal ----

type Events = ReturnType<typeof Generator.batches>

/** Made once, as long as anybody has them. */
let made: WeakRef<Events> | undefined

const eventsFor = (quick: boolean): Events => {
  const count = nexmarkEvents(quick)
  const kept = made?.deref()
  if (kept?.at(-1)?.offset === String(count)) return kept
  const events = Generator.batches({ events: count, seed: 1 })
  made = new WeakRef(events)
  return events
}

const rowsOf = (query: QueryName, quick: boolean): number => {
  let rows = 0
  byHand[query](
    eventsFor(quick).map(({ values }) => values),
    (more) => {
      rows += more.length
    }
  )
  return rows
}

const checkRows = (who: string, rows: number, expected: number): void => {
  if (rows !== expected) throw new Error(`${who} gave other rows. rows=${rows} expected=${expected}`)
}
