/**
 * What happens at the auction house of the Nexmark benchmark: people register, put items up for auction, and bid.
 * Ids count up from 1 000 for people and for auctions. Prices in cents, times in milliseconds since 1970.
 */
import * as Schema from "effect/Schema"

/** Somebody has registered. */
export const Person = Schema.Struct({
  kind: Schema.Literal("person"),
  id: Schema.Int,
  name: Schema.String,
  email: Schema.String,
  city: Schema.String,
  /** Two letters. */
  state: Schema.String,
  at: Schema.Int
})
export type Person = typeof Person.Type

/** An item was put up. */
export const Auction = Schema.Struct({
  kind: Schema.Literal("auction"),
  id: Schema.Int,
  item: Schema.String,
  initialBid: Schema.Int,
  reserve: Schema.Int,
  expires: Schema.Int,
  /** Id of a person. */
  seller: Schema.Int,
  /** 10 to 14. */
  category: Schema.Int,
  at: Schema.Int
})
export type Auction = typeof Auction.Type

/** Somebody bids. */
export const Bid = Schema.Struct({
  kind: Schema.Literal("bid"),
  /** Id of an auction. */
  auction: Schema.Int,
  /** Id of a person. */
  bidder: Schema.Int,
  price: Schema.Int,
  channel: Schema.String,
  at: Schema.Int
})
export type Bid = typeof Bid.Type

export type Event = Person | Auction | Bid

export const isPerson = (event: Event): event is Person => event.kind === "person"
export const isAuction = (event: Event): event is Auction => event.kind === "auction"
export const isBid = (event: Event): event is Bid => event.kind === "bid"
