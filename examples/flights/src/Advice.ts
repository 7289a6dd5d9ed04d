/** What to do next about each thing that can go wrong: the second line of every error message. */
import type { SerializationError } from "@millrace/core/EngineError"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { WriteError } from "@millrace/core/WriteError"
import type { DatasetUnreadable } from "./Dataset.js"
import type { DataFolderUnusable, StoreNotOpened } from "./Stores.js"

export type FlightsError =
  DatasetUnreadable | DataFolderUnusable | StoreNotOpened | StoreUnavailable | SerializationError | WriteError

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
    case "SerializationError":
      return "The log holds an event that this program did not write. Use another data folder or database."
    default:
      return "The log holds something that this program did not write. Use another data folder or database."
  }
}

const storeAdvice: Record<StoreNotOpened["store"], string> = {
  memory: "This is a fault of the program.",
  sqlite: "Name another folder with --data DIR, or remove the broken file in it, then run again.",
  postgres: "Check that the server runs and that --url names a database that you may create tables in."
}
