/**
 * What the files of a folder of projections are called. A projection's name becomes a part of file names in which
 * nothing has a meaning to a file system:
 *
 *     name             file names begin with
 *     flights-2.daily  flights-2.daily
 *     Flights          %46lights                 (a file system may not tell F from f)
 *     sales/per day    sales%2fper%20day
 *
 * Two names never give the same files, whatever the file system makes of case or of composed characters, and no
 * name leads out of the folder: what reads like a way out is refused besides, so that it is noticed.
 */
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { invalid } from "@millrace/core/InvalidArgument"
import { projectionNameMax } from "@millrace/core/Projection"
import { textFault, utf8Bytes } from "@millrace/core/Text"

/** What a name may be. */
export const allowedNames =
  '1 to 200 characters without "~" and "\\", not beginning with "." or "/", without an empty part, "." or ".." ' +
  "between slashes, and short enough for a file name: 200 bytes, where each byte outside of a-z, 0-9, _, - and . counts 3"

/** What is wrong with the name of a projection, if its model shall be kept in a file. */
export const nameFault = (name: unknown): InvalidArgument | undefined =>
  isAllowed(name) ? undefined : invalid("name", allowedNames, name)

/** What the names of a projection's files begin with. */
export const stemOf = (name: string): string =>
  name.replace(/[^a-z0-9_.-]/gu, (character) =>
    [...new TextEncoder().encode(character)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")
  )

/** The file that says which database is live. */
export const pointerFile = (name: string): string => `${stemOf(name)}${pointerEnd}`

/** A new database: `made` is 0 for a generation that never had one, else a number that none had before. */
export const databaseFile = (name: string, generation: number, made: number): string =>
  `${stemOf(name)}.${generation}${made === 0 ? "" : `-${made}`}.db`

/** Whether a file is a database of this projection, or belongs to one. */
export const isDatabaseFileOf = (name: string): ((file: string) => boolean) => {
  const stem = `${stemOf(name)}.`
  return (file) =>
    file.startsWith(stem) && /^[0-9]+(-[0-9]+)?\.db(-wal|-shm|-journal)?$/.test(file.slice(stem.length))
}

/** The projection that a file belongs to; undefined for a file that is none of ours. */
export const nameOfFile = (file: string): string | undefined => {
  const stem = file.endsWith(pointerEnd)
    ? file.slice(0, -pointerEnd.length)
    : /^(.+)\.[0-9]+(-[0-9]+)?\.db$/.exec(file)?.[1]
  if (stem === undefined) return undefined
  try {
    const name = decodeURIComponent(stem)
    return isAllowed(name) && stemOf(name) === stem ? name : undefined
  } catch {
    return undefined
  }
}

// ---- internal ----

const pointerEnd = ".current"

/** A file name has 255 bytes, of which the longest end (two numbers and `.db-journal`) takes 46. */
const stemBytesMax = 200

const isAllowed = (name: unknown): name is string =>
  typeof name === "string" &&
  textFault(name, projectionNameMax) === undefined &&
  !/[~\\]/.test(name) &&
  !name.startsWith(".") &&
  name.split("/").every((part) => part !== "" && part !== "." && part !== "..") &&
  utf8Bytes(stemOf(name)) <= stemBytesMax
