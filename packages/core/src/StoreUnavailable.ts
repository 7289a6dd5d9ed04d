/**
 * Storage did not answer, or answered with a fault of its own. Whether trying again can help is decided
 * once, where the driver's error is first seen, from SQLSTATE or errno and never from message text.
 */
import * as Schema from "effect/Schema"

/**
 * Storage failed. `transient`: true = try again with backoff; false = somebody must mend something first
 * (disk full, permission, wrong schema).
 *
 * Nothing was written, with one exception: a write whose connection was lost or silent while it committed, and
 * whose database then stayed away for the rest of the write timeout. Such a write, with ids named by the caller, can be
 * repeated without harm.
 */
export class StoreUnavailable extends Schema.TaggedError<StoreUnavailable>()("StoreUnavailable", {
  /** What the store was doing, for example `write` or `read`. */
  operation: Schema.String,
  transient: Schema.Boolean,
  /** What the driver reported; never contains the connection's credentials. */
  cause: Schema.Defect
}) {
  override get message(): string {
    const cause = this.cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    return `storage failed, ${this.transient ? "try again" : "needs repair"}. operation=${this.operation} cause="${reason}"`
  }
}
