/**
 * The events of the Nexmark benchmark, made as they are asked for. Of 50 one is a person, three are auctions and 46 are
 * bids, in that order; who sells and what is bid on follows the original generator (Tucker et al., and Apache Beam's):
 * three of four auctions are the newest hot seller's, every second bid is on the newest hot auction, three of four bids
 * are the newest hot bidder's, and the others are of or on one of the last thousand people and hundred auctions.
 *
 * Everything about an event follows from the seed and its number alone: chance begins anew with each event, so that a
 * source that is opened at any offset, in any process, goes on with the same events in the same batches. Nothing refers
 * to what comes after it, which the original does by up to ten ids.
 *
 *     number   0 │ 1 2 3 │ 4 … 49 │ 50 │ …         time of n = beginMs + n ⋅ 1 000 / eventsPerSecond − delay
 *              person  auctions  bids    person     0 ≤ delay ≤ outOfOrdernessMs, whole milliseconds, by chance
 *
 * So no event lies further than `outOfOrdernessMs` behind one that came before it.
 */
import type { Source, SourceBatch } from "@millrace/core/Source"
import { giveWay } from "@millrace/core/EventLoop"
import { invalid } from "@millrace/core/InvalidArgument"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import * as Effect from "effect/Effect"
import type { Auction, Bid, Event, Person } from "./Event.js"

/** What is generated. */
export interface GeneratorOptions {
  /** How many. Default: without end. */
  readonly events?: number | undefined
  /** Other seeds, other events. Default: 0. */
  readonly seed?: number | undefined
  /** How fast event time goes, which says nothing of how fast they come. Range: from 1. Default: 10 000. */
  readonly eventsPerSecond?: number | undefined
  /** How far an event may lie behind the newest one before it. Unit: milliseconds. Default: 0, times never go back. */
  readonly outOfOrdernessMs?: number | undefined
  /** Range: 1 to 10 000 events. Default: 1 000. */
  readonly batchSize?: number | undefined
}

/** When the first event happened: 2015-07-15, as in the original. Unit: milliseconds since 1970. */
export const beginMs = 1_436_918_400_000

/** Events of one round: one person, three auctions, the rest bids. */
export const eventsPerRound = 50
const personsPerRound = 1
const auctionsPerRound = 3

/** The first person, and the first auction. */
export const firstId = 1_000

/** Of every so many people or auctions one is hot. */
export const hotEvery = 100

/** Those who are not hot are one of the last so many. */
export const activePersons = 1_000
export const activeAuctions = 100

export const firstCategory = 10
const categories = 5

/**
 * The events as a source of one partition, "0", whose offset is the number of events so far. Opening fails with
 * `InvalidArgument` when an option or the offset is not allowed.
 *
 * @example
 * ```ts
 * const bids = Pipeline.from(source({ events: 1_000_000 })).pipe(Pipeline.filter(isBid))
 * ```
 */
export const source = (options: GeneratorOptions = {}): Source<Event, InvalidArgument> => ({
  name: "nexmark",
  isReplayable: true,
  open: (offsets) =>
    Effect.suspend(() => {
      const text = offsets[partition] ?? "0"
      const offset = Number(text)
      const { batchSize = batchSizeDefault, events = Infinity } = options
      if (!Number.isSafeInteger(offset) || offset < 0 || offset > events)
        return invalid(`offsets["${partition}"]`, "a whole number, not behind the last event", text)
      if (!Number.isInteger(batchSize) || batchSize < 1 || batchSize > batchSizeMax)
        return invalid("batchSize", `1 to ${batchSizeMax} events`, batchSize)
      let at = offset
      const next = Effect.sync(() => {
        const batch = batchOf(at, Math.min(batchSize, events - at), options)
        if (batch !== undefined) at += batch.values.length
        return batch
      })
      return Effect.succeed({ partitions: [partition], next: Effect.zipRight(giveWay, next) })
    })
})

/** The batches that the source gives, all at once: for measuring what is done with them, and not how they are made. */
export const batches = (
  options: GeneratorOptions & { readonly events: number }
): ReadonlyArray<SourceBatch<Event>> => {
  const made: Array<SourceBatch<Event>> = []
  for (let at = 0; at < options.events;) {
    const batch = batchOf(at, Math.min(options.batchSize ?? batchSizeDefault, options.events - at), options)!
    made.push(batch)
    at += batch.values.length
  }
  return made
}

/** One event. Number: from 0. */
export const eventAt = (number: number, options: GeneratorOptions = {}): Event => {
  const { eventsPerSecond = 10_000, outOfOrdernessMs = 0, seed = 0 } = options
  return makeEvent(seed, number, timeOf(seed, number, eventsPerSecond, outOfOrdernessMs), eventsPerSecond)
}

// ---- internal ----

const partition = "0"
const batchSizeDefault = 1_000
const batchSizeMax = 10_000

