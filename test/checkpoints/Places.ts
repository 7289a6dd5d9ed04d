/** Where checkpoints are kept under attack, by an address that a process can be told, and what they must hold. */
import { NodeContext } from "@effect/platform-node"
import type { CheckpointStorage } from "@millrace/core/CheckpointStore"
import * as FileCheckpointStore from "@millrace/core/FileCheckpointStore"
import * as Databases from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { newStore } from "../consumers/Stores.js"
import type { StoreAddress } from "../consumers/Stores.js"
import * as Postgres from "@millrace/postgres/Postgres"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import * as Redacted from "effect/Redacted"

/** Where the checkpoints are: as JSON. */
export type PlaceAddress = StoreAddress | { readonly kind: "files"; readonly folder: string }

/** The storage at an address. */
export const storageAt = (address: PlaceAddress): Layer.Layer<CheckpointStorage, unknown> => {
  switch (address.kind) {
    case "postgres":
      return Postgres.layer({ url: Redacted.make(address.url), maxConnections: 4 })
    case "sqlite":
      return Sqlite.layer({ filename: address.filename })
    case "files":
      return Layer.provide(FileCheckpointStore.layer({ folder: address.folder }), NodeContext.layer)
  }
}

/** A new, empty place for one test. */
export const newPlace = (kind: PlaceAddress["kind"]): Effect.Effect<PlaceAddress, unknown, Scope.Scope> =>
  kind === "files" ? Effect.map(Databases.folder, (folder) => ({ kind, folder })) : newStore(kind)

/** The state of a checkpoint, which its id says, in pieces. About 300 000 bytes. */
export const stateOf = (checkpointId: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: 7 }, (_, piece) =>
    Uint8Array.from(
      { length: 40_000 + ((checkpointId * 7 + piece) % 5_000) },
      (_, at) => (checkpointId + piece + at) % 253
    )
  )
