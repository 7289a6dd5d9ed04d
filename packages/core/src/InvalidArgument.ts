/**
 * The one error for an argument that no store could accept: it names the field, what is allowed there and
 * what was given. Nothing was written when it is returned. Calling again with the same argument gives the
 * same answer, so the caller's next step is to correct it.
 */
import * as Schema from "effect/Schema"

/** An argument outside of what is allowed. Nothing was written; correct the named field and call again. */
export class InvalidArgument extends Schema.TaggedError<InvalidArgument>()("InvalidArgument", {
  /** Path of the argument, for example `appends[0].events[2].type`. */
  field: Schema.String,
  /** What may stand there, in words, with unit and range. */
  allowed: Schema.String,
  /** What stood there, shortened to at most 80 characters. */
  actual: Schema.String
}) {
  override get message(): string {
    return `argument is not allowed. field=${this.field} allowed="${this.allowed}" actual=${this.actual}`
  }
}

/** Longest excerpt of a wrong value that an error carries. Unit: characters. */
const actualCharsMax = 80

/** A short text of any value for an error: never throws, never longer than 80 characters. */
export function describe(value: unknown): string {
  let text: string
  if (typeof value === "string") text = JSON.stringify(value)
  else if (typeof value === "number" || typeof value === "boolean" || value === null || value === undefined) {
    text = String(value)
  } else if (typeof value === "bigint") text = `${value}n`
  else if (Array.isArray(value)) text = `array of ${value.length}`
  else text = typeof value
  return text.length > actualCharsMax ? `${text.slice(0, actualCharsMax - 1)}…` : text
}

/** Builds the error; `actual` may be any value. */
export const invalid = (field: string, allowed: string, actual: unknown): InvalidArgument =>
  new InvalidArgument({ field, allowed, actual: describe(actual) })
