/**
 * A projection as a value: which events it takes, and what it makes of them. Nothing runs; {@link ProjectionRunner}
 * does that, and the {@link ModelStore} it runs on decides where the model is kept.
 *
 * There are three strengths, and the first that fits is the best one:
 *
 * - {@link fold}: a row for each key, computed from the row before and an event. Rows and checkpoint are one
 *   transaction, of one statement a page: exactly once, and about ten times as fast as a statement an event.
 * - `handlers`: an effect for each event. In a database (`SqlProjection.handlers`) its statements and the
 *   checkpoint are one transaction: exactly once. Elsewhere ({@link handlers}) an event may be handled again
 *   after a crash, but never out of order: at least once.
 * - `batch`: the same for a page of events at a time ({@link batch}, `SqlProjection.batch`).
 *
 * The model belongs to the projection's name and is as of its `version`: raise it whenever the same events
 * would give another model, and the model is rebuilt beside the one that serves.
 */
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { identity } from "effect/Function"
import type * as Schema from "effect/Schema"
import type { RecordedEvent } from "./Event.js"
import type { EventFilter } from "./EventFilter.js"
import { filtersFault } from "./EventFilter.js"
import { invalid } from "./InvalidArgument.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { Lease } from "./Lease.js"
import type { RoutingKey } from "./RoutingKey.js"
import { textFault } from "./Text.js"

/** How often an event can take effect on the model. Derived from the strength: see {@link guaranteeOf}. */
export type Guarantee = "exactly-once" | "at-least-once"

/** What every projection says of itself. */
export interface ProjectionOptions {
  /** The same in every process and for good. 1 to 200 code points without "~". */
  readonly name: string
  /** Of the model. Range: 0 to 2^53 − 1. Default: 1. */
  readonly version?: number | undefined
  /** Of these one must match; default: every event. */
  readonly filters?: ReadonlyArray<EventFilter> | undefined
  readonly routingKey?: RoutingKey | undefined
}

/** A projection. `E` is what its handlers fail with, `R` what they need. */
export interface Projection<E = never, R = never> {
  readonly name: string
  readonly version: number
  readonly filters: ReadonlyArray<EventFilter>
  readonly routingKey: RoutingKey | undefined
  readonly strength: Strength<E, R>
  /** For the compiler alone, which finds no `E` and `R` in a fold. Never set. */
  readonly handlerTypes?: { readonly error: () => E; readonly context: () => R } | undefined
}

/** A projection by {@link fold}. */
export interface FoldProjection<Row> extends Projection {
  readonly strength: Fold<Row>
}

/** What a projection does with events. */
// A projection is handed around without the type of its rows, which only its own functions have to agree on.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Strength<E, R> = Fold<any> | Handlers<E, R> | Batch<E, R>

/** A row for each key. Its functions are pure: they may be called twice for an event, and on a sample of keys once more. */
export interface Fold<Row> {
  readonly _tag: "Fold"
  /** The form of a row. */
  readonly row: Schema.Schema<Row, unknown>
  /** The rows that an event concerns: none, one, or several. A key has 1 to 255 code points. */
  readonly key: (event: RecordedEvent) => string | ReadonlyArray<string> | undefined
  /** A row before its first event. */
  readonly initial: (key: string) => Row
  /** The row after an event. `undefined` removes it. Must not change `row`. */
  readonly evolve: (row: Row, event: RecordedEvent, key: string) => Row | undefined
  /** Where a SQL database keeps the rows. */
  readonly table: string
  /** A column for each field of a struct, or the whole row in one column of JSON. */
  readonly storage: "columns" | "json"
}

/** An effect for each event. */
export interface Handlers<E, R> {
  readonly _tag: "Handlers"
  readonly place: ModelPlace
  readonly handlerOf: (event: RecordedEvent) => ProjectionHandler<E, R> | undefined
  readonly tables: ModelTables
}

/** An effect for each page. */
export interface Batch<E, R> {
  readonly _tag: "Batch"
  readonly place: ModelPlace
  readonly onBatch: (
    events: ReadonlyArray<RecordedEvent>,
    context: ProjectionContext
  ) => Effect.Effect<unknown, E, R>
  readonly tables: ModelTables
}

/**
 * Where handlers keep their model.
 *
 * - `sql`: in the database of the model store; they need its `SqlClient`, and nothing else.
 * - `memory`: in this process, gone with it. Refused where checkpoints are durable: after a restart the model
 *   would be empty and the checkpoint not.
 * - `elsewhere`: in a system of its own.
 */
export type ModelPlace = "sql" | "memory" | "elsewhere"

