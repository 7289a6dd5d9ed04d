/**
 * Types for events. The log keeps JSON; a codec says which types of events a category of streams has, which
 * Schema each one's data follows, and how older forms become the present one. What is encoded by a codec can
 * be decoded by it: data that JSON would bend (NaN, a Date, `undefined` in a list) is refused before it is
 * stored.
 *
 *     stored type ──alias──▶ type;   stored data ──upcaster 1──▶ ──upcaster 2──▶ … ──Schema──▶ data
 *
 * The number of an event's form, its *schema version*, is kept in `metadata.schemaVersion` and left out when
 * it is 1. Upcasters run one after another from the stored version to the present one; then the Schema
 * decodes. Whatever goes wrong, also inside an upcaster, is a `SerializationError` that names the event and
 * the path in its data; nothing here throws once the codec is built.
 *
 * Decoding is lazy: `decodeAll(events, types)` touches only the types that somebody handles. An event whose
 * data was erased decodes like any other: the replacement must fit the form of the event or the present one,
 * so erase with a value that does, or look at `erased` before decoding.
 *
 * @example
 * ```ts
 * const Account = EventCodec.category("account", {
 *   Opened: Schema.Struct({ owner: Schema.String }),
 *   Deposited: EventCodec.versioned({
 *     version: 2,
 *     schema: Schema.Struct({ amountCents: Schema.Int }),
 *     upcasters: { 1: (old: { amount: number }) => ({ amountCents: Math.round(old.amount * 100) }) },
 *     aliases: ["MoneyDeposited"]
 *   })
 * })
 *
 * const program = Effect.gen(function* () {
 *   const store = yield* EventStore
 *   const deposited = yield* Account.encode("Deposited", { amountCents: 500 })
 *   yield* store.write({ streamId: Account.streamId("42"), events: [deposited] })
 *   const page = yield* store.read({ filters: Account.filters() })
 *   const events = yield* Account.decodeAll(Page.nodes(page))
 *   //    ^ ReadonlyArray<{ type: "Opened", data: { owner: string }, … } | { type: "Deposited", … }>
 * })
 * ```
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { SerializationError } from "./EngineError.js"
import type { NewEvent, RecordedEvent } from "./Event.js"
import type { CompiledType, DataOf, Definition, EncodeOptions, TypedEvent } from "./EventDefinition.js"
import { compile, decodeEvent, encodeEvent, failure } from "./EventDefinition.js"
import type { EventFilter } from "./EventFilter.js"
import { invalid } from "./InvalidArgument.js"
import type { StreamId } from "./StreamId.js"
import { categoryOf, streamIdCodePointsMax, streamIdOf } from "./StreamId.js"
import { textFault } from "./Text.js"

export { versioned } from "./EventDefinition.js"
export type { DataOf, Definition, EncodeOptions, TypedEvent, Upcaster, Versioned } from "./EventDefinition.js"

/** The union of a category's events. */
export type EventsOf<Name extends string, Definitions extends Record<string, Definition>> = {
  [Type in keyof Definitions & string]: TypedEvent<Name, Type, DataOf<Definitions[Type]>>
}[keyof Definitions & string]

/** Decodes the events of one or several categories. */
export interface EventCodec<Event extends TypedEvent> {
  /** The union of decoded events, for types alone: `typeof Account.Event`. Has no value. */
  readonly Event: Event

  /** Whether {@link decode} knows the event's category and type, aliases included. Looks at nothing else. */
  readonly handles: (event: Pick<RecordedEvent, "streamId" | "type">) => boolean

  /**
   * Filters that find the events of these types, under every name they ever had; without `types`, all events
   * of the categories. For queries, conditions and consumers. A type that the codec does not know finds
   * nothing.
   *
   * @example
   * ```ts
   * Account.filters(["Deposited"])
   * // [{ category: "account", type: "Deposited" }, { category: "account", type: "MoneyDeposited" }]
   * ```
   */
  readonly filters: (types?: ReadonlyArray<Event["type"]>) => ReadonlyArray<EventFilter>

