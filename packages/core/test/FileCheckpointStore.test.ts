/** The rules of every store of operator checkpoints, on files. */
import { NodeContext } from "@effect/platform-node"
import * as FileCheckpointStore from "@millrace/core/FileCheckpointStore"
import { checkpointStoreSuite } from "@millrace/testkit/CheckpointStoreSuite"
import { folder } from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

checkpointStoreSuite(
  "files",
  Layer.provide(
    Layer.unwrapScoped(Effect.map(folder, (path) => FileCheckpointStore.places({ folder: path }))),
    NodeContext.layer
  )
)
