/** What to say of each thing that can go wrong: what it was, and what to do next. */
import type { SerializationError } from "@millrace/core/EngineError"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { CatchUpError, RebuildError } from "@millrace/core/ProjectionErrors"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { WriteError } from "@millrace/core/WriteError"
import type { SqlSinkError } from "@millrace/sql/SqlSink"
import type { AlertError } from "./Alerts.js"
import type { DatasetUnreadable } from "./Dataset.js"
import type { DataFolderUnusable, StoreNotOpened } from "./Stores.js"
import type { WindowError } from "./Windows.js"

export type FlightsError =
  | DatasetUnreadable
  | DataFolderUnusable
  | StoreNotOpened
  | SerializationError
  | WriteError
  | AlertError
  | CatchUpError
  | RebuildError
  | InvalidArgument
  | WindowError
  | SqlSinkError

/** What happened, in one line. A handler's error does not say by itself why the handler failed. */
export const messageOf = (error: FlightsError): string =>
  error._tag === "HandlerError" && error.cause instanceof Error
    ? `${error.message} cause="${error.cause.message}"`
    : error.message

/** One sentence for a person who has just read the error. */
export const adviceFor = (error: FlightsError): string => {
  switch (error._tag) {
    case "DatasetUnreadable":
      return "Install the packages anew with npm ci, then run again."
    case "DataFolderUnusable":
      return "Name a folder that can be written with --data DIR, then run again."
    case "StoreNotOpened":
      return storeAdvice[error.store]
    case "StoreUnavailable":
      return error.transient
        ? "Run again: what is in the log stays there, and the rest is appended."
        : "See to the disk or the database that is named above, then run again: nothing is appended twice."
    case "HandlerError":
      return error.cause instanceof StoreUnavailable ? adviceFor(error.cause) : foreignAdvice
    case "LeaseHeld":
    case "LeaseLost":
      return "Another run of this program is at work on the same log. Wait until it has ended, then run again."
    case "SqlError":
      return "See to the database, then run again: what is committed stays, and nothing is counted twice."
    case "OperatorMissing":
    case "StateIncompatible":
      return "Another edition of this program has written the checkpoints. Use another data folder or database."
    case "ProjectionOutdated":
      return "Run with --rebuild, which builds the read models anew from the log."
    case "ProjectionSuperseded":
      return "A newer edition of this program has built the read models. Run that one."
    case "StreamGap":
    case "VerificationFailed":
      return "Run with --rebuild. If that ends in the same way, the log has lost something: use another data folder or database."
    case "CursorAheadOfLog":
      return "The log is not the one that was read before, or has lost its end. Use another data folder or database."
    default:
      return foreignAdvice
  }
}

const foreignAdvice =
  "The log holds something that this program did not write. Use another data folder or database."

const storeAdvice: Record<StoreNotOpened["store"], string> = {
  memory: "This is a fault of the program.",
  sqlite: "Name another folder with --data DIR, or remove the broken file in it, then run again.",
  postgres: "Check that the server runs and that --url names a database that you may create tables in."
}
