/**
 * What an error of the driver means, decided here and nowhere else, from its SQLSTATE or errno: whether
 * trying again can help, and whether the statement may have taken effect after all.
 */
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"

/** SQLSTATE of a server error, errno of a socket error, or "" when there is neither. */
export const codeOf = (cause: unknown): string => {
  const code = fieldOf(unwrap(cause), "code")
  return typeof code === "string" ? code : ""
}

/** Name of the violated constraint, or "". */
export const constraintOf = (cause: unknown): string => {
  const constraint = fieldOf(unwrap(cause), "constraint")
  return typeof constraint === "string" ? constraint : ""
}

const fieldOf = (value: unknown, field: string): unknown =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>)[field] : undefined

/** The driver's error beneath an `SqlError`. */
const unwrap = (cause: unknown): unknown =>
  fieldOf(cause, "_tag") === "SqlError" ? fieldOf(cause, "cause") : cause

/** Every SQLSTATE has a digit and none begins with E; an errno such as EPIPE is made otherwise. */
const isSqlState = (code: string): boolean => /^(?=.*\d)[0-9A-DF-Z][0-9A-Z]{4}$/.test(code)

/**
 * Classes and codes after which the same statement may succeed: 08 connection, 40 rolled back (serialisation,
 * deadlock), 53 out of some resource, 55P03 lock not available, 57 operator intervention, 58 system error;
 * every error without a SQLSTATE, which comes from the socket; and a named statement that a pooler lost (names
 * are given up then). 53100 is a full disk: it needs somebody.
 */
export const isTransient = (cause: unknown): boolean => {
  const code = codeOf(cause)
  if (!isSqlState(code)) return true
  if (code === "53100") return false
  return /^(08|40|53|57|58)/.test(code) || code === "55P03" || isLostStatement(cause)
}

/**
 * Whether the outcome of the statement is unknown: the connection broke before the answer came. Every other
 * error is the server's own answer, and then nothing was written.
 */
export const isUnknownOutcome = (cause: unknown): boolean => {
  const code = codeOf(cause)
  return !isSqlState(code) || code.startsWith("08") || code.startsWith("57P") || code === "40003"
}

/** A lock was not to be had within the time allowed for it. */
export const isLockTimeout = (cause: unknown): boolean => codeOf(cause) === "55P03"

/** SQLSTATE with which the fence undoes a fast form: some lease of the batch is lost, or being taken over. */
export const fenceBroken = "MR001"

/** The fence undid the whole call. The general form tells whose lease it was. */
export const isFenceBroken = (cause: unknown): boolean => codeOf(cause) === fenceBroken

/** A named statement is not known to the connection: a pooler gave us another one. Nothing was executed. */
export const isLostStatement = (cause: unknown): boolean =>
  codeOf(cause) === "26000" || codeOf(cause) === "42P05"

/**
 * The driver's error as a typed one. It keeps message and SQLSTATE; what else the driver knows (parameters,
 * host, connection settings) stays behind.
 */
export const storeUnavailable =
  (operation: string) =>
  (cause: unknown): StoreUnavailable => {
    const error = unwrap(cause)
    const code = codeOf(error)
    const message = error instanceof Error ? messageOf(error) : String(error)
    return new StoreUnavailable({
      operation,
      transient: isTransient(error),
      cause: new PgError(code === "" ? message : `${message} (${code})`, code)
    })
  }

/** An `AggregateError` of a refused connection has no message of its own. */
const messageOf = (error: Error): string => {
  if (error.message !== "") return error.message
  const inner = fieldOf(error, "errors")
  return Array.isArray(inner)
    ? inner.map((each) => (each instanceof Error ? each.message : String(each))).join("; ")
    : error.name
}

/** What is left of a driver's error. `code` is the SQLSTATE or errno, "" when there was none. */
export class PgError extends Error {
  override readonly name = "PgError"
  constructor(
    message: string,
    readonly code: string
  ) {
    super(message)
  }
}
