/** Others who map, filter, and sum by key and window: a plain loop, RxJS, and Effect's own streams. */
import { Effect, GroupBy, Option, Stream } from "effect"
import { endWith, filter, from, groupBy, lastValueFrom, map, mergeMap, scan } from "rxjs"
import type { Contestant, Role } from "../contestant.js"
import { driveCalls } from "../drive.js"
import { check, counts, doubled, expectedOf, readings, recordCount, windowMs } from "./records.js"
import type { Reading, Readings, Seen } from "./records.js"

/** Over arrays of 1 000, as a source would give them: two maps, nothing that waits, nothing that is kept. */
export const rowsByLoop = ({ batches }: Readings): Seen => {
  const seen: Seen = { rows: 0, sum: 0 }
  const windows = new Map<number, Map<string, number>>()
  let start = 0
  let sums = new Map<string, number>()
  for (const { values } of batches) {
    let newest = 0
    for (let i = 0; i < values.length; i++) {
      const reading = values[i]!
      const value = doubled(reading)
      if (!counts(value)) continue
      const { key, time } = reading
      newest = time
      if (time < start || time >= start + windowMs) {
        start = time - (time % windowMs)
        sums = windows.get(start) ?? new Map<string, number>()
        windows.set(start, sums)
      }
      sums.set(key, (sums.get(key) ?? 0) + value)
    }
    for (const [start, sums] of windows) {
      if (start + windowMs > newest) break
      windows.delete(start)
      write(sums, start, seen)
    }
  }
  for (const [start, sums] of windows) write(sums, start, seen)
  return seen
}

/** Every key a group, which closes its window when the first record of the next one comes. */
export const rowsByRxjs = async ({ all }: Readings): Promise<Seen> => {
  const seen: Seen = { rows: 0, sum: 0 }
  const rows = from(all).pipe(
    map((reading) => ({ key: reading.key, time: reading.time, value: doubled(reading) })),
    filter(({ value }) => counts(value)),
    groupBy(({ key }) => key),
    mergeMap((group) =>
      group.pipe(
        endWith(undefined),
        scan(closing, emptyWindow(group.key)),
        map(({ closed }) => closed),
        filter((row) => row !== undefined)
      )
    )
  )
  await lastValueFrom(
    rows.pipe(
      map(({ value }) => {
        seen.rows++
        seen.sum += value
      })
    ),
    { defaultValue: undefined }
  )
  return seen
}

/** The same groups with streams. */
export const rowsByEffectStream = ({ batches }: Readings): Promise<Seen> =>
  Effect.runPromise(
    Stream.fromIterable(batches).pipe(
      Stream.mapConcat(({ values }) => values),
      Stream.map((reading) => ({ key: reading.key, time: reading.time, value: doubled(reading) })),
      Stream.filter(({ value }) => counts(value)),
      Stream.groupByKey(({ key }) => key),
      GroupBy.evaluate((key, group) =>
        Stream.concat(group, Stream.make(undefined)).pipe(
          Stream.mapAccum(emptyWindow(key), (window, reading) => {
            const next = closing(window, reading)
            return [next, next.closed] as const
          }),
          Stream.filterMap(Option.fromNullable)
        )
      ),
      Stream.runFold({ rows: 0, sum: 0 }, (seen, { value }) => {
        seen.rows++
        seen.sum += value
        return seen
      })
    )
  )

export const windowLoop: Contestant = passing("limit", "limit", recordCount, rowsByLoop)

export const windowRxjs: Contestant = passing("rxjs", "peer", recordCount, rowsByRxjs)

/** Some hundred times slower than the others, so that it gets fewer records. */
export const windowEffectStream: Contestant = passing(
  "effectStream",
  "peer",
  () => 100_000,
  rowsByEffectStream
)

// ---- internal ----

interface Row {
  readonly key: string
  readonly start: number
  readonly value: number
}

/** The window of a key that is open, and the row of the one before it, just when that has closed. */
interface OpenWindow {
  readonly key: string
  start: number
  sum: number
  closed: Row | undefined
}

const emptyWindow = (key: string): OpenWindow => ({ key, start: -1, sum: 0, closed: undefined })

const closing = (
  window: OpenWindow,
  reading: Pick<Reading, "key" | "time" | "value"> | undefined
): OpenWindow => {
  const start = reading === undefined ? Infinity : reading.time - (reading.time % windowMs)
  if (start === window.start) window.closed = undefined
  else {
    window.closed =
      window.start === -1 ? undefined : { key: window.key, start: window.start, value: window.sum }
    window.start = start
    window.sum = 0
  }
  if (reading !== undefined) window.sum += reading.value
  return window
}

const write = (sums: ReadonlyMap<string, number>, start: number, seen: Seen): void => {
  const rows: Array<Row> = []
  for (const [key, value] of sums) rows.push({ key, start, value })
  for (const { value } of rows) {
    seen.rows++
    seen.sum += value
  }
}

/** A contestant whose call is one pass over all records. */
function passing(
  name: string,
  role: Role,
  countOf: (quick: boolean) => number,
  pass: (readings: Readings) => Seen | Promise<Seen>
): Contestant {
  return {
    name,
    role,
    open: async (place) => {
      const count = countOf(place.quick)
      const expected = expectedOf(count)
      const records = readings(count)
      return {
        drive: driveCalls(
          async () => {
            check(name, await pass(records), expected)
            return count
          },
          { callers: 1 }
        ),
        close: async () => {}
      }
    }
  }
}
