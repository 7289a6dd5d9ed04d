/**
 * Results as files, a line each: what was written between two checkpoints is one *part*, which gets its name when the
 * checkpoint is committed. Whoever reads only parts sees every result exactly once; the canonical order is that of the
 * parts' names, and of the lines in them.
 *
 *     <folder>/.writing-<random>.tmp          what is written now
 *             /.part-000000000007.ndjson.tmp  prepared for checkpoint 7: flushed to the disk
 *             /part-000000000007.ndjson       committed
 *
 * Each step is a rename, and the folder is flushed behind it, so that after a crash one of the three is there. When it
 * is opened for checkpoint n, it removes parts of checkpoints behind n, and every temporary file but that which was
 * prepared for n, which may still be committed. Nothing is made for a checkpoint without results.
 *
 * The folder belongs to one sink of one pipeline. A part may be moved away when the next checkpoint is committed and
 * not before: a commit that is repeated after a crash looks for it. Needs a file system that can rename files and
 * flush folders: that of POSIX.
 */
import { isPlatformError } from "@effect/platform/Error"
import type { PlatformError } from "@effect/platform/Error"
import { FileSystem } from "@effect/platform/FileSystem"
import type { File } from "@effect/platform/FileSystem"
import { Path } from "@effect/platform/Path"
import { invalid } from "@millrace/core/InvalidArgument"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import * as Scoped from "@millrace/core/Scoped"
import type { Sink } from "@millrace/core/Sink"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { nameFault } from "@millrace/core/SubscriberArguments"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"

/** What {@link toFiles} needs. */
export interface FilesOptions<in A> {
  /** Of the sink; see `Sink`. */
  readonly name: string
  /** A folder of its own; made when it is missing. */
  readonly folder: string
  /** The line of a result, without a line break. Default: `JSON.stringify`. */
  readonly encode?: ((value: A) => string) | undefined
  /** What names of parts end in: letters and digits, 1 to 16. Default: "ndjson". */
  readonly extension?: string | undefined
}

/**
 * A part that is to be committed is neither prepared nor committed: somebody has removed it. Put it back, or go back
 * to a checkpoint before it.
 */
export class PartMissing extends Schema.TaggedError<PartMissing>()("PartMissing", {
  /** Name of the sink. */
  sink: Schema.String,
  folder: Schema.String,
  part: Schema.String
}) {
  override get message(): string {
    return `a prepared part is not there. sink=${this.sink} folder=${this.folder} part=${this.part}`
  }
}

/** What is saved of a part with its checkpoint. Names are those in the folder. */
export interface PreparedPart {
  readonly temporary: string
  readonly part: string
  readonly lines: number
}

/**
 * What writing files can fail with: `StoreUnavailable` (the folder cannot be made, read or written: run the pipeline
 * again, if `transient` or after it was mended), `InvalidArgument` (correct the option, or what `encode` gives),
 * `PartMissing`.
 */
export type FilesError = InvalidArgument | StoreUnavailable | PartMissing

/**
 * A sink of files with a line for each result.
 *
 * @example
 * ```ts
 * const totals = toFiles({
 *   name: "totals",
 *   folder: "out/totals",
 *   encode: ({ key, total }: Total) => `${key},${total}`,
 *   extension: "csv"
 * })
 * ```
 */
export const toFiles = <A>(options: FilesOptions<A>): Sink<A, FilesError, FileSystem | Path> => ({
  name: options.name,
  delivery: "exactly-once",
  rewind: "rewindable",
  open: ({ checkpointId }) =>
    Effect.gen(function* () {
      const { encode = JSON.stringify, extension = "ndjson", name } = options
      const fault =
        nameFault("name", name) ??
        (/^[A-Za-z0-9]{1,16}$/.test(extension)
          ? undefined
          : invalid("extension", "1 to 16 letters and digits", extension))
      if (fault !== undefined) return yield* fault
      const folder = folderOf(yield* FileSystem, yield* Path, options.folder)
      yield* typed("openFiles", folder.open(checkpointId))

      /** The part that is being written. */
      let current: PartWriter | undefined
      yield* Effect.addFinalizer(() => Effect.suspend(() => current?.abandon ?? Effect.void))
      const writer = Effect.suspend(() =>
        current === undefined
          ? Effect.uninterruptible(
              Effect.tap(folder.begin, (begun) =>
                Effect.sync(() => {
                  current = begun
                })
              )
            )
          : Effect.succeed(current)
      )
      return {
        write: (values) =>
          Effect.suspend((): Effect.Effect<void, FilesError> => {
            if (values.length === 0) return Effect.void
            const lines = linesOf(values, encode)
            return typeof lines === "string"
              ? typed(
                  "writeFiles",
                  Effect.flatMap(writer, (part) => part.write(lines, values.length))
                )
              : lines
          }),
        prepare: (id) =>
          Effect.suspend((): Effect.Effect<PreparedPart | undefined, FilesError> => {
            const part = current
            if (part === undefined) return Effect.succeed(undefined)
            const names = namesOf(id, extension)
            return typed(
              "prepareFiles",
              Effect.map(part.finish(names.temporary), (lines): PreparedPart => {
                current = undefined
                return { ...names, lines }
              })
            )
          }),
        commit: (_, prepared) =>
          prepared === undefined
            ? Effect.void
            : Effect.filterOrFail(
                typed("commitFiles", folder.publish(prepared as PreparedPart)),
                (isThere) => isThere,
                () =>
                  new PartMissing({
                    sink: name,
                    folder: options.folder,
                    part: (prepared as PreparedPart).part
                  })
              )
      }
    })
})

