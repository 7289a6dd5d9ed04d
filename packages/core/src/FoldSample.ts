/**
 * A second fold, of a sample of the keys, made while a model is built: the same events, in memory alone, without
 * the rows having gone to the database and back. When both are done they must be equal.
 *
 * The sample is the keys whose hash is divisible by a power of two, which doubles whenever there are too many of
 * them, so that memory is bounded whatever the number of keys.
 */
import * as Schema from "effect/Schema"
import type { RecordedEvent } from "./Event.js"
import type { Fold } from "./Projection.js"
import { hash32 } from "./Vnode.js"

/** Most keys of a sample. */
const sampleKeysMax = 1_000

/** The sample of one build. */
export class FoldSample<Row> {
  private readonly rows = new Map<string, Row | undefined>()
  private divisor = 1

  constructor(private readonly fold: Fold<Row>) {}

  /** Folds events that the model has committed. An event on which the fold throws is left out, with all of its keys. */
  add(events: ReadonlyArray<RecordedEvent>): void {
    for (const event of events) {
      const next: Array<readonly [key: string, row: Row | undefined]> = []
      try {
        const keys = this.fold.key(event)
        if (keys === undefined) continue
        if (typeof keys === "string") this.evolve(keys, event, next)
        // A key that an event names twice is concerned once.
        else for (const key of new Set(keys)) this.evolve(key, event, next)
      } catch {
        continue
      }
      for (const [key, row] of next) this.rows.set(key, row)
      if (this.rows.size > sampleKeysMax) this.thin()
    }
  }

  /** The keys of the sample. */
  get keys(): ReadonlyArray<string> {
    return [...this.rows.keys()]
  }

  /** What is wrong with the stored rows of the sample's keys, or `undefined`. */
  fault(stored: ReadonlyMap<string, unknown>): string | undefined {
    const text = canonical(this.fold.row)
    for (const [key, row] of this.rows) {
      const expected = row === undefined ? "no row" : text(row)
      const actual = stored.has(key) ? text(stored.get(key) as Row) : "no row"
      if (expected !== actual)
        return `the row of key ${JSON.stringify(key)} is ${actual}, and folded again ${expected}`
    }
    return undefined
  }

  private evolve(
    key: string,
    event: RecordedEvent,
    next: Array<readonly [key: string, row: Row | undefined]>
  ): void {
    if (this.divisor > 1 && hash32(key) % this.divisor !== 0) return
    const row = this.rows.get(key) ?? this.fold.initial(key)
    next.push([key, this.fold.evolve(row, event, key)])
  }

  private thin(): void {
    this.divisor *= 2
    for (const key of this.rows.keys()) if (hash32(key) % this.divisor !== 0) this.rows.delete(key)
  }
}

// ---- internal ----

/** A row as a text that is the same for equal rows. */
const canonical = <Row>(schema: Schema.Schema<Row, unknown>): ((row: Row) => string) => {
  const encode = Schema.encodeSync(schema)
  return (row) => JSON.stringify(sorted(encode(row)))
}

const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, one]) => one !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, one]) => [name, sorted(one)])
  )
}
