/** Checkpoints as files, on the real file system. */
import { NodeContext } from "@effect/platform-node"
import { FileSystem } from "@effect/platform/FileSystem"
import * as FileCheckpointStore from "@millrace/core/FileCheckpointStore"
import { checkpointStoreSuite } from "@millrace/testkit/CheckpointStoreSuite"
import { Effect, Layer } from "effect"

const places = Layer.unwrapScoped(
  Effect.map(
    Effect.flatMap(FileSystem, (fs) => fs.makeTempDirectoryScoped({ prefix: "millrace-checkpoints-" })),
    (folder) => FileCheckpointStore.places({ folder })
  )
).pipe(Layer.provide(NodeContext.layer))

checkpointStoreSuite("files", places)
