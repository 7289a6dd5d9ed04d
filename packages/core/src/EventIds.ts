/**
 * Where new event ids come from. The default makes ULIDs that rise strictly within the process, also when
 * the clock stands still or steps back. Tests put {@link seeded} in its place and get the same ids every
 * time. A store reads this service once, when its layer is built.
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import { monotonicFactory } from "ulidx"
import type { EventId } from "./EventId.js"

/** The service: read once by each store, when its layer is built. Default: ULIDs that rise within the process. */
export class EventIds extends Context.Reference<EventIds>()("@millrace/core/EventIds", {
  defaultValue: (): EventIdSource => ulids
}) {}

/** What gives new ids, one after another. */
export interface EventIdSource {
  /**
   * A new id, greater than every id given before by this source.
   *
   * `nowMs` is the time to put into it, in milliseconds since 1970; a smaller one than before is treated
   * as no progress of time. Synchronous, since it is called for every event: 0.3 µs with ulidx.
   */
  readonly next: (nowMs: number) => EventId
}

/** Millisecond 0, where a test clock begins, counts as 1: the library takes 0 for "no time given". */
const sourceOf = (ulid: (nowMs: number) => string): EventIdSource => ({
  next: (nowMs) => ulid(nowMs > 0 ? nowMs : 1) as EventId
})

/** One source for the whole process, so that ids rise across all of its stores. */
const ulids: EventIdSource = sourceOf(monotonicFactory(systemRandom()))

/**
 * Random numbers of 0 to 1 from the system's generator, 1 024 at a time: asking for each one by itself took 3 %
 * of the process at 20 000 appends a second, since every new millisecond begins with 16 of them.
 */
function systemRandom(): () => number {
  const bytes = new Uint8Array(1024)
  let next = bytes.length
  return () => {
    if (next === bytes.length) {
      // This is the service that everybody else is to use.
      // oxlint-disable-next-line no-restricted-globals
      crypto.getRandomValues(bytes)
      next = 0
    }
    return bytes[next++]! / 256
  }
}

/**
 * Ids that depend on nothing but `seed` and the times passed in: for tests that print or compare them.
 *
 * `seed`: any integer. The generator is mulberry32, good enough to be different and not for secrets.
 */
export const seeded = (seed: number): EventIdSource => {
  let state = seed >>> 0
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return sourceOf(monotonicFactory(random))
}

/** Replaces the ids of every store built beneath it by those of {@link seeded}. */
export const layerSeeded = (seed: number): Layer.Layer<EventIds> => Layer.sync(EventIds, () => seeded(seed))
