/**
 * Six queries of the Nexmark benchmark, each as a flow over the generator's events.
 *
 *     q1  bids in euros                                   map
 *     q2  bids on every 123rd auction                     filter
 *     q3  who sells in category 10 in OR, ID and CA       auctions joined with the table of people
 *     q5  the auctions with most bids                     hopping windows, then the maximum of each window
 *     q7  the highest bids                                tumbling windows
 *     q8  who registered and sold within ten seconds      two flows joined in tumbling windows
 *
 * Where several are best, all of them are results. The same in plain loops is in `ByHand.ts`.
 */
import type { Source } from "@millrace/core/Source"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import type { Flow } from "@millrace/pipeline/Flow"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as Watermarks from "@millrace/pipeline/Watermarks"
import * as Windows from "@millrace/pipeline/Windows"
import * as Schema from "effect/Schema"
import { Auction, Bid, isAuction, isBid, isPerson, Person } from "./Event.js"
import type { Event } from "./Event.js"

/** The names of the queries. */
export const queryNames = ["q1", "q2", "q3", "q5", "q7", "q8"] as const
export type QueryName = (typeof queryNames)[number]

/** Events with their times, which may come out of order by so much. Unit: milliseconds. */
export const eventsOf = <E, R>(source: Source<Event, E, R>, outOfOrdernessMs = 0): Flow<Event, E, R> =>
  Pipeline.from(source, { watermarks: Watermarks.bounded(outOfOrdernessMs) })

// --- q1 ---

/** Euros for a dollar. */
export const euros = 0.908

export interface EuroBid {
  readonly auction: number
  readonly bidder: number
  /** Unit: euro cents. */
  readonly price: number
  readonly at: number
}

/** Currency conversion: every bid, in euros. */
export const q1 = <E, R>(events: Flow<Event, E, R>): Flow<EuroBid, E, R> =>
  events.pipe(
    Pipeline.filter(isBid),
    Pipeline.map(({ at, auction, bidder, price }) => ({ auction, bidder, price: price * euros, at }))
  )

// --- q2 ---

export const everyAuction = 123

export interface AuctionPrice {
  readonly auction: number
  readonly price: number
}

/** Selection: bids on some of the auctions. */
export const q2 = <E, R>(events: Flow<Event, E, R>): Flow<AuctionPrice, E, R> =>
  events.pipe(
    Pipeline.filter((event): event is Bid => event.kind === "bid" && event.auction % everyAuction === 0),
    Pipeline.map(({ auction, price }) => ({ auction, price }))
  )

// --- q3 ---

export const localCategory = 10

export const isLocal = (state: string): boolean => state === "OR" || state === "ID" || state === "CA"

export interface LocalItem {
  readonly name: string
  readonly city: string
  readonly state: string
  readonly auction: number
}

/** Local item suggestion: auctions of one category whose seller is known, at the time, to live in one of three states. */
export const q3 = <E, R>(events: Flow<Event, E, R>): Flow<LocalItem, E, R> =>
  Pipeline.joinTable(
    events.pipe(
      Pipeline.filter(
        (event): event is Auction => event.kind === "auction" && event.category === localCategory
      ),
      Pipeline.keyBy(({ seller }) => seller)
    ),
    events.pipe(
      Pipeline.filter((event): event is Person => event.kind === "person" && isLocal(event.state)),
      Pipeline.keyBy(({ id }) => id)
    ),
    {
      stream: Auction,
      table: Person,
      combine: ({ id }, { city, name, state }): LocalItem => ({ name, city, state, auction: id })
    }
  )

// --- q5 ---

export const hotWindowMs = 10_000
export const hotHopMs = 2_000

export interface HotAuction {
  /** End of the window. */
  readonly end: number
  readonly auction: number
  readonly bids: number
}

