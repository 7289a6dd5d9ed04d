/**
 * State to bytes and back: MessagePack, by msgpackr, a value at a time or keys and states in a row. The bytes of a vnode
 * are several such rows one after another. What can be kept is what msgpackr keeps: numbers, texts, booleans, null,
 * undefined, bigints, dates, bytes, arrays, maps, sets and plain objects of them.
 */
import { Packr } from "msgpackr"

const packr = new Packr({ useBigIntExtension: true, moreTypes: true })

/** Keys and states in turn. Hot: once for some hundred entries, or for one that changes while a snapshot is written. */
export const packPairs = (pairs: ReadonlyArray<unknown>): Uint8Array => packr.pack(pairs)

/** Calls back with each key and state of a vnode's bytes. */
export const unpackPairs = (bytes: Uint8Array, each: (key: unknown, state: unknown) => void): void => {
  packr.unpackMultiple(bytes, (value: unknown) => {
    const pairs = value as ReadonlyArray<unknown>
    for (let i = 0; i < pairs.length; i += 2) each(pairs[i], pairs[i + 1])
  })
}

/** One value. */
export const pack = (value: unknown): Uint8Array => packr.pack(value)

/** One value. Throws when the bytes are none. */
export const unpack = (bytes: Uint8Array): unknown => packr.unpack(bytes) as unknown
