/**
 * One type of event: the Schema of its data, the older forms that upcasters bring forward, the names it had
 * before; and the way of one event through them, in both directions. {@link EventCodec} puts types together
 * into categories; what a user needs of this file is exported there.
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { jsonFault, parseFault, shorten } from "./DataFault.js"
import { SerializationError } from "./EngineError.js"
import type { EventMetadata, NewEvent, RecordedEvent } from "./Event.js"
import { eventTextCodePointsMax } from "./Event.js"
import type { EventId } from "./EventId.js"
import { describe, invalid } from "./InvalidArgument.js"
import { start } from "./Position.js"
import { emptyStream } from "./StreamVersion.js"
import { textFault } from "./Text.js"

/**
 * Turns the data of one schema version into that of the next. Pure, synchronous, and it must not change
 * `old`. Annotate `old` with the form that it had (`unknown` to
 * look for yourself); throw when it cannot be brought forward, which becomes a
 * `SerializationError` for this event.
 */
export type Upcaster = (old: never, event: RecordedEvent) => unknown

/** An event type with a history. Made by {@link versioned}. */
export interface Versioned<S extends Schema.Schema.AnyNoContext> {
  readonly _tag: "Versioned"
  readonly schema: S
  readonly version: number
  readonly upcasters: Readonly<Record<number, Upcaster>>
  readonly aliases: ReadonlyArray<string>
}

/** What stands behind an event type: its Schema, or {@link versioned} where it has a history. Schemas that need services are refused by the types. */
export type Definition = Schema.Schema.AnyNoContext | Versioned<Schema.Schema.AnyNoContext>

/** The data of an event type, decoded. */
export type DataOf<D extends Definition> =
  D extends Versioned<infer S>
    ? Schema.Schema.Type<S>
    : D extends Schema.Schema.AnyNoContext
      ? Schema.Schema.Type<D>
      : never

/** An event with its data decoded. `category` and `type` tell the members of a union apart. */
export interface TypedEvent<Category extends string = string, Type extends string = string, Data = unknown> {
  readonly category: Category
  /** The present name of the type; `event.type` may be an alias. */
  readonly type: Type
  readonly data: Data
  /** The event as it stands in the log. Its `data` is the stored form. */
  readonly event: RecordedEvent
}

/** What travels with an encoded event. */
export interface EncodeOptions {
  /** Unique in the log. Given, it makes the append idempotent. */
  readonly id?: EventId | undefined
  /** `schemaVersion` is the codec's: what stands there is replaced. */
  readonly metadata?: EventMetadata | undefined
  readonly tags?: ReadonlyArray<string> | undefined
}

/**
 * An event type whose form or name has changed.
 *
 * - `version`: the present schema version, 1 or more. Default: 1. Raise it with each change that the Schema
 *   alone cannot read, and add the upcaster of the version before: there must be one for each of 1 to
 *   `version` − 1.
 * - `aliases`: former names. Events stored under them decode to the present name.
 *
 * What is wrong here is refused by {@link category}.
 */
export const versioned = <S extends Schema.Schema.AnyNoContext>(options: {
  readonly schema: S
  readonly version?: number | undefined
  readonly upcasters?: Readonly<Record<number, Upcaster>> | undefined
  readonly aliases?: ReadonlyArray<string> | undefined
}): Versioned<S> => ({
  _tag: "Versioned",
  schema: options.schema,
  version: options.version ?? 1,
  upcasters: options.upcasters ?? {},
  aliases: options.aliases ?? []
})

// ---- compiled ----

/** One event type, checked and compiled. */
export interface CompiledType {
  readonly category: string
  readonly type: string
  /** All stored names: the type, then its aliases. */
  readonly names: ReadonlyArray<string>
  readonly version: number
  /** The upcaster of version n stands at n − 1. */
  readonly upcasters: ReadonlyArray<Upcaster>
  readonly decode: (data: unknown) => Either.Either<unknown, ParseResult.ParseIssue>
  readonly encode: (data: unknown) => Either.Either<unknown, ParseResult.ParseIssue>
}

