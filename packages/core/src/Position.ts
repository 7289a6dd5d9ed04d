/**
 * The place of an event in the whole log. Positions rise in the order in which readers may see events;
 * numbers may be missing between two of them, so a position is compared and stored, never counted with.
 */
import * as Schema from "effect/Schema"

/** Place of an event in the log; 0 = before the first. Range: 0 to 2^53 − 1, checked at the edges. */
export const Position = Schema.NonNegativeInt.pipe(Schema.brand("Position"))
export type Position = typeof Position.Type

/** Before the first event of the log: where a consumer begins that wants everything. */
export const start: Position = Position.make(0)
