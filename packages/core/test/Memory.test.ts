/** The memory layers pass what every store must pass. */
import * as Memory from "@millrace/core/Memory"
import * as MemorySnapshotStore from "@millrace/core/MemorySnapshotStore"
import * as MemorySubscriberStore from "@millrace/core/MemorySubscriberStore"
import { eventStoreSuite } from "@millrace/testkit/EventStoreSuite"
import { sameAsMemory } from "@millrace/testkit/EventStoreModel"
import { snapshotStoreSuite } from "@millrace/testkit/SnapshotStoreSuite"
import { subscriberStoreSuite } from "@millrace/testkit/SubscriberStoreSuite"

eventStoreSuite("memory", Memory.layer())
snapshotStoreSuite("memory", Memory.layer())
snapshotStoreSuite("memory, alone", MemorySnapshotStore.layer)
subscriberStoreSuite("memory", Memory.layer())
subscriberStoreSuite("memory, alone", MemorySubscriberStore.layer)
sameAsMemory("memory", Memory.layer())
