import * as MemoryCheckpointStore from "@millrace/core/MemoryCheckpointStore"
import { checkpointStoreSuite } from "@millrace/testkit/CheckpointStoreSuite"

checkpointStoreSuite("memory", MemoryCheckpointStore.places)
