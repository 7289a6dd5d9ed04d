/**
 * What a page of events makes of the rows of a fold, in memory: plain loops between the statement that loads the
 * rows and the one that writes them. A row that many events of the page concern is decoded once and encoded once;
 * one that comes out as it went in is not written.
 */
import { HandlerError } from "@millrace/core/EngineError"
import type { RecordedEvent } from "@millrace/core/Event"
import { invalid } from "@millrace/core/InvalidArgument"
import type { Fold } from "@millrace/core/Projection"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { textFault } from "@millrace/core/Text"
import * as Either from "effect/Either"
import type { FoldChange, StoredRow } from "./FoldStatements.js"
import type { FoldTable } from "./FoldTable.js"

/** Longest key of a row. Unit: code points. */
export const keyCodePointsMax = 255

/** The rows that a page concerns. */
export interface PageKeys {
  /** For each event. */
  readonly byEvent: ReadonlyArray<ReadonlyArray<string>>
  /** Each once. */
  readonly all: ReadonlyArray<string>
}

/** Asks the fold for the keys of each event. One that an event names twice is concerned once. */
export const keysOf = (
  fold: Fold<unknown>,
  events: ReadonlyArray<RecordedEvent>
): Either.Either<PageKeys, HandlerError> => {
  const all = new Set<string>()
  const byEvent: Array<ReadonlyArray<string>> = []
  for (const event of events) {
    try {
      const given = fold.key(event)
      const keys = given === undefined ? [] : typeof given === "string" ? [given] : [...new Set(given)]
      for (const key of keys) {
        if (all.has(key)) continue
        const fault = textFault(key, keyCodePointsMax)
        if (fault !== undefined)
          throw invalid("key", `1 to ${keyCodePointsMax} characters; this one ${fault}`, key)
        all.add(key)
      }
      byEvent.push(keys)
    } catch (cause) {
      return Either.left(handlerError(event, cause))
    }
  }
  return Either.right({ byEvent, all: [...all] })
}

/** A row while the page is folded. */
interface Folded {
  /** `undefined`: there is none now. */
  row: unknown
  /** As it was loaded; `undefined` where it was not. */
  readonly loaded: unknown
  /** The last event that concerned it. */
  event: RecordedEvent
}

/** Folds the events into the rows that were loaded. */
export const foldPage = (
  fold: Fold<unknown>,
  table: FoldTable,
  events: ReadonlyArray<RecordedEvent>,
  { byEvent }: PageKeys,
  loaded: ReadonlyArray<StoredRow>
): Either.Either<FoldChange, HandlerError | StoreUnavailable> => {
  const stored = new Map<string, StoredRow>()
  for (const row of loaded) stored.set(row.key, row)
  const folded = new Map<string, Folded>()
  for (let at = 0; at < events.length; at++) {
    const event = events[at]!
    for (const key of byEvent[at]!) {
      let entry = folded.get(key)
      if (entry === undefined) {
        const found = stored.get(key)
        let row: unknown
        try {
          row = found === undefined ? undefined : table.decode(found)
        } catch (cause) {
          return Either.left(broken("apply", key, cause))
        }
        entry = { row, loaded: row, event }
        folded.set(key, entry)
      }
      try {
        entry.row = fold.evolve(entry.row === undefined ? fold.initial(key) : entry.row, event, key)
      } catch (cause) {
        return Either.left(handlerError(event, cause))
      }
      entry.event = event
    }
  }
  return changeOf(table, folded)
}

/** A stored row is not what the projection's schema says: its form changed, and its version did not. */
export const broken = (operation: string, key: string, cause: unknown): StoreUnavailable =>
  new StoreUnavailable({
    operation,
    transient: false,
    cause: new Error(`the row of key ${JSON.stringify(key)} does not have the form of the projection`, {
      cause
    })
  })

/** Names the event on which something failed. */
export const handlerError = ({ position, streamId, type }: RecordedEvent, cause: unknown): HandlerError =>
  new HandlerError({ eventType: type, streamId, position, cause })

// ---- internal ----

const changeOf = (
  table: FoldTable,
  folded: ReadonlyMap<string, Folded>
): Either.Either<FoldChange, HandlerError> => {
  const changed = { keys: new Array<string>(), values: new Array<ReadonlyArray<unknown>>() }
  const added = { keys: new Array<string>(), values: new Array<ReadonlyArray<unknown>>() }
  const removed: Array<string> = []
  for (const [key, { event, loaded, row }] of folded) {
    if (row === loaded) continue
    if (row === undefined) {
      removed.push(key)
      continue
    }
    const rows = loaded === undefined ? added : changed
    try {
      rows.values.push(table.encode(row))
    } catch (cause) {
      return Either.left(handlerError(event, cause))
    }
    rows.keys.push(key)
  }
  return Either.right({ changed, added, removed })
}
