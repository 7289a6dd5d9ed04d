/**
 * A routing key divides a log among tenants, regions or shards: a stream gets its key with its first append
 * and keeps it, and a reader may ask for the events of one key alone.
 */
import * as Data from "effect/Data"

/**
 * Which routing keys a reader wants: `All` events whatever their key (the default of every query),
 * `Value` the events of one key, `Unkeyed` those of streams without one.
 */
export type RoutingKey = Data.TaggedEnum<{
  All: {}
  Value: { readonly key: string }
  Unkeyed: {}
}>

const { $match, All, Unkeyed, Value } = Data.taggedEnum<RoutingKey>()

/** Events of every stream, with a key or without. */
export const all: RoutingKey = All()

/** Events of streams whose key is exactly `key`: 1 to 255 code points. */
export const value = (key: string): RoutingKey => Value({ key })

/** Events of streams without a key. */
export const unkeyed: RoutingKey = Unkeyed()

/** One result for each kind of routing key: `RoutingKey.match(key, { All, Value, Unkeyed })`. */
export const match: typeof $match = $match

/** Longest routing key. Unit: code points. */
export const routingKeyCodePointsMax = 255
