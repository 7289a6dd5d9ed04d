/**
 * Checkpoints as files:
 *
 *     <folder>/<pipeline>/latest.txt                              the pointer: an id
 *                        /reserved_000008                         the greatest id that was given
 *                        /fence_000003                            the newest epoch that wrote
 *                        /checkpoint_000007/manifest.json
 *                                          /state.bin             the sidecar
 *                                          /commit                the commit decision
 *
 * Everything is written to a temporary file beside its place, flushed to the disk, and then given its name, which
 * the folder is flushed for: by `link` where it must not be there yet (a `rename` would overwrite it), by `rename`
 * where it may be. What a crash leaves behind has no name that anything reads, and goes with `cleanupOrphans`.
 *
 * The fence is a look, and not one with the write that follows: a process that is frozen between the two, and
 * overtaken, may still save what it was saving, under an id that is nobody else's. Its sinks are pending then, and it
 * will not be started from: the decision to commit is behind another look. Where that is not enough, keep checkpoints
 * in a database.
 *
 * Needs a file system that can link and flush folders: that of POSIX.
 */
import { isPlatformError } from "@effect/platform/Error"
import type { PlatformError } from "@effect/platform/Error"
import { FileSystem } from "@effect/platform/FileSystem"
import type { File } from "@effect/platform/FileSystem"
import { Path } from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { CheckpointStorage } from "./CheckpointStore.js"
import type { CheckpointStoreBackend, Fence } from "./CheckpointStoreBackend.js"
import * as Backend from "./CheckpointStoreBackend.js"
import { LeaseLost } from "./LeaseLost.js"
import * as Scoped from "./Scoped.js"
import * as Sha256 from "./Sha256.js"
import { StoreUnavailable } from "./StoreUnavailable.js"

/** Where the files are. */
export interface FileCheckpointOptions {
  /** A folder of their own; made when it is missing. */
  readonly folder: string
}

/** The places. Each pipeline's folder is made when it is opened. */
export const places = (
  options: FileCheckpointOptions
): Layer.Layer<Backend.CheckpointPlaces, never, FileSystem | Path> =>
  Layer.effect(
    Backend.CheckpointPlaces,
    Effect.gen(function* () {
      const fs = yield* FileSystem
      const path = yield* Path
      return {
        open: (pipeline) => {
          const folder = path.join(options.folder, folderName(pipeline))
          return Effect.as(
            Effect.mapError(fs.makeDirectory(folder, { recursive: true }), unavailable("open")),
            makePlace(fs, path, folder)
          )
        }
      }
    })
  )

/**
 * The storage. Its stores fail with `StoreUnavailable` when the folder cannot be made, read or written.
 *
 * @example
 * ```ts
 * FileCheckpointStore.layer({ folder: "checkpoints" }).pipe(Layer.provide(NodeContext.layer))
 * ```
 */
export const layer = (
  options: FileCheckpointOptions
): Layer.Layer<CheckpointStorage, never, FileSystem | Path> => Layer.provide(Backend.storage, places(options))

// ---- internal ----

/** Longest name of a pipeline's folder before it is shortened. Unit: characters. */
const folderCharsMax = 120

/** A name that no file system takes for another one's, and that does not lead out of the folder. */
const folderName = (pipeline: string): string => {
  const bytes = new TextEncoder().encode(pipeline)
  const name = Array.from(bytes, (byte) => {
    const char = String.fromCharCode(byte)
    return /[a-z0-9_-]/.test(char) ? char : `%${byte.toString(16).padStart(2, "0")}`
  }).join("")
  return name.length <= folderCharsMax ? name : `${name.slice(0, 40)}%${Sha256.of(bytes)}`
}

const numbered = (prefix: string, id: number): string => `${prefix}_${String(id).padStart(6, "0")}`

/** The numbers of the names with a prefix, ascending. */
const numbersOf = (names: ReadonlyArray<string>, prefix: string): ReadonlyArray<number> =>
  names
    .flatMap((name) => {
      const id = name.startsWith(`${prefix}_`) ? Number(name.slice(prefix.length + 1)) : Number.NaN
      return Number.isSafeInteger(id) && name === numbered(prefix, id) ? [id] : []
    })
    .sort((a, b) => a - b)

const unavailable =
  (operation: string) =>
  (cause: PlatformError): StoreUnavailable =>
    new StoreUnavailable({
      operation,
      transient: cause._tag === "SystemError" && ["Busy", "TimedOut", "WouldBlock"].includes(cause.reason),
      cause
    })

const is =
  (reason: "NotFound" | "AlreadyExists") =>
  (error: unknown): boolean =>
    typeof error === "object" && error !== null && "reason" in error && error.reason === reason