/** Hot: 0.3 µs an event. */
const batchOf = (from: number, count: number, options: GeneratorOptions): SourceBatch<Event> | undefined => {
  if (count <= 0) return undefined
  const { eventsPerSecond = 10_000, outOfOrdernessMs = 0, seed = 0 } = options
  const values = new Array<Event>(count)
  const times = new Array<number>(count)
  for (let i = 0; i < count; i++) {
    const at = timeOf(seed, from + i, eventsPerSecond, outOfOrdernessMs)
    times[i] = at
    values[i] = makeEvent(seed, from + i, at, eventsPerSecond)
  }
  return { values, times, partition, offset: String(from + count) }
}

/** Delays have a chance of their own: the same seed gives the same events, whether in order or not. */
const timeOf = (seed: number, number: number, eventsPerSecond: number, outOfOrdernessMs: number): number => {
  const at = beginMs + Math.floor((number * 1_000) / eventsPerSecond)
  return outOfOrdernessMs === 0 ? at : at - (mixed(seed ^ delaySalt, number) % (outOfOrdernessMs + 1))
}

const makeEvent = (seed: number, number: number, at: number, eventsPerSecond: number): Event => {
  const place = number % eventsPerRound
  const round = (number - place) / eventsPerRound
  chance = mixed(seed, number)
  if (place < personsPerRound) return makePerson(firstId + round, at)
  if (place < personsPerRound + auctionsPerRound)
    return makeAuction(
      firstId + round * auctionsPerRound + place - personsPerRound,
      firstId + round,
      at,
      eventsPerSecond
    )
  return makeBid(firstId + round * auctionsPerRound + auctionsPerRound - 1, firstId + round, at)
}

const makePerson = (id: number, at: number): Person => {
  const first = draw(firstNames.length)
  const last = draw(lastNames.length)
  const city = draw(cities.length)
  return {
    kind: "person",
    id,
    name: names[first * lastNames.length + last]!,
    email: emails[first * lastNames.length + last]!,
    city: cities[city]!,
    state: states[draw(states.length)]!,
    at
  }
}

const makeAuction = (id: number, newestPerson: number, at: number, eventsPerSecond: number): Auction => {
  const initialBid = drawPrice()
  // The next hundred auctions or so begin while this one lasts.
  const horizonMs = ((activeAuctions * eventsPerRound) / auctionsPerRound / eventsPerSecond) * 2_000
  return {
    kind: "auction",
    id,
    item: items[draw(items.length)]!,
    initialBid,
    reserve: initialBid + drawPrice(),
    expires: at + 1 + draw(Math.max(1, Math.floor(horizonMs))),
    seller: draw(4) > 0 ? hotOf(newestPerson, 0) : recentOf(newestPerson, activePersons),
    category: firstCategory + draw(categories),
    at
  }
}

const makeBid = (newestAuction: number, newestPerson: number, at: number): Bid => ({
  kind: "bid",
  auction: draw(2) > 0 ? hotOf(newestAuction, 0) : recentOf(newestAuction, activeAuctions),
  // Not the hot seller, if there is anybody else.
  bidder:
    draw(4) > 0 ? Math.min(newestPerson, hotOf(newestPerson, 1)) : recentOf(newestPerson, activePersons),
  price: drawPrice(),
  channel: channels[draw(channels.length)]!,
  at
})

const hotOf = (newest: number, place: number): number => newest - ((newest - firstId) % hotEvery) + place

const recentOf = (newest: number, most: number): number => newest - draw(Math.min(most, newest - firstId + 1))

/** 1 to 1 000 000 units in cents; as many of each order of magnitude. */
const drawPrice = (): number => Math.round(Math.pow(10, (draw32() / 4_294_967_296) * 6) * 100)

// Chance: one event is made at a time, and `chance` begins anew with each (mulberry32).

let chance = 0

const draw32 = (): number => {
  chance = (chance + 0x6d2b79f5) | 0
  let t = Math.imul(chance ^ (chance >>> 15), chance | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return (t ^ (t >>> 14)) >>> 0
}

const draw = (below: number): number => draw32() % below

/** 32 bits of a seed and a number, each bit of which depends on all of theirs (MurmurHash3's last step, twice). */
const mixed = (seed: number, number: number): number => {
  const low = number >>> 0
  const high = (number - low) / 4_294_967_296
  return finished(finished(low ^ Math.imul(seed, 0x9e3779b1)) ^ high ^ seed) >>> 0
}

const finished = (bits: number): number => {
  let h = bits
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}

const delaySalt = 0x5bd1e995

// Names, as in the original. Texts are made once; events share them.

const firstNames = [
  "Peter",
  "Paul",
  "Luke",
  "John",
  "Saul",
  "Vicky",
  "Kate",
  "Julie",
  "Sarah",
  "Deiter",
  "Walter"
]
const lastNames = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"]
const cities = [
  "Phoenix",
  "Los Angeles",
  "San Francisco",
  "Boise",
  "Portland",
  "Bend",
  "Redmond",
  "Seattle",
  "Kent",
  "Cheyenne"
]
const states = ["AZ", "CA", "ID", "OR", "WA", "WY"]
const channels = ["Google", "Facebook", "Baidu", "Apple"]
const items = Array.from({ length: 64 }, (_, i) => `item ${i}`)
const names = firstNames.flatMap((first) => lastNames.map((last) => `${first} ${last}`))
const emails = names.map((name) => `${name.toLowerCase().replace(" ", ".")}@example.com`)
