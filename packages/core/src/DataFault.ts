/**
 * Where and why a value is not what it should be: the one place inside it, written as a path such as
 * `data.items[2].price`, and the reason in words. For errors that a person reads; nothing here throws.
 */
import * as ParseResult from "effect/ParseResult"

/** One place in a value and what is wrong there. */
export interface DataFault {
  /** For example `data.items[2].price`. */
  readonly path: string
  /** In words, shortened to at most 200 characters. */
  readonly reason: string
}

/** Longest reason. Unit: UTF-16 units. Parts of the value are quoted in it, so that it must not grow with the value. */
const reasonCharsMax = 200

/** Shortens a reason to its limit. */
export const shorten = (reason: string): string =>
  reason.length > reasonCharsMax ? `${reason.slice(0, reasonCharsMax - 1)}…` : reason

/**
 * Path of a place in a value: names follow a dot, places in lists stand in brackets, names that are no
 * identifiers are quoted.
 *
 * @example
 * ```ts
 * pathText("data", ["items", 2, "unit price"])   // data.items[2]["unit price"]
 * ```
 */
export const pathText = (root: string, path: ReadonlyArray<PropertyKey>): string => {
  let text = root
  for (const key of path) {
    if (typeof key === "number") text += `[${key}]`
    else if (typeof key === "string" && identifier.test(key)) text += `.${key}`
    else text += `[${typeof key === "symbol" ? String(key) : JSON.stringify(key)}]`
  }
  return text
}

/**
 * What a schema found wrong. Of several findings (the members of a union each have theirs) the deepest one
 * is taken: that member came closest.
 */
export const parseFault = (root: string, issue: ParseResult.ParseIssue): DataFault => {
  const found = ParseResult.ArrayFormatter.formatIssueSync(issue)
  let deepest = found[0]
  for (const one of found) if (deepest === undefined || one.path.length > deepest.path.length) deepest = one
  return deepest === undefined
    ? { path: root, reason: "does not fit its schema" }
    : { path: pathText(root, deepest.path), reason: shorten(deepest.message) }
}

/**
 * The first part of a value that would not come back from JSON as it is, or `undefined`: NaN and infinities
 * (JSON makes them null), `undefined` in a list (null), dates, maps and other objects that are neither
 * records nor lists, bigints, functions, symbols, and cycles. A record's `undefined` fields are left out by
 * JSON, which is what an optional field means, and are no fault.
 */
export const jsonFault = (root: string, value: unknown): DataFault | undefined => {
  const path: Array<PropertyKey> = []
  const reason = jsonReason(value, path)
  return reason === undefined ? undefined : { path: pathText(root, path), reason }
}

// ---- internal ----

const identifier = /^[\p{ID_Start}_$][\p{ID_Continue}$]*$/u

/** Deepest nesting of a stored value. Unit: levels. A cycle ends here as well. */
const depthMax = 500

/** The reason; `path` then holds the way to the place. Hot: looks at every value of every encoded event. */
function jsonReason(value: unknown, path: Array<PropertyKey>): string | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      return Number.isFinite(value) ? undefined : `${value} is not a JSON number`
    case "object":
      break
    default:
      return `${typeof value} is not a JSON value`
  }
  if (value === null) return undefined
  if (path.length >= depthMax) return `is nested deeper than ${depthMax} levels, or contains itself`
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      path.push(i)
      const reason = jsonReason(value[i], path)
      if (reason !== undefined) return reason
      path.pop()
    }
    return undefined
  }
  const prototype = Object.getPrototypeOf(value) as object | null
  if (prototype !== Object.prototype && prototype !== null && !isRecord(value))
    return `${Object.prototype.toString.call(value).slice(8, -1)} is not a JSON value`
  for (const key of Object.keys(value)) {
    const part = (value as Record<string, unknown>)[key]
    if (part === undefined) continue
    path.push(key)
    const reason = jsonReason(part, path)
    if (reason !== undefined) return reason
    path.pop()
  }
  return undefined
}

/** Whether JSON keeps what an object of some class holds: dates, maps, bytes, errors and whatever has `toJSON` it does not. */
const isRecord = (value: object): boolean =>
  Object.prototype.toString.call(value) === "[object Object]" &&
  typeof (value as { readonly toJSON?: unknown }).toJSON !== "function"