/** Checks a definition and compiles its Schema, once. */
export function compile(category: string, type: string, definition: Definition): CompiledType {
  const field = `${category}.${type}`
  const { aliases, schema, upcasters, version } = Schema.isSchema(definition)
    ? versioned({ schema: definition })
    : definition
  for (const name of [type, ...aliases]) {
    const fault = textFault(name, eventTextCodePointsMax)
    if (fault !== undefined)
      throw invalid(field, `names of 1 to ${eventTextCodePointsMax} characters; this one ${fault}`, name)
  }
  if (new Set([type, ...aliases]).size <= aliases.length)
    throw invalid(`${field}.aliases`, "names that differ from the type and from one another", aliases.join())
  if (!Number.isSafeInteger(version) || version < 1)
    throw invalid(`${field}.version`, "an integer from 1", version)
  const steps: Array<Upcaster> = []
  for (let from = 1; from < version; from++) {
    const upcaster = upcasters[from]
    if (typeof upcaster !== "function")
      throw invalid(`${field}.upcasters[${from}]`, `a function from version ${from} to ${from + 1}`, upcaster)
    steps.push(upcaster)
  }
  for (const key of Object.keys(upcasters)) {
    if (!(Number(key) >= 1 && Number(key) < version && Number.isInteger(Number(key))))
      throw invalid(`${field}.upcasters`, `versions below the present one, ${version}`, key)
  }
  return {
    category,
    type,
    names: [type, ...aliases],
    version,
    upcasters: steps,
    decode: ParseResult.decodeUnknownEither(schema),
    encode: ParseResult.encodeUnknownEither(schema)
  }
}

/** Data to an event for the store; `entry` is undefined where the category has no type of that name. */
export function encodeEvent(
  category: string,
  entry: CompiledType | undefined,
  type: string,
  data: unknown,
  options: EncodeOptions = {}
): Either.Either<NewEvent, SerializationError> {
  const failed = (path: string, reason: string) =>
    Either.left(
      new SerializationError({
        eventType: String(type),
        streamId: "",
        version: emptyStream,
        position: start,
        path,
        reason
      })
    )
  if (entry === undefined || entry.type !== type)
    return failed("type", `category ${category} has no such type; former names are for decoding only`)
  let encoded: Either.Either<unknown, ParseResult.ParseIssue>
  try {
    encoded = entry.encode(data)
  } catch (cause) {
    return failed("data", shorten(`encoding threw: ${reasonOf(cause)}`))
  }
  if (Either.isLeft(encoded)) {
    const { path, reason } = parseFault("data", encoded.left)
    return failed(path, reason)
  }
  const fault = jsonFault("data", encoded.right)
  if (fault !== undefined) return failed(fault.path, fault.reason)

  const { id, metadata, tags } = options
  return Either.right({
    type,
    data: encoded.right,
    ...(id === undefined ? undefined : { id }),
    ...withVersion(metadata, entry.version),
    ...(tags === undefined ? undefined : { tags })
  })
}

/** The metadata with the schema version in it; version 1 goes without saying. */
function withVersion(
  metadata: EventMetadata | undefined,
  version: number
): { readonly metadata?: EventMetadata } {
  if (version > 1) return { metadata: { ...metadata, schemaVersion: version } }
  if (metadata === undefined) return {}
  const { schemaVersion: _, ...rest } = metadata
  return { metadata: rest }
}

/** A stored event through its upcasters and its Schema. */
export function decodeEvent(
  entry: CompiledType,
  event: RecordedEvent
): Either.Either<TypedEvent, SerializationError> {
  const stored: unknown = event.metadata.schemaVersion ?? 1
  if (typeof stored !== "number" || !Number.isSafeInteger(stored) || stored < 1)
    return Either.left(
      failure(event, "metadata.schemaVersion", `${describe(stored)} is not a schema version`)
    )
  if (stored > entry.version)
    return Either.left(
      failure(
        event,
        "metadata.schemaVersion",
        `schema version ${stored} is newer than ${entry.version}, which this code knows: update the code`
      )
    )
  const result = decodeData(entry, event, stored)
  // What replaced erased data was written by code that knew a later form than the event's own.
  if (Either.isLeft(result) && event.erased && stored < entry.version) {
    const asPresent = decodeData(entry, event, entry.version)
    if (Either.isRight(asPresent)) return asPresent
  }
  return result
}

/** Decodes the data as being of schema version `from`. */
function decodeData(
  entry: CompiledType,
  event: RecordedEvent,
  from: number
): Either.Either<TypedEvent, SerializationError> {
  let data = event.data
  for (let version = from; version < entry.version; version++) {
    try {
      data = entry.upcasters[version - 1]!(data as never, event)
    } catch (cause) {
      return Either.left(
        failure(event, "data", `upcaster from version ${version} to ${version + 1} threw: ${reasonOf(cause)}`)
      )
    }
  }
  let result: Either.Either<unknown, ParseResult.ParseIssue>
  try {
    result = entry.decode(data)
  } catch (cause) {
    return Either.left(failure(event, "data", `decoding threw: ${reasonOf(cause)}`))
  }
  if (Either.isRight(result))
    return Either.right({ category: entry.category, type: entry.type, data: result.right, event })
  const { path, reason } = parseFault("data", result.left)
  return Either.left(failure(event, path, event.erased ? `data was erased; ${reason}` : reason))
}

/** The error for a stored event. */
export const failure = (event: RecordedEvent, path: string, reason: string): SerializationError =>
  new SerializationError({
    eventType: event.type,
    streamId: event.streamId,
    version: event.version,
    position: event.position,
    path,
    reason: shorten(reason)
  })

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
