/**
 * The queries as plain loops: what one would write for exactly this query, over events that are in memory in the order
 * of their time, with no framework, no checkpoints and nothing to be late. It is what the pipelines are compared with,
 * for their results and for their speed, so each is as fast as it is plain: hopping windows count in panes of one hop,
 * joins look up maps once, windows close when the first event behind them comes.
 *
 * A query takes events in batches and gives rows in batches; those of one batch at once.
 */
import type { Auction, Event, Person } from "./Event.js"
import {
  euros,
  everyAuction,
  highestWindowMs,
  hotHopMs,
  hotWindowMs,
  isLocal,
  localCategory,
  newUsersWindowMs
} from "./Queries.js"
import type {
  AuctionPrice,
  EuroBid,
  HighestBid,
  HotAuction,
  LocalItem,
  NewSeller,
  QueryName
} from "./Queries.js"

/** Events, in the order of their time. */
export type Batches = ReadonlyArray<ReadonlyArray<Event>>

/** Takes rows. Never none. */
export type Write<Row> = (rows: ReadonlyArray<Row>) => void

export const q1 = (batches: Batches, write: Write<EuroBid>): void => {
  for (const events of batches) {
    const rows: Array<EuroBid> = []
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!
      if (event.kind !== "bid") continue
      rows.push({ auction: event.auction, bidder: event.bidder, price: event.price * euros, at: event.at })
    }
    if (rows.length > 0) write(rows)
  }
}

export const q2 = (batches: Batches, write: Write<AuctionPrice>): void => {
  for (const events of batches) {
    const rows: Array<AuctionPrice> = []
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!
      if (event.kind === "bid" && event.auction % everyAuction === 0)
        rows.push({ auction: event.auction, price: event.price })
    }
    if (rows.length > 0) write(rows)
  }
}

export const q3 = (batches: Batches, write: Write<LocalItem>): void => {
  const locals = new Map<number, Person>()
  for (const events of batches) {
    const rows: Array<LocalItem> = []
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!
      if (event.kind === "person") {
        if (isLocal(event.state)) locals.set(event.id, event)
      } else if (event.kind === "auction" && event.category === localCategory) {
        const seller = locals.get(event.seller)
        if (seller !== undefined)
          rows.push({ name: seller.name, city: seller.city, state: seller.state, auction: event.id })
      }
    }
    if (rows.length > 0) write(rows)
  }
}

/** Bids are counted per hop; a window is the sum of its hops, kept up to date by adding one and taking one away. */
export const q5 = (batches: Batches, write: Write<HotAuction>): void => {
  const hops = hotWindowMs / hotHopMs
  const counts = new Map<number, number>()
  let pane = new Map<number, number>()
  let panes: Array<Map<number, number>> = []
  let end = -Infinity
  let rows: Array<HotAuction> = []
  const close = (): void => {
    for (const [auction, bids] of pane) counts.set(auction, (counts.get(auction) ?? 0) + bids)
    panes.push(pane)
    pane = new Map()
    if (panes.length > hops) {
      for (const [auction, bids] of panes.shift()!) {
        const left = counts.get(auction)! - bids
        if (left === 0) counts.delete(auction)
        else counts.set(auction, left)
      }
    }
    let most = 0
    for (const bids of counts.values()) if (bids > most) most = bids
    if (most > 0) for (const [auction, bids] of counts) if (bids === most) rows.push({ end, auction, bids })
    end += hotHopMs
  }
  for (const events of batches) {
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!
      if (event.kind !== "bid") continue
      const { at, auction } = event
      if (at >= end) {
        if (end === -Infinity) end = at - (at % hotHopMs) + hotHopMs
        // A silence longer than a window leaves nothing to count.
        while (at >= end && (counts.size > 0 || pane.size > 0)) close()
        if (at >= end) {
          panes = []
          end = at - (at % hotHopMs) + hotHopMs
        }
      }
      pane.set(auction, (pane.get(auction) ?? 0) + 1)
    }
    if (rows.length > 0) write(rows)
    rows = []
  }
  for (let i = 0; i < hops && (counts.size > 0 || pane.size > 0); i++) close()
  if (rows.length > 0) write(rows)
}

export const q7 = (batches: Batches, write: Write<HighestBid>): void => {
  let end = -Infinity
  let price = -1
  let rows: Array<HighestBid> = []
  for (const events of batches) {
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!
      if (event.kind !== "bid") continue
      if (event.at >= end) {
        if (rows.length > 0) write(rows)
        rows = []
        price = -1
        end = event.at - (event.at % highestWindowMs) + highestWindowMs
      }
      if (event.price < price) continue
      if (event.price > price) rows = []
      price = event.price
      rows.push({ end, auction: event.auction, bidder: event.bidder, price, at: event.at })
    }
  }
  if (rows.length > 0) write(rows)
}

export const q8 = (batches: Batches, write: Write<NewSeller>): void => {
  const persons = new Map<number, Person>()
  let auctions: Array<Auction> = []
  let end = -Infinity
  const close = (): void => {
    const rows: Array<NewSeller> = []
    const start = end - newUsersWindowMs
    for (const { reserve, seller } of auctions) {
      const person = persons.get(seller)
      if (person !== undefined) rows.push({ start, person: person.id, name: person.name, reserve })
    }
    persons.clear()
    auctions = []
    if (rows.length > 0) write(rows)
  }
  for (const events of batches) {
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!
      if (event.kind === "bid") continue
      if (event.at >= end) {
        close()
        end = event.at - (event.at % newUsersWindowMs) + newUsersWindowMs
      }
      if (event.kind === "person") persons.set(event.id, event)
      else auctions.push(event)
    }
  }
  close()
}

/** All of them, by name. */
export const byHand: {
  readonly [name in QueryName]: (batches: Batches, write: Write<object>) => void
} = { q1, q2, q3, q5, q7, q8 }

/** Events in the order of their time; those of one time as they came. */
export const inOrder = (batches: Batches): Batches => {
  const sorted = batches.flat().sort((a, b) => a.at - b.at)
  const size = batches[0]?.length ?? 1
  return Array.from({ length: Math.ceil(sorted.length / size) }, (_, i) =>
    sorted.slice(i * size, (i + 1) * size)
  )
}
