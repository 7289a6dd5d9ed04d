/**
 * Ids of events: 26 characters of Crockford's base 32, 128 bits. Most are ULIDs, which begin with the time
 * and so arrive in index order; an id derived from data is a hash in the same form, so that the same fact
 * appended again is recognised as a repeat.
 */
import { sha256 } from "@noble/hashes/sha2"
import { utf8ToBytes } from "@noble/hashes/utils"
import * as Schema from "effect/Schema"

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const pattern = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/

/** Id of one event, unique in the log. 26 characters of Crockford's base 32 in upper case, at most 128 bits. */
export const EventId = Schema.String.pipe(
  Schema.pattern(pattern, {
    message: () => "an event id is 26 characters of Crockford's base 32, the first 0 to 7"
  }),
  Schema.brand("EventId")
)
export type EventId = typeof EventId.Type

/** Whether a text has the form of an event id. */
export const isEventId = (value: unknown): value is EventId =>
  typeof value === "string" && pattern.test(value)

/**
 * The id that belongs to a fact: the first 128 bits of the SHA-256 of `parts`, in the form of a ULID.
 *
 * The same parts always give the same id, so appending the fact again is a repeat and writes nothing. Each
 * part is hashed with its length, so that `("ab", "c")` and `("a", "bc")` differ.
 *
 * @example
 * ```ts
 * const id = deriveEventId("flights-2001", String(row))
 * ```
 */
export const deriveEventId = (...parts: ReadonlyArray<string>): EventId => {
  const hash = sha256.create()
  for (const part of parts) {
    const bytes = utf8ToBytes(part)
    hash.update(utf8ToBytes(`${bytes.length}:`)).update(bytes)
  }
  return encode(hash.digest()) as EventId
}

/** 128 bits as 26 characters, the most significant first; the two spare bits stand in front. */
function encode(bytes: Uint8Array): string {
  let text = ""
  let bits = 2
  let value = 0
  for (let i = 0; i < 16; i++) {
    value = (value << 8) | bytes[i]!
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += crockford[(value >>> bits) & 31]
    }
    value &= (1 << bits) - 1
  }
  return text
}
