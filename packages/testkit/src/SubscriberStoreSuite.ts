/**
 * The rules that every subscriber store obeys, as tests: a store passes all of them or is not released. They are
 * split by theme under `suites/`; each test has keys of its own, so that one database serves them all.
 *
 * @example
 * ```ts
 * subscriberStoreSuite("sqlite", Sqlite.layer({ filename: ":memory:" }), {
 *   withTransaction: (effect) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(effect))
 * })
 * ```
 */
import { layer as testsWith } from "@effect/vitest"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import type * as Layer from "effect/Layer"
import { acknowledgements } from "./suites/Acknowledgements.js"
import { badSubscribers } from "./suites/BadSubscribers.js"
import { leases } from "./suites/Leases.js"
import { parkings } from "./suites/Parking.js"
import { subscriberTransactions } from "./suites/SubscriberTransactions.js"
import type { WithTransaction } from "./suites/SubscriberTransactions.js"

/** What a store has beyond the contract. */
export interface SubscriberStoreSuiteOptions<R> {
  /** For stores on a database: runs an effect in a transaction of it. Without it, no test is about transactions. */
  readonly withTransaction?: WithTransaction<R>
}

/**
 * Declares the tests for one store. `layer` is built once. Time is the real one, not `TestClock`, since databases
 * have their own.
 */
export const subscriberStoreSuite = <R, E>(
  name: string,
  layer: Layer.Layer<SubscriberStore | R, E>,
  { withTransaction }: SubscriberStoreSuiteOptions<R> = {}
): void =>
  testsWith(layer, { timeout: "60 seconds", excludeTestServices: true })(
    `SubscriberStore / ${name}`,
    (it) => {
      leases(it)
      acknowledgements(it)
      parkings(it)
      badSubscribers(it)
      if (withTransaction !== undefined) subscriberTransactions(it, withTransaction)
    }
  )
