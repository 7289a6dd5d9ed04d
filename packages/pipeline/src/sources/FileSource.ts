/**
 * Records of a file: a JSON value a line, or rows of CSV under a header. The file is read in pieces, so that it may be
 * of any size, and each record is decoded by a Schema. There is one partition, "0", and its offset is the byte behind
 * the last record: resuming goes there at once, and the same file gives the same records in the same batches.
 *
 * The source ends where the file ends when it gets there. A last line without a line break counts as one. Records
 * before one that cannot be read are given first; then reading fails, and does so again until the file or the schema
 * is mended. The whole file is read whichever vnodes the instance owns.
 *
 *     file ──pieces of 256 KiB──▶ split ──records with their bytes──▶ decode ──▶ batch
 *                                └─ what is unfinished waits for the next piece, at most `recordBytesMax`
 */
import type { PlatformError } from "@effect/platform/Error"
import { FileSystem } from "@effect/platform/FileSystem"
import type { File } from "@effect/platform/FileSystem"
import { parseFault, shorten } from "@millrace/core/DataFault"
import { invalid } from "@millrace/core/InvalidArgument"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { Source, SourceBatch } from "@millrace/core/Source"
import * as Scoped from "@millrace/core/Scoped"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { parse } from "csv-parse"
import type { Options, Parser } from "csv-parse"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { concat } from "../runtime/Bytes.js"
import { checked, partition, timesOf } from "./IterableSource.js"

/** What both kinds of files need. */
export interface FileOptions<A, I> {
  /** Of the source; see `Source`. */
  readonly name: string
  /** Of the file. */
  readonly path: string
  /** The form of a record. It must decode synchronously. */
  readonly schema: Schema.Schema<A, I>
  /** Records of one batch. Range: 1 to 10 000. Default: 1 000. */
  readonly batchSize?: number | undefined
  /** When a record happened. Unit: milliseconds since 1970. Default: the source knows no times. */
  readonly timestamp?: ((value: A) => number) | undefined
  /** Longest record. Unit: bytes. Range: 1 to 67 108 864. Default: 1 048 576. */
  readonly recordBytesMax?: number | undefined
}

/** How CSV is written. */
export interface CsvOptions<A, I> extends FileOptions<A, I> {
  /** What stands between two fields: one character. Default: a comma. */
  readonly delimiter?: string | undefined
  /**
   * What a field stands between that has a delimiter or a line break in it: one character, which twice is itself.
   * Default: `"`.
   */
  readonly quote?: string | undefined
}

/**
 * A record that cannot be read: it is no JSON or CSV, is longer than it may be, or does not fit its schema. Reading
 * again gives the same answer: mend the file, or the schema.
 */
export class RecordUnreadable extends Schema.TaggedError<RecordUnreadable>()("RecordUnreadable", {
  /** Name of the source. */
  source: Schema.String,
  /** Where the record begins in its file. Unit: bytes. */
  offset: Schema.NonNegativeInt,
  /** In words, at most 200 characters. */
  reason: Schema.String
}) {
  override get message(): string {
    return `record cannot be read. source=${this.source} offset=${this.offset} reason="${this.reason}"`
  }
}

/**
 * What reading a file can fail with: `RecordUnreadable` (mend the file or the schema), `InvalidArgument` (correct it;
 * for `offsets["0"]`: the file is shorter than when the checkpoint was made), `StoreUnavailable` (the file is missing
 * or cannot be read: try again if `transient`).
 */
export type FileError = RecordUnreadable | InvalidArgument | StoreUnavailable

/**
 * A source of the lines of a file, each of them a JSON value (NDJSON, JSON Lines). Lines of nothing but white space
 * are passed over; a line may end in "\r\n", and the file may begin with a byte order mark.
 *
 * @example
 * ```ts
 * const readings = fromNdjson({
 *   name: "readings",
 *   path: "readings.ndjson",
 *   schema: Schema.Struct({ atMs: Schema.Int, celsius: Schema.Number }),
 *   timestamp: ({ atMs }) => atMs
 * })
 * ```
 */
export const fromNdjson = <A, I>(options: FileOptions<A, I>): Source<A, FileError, FileSystem> =>
  fileSource(options, undefined, (file, offset) => linesOf(file, offset, options))

