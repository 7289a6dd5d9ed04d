/** What the checkpoint cases keep: a small state for each of many keys, as a map and as keyed state of a pipeline. */
import type { Source, SourceBatch } from "@millrace/core/Source"
import type { CheckpointStorage } from "@millrace/core/CheckpointStore"
import { vnodeCount, vnodeOf } from "@millrace/core/Vnode"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { countingSink } from "@millrace/example-nexmark/CountingSink"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as State from "@millrace/pipeline/State"
import { Effect, Exit, Layer, ManagedRuntime, Schema, Scope } from "effect"

/** Keys of the cases. */
export const accountCount = (quick: boolean): number => (quick ? 200_000 : 1_000_000)

export const accountKey = (index: number): string => `account-${index}`

/** State of a key. */
export const Account = Schema.Struct({ events: Schema.Int, sum: Schema.Int })
export type Account = typeof Account.Type

/** The state of all keys, when each had one record. */
export const accountMap = (count: number): Map<string, Account> => {
  const accounts = new Map<string, Account>()
  for (let index = 0; index < count; index++)
    accounts.set(accountKey(index), { events: 1, sum: amountOf(index) })
  return accounts
}

/** Something happened to an account. */
export interface Booking {
  readonly key: string
  readonly amount: number
}

/** One record for each key. */
export const firstBookings = (count: number): ReadonlyArray<Booking> =>
  Array.from({ length: count }, (_, index) => ({ key: accountKey(index), amount: amountOf(index) }))

/** One record for each of the first `vnodes` vnodes, so that these have changed. */
export const bookingsIn = (vnodes: number): ReadonlyArray<Booking> => {
  const found = new Map<number, Booking>()
  for (let index = 0; found.size < vnodes; index++) {
    const key = accountKey(index)
    const vnode = vnodeOf(key)
    if (vnode < vnodes && !found.has(vnode)) found.set(vnode, { key, amount: 1 })
  }
  return [...found.values()]
}

/** So many are 1 % of them. */
export const fewVnodes = Math.ceil(vnodeCount / 100)

/** A pipeline that keeps accounts, and waits for bookings. */
export interface Accounts {
  /** Ends when the pipeline has all of them before it; the next barrier comes behind them. */
  readonly book: (bookings: ReadonlyArray<Booking>) => Promise<void>
  /** Makes a checkpoint; gives the bytes that were written. */
  readonly checkpoint: () => Promise<number>
  /** Keys that have state. */
  readonly size: () => Promise<number>
  readonly close: () => Promise<void>
}

/** Starts it, from its newest checkpoint in the storage. Ready when it asks its source for records. */
export const openAccounts = async (storage: Layer.Layer<CheckpointStorage, unknown>): Promise<Accounts> => {
  const runtime = ManagedRuntime.make(Layer.merge(storage, ActorRegistry.layer))
  const scope = await Effect.runPromise(Scope.make())
  const close = async (): Promise<void> => {
    await runtime.runPromise(Scope.close(scope, Exit.void))
    await runtime.dispose()
  }
  try {
    const tap = makeTap()
    const running = await runtime.runPromise(
      Scope.extend(Pipeline.start(pipelineOver(tap.source), { checkpointEvery: "1 day" }), scope)
    )
    // A pipeline that fails must not be waited for.
    const failed = runtime.runPromise(running.await).then(() => {
      throw new Error("the pipeline has ended")
    })
    failed.catch(() => {})
    await Promise.race([tap.isEmpty(), failed])
    return {
      book: (bookings) => {
        tap.give(bookings)
        return Promise.race([tap.isEmpty(), failed])
      },
      checkpoint: async () => (await runtime.runPromise(running.checkpoint)).bytesWritten,
      size: async () => {
        const { operators } = await runtime.runPromise(running.status)
        return operators.reduce((sum, { stateEntries }) => sum + stateEntries, 0)
      },
      close
    }
  } catch (cause) {
    await close()
    throw cause
  }
}

// ---- internal ----

const amountOf = (index: number): number => (index % 1_000) + 1

const pipelineOver = (source: Source<Booking>) =>
  Pipeline.make(
    "accounts",
    Pipeline.from(source).pipe(
      Pipeline.keyBy(({ key }) => key),
      Pipeline.process({
        id: "accounts",
        state: { account: State.value(Account) },
        onRecord: ({ amount }: Booking, { state: { account } }): ReadonlyArray<never> | undefined => {
          const before = account.get()
          account.set(
            before === undefined
              ? { events: 1, sum: amount }
              : { events: before.events + 1, sum: before.sum + amount }
          )
          return undefined
        }
      }),
      Pipeline.to(countingSink("nothing", () => {}))
    )
  )

const batchSize = 1_000

/** A source that gives what it is given, and then waits for more. */
const makeTap = () => {
  const batches: Array<SourceBatch<Booking>> = []
  let given = 0
  let onBatch: (() => void) | undefined
  let onEmpty: (() => void) | undefined
  const next = Effect.async<SourceBatch<Booking>>((resume) => {
    const take = (): void => {
      onBatch = undefined
      resume(Effect.succeed(batches.shift()!))
    }
    if (batches.length > 0) return take()
    onBatch = take
    onEmpty?.()
  })
  const source: Source<Booking> = {
    name: "tap",
    isReplayable: false,
    open: () => Effect.succeed({ partitions: ["0"], next })
  }
  return {
    source,
    give: (bookings: ReadonlyArray<Booking>): void => {
      for (let at = 0; at < bookings.length; at += batchSize) {
        const values = bookings.slice(at, at + batchSize)
        given += values.length
        batches.push({ values, partition: "0", offset: String(given) })
      }
      onBatch?.()
    },
    /** Asked again for records when there are none: those before are in its mailbox, or done with. */
    isEmpty: (): Promise<void> =>
      new Promise((resolve) => {
        if (batches.length === 0 && onBatch !== undefined) return resolve()
        onEmpty = () => {
          onEmpty = undefined
          resolve()
        }
      })
  }
}
