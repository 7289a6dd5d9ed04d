/**
 * The right to move one consumer's cursor. Whoever holds it has the greatest epoch that was ever given out
 * for its key, and has not let it expire. Epochs only grow, so that a holder which was frozen and overtaken is
 * recognised whenever it comes back: its writes carry an epoch that is not the greatest any more, and are
 * refused in the transaction in which they would have been made (the *fence*).
 */
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

/** How often a key was given out. Each holder's is greater than the one's before it. Range: 1 to 2^53 − 1. */
export const Epoch = Schema.Int.pipe(Schema.between(1, Number.MAX_SAFE_INTEGER), Schema.brand("Epoch"))
export type Epoch = typeof Epoch.Type

/** A right that was given out, as it stood when the store gave or renewed it. */
export interface Lease {
  /** What it is the right to: a subscriber, a partition of one, a projection. */
  readonly key: string
  /** Who holds it. */
  readonly workerId: string
  readonly epoch: Epoch
  /** How long it holds from its last renewal on. */
  readonly ttl: Duration.Duration
  /** When it ends unless it is renewed, by the store's clock, which may differ from the caller's. */
  readonly expiresAt: DateTime.Utc
  /** Whether the key was paused when the lease was given or renewed: its holder should do nothing but renew. */
  readonly paused: boolean
}

/** Longest key and longest worker id. Unit: code points. */
export const leaseTextCodePointsMax = 255

/** Range of a lease's `ttl`. Unit: milliseconds. */
export const leaseTtlMs = { min: 100, max: 86_400_000 }
