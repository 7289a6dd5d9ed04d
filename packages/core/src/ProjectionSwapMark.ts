/**
 * The note that one model of a projection is about to take the place of another one, for stores in which that and
 * the events that are set aside are not one transaction. What is set aside belongs to a model: what the former one
 * had was handled again by the new one, and a retry would handle it twice; what the new one set aside is missing in
 * it. Whoever dies in between leaves the note, and whoever comes next does the rest before anything else.
 *
 *     live lease, claim ─▶ mark: epoch + 1 ─▶ swap ─▶ set aside what the new one has, forget the rest ─▶ no mark
 *                                 ╳ died              ╳ died
 *     next: model's epoch ≥ mark? ── no: the swap was never made, no mark
 *                                └─ yes: it was: the same again from there
 *
 * Invariants
 *
 *  1. The mark is read before the live model is claimed, by everybody who has its lease: the epoch then says
 *     whether the swap took place, since a swap raises it.
 *  2. What was built keeps its parked events until the mark is gone. Doing the rest twice does it once.
 *
 * What it does not hold: who is frozen for longer than its lease between its last renewal and the swap, a
 * statement later, may swap when its mark was cleared already. Where there is a transaction that cannot happen.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Lease } from "./Lease.js"
import type { LeaseLost } from "./LeaseLost.js"
import type { ParkedEvent, ParkedFull } from "./ParkedEvent.js"
import { parkingsMax } from "./ParkedEvent.js"
import * as ParkedKeys from "./ParkedKeys.js"
import type { Position } from "./Position.js"
import type { ProjectionInfo } from "./ProjectionCheckpoint.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import type { SubscriberStore } from "./SubscriberStore.js"

/** The key of the lease under which the mark is written. */
export const markKey = (projectionName: string): string => `~swap/${projectionName}`

/** Says that the live model has `epoch` once the swap is made. */
export const write = (
  subscribers: SubscriberStore["Type"],
  mark: Lease,
  epoch: number
): Effect.Effect<void, ParkedFull | LeaseLost | InvalidArgument | StoreUnavailable> =>
  subscribers.park(mark, [{ parkKey, position: epoch as Position, reason: "" }], { max: parkedMax })

/** Whether somebody left a mark. */
export const isThere = (
  subscribers: SubscriberStore["Type"],
  projectionName: string
): Effect.Effect<boolean, InvalidArgument | StoreUnavailable> =>
  Effect.map(subscribers.parked(markKey(projectionName), { limit: 1 }), (rows) => rows.length > 0)

/** The leases under which the rest is done, and where the events stand that the built model set aside. */
export interface Settling<E> {
  /** Of the live model, opened now: one that was opened before the swap may still be the former one. */
  readonly info: Effect.Effect<Option.Option<ProjectionInfo>, E>
  readonly live: Lease
  readonly mark: Lease
  readonly buildKey: string
}

/** Does what is left to do where the swap was made, and takes the mark away. The live model was not claimed yet. */
export const settle = <E>(
  subscribers: SubscriberStore["Type"],
  { buildKey, info, live, mark }: Settling<E>
): Effect.Effect<void, E | ParkedFull | LeaseLost | InvalidArgument | StoreUnavailable> =>
  Effect.gen(function* () {
    const marks = yield* ParkedKeys.allParked(subscribers, mark.key)
    const epoch = epochOf(yield* info)
    if (marks.some(({ position }) => epoch >= position)) {
      const former = yield* ParkedKeys.allParked(subscribers, live.key)
      yield* hand(subscribers, live, former, yield* ParkedKeys.allParked(subscribers, buildKey))
    }
    yield* ParkedKeys.unparkAll(subscribers, mark, marks)
  })

/** What is set aside of the live model is from here on what the built one has set aside. */
export const hand = (
  subscribers: SubscriberStore["Type"],
  live: Lease,
  former: ReadonlyArray<ParkedEvent>,
  built: ReadonlyArray<ParkedEvent>
): Effect.Effect<void, ParkedFull | LeaseLost | InvalidArgument | StoreUnavailable> =>
  Effect.gen(function* () {
    const kept = new Set(built.map(placeOf))
    // Nothing is lost to the bound: both were within it.
    for (const piece of Arr.chunksOf(built, parkingsMax))
      yield* subscribers.park(live, piece, { max: parkedMax })
    const gone = former.filter((row) => !kept.has(placeOf(row)))
    yield* ParkedKeys.unparkAll(subscribers, live, gone)
  })

/** The epoch of a model; 0 when it was never claimed. */
export const epochOf = (info: Option.Option<Pick<ProjectionInfo, "epoch">>): number =>
  Option.getOrElse(
    Option.flatMap(info, ({ epoch }) => epoch),
    () => 0
  )

// ---- internal ----

/** One for each projection: the position says which. */
const parkKey = "swap"

/** Most parked events while those of two models stand side by side: twice what the options allow. */
const parkedMax = 2_000_000

const placeOf = ({ parkKey, position }: ParkedEvent): string => `${position} ${parkKey}`
