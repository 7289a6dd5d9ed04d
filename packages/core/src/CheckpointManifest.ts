/**
 * What a checkpoint of a pipeline is made of: where its sources stood, what its operators remembered, and how far
 * its sinks had come, all at one barrier. Small states are in the manifest itself, larger ones in a file of bytes
 * beside it (the *sidecar*), of its own or of an earlier checkpoint whose state has not changed since.
 *
 * A manifest is JSON. All fields but the first four were not always there: one that lacks a field takes its default,
 * so that a checkpoint of an older version can be started from.
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"

/** Number of a checkpoint within its pipeline. Given once, never again. 0 is none. Range: 0 to 2^53 − 1. */
export const CheckpointId = Schema.Int.pipe(
  Schema.between(0, Number.MAX_SAFE_INTEGER),
  Schema.brand("CheckpointId")
)
export type CheckpointId = typeof CheckpointId.Type

/** The form of manifests that this code writes. */
export const manifestVersion = 1

/** Number of vnodes where a manifest or an option does not say. */
export const vnodeCountDefault = 256

/** Largest state that may be in the manifest itself. Unit: bytes. */
export const inlineBytesMax = 1_048_576

/** Longest name of a pipeline, source, sink, operator or savepoint. Unit: code points. */
export const checkpointNameCodePointsMax = 255

const Count = Schema.Int.pipe(Schema.between(0, Number.MAX_SAFE_INTEGER))
const record = <A, I>(value: Schema.Schema<A, I>) =>
  Schema.optionalWith(Schema.Record({ key: Schema.String, value }), { default: () => ({}) })
const list = <A, I>(item: Schema.Schema<A, I>) =>
  Schema.optionalWith(Schema.Array(item), { default: () => [] })
const optional = <A, I>(value: Schema.Schema<A, I>) => Schema.optionalWith(value, { exact: true })

/** A state of an operator: as a whole, or that of one vnode; the name in the manifest says which. */
export const OperatorState = Schema.Union(
  Schema.TaggedStruct("Inline", { data: Schema.Uint8ArrayFromBase64 }),
  Schema.TaggedStruct("Sidecar", {
    /** Whose sidecar; of the manifest's own when absent. */
    checkpointId: optional(CheckpointId),
    offset: Count,
    length: Count
  })
)
export type OperatorState = typeof OperatorState.Type

/** How far a sink is with what the checkpoint has handed to it. */
export const SinkCommitStatus = Schema.Union(
  Schema.TaggedStruct("Pending", {}),
  Schema.TaggedStruct("Committed", {}),
  Schema.TaggedStruct("Failed", { reason: Schema.String })
)
export type SinkCommitStatus = typeof SinkCommitStatus.Type

/** An earlier checkpoint's sidecar that states of this one are in. */
export const SidecarReference = Schema.Struct({
  checkpointId: CheckpointId,
  length: Count,
  /** SHA-256 in hexadecimal digits. */
  checksum: Schema.String
})
export type SidecarReference = typeof SidecarReference.Type

/** One checkpoint. */
export const CheckpointManifest = Schema.Struct({
  version: Count,
  checkpointId: CheckpointId,
  /** Number of the barrier. */
  epoch: Count,
  /** When the barrier was injected. Unit: milliseconds since 1970. */
  timestampMs: Count,
  /** By source and its partition, in the source's own words. */
  sourceOffsets: record(Schema.Record({ key: Schema.String, value: Schema.String })),
  sinkEpochs: record(Count),
  sinkCommitStatuses: record(SinkCommitStatus),
  operatorStates: record(OperatorState),
  /** Event time up to which everything was complete. Unit: milliseconds since 1970. */
  watermark: optional(Schema.Number),
  sourceWatermarks: record(Schema.Number),
  sourceNames: list(Schema.String),
  sinkNames: list(Schema.String),
  pipelineHash: optional(Schema.String),
  vnodeCount: Schema.optionalWith(Count, { default: () => vnodeCountDefault }),
  /** Length of its own sidecar. Unit: bytes. Absent: it has none, or is too old to say. */
  stateLength: optional(Count),
  /** SHA-256 of its own sidecar, in hexadecimal digits. */
  stateChecksum: optional(Schema.String),
  /** SHA-256 of the states in the manifest itself. */
  inlineChecksum: optional(Schema.String),
  /** Sidecars of earlier checkpoints that its states are in. */
  sidecars: list(SidecarReference),
  /** Its name, if it is a savepoint: then it is never pruned. */
  savepoint: optional(Schema.String)
})
export type CheckpointManifest = typeof CheckpointManifest.Type

/** What a manifest is made of by hand: all but the first four and `version` may be left out. */
export type ManifestFields = Partial<Omit<CheckpointManifest, "checkpointId" | "epoch" | "timestampMs">> & {
  readonly checkpointId: number
  readonly epoch: number
  readonly timestampMs: number
}

/** A manifest of this version with the defaults filled in. */
export const manifestOf = (fields: ManifestFields): CheckpointManifest => ({
  version: manifestVersion,
  sourceOffsets: {},
  sinkEpochs: {},
  sinkCommitStatuses: {},
  operatorStates: {},
  sourceWatermarks: {},
  sourceNames: [],
  sinkNames: [],
  vnodeCount: vnodeCountDefault,
  sidecars: [],
  ...fields,
  checkpointId: fields.checkpointId as CheckpointId
})

/** The JSON text of a manifest. Equal manifests have equal texts, whatever order their names came in. */
export const encodeManifest = (manifest: CheckpointManifest): string =>
  JSON.stringify(encode(manifest), (_, value: unknown) => (isRecord(value) ? ordered(value) : value))

/** A manifest from its text, or what is wrong with it. */
export const decodeManifest = (text: string): Either.Either<CheckpointManifest, string> =>
  Either.mapLeft(decode(text), (error) => {
    const { message, path } = firstFault(error)
    return path === "" ? message : `${path}: ${message}`
  })

/** What is wrong with a manifest that was made by hand: where, and what; undefined = nothing. */
export const manifestFault = (
  manifest: CheckpointManifest
): { readonly path: string; readonly message: string } | undefined => {
  const encoded = encodeEither(manifest)
  if (Either.isLeft(encoded)) return firstFault(encoded.left)
  // JSON has no numbers without end, and none that is none.
  const back = decode(JSON.stringify(encoded.right))
  return Either.isLeft(back) ? firstFault(back.left) : undefined
}

/** Whether states of the manifest are in its own sidecar. */
export const needsSidecar = ({ operatorStates, stateLength }: CheckpointManifest): boolean =>
  (stateLength ?? 0) > 0 ||
  Object.values(operatorStates).some((state) => state._tag === "Sidecar" && state.checkpointId === undefined)

// ---- internal ----

const encode = Schema.encodeSync(CheckpointManifest)
const encodeEither = Schema.encodeEither(CheckpointManifest)
const decode = Schema.decodeEither(Schema.parseJson(CheckpointManifest))

const firstFault = (error: ParseResult.ParseError) => {
  const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
  return { path: issue?.path.map(String).join(".") ?? "", message: issue?.message ?? "it is no manifest" }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const ordered = (value: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
