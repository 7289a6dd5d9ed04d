/**
 * Emmett's consumer: `postgreSQLEventStoreConsumer` with one reactor whose handler only adds. Each batch is one
 * transaction, in which every message is one call of its checkpoint function.
 */
import { dumbo } from "@event-driven-io/dumbo"
import { postgreSQLEventStoreConsumer } from "@event-driven-io/emmett-postgresql"
import type { Contestant } from "../contestant.js"
import { driveCalls } from "../drive.js"
import { checkedPass } from "../readCheck.js"
import type { Pass } from "../readCheck.js"
import { close, load, openStore } from "./emmett.js"
import type { Deposited } from "./emmett.js"

/**
 * One call is one pass of a new processor over the log; it ends with the last message, without the pause in which a
 * consumer finds out that there are no more.
 */
export const emmettConsume = (batchSize = batchSizeDefault): Contestant => ({
  name: "emmett",
  role: "peer",
  open: async (place) => {
    const events = place.quick ? 1_000 : 5_000
    const { connectionString, pool, store } = await openStore(place)
    await load(store, events)
    await pool.query("VACUUM ANALYZE")
    const connections = dumbo({ connectionString, pool })
    let passes = 0
    const pass = async (): Promise<Pass> => {
      const seen = { events: 0, amountSum: 0 }
      const consumer = postgreSQLEventStoreConsumer<Deposited>({
        connectionString,
        pool: connections,
        pulling: { batchSize, pullingFrequencyInMs: 0 }
      })
      consumer.reactor<Deposited>({
        processorId: `catch-up-${passes++}`,
        eachMessage: (message) => {
          seen.events++
          seen.amountSum += message.data.amount
        },
        stopAfter: () => seen.events === events
      })
      await consumer.start()
      await consumer.stop()
      return seen
    }
    return {
      drive: driveCalls(checkedPass(pass, events)),
      close: () => close(store, pool)
    }
  }
})

// ---- internal ----

/**
 * Messages of one batch. 100, its own default: 3 100 events/s; 500: 3 350; 1 000: 3 400; 2 500: 3 050; 5 000: 3 100,
 * all within the spread of one of them. The pause between batches, 50 ms by default, is left out.
 */
const batchSizeDefault = 1_000