  /**
   * Decodes one event. Fails with `SerializationError`: an unknown category or type, a version newer than
   * this code, an upcaster that throws, data that does not fit the Schema. Mend the code, or the row; the
   * same event fails the same way again.
   */
  readonly decode: (event: RecordedEvent) => Effect.Effect<Event, SerializationError>

  /** {@link decode} for loops: synchronous, the error as a value. */
  readonly decodeEither: (event: RecordedEvent) => Either.Either<Event, SerializationError>

  /**
   * Decodes a page, in order. With `types`, only events of these types (aliases included) are decoded and
   * given, and all others are passed over unread; without, every event must be one that the codec knows.
   * Fails with the `SerializationError` of the first event that does not decode; `position` tells which, and
   * {@link decodeEither} decodes those around it.
   *
   * One Effect a page: for hot paths.
   */
  readonly decodeAll: <Type extends Event["type"] = Event["type"]>(
    events: ReadonlyArray<RecordedEvent>,
    types?: ReadonlyArray<Type>
  ) => Effect.Effect<ReadonlyArray<Extract<Event, { readonly type: Type }>>, SerializationError>
}

/** The events of one category of streams: a codec that also encodes. */
export interface Category<
  Name extends string,
  Definitions extends Record<string, Definition>
> extends EventCodec<EventsOf<Name, Definitions>> {
  readonly name: Name
  /** The present names of the types. */
  readonly types: ReadonlyArray<keyof Definitions & string>
  readonly entries: Entries

  /**
   * The stream of an id in this category. Throws a `ParseError` when the whole is not a stream name (empty,
   * too long, NUL): for ids that come from outside use `parseStreamId`.
   */
  readonly streamId: (id: string) => StreamId

  /**
   * An event for `store.write`, its data checked and in stored form. Fails with `SerializationError`
   * (`version` and `position` 0) when the data does not fit the Schema, or its encoded form is not JSON.
   *
   * @example
   * ```ts
   * yield* Account.encode("Deposited", { amountCents: 5 }, { tags: ["counter:7"] })
   * ```
   */
  readonly encode: <Type extends keyof Definitions & string>(
    type: Type,
    data: DataOf<Definitions[Type]>,
    options?: EncodeOptions
  ) => Effect.Effect<NewEvent, SerializationError>

  /** {@link encode} for loops: synchronous, the error as a value. */
  readonly encodeEither: <Type extends keyof Definitions & string>(
    type: Type,
    data: DataOf<Definitions[Type]>,
    options?: EncodeOptions
  ) => Either.Either<NewEvent, SerializationError>
}

/** Any category, for {@link make}. */
export interface AnyCategory {
  readonly Event: TypedEvent
  readonly name: string
  readonly entries: Entries
}

/** The types of a category by every name they ever had. Internal to codecs. */
export type Entries = ReadonlyMap<string, CompiledType>

// ---- constructors ----

/**
 * The event types of one category of streams.
 *
 * Built once, at the top of a module. Throws an `InvalidArgument` that names the field when the category or a
 * type has no valid name (1 to 255 characters, no NUL; a category has no "/"), a name stands for two types,
 * or an upcaster is missing or too many.
 */
export const category = <const Name extends string, Definitions extends Record<string, Definition>>(
  name: Name,
  definitions: Definitions
): Category<Name, Definitions> => {
  const nameFault = textFault(name, streamIdCodePointsMax) ?? (name.includes("/") ? "with a '/'" : undefined)
  if (nameFault !== undefined) throw invalid("category", `a name without "/"; this one ${nameFault}`, name)

  const entries = new Map<string, CompiledType>()
  const types = Object.keys(definitions)
  for (const type of types) {
    const entry = compile(name, type, definitions[type]!)
    for (const stored of entry.names) {
      const other = entries.get(stored)
      if (other !== undefined)
        throw invalid(`${name}.${type}`, `names that no other type has; ${other.type} has this one`, stored)
      entries.set(stored, entry)
    }
  }
  const encodeEither = (type: string, data: unknown, options?: EncodeOptions) =>
    encodeEvent(name, entries.get(type), type, data, options)
  return {
    ...codecOf<EventsOf<Name, Definitions>>([{ name, entries }]),
    name,
    types,
    entries,
    streamId: (id) => streamIdOf(name, id),
    encode: (type, data, options) => Effect.suspend(() => encodeEither(type, data, options)),
    encodeEither
  }
}

