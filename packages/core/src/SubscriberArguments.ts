/**
 * What the arguments of {@link SubscriberStore} may be, and the form in which parked events are stored. A check gives
 * what is wrong, or `undefined`.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import { leaseTextCodePointsMax, leaseTtlMs } from "./Lease.js"
import { parkedReasonUnitsMax, parkingsMax } from "./ParkedEvent.js"
import type { Parking } from "./ParkedEvent.js"
import { textFault } from "./Text.js"

/** An event that is to be parked: checked, its reason cleaned. `attempts` is 0 for one that only waits. */
export interface ParkingRow {
  readonly parkKey: string
  readonly position: number
  readonly reason: string
  readonly attempts: number
}

/** The event as it is stored. */
export const parkingRow = ({ parkKey, position, reason }: Parking): ParkingRow => ({
  parkKey,
  position,
  reason: storable(reason),
  attempts: reason === "" ? 0 : 1
})

/** A reason that every database keeps: often it is the message of somebody else's error. */
const storable = (reason: string): string => {
  // One unit more than is kept, so that the pair that stands across the end is seen as one.
  const text = reason
    .slice(0, parkedReasonUnitsMax + 1)
    .toWellFormed()
    .replaceAll("\u0000", "\ufffd")
  if (text.length <= parkedReasonUnitsMax) return text
  const cut = text.slice(0, parkedReasonUnitsMax)
  return cut.isWellFormed() ? cut : cut.slice(0, -1)
}

/** Checks what is there, and lets pass what is absent. */
export const optional = <A>(
  field: string,
  value: A | undefined,
  fault: (field: string, value: A) => InvalidArgument | undefined
): InvalidArgument | undefined => (value === undefined ? undefined : fault(field, value))

/** Keys, worker ids, park keys, and what they begin with. */
export const nameFault = (field: string, text: string): InvalidArgument | undefined => {
  const fault = textFault(text, leaseTextCodePointsMax)
  return fault === undefined
    ? undefined
    : invalid(field, `1 to ${leaseTextCodePointsMax} characters; this one ${fault}`, text)
}

/** Whether it is a whole number that every store keeps exactly. */
export const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

/** A place in the log, also the one before its first event. */
export const positionFault = (field: string, position: number): InvalidArgument | undefined =>
  isCount(position) ? undefined : invalid(field, "a position of 0 to 2^53 - 1", position)

/** The place of an event. */
export const eventFault = (field: string, position: number): InvalidArgument | undefined =>
  isCount(position) && position > 0
    ? undefined
    : invalid(field, "the position of an event, 1 to 2^53 - 1", position)

/** Most rows of one answer. */
const rowsMax = 10_000

/** A number of rows to give. */
export const limitFault = (limit: number): InvalidArgument | undefined =>
  Number.isInteger(limit) && limit >= 1 && limit <= rowsMax
    ? undefined
    : invalid("limit", `an integer of 1 to ${rowsMax} rows`, limit)

/** How far a consumer is behind. */
export const lagFault = (
  lag: { readonly events: number; readonly time: Duration.Duration } | undefined
): InvalidArgument | undefined => {
  if (lag === undefined) return undefined
  if (!isObject(lag)) return invalid("lag", "{ events, time }", lag)
  if (!isCount(lag.events)) return invalid("lag.events", "an integer of 0 to 2^53 - 1", lag.events)
  return Duration.isDuration(lag.time) && Duration.toMillis(lag.time) <= Number.MAX_SAFE_INTEGER
    ? undefined
    : invalid("lag.time", "a finite duration", lag.time)
}

/** Events to be parked. */
export const parkingsFault = (parkings: ReadonlyArray<Parking>): InvalidArgument | undefined => {
  if (!Array.isArray(parkings) || parkings.length > parkingsMax)
    return invalid("parkings", `an array of at most ${parkingsMax} events`, parkings)
  for (const [index, parking] of parkings.entries()) {
    const fault = parkingFault(`parkings[${index}]`, parking)
    if (fault !== undefined) return fault
  }
  return undefined
}

/** An event to be parked. */
export const parkingFault = (field: string, parking: Parking): InvalidArgument | undefined =>
  isObject(parking)
    ? (nameFault(`${field}.parkKey`, parking.parkKey) ??
      eventFault(`${field}.position`, parking.position) ??
      (typeof parking.reason === "string" ? undefined : invalid(`${field}.reason`, "a text", parking.reason)))
    : invalid(field, "{ parkKey, position, reason }", parking)

/** A parked event behind which a listing goes on. */
export const placeFault = (
  field: string,
  place: { readonly parkKey: string; readonly position: number }
): InvalidArgument | undefined =>
  isObject(place)
    ? (nameFault(`${field}.parkKey`, place.parkKey) ?? positionFault(`${field}.position`, place.position))
    : invalid(field, "{ parkKey, position }", place)

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null

/** A lease's time in whole milliseconds; NaN for what is no duration. */
export const ttlMsOf = (ttl: Duration.DurationInput): number =>
  Option.match(Duration.decodeUnknown(ttl), {
    onNone: () => NaN,
    onSome: (duration) => Math.floor(Duration.toMillis(duration))
  })

/** Whether a lease may last so long. */
export const isTtl = (ttlMs: number): boolean => ttlMs >= leaseTtlMs.min && ttlMs <= leaseTtlMs.max
