/**
 * The pointer file `<projection>.current`: which database of the projection is live, which are beside it. One small
 * text of JSON, replaced as a whole and never changed:
 *
 *     write name.current.new ─▶ fsync ─▶ rename over name.current ─▶ fsync of the folder
 *
 * A look at an unchanged pointer is one `stat`. Its inode says for sure whether it is the one that was read: this
 * process keeps that one open, and what is open gives its number to no other file.
 */
import * as fs from "node:fs"
import { join } from "node:path"

/** A database beside the live one, by its generation. */
export interface BesideFile {
  readonly file: string
  readonly generation: number
}

/** What a pointer says. */
export interface Manifest {
  /** Drawn when the projection got its first file: file names mean nothing across a removal. */
  readonly id: number
  /** The live database; none while the projection is made or removed. */
  readonly live: string | undefined
  readonly former: BesideFile | undefined
  readonly building: ReadonlyArray<BesideFile>
  /** Databases that were made so far. */
  readonly made: number
  /** The greatest generation that had one. */
  readonly highest: number
}

/** A pointer that was read, and is kept open. */
export interface SeenPointer {
  readonly manifest: Manifest
  readonly inode: bigint
  readonly descriptor: number
}

/** Whether the file is still the one that was read. */
export const isUnchanged = (path: string, seen: SeenPointer): boolean =>
  fs.statSync(path, { bigint: true, throwIfNoEntry: false })?.ino === seen.inode

/** Reads the pointer; undefined when there is none. Throws a {@link BrokenPointer} or what the system says. */
export const read = (path: string): SeenPointer | undefined => {
  let descriptor: number
  try {
    descriptor = fs.openSync(path, "r")
  } catch (cause) {
    if (isMissing(cause)) return undefined
    throw cause
  }
  try {
    const inode = fs.fstatSync(descriptor, { bigint: true }).ino
    return { manifest: parse(path, fs.readFileSync(descriptor, "utf8")), inode, descriptor }
  } catch (cause) {
    fs.closeSync(descriptor)
    throw cause
  }
}

/** Puts a pointer in the place of the one before. It is there for good when this returns. */
export const write = (folder: string, file: string, manifest: Manifest): void => {
  const path = join(folder, file)
  const descriptor = fs.openSync(`${path}.new`, "w", 0o666)
  try {
    fs.writeFileSync(descriptor, `${JSON.stringify({ millrace: form, ...manifest })}\n`)
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
  fs.renameSync(`${path}.new`, path)
  syncFolder(folder)
}

/** Removes a pointer; one that is not there is no fault. */
export const remove = (folder: string, file: string): void => {
  for (const each of [`${file}.new`, file]) fs.rmSync(join(folder, each), { force: true })
  syncFolder(folder)
}

/** Closes a pointer that was read. */
export const forget = (seen: SeenPointer | undefined): void => {
  if (seen !== undefined) fs.closeSync(seen.descriptor)
}

/** Makes what was made, renamed and removed in a folder survive a loss of power. */
export const syncFolder = (folder: string): void => {
  const descriptor = fs.openSync(folder, "r")
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

/** The files of a pointer. */
export const filesOf = ({ building, former, live }: Manifest): ReadonlyArray<string> =>
  [live, former?.file, ...building.map(({ file }) => file)].filter((file) => file !== undefined)

/** A pointer that cannot be followed. Nothing was changed; its message says what to do. */
export class BrokenPointer extends Error {
  override readonly name = "BrokenPointer"
  constructor(path: string, reason: string) {
    super(
      `the pointer file of a projection ${reason}. Put it back from a backup, together with the databases beside it, ` +
        `or remove the projection (ProjectionDir.remove) and rebuild it from the log. file=${path}`
    )
  }
}

// ---- internal ----

/** Of the text. Another one is of a newer version of this library. */
const form = 1

const isMissing = (cause: unknown): boolean =>
  (cause as { readonly code?: unknown } | null)?.code === "ENOENT"

const parse = (path: string, text: string): Manifest => {
  let value: Partial<Record<keyof Manifest | "millrace", unknown>> | null
  try {
    value = JSON.parse(text) as typeof value
  } catch {
    throw new BrokenPointer(path, "is no JSON")
  }
  if (value?.millrace !== form)
    throw new BrokenPointer(path, `is of another form than ${form}, or none of this library's`)
  const { building, former, highest, id, live, made } = value
  const isWhole =
    [id, made, highest].every(Number.isSafeInteger) &&
    (live === undefined || isFile(live)) &&
    (former === undefined || isBeside(former)) &&
    Array.isArray(building) &&
    building.every(isBeside)
  if (!isWhole) throw new BrokenPointer(path, "lacks something, or says what it cannot")
  return value as Manifest
}

/** A plain name: a pointer that somebody else wrote does not lead out of the folder either. */
const isFile = (value: unknown): value is string =>
  typeof value === "string" && /^[a-z0-9_%-][a-z0-9_.%-]*\.db$/.test(value)

const isBeside = (value: unknown): value is BesideFile => {
  const beside = value as Partial<BesideFile> | null
  return isFile(beside?.file) && Number.isSafeInteger(beside?.generation)
}