/**
 * A source of the rows of a CSV file. The first record names the columns, and all others must have as many fields;
 * the schema gets an object of texts (`Schema.NumberFromString` makes numbers of them). Empty lines are passed over,
 * the line break is that behind the header, and the file may begin with a byte order mark.
 *
 * @example
 * ```ts
 * const flights = fromCsv({
 *   name: "flights",
 *   path: "flights.csv",
 *   schema: Schema.Struct({ carrier: Schema.String, delayMinutes: Schema.NumberFromString })
 * })
 * ```
 */
export const fromCsv = <A, I>(options: CsvOptions<A, I>): Source<A, FileError, FileSystem> =>
  fileSource(options, csvFault(options), (file, offset) => rowsOf(file, offset, options))

// ---- internal ----

/** What a file is read in. Unit: bytes. */
const pieceBytes = 262_144

/** Unit: bytes. */
const recordBytesMaxDefault = 1_048_576
const recordBytesLimit = 67_108_864

/** What splitting a file into records needs to know. */
type RecordOptions = Pick<CsvOptions<never, never>, "name" | "recordBytesMax" | "delimiter" | "quote">

/** A record and where it stands. */
interface RawRecord {
  /** Its first byte. */
  readonly start: number
  /** The first byte behind it and its line break. */
  readonly end: number
  /** What it says, before the schema: throws when it cannot be read. */
  readonly read: () => unknown
}

/** The next records of a file. */
interface Piece {
  readonly records: ReadonlyArray<RawRecord>
  /** What is wrong behind the last of them. */
  readonly fault?: RecordUnreadable | undefined
}

/** Gives the next piece; undefined at the end. */
type Pieces = Effect.Effect<Piece | undefined, FileError>

const fileSource = <A, I>(
  options: FileOptions<A, I>,
  fault: InvalidArgument | undefined,
  openRecords: (file: OpenFile, offset: number) => Effect.Effect<Pieces, FileError, Scope.Scope>
): Source<A, FileError, FileSystem> => ({
  name: options.name,
  isReplayable: true,
  open: (offsets) =>
    Effect.gen(function* () {
      const { name, path, recordBytesMax = recordBytesMaxDefault, schema, timestamp } = options
      const { batchSize, offset: begin } = yield* checked(name, options, offsets)
      if (fault !== undefined) return yield* fault
      if (!isBetween(recordBytesMax, 1, recordBytesLimit))
        return yield* invalid(
          "recordBytesMax",
          `an integer of 1 to ${recordBytesLimit} bytes`,
          recordBytesMax
        )
      const file = yield* openFile(path)
      if (begin > file.bytes)
        return yield* invalid(
          `offsets["${partition}"]`,
          `at most ${file.bytes}, the bytes of the file`,
          begin
        )
      const pieces = yield* openRecords(file, begin)
      const decode = Schema.decodeUnknownEither(schema)

      let piece: Piece | undefined = { records: [] }
      let at = 0
      let broken: RecordUnreadable | undefined
      let offset = begin
      const next = Effect.gen(function* () {
        const values: Array<A> = []
        while (values.length < batchSize && piece !== undefined && broken === undefined) {
          const record = piece.records[at++]
          if (record === undefined) {
            broken = piece.fault
            if (broken === undefined) piece = yield* pieces
            at = 0
            continue
          }
          const decoded = decodeRecord(decode, record)
          if (Either.isLeft(decoded)) {
            broken = new RecordUnreadable({ source: name, offset: record.start, reason: decoded.left })
          } else {
            values.push(decoded.right)
            offset = record.end
          }
        }
        if (values.length === 0) return broken === undefined ? undefined : yield* broken
        const batch: SourceBatch<A> = {
          values,
          times: timesOf(values, timestamp),
          partition,
          offset: String(offset)
        }
        return batch
      })
      // A piece that was read is not to be lost by an interruption; each takes a moment only.
      return { partitions: [partition], next: Effect.uninterruptible(next) }
    })
})

