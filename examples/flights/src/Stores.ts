/**
 * The three stores to choose from. The program is the same on each; only this file knows which one it runs
 * on. A store is loaded when it is chosen, so that `--store memory` starts without any database driver.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import type { CheckpointStorage } from "@millrace/core/CheckpointStore"
import type { PlatformError } from "@effect/platform/Error"
import type { EventStore } from "@millrace/core/EventStore"
import * as Memory from "@millrace/core/Memory"
import type { ModelStore } from "@millrace/core/ModelStore"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { join, resolve } from "node:path"

export const storeNames = ["memory", "sqlite", "postgres"] as const
export type StoreName = (typeof storeNames)[number]

/** Where the log is. */
export type StorePlace =
  | { readonly store: "memory" }
  | { readonly store: "sqlite"; readonly folder: string }
  | { readonly store: "postgres"; readonly url: Redacted.Redacted<string> }

/** The data folder cannot be one. Name another with `--data`, or move away what is in its place. */
export class DataFolderUnusable extends Schema.TaggedError<DataFolderUnusable>()("DataFolderUnusable", {
  path: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `the data folder cannot be used. path=${this.path} reason="${this.reason}"`
  }
}

/** The store did not open. Nothing was written. */
export class StoreNotOpened extends Schema.TaggedError<StoreNotOpened>()("StoreNotOpened", {
  store: Schema.Literal(...storeNames),
  reason: Schema.String
}) {
  override get message(): string {
    return `the store did not open. store=${this.store} reason="${this.reason}"`
  }
}

/** What the program needs of a store. */
export type StoreServices = EventStore | SubscriberStore | ModelStore | CheckpointStorage

/** The chosen store, opened, its tables in place. */
export const layer = (
  place: StorePlace
): Layer.Layer<StoreServices, StoreNotOpened | DataFolderUnusable, FileSystem.FileSystem> => {
  const notOpened = (error: unknown) =>
    new StoreNotOpened({
      store: place.store,
      reason: error instanceof Error ? error.message : String(error)
    })
  switch (place.store) {
    case "memory":
      return Layer.mapError(Memory.layer(), notOpened)
    case "sqlite":
      return Layer.unwrapEffect(
        Effect.gen(function* () {
          const folder = yield* dataFolder(place.folder)
          const Sqlite = yield* Effect.promise(() => import("@millrace/sqlite/Sqlite"))
          return Layer.mapError(Sqlite.layer({ filename: join(folder, "flights.db") }), notOpened)
        })
      )
    case "postgres":
      return Layer.unwrapEffect(
        Effect.gen(function* () {
          const Postgres = yield* Effect.promise(() => import("@millrace/postgres/Postgres"))
          return Layer.mapError(Postgres.layer({ url: place.url }), notOpened)
        })
      )
  }
}

// ---- internal ----

/** Makes the folder when it is missing, and gives its full path. */
const dataFolder = (folder: string): Effect.Effect<string, DataFolderUnusable, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const path = resolve(folder)
    const files = yield* FileSystem.FileSystem
    const unusable = (reason: string) => new DataFolderUnusable({ path, reason })
    yield* Effect.mapError(files.makeDirectory(path, { recursive: true }), (error) =>
      unusable(folderReason(error))
    )
    return path
  })

const folderReason = (error: PlatformError): string => {
  if (error._tag !== "SystemError") return error.message
  if (error.reason === "AlreadyExists") return "it is a file"
  // What the platform makes of ENOTDIR.
  return error.reason === "BadResource" ? "a part of the path is a file" : `${error.reason}`
}