/** Hot items: the auctions with most bids of the last ten seconds, every two seconds. */
export const q5 = <E, R>(events: Flow<Event, E, R>): Flow<HotAuction, E, R> =>
  events.pipe(
    Pipeline.filter(isBid),
    Pipeline.keyBy(({ auction }) => auction),
    Pipeline.window(Windows.hopping(hotWindowMs, hotHopMs)),
    Pipeline.aggregate(countOfBids, { id: "bids" }),
    Pipeline.map(({ key, value, window }): HotAuction => ({ end: window.end, auction: key, bids: value })),
    Pipeline.keyBy(({ end }) => end),
    // The count of a window has its last millisecond as time, so that one hop has those of one window.
    Pipeline.window(Windows.tumbling(hotHopMs)),
    Pipeline.aggregate(
      allBest(HotAuctionState, ({ bids }) => bids),
      { id: "hottest" }
    ),
    Pipeline.flatMap(({ value }) => value)
  )

// --- q7 ---

export const highestWindowMs = 10_000

export interface HighestBid {
  readonly end: number
  readonly auction: number
  readonly bidder: number
  readonly price: number
  readonly at: number
}

/** Highest bid: of every ten seconds. */
export const q7 = <E, R>(events: Flow<Event, E, R>): Flow<HighestBid, E, R> =>
  events.pipe(
    Pipeline.filter(isBid),
    Pipeline.keyBy(() => 0),
    Pipeline.window(Windows.tumbling(highestWindowMs)),
    Pipeline.aggregate(
      allBest(Bid, ({ price }) => price),
      { id: "highest" }
    ),
    Pipeline.flatMap(({ value, window: { end } }) =>
      value.map(({ at, auction, bidder, price }): HighestBid => ({ end, auction, bidder, price, at }))
    )
  )

// --- q8 ---

export const newUsersWindowMs = 10_000

export interface NewSeller {
  readonly start: number
  readonly person: number
  readonly name: string
  readonly reserve: number
}

/** Monitor new users: auctions whose seller registered in the same ten seconds. */
export const q8 = <E, R>(events: Flow<Event, E, R>): Flow<NewSeller, E, R> =>
  Pipeline.joinWindow(
    events.pipe(
      Pipeline.filter(isPerson),
      Pipeline.keyBy(({ id }) => id)
    ),
    events.pipe(
      Pipeline.filter(isAuction),
      Pipeline.keyBy(({ seller }) => seller)
    ),
    {
      window: Windows.tumbling(newUsersWindowMs),
      left: Person,
      right: Auction,
      combine: ({ id, name }, { reserve }, { window }): NewSeller => ({
        start: window.start,
        person: id,
        name,
        reserve
      })
    }
  )

/** All of them, by name. */
export const queries: {
  readonly [name in QueryName]: <E, R>(events: Flow<Event, E, R>) => Flow<object, E, R>
} = { q1, q2, q3, q5, q7, q8 }

// ---- internal ----

const countOfBids: Aggregates.Aggregate<Bid, number, number> = Aggregates.count()

const HotAuctionState = Schema.Struct({ end: Schema.Int, auction: Schema.Int, bids: Schema.Int })

/** All values of which a number is greatest, in the order in which they came. */
function allBest<A, I>(
  state: Schema.Schema<A, I>,
  of: (value: A) => number
): Aggregates.Aggregate<A, Array<A>, ReadonlyArray<A>> {
  return Aggregates.make({
    state: Schema.mutable(Schema.Array(state)),
    initial: (): Array<A> => [],
    add: (best, value: A) => {
      const first = best[0]
      if (first === undefined || of(value) > of(first)) return [value]
      if (of(value) === of(first)) best.push(value)
      return best
    },
    merge: (left, right) => {
      if (left.length === 0 || right.length === 0) return left.length === 0 ? right : left
      const difference = of(left[0]!) - of(right[0]!)
      return difference === 0 ? [...left, ...right] : difference > 0 ? left : right
    },
    result: (best) => best
  })
}