/** The value of a record, or why it has none. */
const decodeRecord = <A>(
  decode: (value: unknown) => ReturnType<ReturnType<typeof Schema.decodeUnknownEither<A, unknown>>>,
  record: RawRecord
): Either.Either<A, string> => {
  let raw: unknown
  try {
    raw = record.read()
  } catch (cause) {
    return Either.left(shorten(reasonOf(cause)))
  }
  return Either.mapLeft(decode(raw), ({ issue }) => {
    const { path, reason } = parseFault("record", issue)
    return shorten(`${path}: ${reason}`)
  })
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const isBetween = (value: number, least: number, most: number): boolean =>
  Number.isInteger(value) && value >= least && value <= most

// --- the file ---

interface OpenFile {
  /** How long it was when it was opened. */
  readonly bytes: number
  readonly goTo: (offset: number) => Effect.Effect<void>
  /** The next bytes; undefined at the end. */
  readonly read: Effect.Effect<Uint8Array | undefined, StoreUnavailable>
}

const openFile = (path: string): Effect.Effect<OpenFile, StoreUnavailable, FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem
    const file: File = yield* fs.open(path, { flag: "r" })
    const { size } = yield* file.stat
    return {
      bytes: Number(size),
      goTo: (offset: number) => file.seek(offset, "start"),
      read: Effect.mapError(Effect.map(file.readAlloc(pieceBytes), Option.getOrUndefined), unavailable)
    }
  }).pipe(Effect.mapError(unavailable))

const unavailable = (cause: PlatformError | StoreUnavailable): StoreUnavailable =>
  cause._tag === "StoreUnavailable"
    ? cause
    : new StoreUnavailable({
        operation: "readFile",
        transient: cause._tag === "SystemError" && ["Busy", "TimedOut", "WouldBlock"].includes(cause.reason),
        cause
      })

// --- lines ---

const newline = 10

/** The lines from an offset on. */
const linesOf = (
  file: OpenFile,
  offset: number,
  { name, recordBytesMax = recordBytesMaxDefault }: RecordOptions
): Effect.Effect<Pieces> => {
  /** Where the unfinished line begins, and what there is of it. */
  let start = offset
  let parts: Array<Uint8Array> = []
  let partBytes = 0
  let ended = false
  const tooLong = () =>
    new RecordUnreadable({ source: name, offset: start, reason: `is longer than ${recordBytesMax} bytes` })

  /** Hot: once for every line. */
  const finish = (records: Array<RawRecord>, last: Uint8Array, breakBytes: number): boolean => {
    const bytes = partBytes + last.length
    if (bytes > recordBytesMax) return false
    const whole = partBytes === 0 ? last : concat([...parts, last])
    const line = start === 0 ? withoutMark(whole) : whole
    const end = start + bytes + breakBytes
    if (!isBlank(line)) records.push({ start, end, read: () => JSON.parse(utf8.decode(line)) })
    start = end
    parts = []
    partBytes = 0
    return true
  }
  const split = (piece: Uint8Array): Piece => {
    const records: Array<RawRecord> = []
    let from = 0
    for (let end = piece.indexOf(newline); end !== -1; end = piece.indexOf(newline, from)) {
      if (!finish(records, piece.subarray(from, end), 1)) return { records, fault: tooLong() }
      from = end + 1
    }
    if (from < piece.length) parts.push(piece.subarray(from))
    partBytes += piece.length - from
    return partBytes > recordBytesMax ? { records, fault: tooLong() } : { records }
  }
  const next = Effect.map(file.read, (piece): Piece | undefined => {
    if (piece !== undefined) return split(piece)
    if (ended || partBytes === 0) return undefined
    ended = true
    const records: Array<RawRecord> = []
    return finish(records, new Uint8Array(0), 0) ? { records } : { records, fault: tooLong() }
  })
  return Effect.as(file.goTo(offset), next)
}

/** Without the byte order mark that a file may begin with. */
const withoutMark = (line: Uint8Array): Uint8Array =>
  line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf ? line.subarray(3) : line

