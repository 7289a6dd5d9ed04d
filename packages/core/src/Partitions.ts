/**
 * Spreads the partitions of one subscriber over the processes that run it. Nobody decides for all: each process
 * looks, a few times in a ttl, how many others there are, and takes or gives back until it has its share.
 *
 *     every process holds one slot ──▶ held slots = number of processes, the slot's place among them = rank
 *     share = partitions / processes, rounded up for the first ranks
 *     more than the share ──▶ stop some, in order;  less ──▶ take what is free
 *
 * Slots are leases like any other, `partitions` of them: a process that dies gives up its slot and its partitions
 * when they expire, and its work is taken within a ttl and a look. More processes than partitions find no slot
 * and wait.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { StopReason } from "./ConsumerMachine.js"
import type { VnodeRange } from "./EventQuery.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Lease } from "./Lease.js"
import type { Position } from "./Position.js"
import * as Scoped from "./Scoped.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { PartitionError, PartitionStatus, RunningPartition } from "./SubscriberPartition.js"
import { SubscriberStore } from "./SubscriberStore.js"
import { hash32, vnodeCount } from "./Vnode.js"

/** The keys of a subscriber's partitions: its own when there is one, else with the number of each. */
export const keysOf = (key: string, partitions: number): ReadonlyArray<string> =>
  partitions === 1
    ? [key]
    : Array.from({ length: partitions }, (_, index) => `${key}#${index}of${partitions}`)

/** The vnodes of a partition: as many for each as can be; undefined when there is one for all. */
export const vnodesOf = (index: number, partitions: number): VnodeRange | undefined =>
  partitions === 1
    ? undefined
    : {
        from: Math.floor((index * vnodeCount) / partitions),
        to: Math.floor(((index + 1) * vnodeCount) / partitions) - 1
      }

/** How many partitions a process of this rank should have. */
export const shareOf = (partitions: number, processes: number, rank: number): number =>
  Math.floor(partitions / processes) + (rank < partitions % processes ? 1 : 0)

/** Where a partition that was never run begins, or why it must not begin yet. */
export type Beginning =
  { readonly _tag: "At"; readonly position: Position } | { readonly _tag: "NotYet"; readonly why: string }

/**
 * Where partitions of this number begin that were never run: where those of the former number ended, the slowest of
 * them, so that nothing is left out (and some events are handled again); `otherwise` when there was no other number.
 * Not while a partition of the former number still runs, or has parked events, which belong to its key.
 */