/** The tables of a model in a SQL database: for each the effect that makes it under the name it is given. */
export type ModelTables = Readonly<Record<string, (table: string) => Effect.Effect<unknown, unknown>>>

/** Does something with an event, at once or as an Effect. What it throws counts as its failure. */
export type ProjectionHandler<E = never, R = never> = (
  event: RecordedEvent,
  context: ProjectionContext
) => Effect.Effect<unknown, E, R> | void

/** What handlers know beside the event. */
export interface ProjectionContext {
  /** The lease of whoever runs the projection; none inside of an append. */
  readonly lease: Lease | undefined
  /**
   * The name that one of the declared tables has here: its own, or another one while the model is built beside
   * the one that serves. Throws for a table that was not declared.
   */
  readonly table: (name: string) => string
}

/**
 * How often an event can take effect: once where model and checkpoint are one transaction, which is so for folds
 * and for handlers in the model store's database.
 */
export const guaranteeOf = (projection: { readonly strength: Strength<unknown, unknown> }): Guarantee => {
  const { strength } = projection
  return strength._tag === "Fold" || strength.place === "sql" ? "exactly-once" : "at-least-once"
}

/** What {@link fold} needs. */
export interface FoldOptions<Row, Encoded> extends ProjectionOptions {
  readonly row: Schema.Schema<Row, Encoded>
  readonly key: Fold<Row>["key"]
  readonly initial: Fold<Row>["initial"]
  readonly evolve: Fold<Row>["evolve"]
  /** Lower-case letters, digits and "_", 1 to 40, no digit first. Default: the name, with "_" for everything else. */
  readonly table?: string | undefined
  /** Default: `columns` for a struct whose fields are all texts, numbers, booleans or null of them; else `json`. */
  readonly storage?: "columns" | "json" | undefined
}

/**
 * A row for each key. What is wrong with the options is told when it is run.
 *
 * @example
 * ```ts
 * const balances = Projection.fold({
 *   name: "balances",
 *   filters: [{ category: "account" }],
 *   row: Schema.Struct({ balanceCents: Schema.Int }),
 *   key: (event) => event.streamId,
 *   initial: () => ({ balanceCents: 0 }),
 *   evolve: (row, event) => ({ balanceCents: row.balanceCents + amountOf(event) })
 * })
 * ```
 */
export const fold = <Row, Encoded>(options: FoldOptions<Row, Encoded>): FoldProjection<Row> => ({
  ...common(options),
  strength: {
    _tag: "Fold",
    row: options.row as Schema.Schema<Row, unknown>,
    key: options.key,
    initial: options.initial,
    evolve: options.evolve,
    table: options.table ?? tableOf(options.name),
    storage: options.storage ?? "columns"
  }
})

/** What decodes events: an {@link EventCodec}, or a category of one. */
export interface FoldCodec<Fact> {
  readonly handles: (event: RecordedEvent) => boolean
  readonly filters: () => ReadonlyArray<EventFilter>
  readonly decodeEither: (event: RecordedEvent) => Either.Either<Fact, unknown>
}

/** What {@link foldOf} needs: as {@link fold}, of decoded events. */
export interface FoldOfOptions<Fact, Row, Encoded> extends Omit<FoldOptions<Row, Encoded>, "key" | "evolve"> {
  readonly key: (fact: Fact) => string | ReadonlyArray<string> | undefined
  readonly evolve: (row: Row, fact: Fact, key: string) => Row | undefined
}

/**
 * A {@link fold} of typed events, by default of all that the codec knows. Each is decoded once; those that it does not
 * know are passed over, and one that does not have its form fails, with the error that names what is wrong.
 *
 * @example
 * ```ts
 * const balances = Projection.foldOf(Account, {
 *   name: "balances",
 *   row: Schema.Struct({ balanceCents: Schema.Int }),
 *   key: ({ event }) => event.streamId,
 *   initial: () => ({ balanceCents: 0 }),
 *   evolve: (row, fact) =>
 *     fact.type === "Deposited" ? { balanceCents: row.balanceCents + fact.data.amountCents } : row
 * })
 * ```
 */
export const foldOf = <Fact, Row, Encoded>(
  codec: FoldCodec<Fact>,
  options: FoldOfOptions<Fact, Row, Encoded>
): FoldProjection<Row> => {
  // The keys of a page are looked at before its rows: without it each event would be decoded twice.
  const facts = new WeakMap<RecordedEvent, { readonly fact: Fact }>()
  const factOf = (event: RecordedEvent): Fact => {
    const known = facts.get(event)
    if (known !== undefined) return known.fact
    const fact = Either.getOrThrowWith(codec.decodeEither(event), identity)
    facts.set(event, { fact })
    return fact
  }
  return fold({
    ...options,
    filters: options.filters ?? codec.filters(),
    key: (event) => (codec.handles(event) ? options.key(factOf(event)) : undefined),
    evolve: (row, event, key) => options.evolve(row, factOf(event), key)
  })
}

