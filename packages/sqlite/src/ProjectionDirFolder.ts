/**
 * The folder itself: which files of a projection there are, which of them are open in this process, and the lock
 * under which their number changes.
 *
 *  1. What the pointer does not name is rubbish, and removed by whoever next changes something.
 *  2. Files are made, opened and removed under the lock of the folder only: an open file that the pointer names is
 *     the one that is in the folder under this name. Going on with one that is open takes no lock.
 *  3. The pointer is looked at before everything that is done to the live model. When it changed, the files that
 *     it does not name any more are *retired*: they stay open for those who still read them, the last few of
 *     each projection, and are closed then.
 *  4. No file of a database is opened or closed otherwise than by SQLite: closing one ends all locks that this
 *     process has on it.
 *
 * The lock is the write lock of the database `.lock`, which the system lets go when its process dies.
 */
import * as Scoped from "@millrace/core/Scoped"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as ModelTransactions from "@millrace/sql/ModelTransactions"
import type * as Reactivity from "@effect/experimental/Reactivity"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as fs from "node:fs"
import { join } from "node:path"
import type { DirFile, DirFileOptions } from "./ProjectionDirFile.js"
import * as ProjectionDirFile from "./ProjectionDirFile.js"
import * as Names from "./ProjectionDirNames.js"
import type { Manifest, SeenPointer } from "./ProjectionDirPointer.js"
import * as Pointer from "./ProjectionDirPointer.js"
import * as SqliteDatabases from "./SqliteDatabase.js"
import { storeUnavailable } from "./SqliteFault.js"

/** Where the folder is and how its files are opened. */
export interface FolderOptions extends DirFileOptions {
  readonly folder: string
}

/** A projection that has a live file. */
export interface Placed {
  readonly live: DirFile
  readonly manifest: Manifest
}

/** The folder. Names of projections were checked by the caller. */
export interface Folder {
  /** The live file; made where the projection has none. */
  readonly live: (name: string) => Effect.Effect<DirFile, StoreUnavailable>
  /** The live file, unless there is none. */
  readonly existing: (name: string) => Effect.Effect<DirFile | undefined, StoreUnavailable>
  /** Whether a file is the live one by now. */
  readonly isLive: (name: string, file: DirFile) => Effect.Effect<boolean>
  /** Runs what changes which files there are, alone among all processes. It cannot be interrupted. */
  readonly locked: <A, E, R>(
    operation: string,
    body: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | StoreUnavailable, R>
  /** Under the lock: what is there, with the live file made, and opened again where a swap came to nothing. */
  readonly settle: (name: string) => Effect.Effect<Placed, StoreUnavailable>
  /** Under the lock: a file that the pointer names. */
  readonly file: (name: string, file: string) => Effect.Effect<DirFile, StoreUnavailable>
  /** Under the lock: a new file, which the pointer is to name next. */
  readonly create: (name: string, file: string) => Effect.Effect<DirFile, StoreUnavailable>
  /** Under the lock: replaces the pointer, and removes the files that it does not name. */
  readonly point: (name: string, manifest: Manifest) => Effect.Effect<void, StoreUnavailable>
  /** Under the lock: what the pointer says; one that names nothing is made where there is none. */
  readonly begun: (name: string) => Effect.Effect<Manifest, StoreUnavailable>
  /** Under the lock: what the pointer says, if there is one. */
  readonly manifest: (name: string) => Effect.Effect<Manifest | undefined, StoreUnavailable>
  /** Under the lock: removes every file of a projection, also where the pointer is broken. */
  readonly remove: (name: string) => Effect.Effect<void, StoreUnavailable>
  /** The projections that have files here, whole or broken, in order. */
  readonly list: Effect.Effect<ReadonlyArray<string>, StoreUnavailable>
  /** Closes all files. Whatever is asked for afterwards fails. */
  readonly close: Effect.Effect<void>
}

/** Opens the folder, makes it where it is missing, and closes its files with the scope. */
export const open = (
  options: FolderOptions
): Effect.Effect<Folder, StoreUnavailable, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    const { folder } = options
    yield* attempt("open", () => fs.mkdirSync(folder, { recursive: true }))
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scoped.close(scope, Exit.void))
    const lock = yield* SqliteDatabases.open({ ...options, filename: join(folder, lockFile) }).pipe(
      Scope.extend(scope)
    )
    const runtime = yield* Effect.context<Reactivity.Reactivity>()
    return make(
      options,
      scope,
      ModelTransactions.make(lock.client, { storeUnavailable }).transaction,
      (file) => Effect.provide(ProjectionDirFile.open(join(folder, file), file, options), runtime)
    )
  })

// ---- internal ----

const lockFile = ".lock"

/** Files of one projection that stay open after the pointer left them. */
const retiredMax = 4

/** What this process has open of a projection. */
interface Place {
  pointer: SeenPointer | undefined
  readonly files: Map<string, OpenFile>
  readonly retired: Array<OpenFile>
}

