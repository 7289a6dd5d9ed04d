/**
 * The rules that every event store obeys, as tests: a store passes all of them or is not released. They are
 * split by theme under `suites/`; each test has streams of its own, so that one database serves them all.
 *
 * @example
 * ```ts
 * // packages/sqlite/test/SqliteEventStore.test.ts
 * eventStoreSuite("sqlite", Sqlite.layer({ filename: ":memory:" }))
 * ```
 */
import { layer as testsWith } from "@effect/vitest"
import type * as Layer from "effect/Layer"
import { appends } from "./suites/Appends.js"
import { archiving } from "./suites/Archiving.js"
import { badEventFields } from "./suites/BadEvents.js"
import { badInput } from "./suites/BadInput.js"
import { badQueries } from "./suites/BadQueries.js"
import { concurrency } from "./suites/Concurrency.js"
import { conditions } from "./suites/Conditions.js"
import { consuming } from "./suites/Consuming.js"
import { content } from "./suites/Content.js"
import { deletion } from "./suites/Deletion.js"
import { emptyLog } from "./suites/EmptyLog.js"
import { erasure } from "./suites/Erasure.js"
import { fencedTransactions } from "./suites/FencedTransactions.js"
import { fencedWrites } from "./suites/FencedWrites.js"
import { filters } from "./suites/Filters.js"
import { idempotence } from "./suites/Idempotence.js"
import { large } from "./suites/Large.js"
import { listing } from "./suites/Listing.js"
import { paging } from "./suites/Paging.js"
import { reads } from "./suites/Reads.js"
import type { Stores } from "./suites/Scene.js"
import { severalAppends } from "./suites/SeveralAppends.js"
import type { WithTransaction } from "./suites/SubscriberTransactions.js"

/** What a store has beyond the contract. */
export interface EventStoreSuiteOptions<R> {
  /** For stores on a database: runs an effect in a transaction of it. Without it, no test is about transactions. */
  readonly withTransaction?: WithTransaction<R>
}

/**
 * Declares the tests for one store.
 *
 * `layer` is built once for most tests and anew for those about an empty log: each build must give an empty
 * log with default settings (`eventBytesMax` of 1 MiB), and its stores must belong together. Time is the
 * real one, not `TestClock`, since databases have their own.
 */
export const eventStoreSuite = <R, E>(
  name: string,
  layer: Layer.Layer<Stores | R, E>,
  { withTransaction }: EventStoreSuiteOptions<R> = {}
): void =>
  testsWith(layer, { timeout: "60 seconds", excludeTestServices: true })(`EventStore / ${name}`, (it) => {
    appends(it)
    severalAppends(it)
    content(it)
    idempotence(it)
    reads(it)
    consuming(it)
    filters(it)
    paging(it)
    conditions(it)
    concurrency(it)
    fencedWrites(it)
    if (withTransaction !== undefined) fencedTransactions(it, withTransaction)
    deletion(it)
    archiving(it)
    erasure(it)
    listing(it)
    badInput(it)
    badEventFields(it)
    badQueries(it)
    large(it)
    emptyLog(it, layer)
  })