/** What {@link handlers} needs. */
export interface HandlersOptions<E, R> extends ProjectionOptions {
  /** By type, under the name that is stored in the log. */
  readonly handlers?: Readonly<Record<string, ProjectionHandler<E, R>>> | undefined
  /** For events that none of `handlers` takes. Without it they are passed over. */
  readonly onEvent?: ProjectionHandler<E, R> | undefined
  /** Default: `elsewhere`. */
  readonly place?: "memory" | "elsewhere" | undefined
}

/**
 * An effect for each event, on a model outside of the model store: at least once. After a crash the events since
 * the last page are handled again, so let the effect of an event be the same when it comes twice.
 */
export const handlers = <E = never, R = never>(options: HandlersOptions<E, R>): Projection<E, R> => ({
  ...common(options),
  strength: {
    _tag: "Handlers",
    place: options.place ?? "elsewhere",
    handlerOf: chooseHandler(options.handlers, options.onEvent),
    tables: {}
  }
})

/** What {@link batch} needs. */
export interface BatchOptions<E, R> extends ProjectionOptions {
  readonly onBatch: Batch<E, R>["onBatch"]
  /** Default: `elsewhere`. */
  readonly place?: "memory" | "elsewhere" | undefined
}

/** The same a page of events at a time. */
export const batch = <E = never, R = never>(options: BatchOptions<E, R>): Projection<E, R> => ({
  ...common(options),
  strength: { _tag: "Batch", place: options.place ?? "elsewhere", onBatch: options.onBatch, tables: {} }
})

/** What is wrong with a projection, if anything. */
export const projectionFault = (projection: Projection<unknown, unknown>): InvalidArgument | undefined => {
  const { filters, name, strength, version } = projection
  const fault = textFault(name, projectionNameMax) ?? (name.includes("~") ? "contains ~" : undefined)
  if (fault !== undefined)
    return invalid("name", `1 to ${projectionNameMax} characters without ~; this one ${fault}`, name)
  if (!(Number.isSafeInteger(version) && version >= 0))
    return invalid("version", "an integer of 0 to 2^53 - 1", version)
  const tables = strength._tag === "Fold" ? [strength.table] : Object.keys(strength.tables)
  const badTable = tables.find((table) => !tablePattern.test(table))
  if (badTable !== undefined)
    return invalid("table", "lower-case letters, digits and _, 1 to 40 of them, no digit first", badTable)
  if (strength._tag === "Fold" && strength.storage !== "columns" && strength.storage !== "json")
    return invalid("storage", `"columns" or "json"`, strength.storage)
  return filtersFault("filters", filters)
}

/** Longest name of a projection: the checkpoint's longest, less what the parts of a model add. Unit: code points. */
export const projectionNameMax = 200

/** Names of tables that every database takes as they are, with room for what a shadow model adds. */
export const tablePattern = /^[a-z_][a-z0-9_]{0,39}$/

/** The common fields with their defaults. */
export const common = (options: ProjectionOptions): Omit<Projection, "strength"> => ({
  name: options.name,
  version: options.version ?? 1,
  filters: options.filters ?? [],
  routingKey: options.routingKey
})

/** The choice among handlers. */
export const chooseHandler = <E, R>(
  byType: Readonly<Record<string, ProjectionHandler<E, R>>> | undefined,
  onEvent: ProjectionHandler<E, R> | undefined
): ((event: RecordedEvent) => ProjectionHandler<E, R> | undefined) => {
  const types = new Map(Object.entries(byType ?? {}))
  return ({ type }) => types.get(type) ?? onEvent
}

/**
 * Whether every event of the streams that it takes is handed to it, from the first on: then their versions must
 * follow one another. A filter by type or by tag leaves some out.
 */
export const takesWholeStreams = ({ filters }: Pick<Projection, "filters">): boolean =>
  filters.every(({ tags, type }) => type === undefined && tags === undefined)

// ---- internal ----

const tableOf = (name: string): string =>
  typeof name === "string"
    ? name
        .toLowerCase()
        .replace(/[^a-z0-9_]/g, "_")
        .replace(/^(?=[0-9])/, "_")
        .slice(0, 40)
    : ""