interface OpenFile {
  readonly value: DirFile
  readonly scope: Scope.CloseableScope
}

const make = (
  { folder }: FolderOptions,
  scope: Scope.CloseableScope,
  lockedBy: ModelTransactions.Run,
  openFile: (file: string) => Effect.Effect<DirFile, StoreUnavailable, Scope.Scope>
): Folder => {
  const places = new Map<string, Place>()
  let isClosed = false
  const pathOf = (file: string): string => join(folder, file)

  const placeOf = (name: string): Place => {
    let place = places.get(name)
    if (place === undefined) places.set(name, (place = { pointer: undefined, files: new Map(), retired: [] }))
    return place
  }

  const retire = (place: Place, isNamed: (file: string) => boolean): Effect.Effect<void> =>
    Effect.suspend(() => {
      for (const [file, open] of place.files)
        if (!isNamed(file)) {
          place.files.delete(file)
          place.retired.push(open)
        }
      const gone = place.retired.splice(0, Math.max(0, place.retired.length - retiredMax))
      return Effect.forEach(gone, ({ scope }) => Scoped.close(scope, Exit.void), { discard: true })
    })

  /** Reads the pointer, if it is another one than before. */
  const look = (name: string): Effect.Effect<Manifest | undefined, StoreUnavailable> =>
    Effect.suspend(() => {
      const place = placeOf(name)
      const path = pathOf(Names.pointerFile(name))
      const before = place.pointer
      if (before !== undefined && Pointer.isUnchanged(path, before)) return Effect.succeed(before.manifest)
      const now = Pointer.read(path)
      place.pointer = now
      Pointer.forget(before)
      const named =
        now !== undefined && now.manifest.id === before?.manifest.id ? Pointer.filesOf(now.manifest) : []
      return Effect.as(
        retire(place, (file) => named.includes(file)),
        now?.manifest
      )
    }).pipe(Effect.catchAllDefect((cause) => Effect.fail(storeUnavailable("open")(cause))))

  /** The live file where it is open and the pointer is the one that was seen. */
  const quick = (name: string): DirFile | undefined => {
    const place = places.get(name)
    if (place?.pointer === undefined || isClosed) return undefined
    const { manifest } = place.pointer
    if (manifest.live === undefined) return undefined
    try {
      if (!Pointer.isUnchanged(pathOf(Names.pointerFile(name)), place.pointer)) return undefined
    } catch {
      // The look that comes next says what it is.
      return undefined
    }
    return place.files.get(manifest.live)?.value
  }

  const file = (name: string, file: string): Effect.Effect<DirFile, StoreUnavailable> =>
    Effect.suspend(() => {
      const place = placeOf(name)
      const open = place.files.get(file)
      if (open !== undefined) return Effect.succeed(open.value)
      return Effect.gen(function* () {
        const own = yield* Scope.fork(scope, { _tag: "Sequential" })
        const value = yield* openFile(file).pipe(
          Scope.extend(own),
          Effect.onError(() => Scoped.close(own, Exit.void))
        )
        place.files.set(file, { value, scope: own })
        return value
      })
    })

  /** One that the pointer names must be there: SQLite would make an empty one in its place. */
  const namedFile = (name: string, live: string) =>
    Effect.suspend(() =>
      fs.existsSync(pathOf(live))
        ? file(name, live)
        : Effect.fail(
            storeUnavailable("open")(
              new Pointer.BrokenPointer(
                pathOf(Names.pointerFile(name)),
                `names a database that is missing, ${live},`
              )
            )
          )
    )

  /** Removes the files of a projection that are not among these: the databases last, they make sense of the others. */
  const sweep = (name: string, named: ReadonlyArray<string>): Effect.Effect<void, StoreUnavailable> =>
    attempt("sweep", () => {
      const gone = fs
        .readdirSync(folder)
        .filter(Names.isDatabaseFileOf(name))
        .filter((each) => !named.includes(each.replace(/-(wal|shm|journal)$/, "")))
        .sort((a, b) => b.length - a.length)
      for (const each of gone) fs.rmSync(pathOf(each), { force: true })
      if (gone.length > 0) Pointer.syncFolder(folder)
    })

  const put = (name: string, manifest: Manifest): Effect.Effect<void, StoreUnavailable> =>
    Effect.zipRight(
      attempt("point", () => Pointer.write(folder, Names.pointerFile(name), manifest)),
      Effect.asVoid(look(name))
    )
  const point: Folder["point"] = (name, manifest) =>
    Effect.zipRight(put(name, manifest), sweep(name, Pointer.filesOf(manifest)))

  /** What the pointer says; a new one where there is none yet, with nothing in it. */
  const begun = (name: string): Effect.Effect<Manifest, StoreUnavailable> =>
    Effect.gen(function* () {
      const found = yield* look(name)
      if (found?.live !== undefined) yield* namedFile(name, found.live)
      if (found !== undefined && !isNone(found)) return found
      const [stray] = found === undefined ? yield* databases(name) : []
      if (stray !== undefined)
        return yield* storeUnavailable("open")(
          new Pointer.BrokenPointer(
            pathOf(Names.pointerFile(name)),
            `is missing, and databases are there: ${stray},`
          )
        )
      const id = yield* Random.nextIntBetween(1, 2 ** 48)
      const manifest: Manifest = { ...none, id }
      yield* point(name, manifest)
      return manifest
    })

  /** Makes the live file. */
  const start = (name: string, manifest: Manifest): Effect.Effect<Manifest, StoreUnavailable> =>
    Effect.gen(function* () {
      const made = manifest.highest >= 0 ? manifest.made : 0
      const live = Names.databaseFile(name, 0, made)
      yield* file(name, live)
      const started = {
        ...manifest,
        live,
        made: manifest.made + 1,
        highest: Math.max(manifest.highest, 0)
      }
      yield* put(name, started)
      return started
    })

  const databases = (name: string) =>
    attempt("open", () => fs.readdirSync(folder).filter(Names.isDatabaseFileOf(name)))

  const settle = (name: string): Effect.Effect<Placed, StoreUnavailable> =>
    Effect.gen(function* () {
      const found = yield* begun(name)
      const manifest = found.live === undefined ? yield* start(name, found) : found
      const live = yield* namedFile(name, manifest.live!)
      yield* live.takeBack(name)
      return { live, manifest }
    })

  const locked: Folder["locked"] = (operation, body) =>
    Effect.suspend(() =>
      isClosed ? Effect.fail(closed(operation)) : lockedBy(operation, Effect.uninterruptible(body))
    ) as never

  const live: Folder["live"] = (name) =>
    Effect.suspend(() => {
      const open = quick(name)
      return open === undefined
        ? Effect.map(locked("open", settle(name)), ({ live }) => live)
        : Effect.succeed(open)
    })

  const shut = (place: Place): Effect.Effect<void> =>
    Effect.suspend(() => {
      Pointer.forget(place.pointer)
      place.pointer = undefined
      const open = [...place.files.values(), ...place.retired.splice(0)]
      place.files.clear()
      return Effect.forEach(open, ({ scope }) => Scoped.close(scope, Exit.void), { discard: true })
    })

  return {
    live,
    locked,
    settle,
    file: namedFile,
    create: file,
    point,
    existing: (name) =>
      Effect.suspend(() => {
        const open = quick(name)
        if (open !== undefined) return Effect.succeed(open)
        if (isClosed) return Effect.fail(closed("open"))
        return Effect.flatMap(look(name), (manifest) =>
          manifest?.live === undefined ? Effect.succeed(undefined) : live(name)
        )
      }),
    isLive: (name, file) => Effect.sync(() => quick(name) === file),
    begun,
    manifest: look,
    remove: (name) =>
      Effect.gen(function* () {
        const seen = yield* Effect.option(look(name))
        const manifest = seen._tag === "Some" ? seen.value : undefined
        // A broken pointer names nothing; what is there is removed by its names.
        const named =
          manifest === undefined
            ? []
            : Pointer.filesOf(manifest).filter((each) => fs.existsSync(pathOf(each)))
        for (const each of named)
          yield* Effect.ignore(Effect.flatMap(file(name, each), (open) => open.bury(name)))
        const none: Manifest = {
          id: 0,
          live: undefined,
          former: undefined,
          building: [],
          made: 0,
          highest: 0
        }
        if (manifest !== undefined || (yield* databases(name)).length > 0 || seen._tag === "None")
          yield* point(name, none)
        yield* attempt("remove", () => Pointer.remove(folder, Names.pointerFile(name)))
        yield* Effect.ignore(look(name))
      }),
    list: Effect.flatMap(
      Effect.suspend(() => (isClosed ? Effect.fail(closed("list")) : Effect.void)),
      () =>
        attempt("list", () => {
          const names = fs.readdirSync(folder).map(Names.nameOfFile)
          return [...new Set(names.filter((name) => name !== undefined))].sort()
        })
    ),
    close: Effect.suspend(() => {
      isClosed = true
      return Effect.zipRight(
        Effect.forEach([...places.values()], shut, { discard: true }),
        Scoped.close(scope, Exit.void)
      )
    })
  }
}

/** What the pointer says of a projection that is being made or removed. */
const none: Manifest = {
  id: 0,
  live: undefined,
  former: undefined,
  building: [],
  made: 0,
  highest: -1
}

const isNone = (manifest: Manifest): boolean => Pointer.filesOf(manifest).length === 0 && manifest.id === 0

/** Does something to the folder, and makes what is thrown the typed error. */
const attempt = <A>(operation: string, body: () => A): Effect.Effect<A, StoreUnavailable> =>
  Effect.try({ try: body, catch: storeUnavailable(operation) })

const closed = (operation: string): StoreUnavailable =>
  new StoreUnavailable({
    operation,
    transient: false,
    cause: new Error("the folder of projections was closed")
  })
