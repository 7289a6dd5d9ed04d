/** The error of whoever asks for a lease that another worker still holds. */
import * as Schema from "effect/Schema"

/** Another worker holds the lease. Wait and ask again (every ttl / 10); it is free when it was released or has expired. */
export class LeaseHeld extends Schema.TaggedError<LeaseHeld>()("LeaseHeld", {
  key: Schema.String,
  /** Who holds it. */
  holder: Schema.String,
  /** How long it holds at most, unless it is renewed. Unit: milliseconds. */
  remainingMs: Schema.Number
}) {
  override get message(): string {
    return `lease is held by another worker. key=${this.key} holder=${this.holder} remainingMs=${this.remainingMs}`
  }
}