export const beginningOf = (
  key: string,
  partitions: number,
  otherwise: Position
): Effect.Effect<Beginning, InvalidArgument | StoreUnavailable, SubscriberStore> =>
  Effect.gen(function* () {
    const store = yield* SubscriberStore
    const own = new Set(keysOf(key, partitions))
    const former = (yield* store.listSubscribers({ prefix: key, limit: listedMax })).filter(
      (row) => !own.has(row.key) && (row.key === key || numbered.test(row.key.slice(key.length)))
    )
    const newest = former.reduce((most, row) => Math.max(most, row.updatedAt.epochMillis), 0)
    const last = former.find((row) => row.updatedAt.epochMillis === newest)
    if (last === undefined) return { _tag: "At", position: otherwise }
    const numberOf = (name: string): string => name.slice(key.length).replace(/^#\d+/, "")
    const rows = former.filter((row) => numberOf(row.key) === numberOf(last.key))
    if (rows.some((row) => Option.isSome(row.holder)))
      return { _tag: "NotYet", why: "partitions of another number still run" }
    if (rows.some((row) => row.parked > 0))
      return {
        _tag: "NotYet",
        why: "partitions of another number have parked events: retry or drop them first"
      }
    return {
      _tag: "At",
      position: rows.reduce((least, row) => (row.cursor < least ? row.cursor : least), last.cursor)
    }
  })

/** What is spread. */
export interface PartitionsOptions<R> {
  readonly key: string
  readonly workerId: string
  readonly partitions: number
  readonly ttl: Duration.Duration
  /** Where a partition begins that was never run. */
  readonly startAt: Position
  /** Runs a partition under its lease until the scope closes. */
  readonly open: (
    lease: Lease,
    vnodes: VnodeRange | undefined
  ) => Effect.Effect<RunningPartition, InvalidArgument | StoreUnavailable, Scope.Scope | R>
}

/** A subscriber that runs in this process. */
export interface RunningSubscriber {
  /** This process among those that share the key. */
  readonly workerId: string
  /** The partitions that this process has at the moment. */
  readonly status: Effect.Effect<ReadonlyArray<PartitionStatus>>
  /** Why it ended: `Shutdown` after `stop` or the end of its scope, `Failed` when a partition failed. */
  readonly ended: Effect.Effect<StopReason<PartitionError>>
  /** Finishes what is in hand, acknowledges it, gives the leases back, and ends. */
  readonly stop: Effect.Effect<StopReason<PartitionError>>
}

/** Competes for partitions and runs them until it is stopped, its scope closes, or one of them fails. */
export const run = <R>(
  options: PartitionsOptions<R>
): Effect.Effect<RunningSubscriber, never, SubscriberStore | Scope.Scope | R> =>
  Effect.gen(function* () {
    const { key, partitions, startAt, ttl, workerId } = options
    const store = yield* SubscriberStore
    const ended = yield* Deferred.make<StopReason<PartitionError>>()
    const keys = keysOf(key, partitions)
    const slots = Array.from({ length: partitions }, (_, index) => `${key}~${index}`)
    const everyMs = Math.min(Math.max(Duration.toMillis(ttl) / 10, lookMs.min), lookMs.max)
    /** Partitions that run here. */
    const running = new Map<number, Held>()
    let slot: Lease | undefined

    /** This process's slot, if there is one for it; renewed or taken anew. */
    const keepSlot = Effect.gen(function* () {
      if (slot !== undefined) {
        const renewed = yield* Effect.option(store.renew(slot))
        slot = Option.getOrUndefined(renewed)
      }
      for (let index = 0; slot === undefined && index < slots.length; index++)
        slot = Option.getOrUndefined(
          yield* Effect.option(store.upsertSubscriber(slots[index]!, workerId, { ttl }))
        )
    })

    const holders = (prefix: string, of: ReadonlyArray<string>) =>
      Effect.map(store.listSubscribers({ prefix, limit: listedMax }), (rows) => {
        const wanted = new Set(of)
        return rows.filter((row) => wanted.has(row.key))
      })

    const share = Effect.gen(function* () {
      if (partitions === 1) return 1
      yield* keepSlot
      const own = slot
      if (own === undefined) return 0
      const held = (yield* holders(`${key}~`, slots)).filter((row) => Option.isSome(row.holder))
      const rank = held.findIndex((row) => row.key === own.key)
      return rank < 0 ? running.size : shareOf(partitions, held.length, rank)
    })

    /** Opens a partition whose lease was just given; interrupted, it gives that back. */
    const begin = (index: number, lease: Lease) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const opened = yield* Effect.exit(
            restore(Scope.extend(options.open(lease, vnodesOf(index, partitions)), scope))
          )
          if (Exit.isFailure(opened)) {
            yield* Scoped.close(scope, opened)
            return yield* Effect.failCause(opened.cause)
          }
          const held: Held = { partition: opened.value, scope }
          running.set(index, held)
          yield* opened.value.ended.pipe(
            Effect.matchCauseEffect({
              onFailure: (cause) => Deferred.failCause(ended, cause),
              onSuccess: (reason) =>
                reason._tag === "Failed" ? Deferred.succeed(ended, reason) : Effect.succeed(false)
            }),
            Effect.zipRight(close(index, held)),
            Effect.interruptible,
            Effect.forkIn(scopeOfAll)
          )
        })
      )
    const close = (index: number, held: Held) =>
      Effect.zipRight(
        Scoped.close(held.scope, Exit.void),
        Effect.sync(() => {
          if (running.get(index) === held) running.delete(index)
        })
      )

    /** Takes what is free, at most `most` of them. A paused partition is not taken. */
    const takeFree = (most: number) =>
      Effect.gen(function* () {
        const known = new Map((yield* holders(key, keys)).map((row) => [row.key, row]))
        let left = most
        const isNew = keys.some((one) => !known.has(one))
        const beginning: Beginning = isNew
          ? yield* Effect.provideService(beginningOf(key, partitions, startAt), SubscriberStore, store)
          : { _tag: "At", position: startAt }
        if (beginning._tag === "NotYet")
          return yield* Effect.logInfo("partitions are not taken yet", {
            key,
            partitions,
            why: beginning.why
          })
        // Everybody begins elsewhere, so that they do not all ask for the same one.
        const first = hash32(workerId) % partitions
        for (let i = 0; i < partitions && left > 0; i++) {
          const index = (first + i) % partitions
          const row = known.get(keys[index]!)
          const taken =
            row !== undefined && (row.paused || Option.exists(row.holder, (one) => one !== workerId))
          if (running.has(index) || taken) continue
          const lease = yield* Effect.option(
            store.upsertSubscriber(keys[index]!, workerId, { ttl, startAt: beginning.position })
          )
          if (Option.isNone(lease)) continue
          yield* begin(index, lease.value)
          left--
        }
      })

    const look = Effect.gen(function* () {
      const target = yield* share
      const surplus = [...running].slice(target)
      for (const [, { partition }] of surplus) yield* partition.stop
      if (running.size < target) yield* takeFree(target - running.size)
    }).pipe(
      Effect.catchAllCause((cause) =>
        Cause.isInterruptedOnly(cause)
          ? Effect.failCause(cause as Cause.Cause<never>)
          : Effect.logDebug("partitions could not be looked at, tried again", cause)
      )
    )

    const scopeOfAll = yield* Effect.scope
    const looking = yield* Effect.forkScoped(
      Effect.forever(Effect.zipRight(look, Effect.sleep(Duration.millis(everyMs))))
    )
    const shutDown = Effect.gen(function* () {
      yield* Fiber.interrupt(looking)
      yield* Effect.forEach([...running], ([index, held]) => close(index, held), {
        concurrency: "unbounded",
        discard: true
      })
      if (slot !== undefined) yield* Effect.ignore(store.release(slot))
      yield* Deferred.succeed(ended, { _tag: "Shutdown" })
    }).pipe(Effect.uninterruptible)
    yield* Effect.addFinalizer(() => shutDown)
    // One that failed takes the others of this process along.
    yield* Effect.forkScoped(Effect.zipRight(Effect.exit(Deferred.await(ended)), shutDown))
    return {
      workerId,
      status: Effect.suspend(() =>
        Effect.forEach([...running.values()], ({ partition }) => partition.status)
      ),
      ended: Deferred.await(ended),
      stop: Effect.zipRight(shutDown, Deferred.await(ended))
    }
  })

// ---- internal ----

interface Held {
  readonly partition: RunningPartition
  readonly scope: Scope.CloseableScope
}

/** Between two looks: a tenth of the ttl within these bounds. Unit: milliseconds. */
const lookMs = { min: 20, max: 1_000 }

/** What a partition's key has behind the subscriber's. */
const numbered = /^#\d+of\d+$/

/** Twice the greatest number of partitions: those of another number of them may be there as well. */
const listedMax = 2 * vnodeCount