// ---- internal ----

/** The names of a checkpoint's part, which sort like the checkpoints. */
const namesOf = (id: number, extension: string): Pick<PreparedPart, "temporary" | "part"> => {
  const part = `part-${String(id).padStart(12, "0")}.${extension}`
  return { temporary: `.${part}.tmp`, part }
}

const partPattern = /^part-(\d{12,16})\.[A-Za-z0-9]+$/
const preparedPattern = /^\.part-(\d{12,16})\.[A-Za-z0-9]+\.tmp$/
const writingPattern = /^\.writing-[a-z0-9]+\.tmp$/

/** Whether a file is none of what the folder has at a checkpoint. Files that are not the sink's own stay. */
const isStray = (name: string, checkpointId: number): boolean => {
  const part = partPattern.exec(name)
  if (part !== null) return Number(part[1]) > checkpointId
  const prepared = preparedPattern.exec(name)
  if (prepared !== null) return Number(prepared[1]) !== checkpointId
  return writingPattern.test(name)
}

/** The lines of a batch; or what is wrong with the first that is none. */
const linesOf = <A>(
  values: ReadonlyArray<A>,
  encode: (value: A) => string | undefined
): string | InvalidArgument => {
  let lines = ""
  for (const value of values) {
    const line = encode(value)
    if (typeof line !== "string" || line.includes("\n"))
      return invalid("encode", "a function that gives a text without a line break", line)
    lines += `${line}\n`
  }
  return lines
}

/** A part that is being written. */
interface PartWriter {
  readonly write: (lines: string, count: number) => Effect.Effect<void, PlatformError>
  /** Flushes it to the disk and gives it the name of what is prepared. Gives the number of its lines. */
  readonly finish: (name: string) => Effect.Effect<number, PlatformError>
  /** Removes it. */
  readonly abandon: Effect.Effect<void>
}

/** Text that is held before it is written. Unit: UTF-16 units. */
const heldUnitsMax = 65_536

const folderOf = (fs: FileSystem, path: Path, folder: string) => {
  const at = (name: string): string => path.join(folder, name)
  const flush = Scoped.scoped(Effect.flatMap(fs.open(folder, { flag: "r" }), (file) => file.sync))
  const renamed = (from: string, to: string) => Effect.zipRight(fs.rename(at(from), at(to)), flush)

  const partWriter = (name: string, file: File, close: Effect.Effect<void>): PartWriter => {
    let held = ""
    let count = 0
    const write = Effect.suspend(() => {
      const bytes = new TextEncoder().encode(held)
      held = ""
      // Of nothing it says that nothing was written, which is its error.
      return bytes.length === 0 ? Effect.void : file.writeAll(bytes)
    })
    return {
      write: (lines, more) =>
        Effect.suspend(() => {
          held += lines
          count += more
          return held.length < heldUnitsMax ? Effect.void : write
        }),
      finish: (prepared) =>
        Effect.zipRight(write, file.sync).pipe(
          Effect.zipRight(close),
          Effect.zipRight(renamed(name, prepared)),
          Effect.map(() => count)
        ),
      abandon: Effect.zipRight(close, Effect.ignore(fs.remove(at(name))))
    }
  }

  return {
    /** Makes it, and leaves in it what belongs to the checkpoint. */
    open: (checkpointId: number) =>
      Effect.gen(function* () {
        yield* fs.makeDirectory(folder, { recursive: true })
        const strays = (yield* fs.readDirectory(folder)).filter((name) => isStray(name, checkpointId))
        if (strays.length === 0) return
        yield* Effect.forEach(strays, (name) => fs.remove(at(name), { force: true }), { discard: true })
        yield* flush
      }),
    /** A new part. Whoever asks for it has to finish or abandon it. */
    begin: Effect.gen(function* () {
      const name = `.writing-${(yield* Random.nextIntBetween(0, 2 ** 48)).toString(36)}.tmp`
      const scope = yield* Scope.make()
      const close = Scoped.close(scope, Exit.void)
      const opening = Scope.extend(fs.open(at(name), { flag: "wx" }), scope)
      const file = yield* Effect.onError(opening, () => close)
      return partWriter(name, file, close)
    }),
    /** Gives a prepared part its name, if it has not got it yet. False: it is nowhere. */
    publish: ({ part, temporary }: PreparedPart) =>
      Effect.as(renamed(temporary, part), true).pipe(
        Effect.catchIf(isNotFound, () =>
          // As long as the folder was not flushed, a crash may take the name away again.
          Effect.tap(fs.exists(at(part)), (exists) => (exists ? flush : Effect.void))
        )
      )
  }
}

const isNotFound = (error: PlatformError): boolean =>
  error._tag === "SystemError" && error.reason === "NotFound"

const typed = <A, E, R>(
  operation: string,
  effect: Effect.Effect<A, E | PlatformError, R>
): Effect.Effect<A, Exclude<E, PlatformError> | StoreUnavailable, R> =>
  Effect.mapError(effect, (error) =>
    isPlatformError(error)
      ? new StoreUnavailable({
          operation,
          transient:
            error._tag === "SystemError" && ["Busy", "TimedOut", "WouldBlock"].includes(error.reason),
          cause: error
        })
      : (error as Exclude<E, PlatformError>)
  )
