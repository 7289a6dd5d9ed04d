/** The rules of every store of operator checkpoints, in memory. */
import * as MemoryCheckpointStore from "@millrace/core/MemoryCheckpointStore"
import { checkpointStoreSuite } from "@millrace/testkit/CheckpointStoreSuite"

checkpointStoreSuite("memory", MemoryCheckpointStore.places)
