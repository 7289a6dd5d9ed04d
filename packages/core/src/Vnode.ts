/**
 * Keys are spread over 256 buckets, the vnodes, and never over machines or processes directly: whoever
 * works in parallel (partitions of a subscriber, keyed state of a pipeline) owns a set of vnodes, so that
 * rescaling changes owners and moves no key to another bucket. The vnode of a stream is stored with each of
 * its events, so that a store can filter by it without computing the hash.
 */
import xxhash from "xxhash-wasm"

/** Number of vnodes. Never changes: it is written into every stored event. */
export const vnodeCount = 256

const { h32 } = await xxhash()

/**
 * The vnode of a key: xxh32 of its UTF-8 bytes, seed 0, modulo 256. Range: 0 to 255.
 *
 * Hot: called for every append; 64 ns for a short key.
 */
export const vnodeOf = (key: string): number => h32(key, 0) & (vnodeCount - 1)

/** xxh32 of a text's UTF-8 bytes, seed 0, as an unsigned integer: for keys of locks and buckets that every process must agree on. */
export const hash32 = (text: string): number => h32(text, 0)