/**
 * One codec over several categories. Decoded events are the union of theirs, told apart by `category` and
 * `type`. Throws an `InvalidArgument` when two categories have one name.
 *
 * @example
 * ```ts
 * const codec = EventCodec.make(Account, Flight)
 * const events = yield* codec.decodeAll(Page.nodes(page), ["Deposited", "FlightDeparted"])
 * ```
 */
export const make = <const Categories extends ReadonlyArray<AnyCategory>>(
  ...categories: Categories
): EventCodec<Categories[number]["Event"]> => {
  const names = new Set<string>()
  for (const { name } of categories) {
    if (names.has(name)) throw invalid("categories", "categories with different names", name)
    names.add(name)
  }
  return codecOf<Categories[number]["Event"]>(categories)
}

// ---- internal ----

/** The decoding half, the same for one category and for many. */
function codecOf<Event extends TypedEvent>(
  categories: ReadonlyArray<{ readonly name: string; readonly entries: Entries }>
): EventCodec<Event> {
  const byCategory = new Map(categories.map(({ entries, name }) => [name, entries]))
  const entryOf = ({ streamId, type }: Pick<RecordedEvent, "streamId" | "type">): CompiledType | undefined =>
    byCategory.get(categoryOf(streamId))?.get(type)

  const decodeEither = (event: RecordedEvent): Either.Either<Event, SerializationError> => {
    const entry = entryOf(event)
    return entry === undefined
      ? Either.left(unknownEvent(event, byCategory))
      : (decodeEvent(entry, event) as Either.Either<Event, SerializationError>)
  }

  /** Hot: a plain loop, so that a page costs one Effect and its Schemas. */
  const decodePage = (
    events: ReadonlyArray<RecordedEvent>,
    types: ReadonlyArray<string> | undefined
  ): Either.Either<ReadonlyArray<Event>, SerializationError> => {
    const wanted = types === undefined ? undefined : new Set(types)
    const decoded: Array<Event> = []
    for (const event of events) {
      if (wanted !== undefined) {
        const entry = entryOf(event)
        if (entry === undefined || !wanted.has(entry.type)) continue
      }
      const result = decodeEither(event)
      if (Either.isLeft(result)) return Either.left(result.left)
      decoded.push(result.right)
    }
    return Either.right(decoded)
  }

  return {
    Event: undefined as unknown as Event,
    handles: (event) => entryOf(event) !== undefined,
    filters: (types) => {
      if (types === undefined) return categories.map(({ name }) => ({ category: name }))
      const filters: Array<EventFilter> = []
      for (const { entries, name } of categories) {
        for (const [stored, entry] of entries)
          if (types.includes(entry.type)) filters.push({ category: name, type: stored })
      }
      return filters
    },
    decode: (event) => Effect.suspend(() => decodeEither(event)),
    decodeEither,
    decodeAll: <Type extends Event["type"]>(
      events: ReadonlyArray<RecordedEvent>,
      types?: ReadonlyArray<Type>
    ) =>
      Effect.suspend(
        () =>
          decodePage(events, types) as Either.Either<
            ReadonlyArray<Extract<Event, { readonly type: Type }>>,
            SerializationError
          >
      )
  }
}

const unknownEvent = (event: RecordedEvent, byCategory: ReadonlyMap<string, Entries>): SerializationError => {
  const name = categoryOf(event.streamId)
  return byCategory.has(name)
    ? failure(event, "type", `category ${name} has no such type`)
    : failure(event, "streamId", `category ${name} is not among ${Array.from(byCategory.keys()).join(", ")}`)
}
