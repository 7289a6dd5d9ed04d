/** The error of whoever wanted to write in the name of a lease that is another's by now. */
import * as Schema from "effect/Schema"

/** The lease expired or was taken over. Nothing was written. Stop; whoever holds it now goes on from the cursor. */
export class LeaseLost extends Schema.TaggedError<LeaseLost>()("LeaseLost", {
  /** The consumer whose lease it was. */
  key: Schema.String,
  /** Who holds it now; empty when nobody does. */
  holder: Schema.String
}) {
  override get message(): string {
    return `lease is lost, stop. key=${this.key} holder=${this.holder}`
  }
}
