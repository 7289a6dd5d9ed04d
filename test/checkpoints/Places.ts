/** Where checkpoints are kept under attack, by an address that a process can be told, and what they must hold. */
import { NodeContext } from "@effect/platform-node"
import type { CheckpointStorage } from "@millrace/core/CheckpointStore"
import * as FileCheckpointStore from "@millrace/core/FileCheckpointStore"
import * as Postgres from "@millrace/postgres/Postgres"
import * as S3CheckpointStore from "@millrace/s3/S3CheckpointStore"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import * as Databases from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as ObjectServer from "../../packages/s3/test/ObjectServer.js"
import { newStore } from "../consumers/Stores.js"
import type { StoreAddress } from "../consumers/Stores.js"

/** Where the checkpoints are: as JSON. */
export type PlaceAddress =
  | StoreAddress
  | { readonly kind: "files"; readonly folder: string }
  | { readonly kind: "s3"; readonly url: string }

/** The storage at an address. */
export const storageAt = (address: PlaceAddress): Layer.Layer<CheckpointStorage, unknown> => {
  switch (address.kind) {
    case "postgres":
      return Postgres.layer({ url: Redacted.make(address.url), maxConnections: 4 })
    case "sqlite":
      return Sqlite.layer({ filename: address.filename })
    case "files":
      return Layer.provide(FileCheckpointStore.layer({ folder: address.folder }), NodeContext.layer)
    case "s3":
      return S3CheckpointStore.layer(ObjectServer.optionsAt(address.url))
  }
}

/** A new, empty place for one test. The server of objects is in this process, and outlives those that are killed. */
export const newPlace = (kind: PlaceAddress["kind"]): Effect.Effect<PlaceAddress, unknown, Scope.Scope> => {
  switch (kind) {
    case "files":
      return Effect.map(Databases.folder, (folder) => ({ kind, folder }))
    case "s3":
      return Effect.map(ObjectServer.start, ({ url }) => ({ kind, url }))
    default:
      return newStore(kind)
  }
}

/** The state of a checkpoint, which its id says, in pieces. About 300 000 bytes. */
export const stateOf = (checkpointId: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: 7 }, (_, piece) =>
    Uint8Array.from(
      { length: 40_000 + ((checkpointId * 7 + piece) % 5_000) },
      (_, at) => (checkpointId + piece + at) % 253
    )
  )
