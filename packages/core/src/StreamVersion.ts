/**
 * The place of an event in its stream. The first event has version 1; a stream with no events has version
 * 0. Deleting a stream does not start its versions anew.
 */
import * as Schema from "effect/Schema"

/** 1-based place of an event in its stream; 0 = no events. Unit: events. Range: 0 to 2^53 − 1. */
export const StreamVersion = Schema.NonNegativeInt.pipe(Schema.brand("StreamVersion"))
export type StreamVersion = typeof StreamVersion.Type

/** The version of a stream without events. */
export const emptyStream: StreamVersion = StreamVersion.make(0)
