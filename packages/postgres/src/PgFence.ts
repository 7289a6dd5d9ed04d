/**
 * The leases that writes depend on, as the append functions get them: each lease once, however many writes of
 * the batch it has. What becomes of them there is described in migrations/0008_fence.
 */
import type { Lease } from "@millrace/core/Lease"
import type { PreparedWrite } from "@millrace/core/PreparedWrite"
import * as Duration from "effect/Duration"
import { numberArray, textArray } from "./PgArray.js"

/** The leases of some writes. The lists of leases are array literals. */
export interface Fences {
  readonly keys: string
  readonly epochs: string
  readonly workers: string
  /** Of each write the number of its lease, from 1; 0 for a write without one. */
  readonly ofWrites: ReadonlyArray<number>
  /** How long the first of them lasts. Unit: milliseconds. */
  readonly ttlMs: number
}

/** The leases of the writes; `undefined` when none of them has one. */
export function fencesOf(writes: ReadonlyArray<PreparedWrite>): Fences | undefined {
  let leases: Array<Lease> | undefined
  let ofWrites: Array<number> | undefined
  for (let w = 0; w < writes.length; w++) {
    const lease = writes[w]!.fence
    if (lease === undefined) continue
    leases ??= []
    ofWrites ??= Array.from(writes, () => 0)
    // A process holds few leases, and a batch is of fewer: no map is as fast as looking through them.
    let at = leases.findIndex((known) => isSame(known, lease))
    if (at < 0) at = leases.push(lease) - 1
    ofWrites[w] = at + 1
  }
  return leases === undefined
    ? undefined
    : {
        keys: textArray(leases.map((lease) => lease.key)),
        epochs: numberArray(leases.map((lease) => lease.epoch)),
        workers: textArray(leases.map((lease) => lease.workerId)),
        ofWrites: ofWrites!,
        ttlMs: Math.floor(Duration.toMillis(leases[0]!.ttl))
      }
}

/** Whether it is one lease, be it as it was given or as it was renewed. */
const isSame = (a: Lease, b: Lease): boolean =>
  a === b || (a.epoch === b.epoch && a.key === b.key && a.workerId === b.workerId)
