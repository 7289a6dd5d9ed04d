/**
 * What an error of SQLite means, decided here and nowhere else, from its result code and never from its text:
 * whether trying again can help, and whether the statement or the whole storage is at fault.
 */
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"

/** SQLite's extended result code, for example `SQLITE_BUSY_SNAPSHOT`; "" for an error that has none. */
export const codeOf = (cause: unknown): string => {
  const code = fieldOf(unwrap(cause), "code")
  return typeof code === "string" ? code : ""
}

/** Another connection holds a lock that the statement needs. Nothing was executed; the same again may succeed. */
export const isBusy = (cause: unknown): boolean => /^SQLITE_(BUSY|LOCKED|PROTOCOL)/.test(codeOf(cause))

/**
 * Whether the same call may succeed later, without anybody mending anything: another connection's lock, an
 * interrupted statement, no memory. Not so a full disk, a missing folder, a file that may not be written or
 * is no database, and every error without a code.
 */
export const isTransient = (cause: unknown): boolean =>
  isBusy(cause) || /^SQLITE_(INTERRUPT|NOMEM)/.test(codeOf(cause))

/**
 * Whether one row was at fault (too big, refused by a constraint or a trigger), so that other rows of the same
 * transaction may well be stored without it. Everything else would meet them too.
 */
export const isRowAtFault = (cause: unknown): boolean =>
  /^SQLITE_(CONSTRAINT|TOOBIG|MISMATCH|RANGE|ERROR)/.test(codeOf(cause)) || codeOf(cause) === ""

/** A unique index refused the row. */
export const isDuplicate = (cause: unknown): boolean => {
  const code = codeOf(cause)
  return code === "SQLITE_CONSTRAINT_UNIQUE" || code === "SQLITE_CONSTRAINT_PRIMARYKEY"
}

/** The driver's error as the typed one of a store that was doing `operation`. It keeps text and code. */
export const storeUnavailable =
  (operation: string) =>
  (cause: unknown): StoreUnavailable =>
    new StoreUnavailable({ operation, transient: isTransient(cause), cause: unwrap(cause) })

// ---- internal ----

const fieldOf = (value: unknown, field: string): unknown =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>)[field] : undefined

/** The driver's error beneath what @effect/sql wraps around it. */
function unwrap(cause: unknown): unknown {
  let inner = cause
  for (let tag = fieldOf(inner, "_tag"); tag === "SqlError" || tag === "MigrationError";) {
    const next = fieldOf(inner, "cause")
    if (next === undefined) return inner
    inner = next
    tag = fieldOf(inner, "_tag")
  }
  return inner
}
