/**
 * The input: `flights-20k.json` of the npm package `vega-datasets`, 20 000 flights of the first three months
 * of 2001 in the order of their times. It comes from outside, so every row is checked by a Schema.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import { deriveEventId } from "@millrace/core/EventId"
import type { EventId } from "@millrace/core/EventId"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { Flight } from "./Flight.js"

/** Part of every event id: the same row of the same data set is the same event. Never change it. */
const datasetName = "vega-datasets@3.2.1/flights-20k.json"

/** A row and the id of its event. */
export interface DatasetFlight {
  readonly id: EventId
  readonly flight: Flight
}

/** The data set is missing, or not what it should be. Install the packages anew. */
export class DatasetUnreadable extends Schema.TaggedError<DatasetUnreadable>()("DatasetUnreadable", {
  path: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `the flights cannot be read. path=${this.path} reason="${this.reason}"`
  }
}

/** Times of the data set, `2001/01/31 06:02`, as UTC. */
export const DatasetTime = Schema.transformOrFail(Schema.String, Schema.DateTimeUtcFromSelf, {
  strict: true,
  decode: (text, _, ast) => {
    const time = DateTime.make(`${text.replaceAll("/", "-").replace(" ", "T")}:00.000Z`)
    // Written back and compared, since JavaScript takes the 31st of February for the 3rd of March.
    return Option.isSome(time) && DateTime.isUtc(time.value) && writeTime(time.value) === text
      ? ParseResult.succeed(time.value)
      : ParseResult.fail(new ParseResult.Type(ast, text, "a time is yyyy/mm/dd hh:mm"))
  },
  encode: (time) => ParseResult.succeed(writeTime(time))
})

/** A row as it stands in the file. */
export const FlightRow = Schema.Struct({ ...Flight.fields, date: DatasetTime })

const FlightRows = Schema.parseJson(Schema.Array(FlightRow))

/** All flights, in time order, each with the id that belongs to its place and content. */
export const load: Effect.Effect<
  ReadonlyArray<DatasetFlight>,
  DatasetUnreadable,
  FileSystem.FileSystem
> = Effect.gen(function* () {
  const path = datasetPath()
  const files = yield* FileSystem.FileSystem
  const unreadable = (reason: string) => new DatasetUnreadable({ path, reason })
  const text = yield* Effect.mapError(files.readFileString(path), (error) => unreadable(error.message))
  const flights = yield* Effect.mapError(Schema.decode(FlightRows)(text), (error) => {
    const [first] = ParseResult.ArrayFormatter.formatErrorSync(error)
    return unreadable(`row ${first?.path.join(".")}: ${first?.message}`)
  })
  return flights.map((flight, row) => ({ id: flightId(row, flight), flight }))
})

// ---- internal ----

const writeTime = (time: DateTime.Utc): string =>
  DateTime.formatIso(time).slice(0, 16).replaceAll("-", "/").replace("T", " ")

/** Place and content: a row that is changed in a later edition of the data set is another event. */
const flightId = (row: number, { date, delay, destination, distance, origin }: Flight): EventId => {
  const content = [DateTime.formatIso(date), delay, distance, origin, destination].join(" ")
  return deriveEventId(datasetName, String(row), content)
}

/** The package exports its program alone, so that the file is found from there. */
const datasetPath = (): string => {
  const entry = createRequire(import.meta.url).resolve("vega-datasets")
  return join(dirname(entry), "..", "data", "flights-20k.json")
}