/** Whether there are only spaces, tabs and what is left of a line break. */
const isBlank = (line: Uint8Array): boolean => {
  for (let i = 0; i < line.length; i++) {
    const byte = line[i]!
    if (byte !== 32 && byte !== 9 && byte !== 13) return false
  }
  return true
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

// --- rows ---

const csvFault = ({ delimiter = ",", quote = `"` }: RecordOptions): InvalidArgument | undefined => {
  if (!isMark(delimiter)) return invalid("delimiter", "one character that is no line break", delimiter)
  if (!isMark(quote) || quote === delimiter)
    return invalid("quote", "one character that is no line break and not the delimiter", quote)
  return undefined
}

const isMark = (text: string): boolean =>
  typeof text === "string" && Array.from(text).length === 1 && text !== "\n" && text !== "\r"

/** The columns, and what the parser found out about line breaks. */
interface Header {
  readonly columns: ReadonlyArray<string>
  /** The first byte behind it. */
  readonly end: number
  readonly lineBreaks: Parser["options"]["record_delimiter"]
}

/** The rows from an offset on; the header is always read first. */
const rowsOf = (
  file: OpenFile,
  offset: number,
  options: RecordOptions
): Effect.Effect<Pieces, FileError, Scope.Scope> =>
  Effect.gen(function* () {
    const header = yield* headerOf(file, options)
    if (header === undefined) return Effect.succeed(undefined)
    const begin = Math.max(offset, header.end)
    yield* file.goTo(begin)

    let found: Array<RawRecord> = []
    let start = begin
    const parser = yield* openParser({
      ...parserOptions(options),
      columns: [...header.columns],
      ...(header.lineBreaks.length > 0 && { record_delimiter: header.lineBreaks }),
      on_record: (record, { bytes }) => {
        const end = begin + bytes
        found.push({ start, end, read: () => record })
        start = end
        // The stream gives nothing, so that there is nothing to wait for.
        return null
      }
    })
    let ended = false
    return Effect.gen(function* () {
      if (ended) return undefined
      const piece = yield* file.read
      ended = piece === undefined
      const reason = yield* feed(parser, piece)
      const records = found
      found = []
      return {
        records,
        fault:
          reason === undefined
            ? undefined
            : new RecordUnreadable({ source: options.name, offset: start, reason })
      }
    })
  })

/** Undefined: the file is empty. */
const headerOf = (file: OpenFile, options: RecordOptions): Effect.Effect<Header | undefined, FileError> =>
  Scoped.scoped(
    Effect.gen(function* () {
      const unreadable = (reason: string) =>
        new RecordUnreadable({ source: options.name, offset: 0, reason: shorten(reason) })
      let columns: ReadonlyArray<string> | undefined
      let end = 0
      const parser = yield* openParser({
        ...parserOptions(options),
        bom: true,
        to: 1,
        on_record: (record, { bytes }) => {
          columns = record
          end = bytes
          return null
        }
      })
      yield* file.goTo(0)
      for (let ended = false; columns === undefined;) {
        if (ended) return undefined
        const piece = yield* file.read
        ended = piece === undefined
        const reason = yield* feed(parser, piece)
        if (reason !== undefined) return yield* unreadable(`header: ${reason}`)
      }
      const twice = columns.find((name, at) => columns!.indexOf(name) !== at)
      if (twice !== undefined)
        return yield* unreadable(`header: two columns are called ${JSON.stringify(twice)}`)
      return { columns, end, lineBreaks: parser.options.record_delimiter }
    })
  )

const parserOptions = ({
  delimiter = ",",
  quote = `"`,
  recordBytesMax = recordBytesMaxDefault
}: RecordOptions) => ({
  delimiter,
  quote,
  escape: quote,
  skip_empty_lines: true,
  max_record_size: recordBytesMax
})

const openParser = (options: Options): Effect.Effect<Parser, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const parser = parse(options)
      // `feed` is told as well; an error that nobody listens to would end the process.
      parser.on("error", () => {})
      return parser
    }),
    (parser) => Effect.sync(() => parser.destroy())
  )

/** Hands bytes to the parser, or tells it that there are no more. Gives what is wrong with them. */
const feed = (parser: Parser, piece: Uint8Array | undefined): Effect.Effect<string | undefined> =>
  Effect.async((resume) => {
    const done = (error?: Error | null) =>
      resume(Effect.succeed(error == null ? undefined : shorten(error.message)))
    if (piece === undefined) parser.end(done)
    else parser.write(piece, done)
  })