const makePlace = (fs: FileSystem, path: Path, folder: string): CheckpointStoreBackend => {
  const at = (...names: ReadonlyArray<string>): string => path.join(folder, ...names)
  const folderOf = (id: number): string => at(numbered("checkpoint", id))
  const manifestOf = (id: number): string => path.join(folderOf(id), "manifest.json")
  const stateOf = (id: number): string => path.join(folderOf(id), "state.bin")
  const decisionOf = (id: number): string => path.join(folderOf(id), "commit")
  const namesIn = (directory: string) =>
    Effect.catchIf(fs.readDirectory(directory), is("NotFound"), () => Effect.succeed<Array<string>>([]))
  const opened = <A, E, R>(
    file: string,
    flag: "r" | "wx",
    use: (file: File) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | PlatformError, R> => Scoped.scoped(Effect.flatMap(fs.open(file, { flag }), use))
  const flushed = (directory: string) => opened(directory, "r", (file) => file.sync)
  const removed = (file: string) => Effect.catchIf(fs.remove(file), is("NotFound"), () => Effect.void)

  // --- files ---

  /** Writes a temporary file beside `file`, flushed, gives it its name by `name`, and flushes the folder. */
  const written = <E, R>(
    file: string,
    chunks: Stream.Stream<Uint8Array, E, R>,
    name: (temporary: string) => Effect.Effect<void, PlatformError>
  ): Effect.Effect<void, E | PlatformError, R> =>
    Effect.gen(function* () {
      const temporary = `${file}.${(yield* Random.nextIntBetween(0, 2 ** 48)).toString(36)}.tmp`
      yield* opened(temporary, "wx", (handle) =>
        Effect.zipRight(
          Stream.runForEach(chunks, (chunk) =>
            // Of nothing it says that nothing was written, which is its error.
            chunk.length === 0 ? Effect.void : handle.writeAll(chunk)
          ),
          handle.sync
        )
      ).pipe(
        Effect.zipRight(name(temporary)),
        // Gone when it was renamed.
        Effect.ensuring(Effect.ignore(fs.remove(temporary)))
      )
      yield* flushed(path.dirname(file))
    })
  const bytesOf = (text: string) => Stream.make(new TextEncoder().encode(text))
  const replaced = <E, R>(file: string, chunks: Stream.Stream<Uint8Array, E, R>) =>
    written(file, chunks, (temporary) => fs.rename(temporary, file))
  /** False: it is there already. */
  const created = (file: string, text: string) =>
    written(file, bytesOf(text), (temporary) => fs.link(temporary, file)).pipe(
      Effect.as(true),
      Effect.catchIf(is("AlreadyExists"), () => Effect.succeed(false))
    )
  const textOf = (file: string) =>
    Effect.catchIf(
      Effect.map(fs.readFileString(file), (text): string | undefined => text),
      is("NotFound"),
      () => Effect.succeed(undefined)
    )
  /** With a folder for the checkpoint, which goes again when nothing came of it. */
  const inFolder = <A, E, R>(id: number, write: Effect.Effect<A, E, R>) =>
    fs.makeDirectory(folderOf(id), { recursive: true }).pipe(
      Effect.zipRight(flushed(folder)),
      Effect.zipRight(write),
      Effect.onError(() => Effect.ignore(removeEmpty(id)))
    )
  const removeEmpty = (id: number) =>
    Effect.flatMap(namesIn(folderOf(id)), (names) =>
      names.length > 0
        ? Effect.void
        : Effect.zipRight(Effect.ignore(fs.remove(folderOf(id), { recursive: true })), flushed(folder))
    )

  // --- numbers that only grow: the greatest marker is never removed ---

  const highest = (prefix: string) =>
    Effect.map(namesIn(folder), (names) => numbersOf(names, prefix).at(-1) ?? 0)
  /** Makes the marker of a number, and removes lower ones. False: it, or a greater one, is there. */
  const mark = (prefix: string, number: number) =>
    Effect.gen(function* () {
      const file = at(numbered(prefix, number))
      if (!(yield* created(file, ""))) return false
      const numbers = numbersOf(yield* namesIn(folder), prefix)
      if (numbers.at(-1)! > number) {
        yield* removed(file)
        return false
      }
      yield* Effect.forEach(numbers.slice(0, -1), (lower) => removed(at(numbered(prefix, lower))), {
        discard: true
      })
      return true
    })
  const admit = (fence: Fence): Effect.Effect<void, LeaseLost | PlatformError> =>
    fence === undefined
      ? Effect.void
      : Effect.flatMap(highest("fence"), (newest): Effect.Effect<void, LeaseLost | PlatformError> => {
          if (newest === fence.epoch) return Effect.void
          if (newest > fence.epoch) return new LeaseLost({ key: fence.key, holder: "" })
          // Somebody else may have made a greater one in between.
          return Effect.zipRight(mark("fence", fence.epoch), admit(fence))
        })
  const reserve: Effect.Effect<number, PlatformError> = Effect.gen(function* () {
    const names = yield* namesIn(folder)
    const next =
      Math.max(numbersOf(names, "reserved").at(-1) ?? 0, numbersOf(names, "checkpoint").at(-1) ?? 0) + 1
    return (yield* mark("reserved", next)) ? next : yield* reserve
  })
  /** Notes that an id was given, before what shows it is removed. */
  const noteGiven = (id: number) =>
    Effect.flatMap(highest("reserved"), (most) => (most >= id ? Effect.void : mark("reserved", id)))

  const fenced = <A, E, R>(
    operation: string,
    fence: Fence,
    write: Effect.Effect<A, E | PlatformError, R>
  ): Effect.Effect<A, Exclude<E, PlatformError> | LeaseLost | StoreUnavailable, R> =>
    Effect.zipRight(admit(fence), write).pipe(mapped(operation))
  const reading = <A>(
    operation: string,
    read: Effect.Effect<A, PlatformError>
  ): Effect.Effect<A, StoreUnavailable> => read.pipe(mapped(operation))

  const ids = Effect.map(namesIn(folder), (names) => numbersOf(names, "checkpoint"))
  /** Ids of the checkpoints whose folder has what is asked for. */
  const idsWith = (has: (names: ReadonlyArray<string>) => boolean) =>
    Effect.flatMap(ids, (all) =>
      Effect.filter(all, (id) => Effect.map(namesIn(folderOf(id)), has), { concurrency: 16 })
    )

  return {
    reserve: (fence) => fenced("reserveId", fence, reserve),
    writeState: <E, R>(id: number, chunks: Stream.Stream<Uint8Array, E, R>, fence: Fence) =>
      fenced<void, E, R>("saveStateData", fence, inFolder(id, replaced(stateOf(id), chunks))),
    readState: (id, range) =>
      Effect.map(reading("loadStateData", fs.exists(stateOf(id))), (exists) => {
        if (!exists) return undefined
        if (range?.length === 0) return Stream.empty
        const part = range && { offset: range.offset, bytesToRead: range.length }
        return Stream.mapError(
          fs.stream(stateOf(id), { ...part, chunkSize: readBytes }),
          unavailable("loadStateData")
        )
      }),
    createManifest: (id, text, fence) => fenced("save", fence, inFolder(id, created(manifestOf(id), text))),
    replaceManifest: (id, text, fence) =>
      fenced(
        "updateManifest",
        fence,
        Effect.flatMap(fs.exists(manifestOf(id)), (exists) =>
          exists ? Effect.as(replaced(manifestOf(id), bytesOf(text)), true) : Effect.succeed(false)
        )
      ),
    readManifest: (id) => reading("load", textOf(manifestOf(id))),
    manifests: reading(
      "list",
      idsWith((names) => names.includes("manifest.json"))
    ),
    // What a crash has left of one, too.
    states: reading(
      "list",
      idsWith(
        (names) => names.includes("state.bin") || (!names.includes("manifest.json") && names.length > 0)
      )
    ),
    removeManifest: (id, fence) =>
      fenced(
        "prune",
        fence,
        Effect.zipRight(
          noteGiven(id),
          Effect.all([removed(manifestOf(id)), removed(decisionOf(id)), removeEmpty(id)])
        )
      ),
    removeState: (id, fence) =>
      fenced(
        "prune",
        fence,
        Effect.gen(function* () {
          yield* noteGiven(id)
          for (const name of yield* namesIn(folderOf(id)))
            if (name.endsWith(".tmp") || name === "state.bin") yield* removed(path.join(folderOf(id), name))
          yield* removeEmpty(id)
        })
      ),
    latest: Effect.map(reading("load", textOf(at("latest.txt"))), (text) => {
      const id = Number(text?.trim() || Number.NaN)
      return Number.isSafeInteger(id) && id > 0 ? id : undefined
    }),
    point: (id, fence) =>
      fenced(
        "save",
        fence,
        Effect.gen(function* () {
          const file = at("latest.txt")
          if (id === undefined) return yield* Effect.zipRight(removed(file), flushed(folder))
          if (Number((yield* textOf(file)) ?? 0) < id) yield* replaced(file, bytesOf(`${id}\n`))
        })
      ),
    decide: (id, fence) => fenced("recordCommitDecision", fence, created(decisionOf(id), "")),
    decided: (id) => reading("commitDecision", fs.exists(decisionOf(id)))
  }
}

/** What sidecars are read in. Unit: bytes. */
const readBytes = 262_144

const mapped =
  (operation: string) =>
  <A, E, R>(
    effect: Effect.Effect<A, E | PlatformError, R>
  ): Effect.Effect<A, Exclude<E, PlatformError> | StoreUnavailable, R> =>
    Effect.mapError(effect, (error) =>
      isPlatformError(error) ? unavailable(operation)(error) : (error as Exclude<E, PlatformError>)
    )
