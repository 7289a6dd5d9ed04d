/**
 * Whether a checkpoint can be started from. Everything that can be wrong with one is a result here; the sidecars are
 * read through, and never all at once.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Stream from "effect/Stream"
import type { CheckpointId, CheckpointManifest } from "./CheckpointManifest.js"
import { decodeManifest, needsSidecar } from "./CheckpointManifest.js"
import type { CheckpointValidation, StateData, ValidationIssue } from "./CheckpointStore.js"
import * as Sha256 from "./Sha256.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"

/** What is looked at. */
export interface Stored {
  readonly readManifest: (id: number) => Effect.Effect<string | undefined, StoreUnavailable>
  readonly readState: (
    id: number,
    range: undefined
  ) => Effect.Effect<Stream.Stream<Uint8Array, StoreUnavailable> | undefined, StoreUnavailable>
}

/** SHA-256 of the states that are in the manifest itself, in the order of their names; undefined = there are none. */
export const inlineChecksum = ({ operatorStates }: CheckpointManifest): string | undefined => {
  const inline = Object.entries(operatorStates)
    .flatMap(([name, state]) => (state._tag === "Inline" ? [[name, state.data] as const] : []))
    .sort(([a], [b]) => (a < b ? -1 : 1))
  if (inline.length === 0) return undefined
  const sum = Sha256.make()
  const text = new TextEncoder()
  for (const [name, data] of inline) {
    sum.update(text.encode(`${name}\0${data.length}\0`))
    sum.update(data)
  }
  return sum.hex()
}

/** Length and checksum of a sidecar as it is stored; undefined = there is none. */
export const sumOf = (
  stored: Pick<Stored, "readState">,
  id: number
): Effect.Effect<StateData | undefined, StoreUnavailable> =>
  Effect.flatMap(stored.readState(id, undefined), (chunks) => {
    if (chunks === undefined) return Effect.succeed(undefined)
    const sum = Sha256.make()
    let length = 0
    return Effect.map(
      Stream.runForEachChunk(chunks, (pieces) =>
        Effect.sync(() => {
          for (const piece of pieces) {
            sum.update(piece)
            length += piece.length
          }
        })
      ),
      () => ({ length, checksum: sum.hex() })
    )
  })

/** What a look at a checkpoint has found, with its manifest where that could be read. */
export interface Examined {
  readonly manifest: CheckpointManifest | undefined
  readonly issues: ReadonlyArray<ValidationIssue>
}

/** Looks at everything that a start from the checkpoint would need. */
export const examine = (
  stored: Stored,
  id: number,
  vnodeCount: number
): Effect.Effect<Examined, StoreUnavailable> =>
  Effect.flatMap(stored.readManifest(id), (text) => {
    if (text === undefined) return Effect.succeed(unreadable("the manifest is missing"))
    return Either.match(decodeManifest(text), {
      onLeft: (reason) => Effect.succeed(unreadable(`the manifest cannot be read: ${reason}`)),
      onRight: (manifest) =>
        Effect.map(issuesOf(stored, manifest, id, vnodeCount), (issues) => ({ manifest, issues }))
    })
  })

/** The same as a result. */
export const validate = (
  stored: Stored,
  id: number,
  vnodeCount: number
): Effect.Effect<CheckpointValidation, StoreUnavailable> =>
  Effect.map(examine(stored, id, vnodeCount), ({ issues }) => ({
    checkpointId: id as CheckpointId,
    valid: !issues.some((issue) => issue.fatal),
    issues
  }))

// ---- internal ----

const fatal = (reason: string): ValidationIssue => ({ fatal: true, reason })
const warning = (reason: string): ValidationIssue => ({ fatal: false, reason })

const unreadable = (reason: string): Examined => ({ manifest: undefined, issues: [fatal(reason)] })

const issuesOf = (
  stored: Stored,
  manifest: CheckpointManifest,
  id: number,
  vnodeCount: number
): Effect.Effect<ReadonlyArray<ValidationIssue>, StoreUnavailable> =>
  Effect.gen(function* () {
    const issues = [...fieldIssues(manifest, id, vnodeCount)]
    const ofInline = inlineChecksum(manifest)
    if (manifest.inlineChecksum !== undefined && manifest.inlineChecksum !== ofInline)
      issues.push(fatal("the states in the manifest are not those that were saved"))
    if (needsSidecar(manifest) || manifest.stateChecksum !== undefined) {
      const { stateChecksum, stateLength } = manifest
      issues.push(
        ...sidecarIssues("the sidecar", yield* sumOf(stored, id), stateLength, stateChecksum),
        ...rangeIssues(manifest, undefined, stateLength)
      )
    }
    for (const { checkpointId, checksum, length } of manifest.sidecars) {
      const name = `the sidecar of checkpoint ${checkpointId}`
      issues.push(
        ...sidecarIssues(name, yield* sumOf(stored, checkpointId), length, checksum),
        ...rangeIssues(manifest, checkpointId, length)
      )
    }
    return issues
  })

const sidecarIssues = (
  name: string,
  found: StateData | undefined,
  length: number | undefined,
  checksum: string | undefined
): ReadonlyArray<ValidationIssue> => {
  if (found === undefined) return [fatal(`${name} is missing`)]
  if (length !== undefined && found.length !== length)
    return [fatal(`${name} has ${found.length} bytes instead of ${length}`)]
  return checksum === undefined || found.checksum === checksum
    ? []
    : [fatal(`${name} is not the one that was saved: its checksum is another one`)]
}

/** States that reach beyond the end of a sidecar. */
const rangeIssues = (
  { operatorStates }: CheckpointManifest,
  of: CheckpointId | undefined,
  length: number | undefined
): ReadonlyArray<ValidationIssue> =>
  length === undefined
    ? []
    : Object.entries(operatorStates).flatMap(([name, state]) =>
        state._tag === "Sidecar" && state.checkpointId === of && state.offset + state.length > length
          ? [fatal(`the state "${name}" reaches beyond the end of its sidecar`)]
          : []
      )

/** What the fields say by themselves. */
function* fieldIssues(
  manifest: CheckpointManifest,
  id: number,
  vnodeCount: number
): Generator<ValidationIssue> {
  const { checkpointId, epoch, sinkCommitStatuses, sinkEpochs, sourceNames, sourceOffsets } = manifest
  if (checkpointId === 0) yield fatal("its id is 0")
  else if (checkpointId !== id) yield fatal(`it is the manifest of checkpoint ${checkpointId}`)
  if (epoch === 0) yield fatal("its epoch is 0")
  if (manifest.version === 0) yield warning("its version is 0")
  if (manifest.timestampMs === 0) yield warning("it has no time")
  if (manifest.vnodeCount !== vnodeCount)
    yield warning(`it has ${manifest.vnodeCount} vnodes, and the pipeline ${vnodeCount}`)
  for (const name of Object.keys(sinkEpochs))
    if (sinkCommitStatuses[name] === undefined) yield warning(`sink "${name}" has an epoch and no status`)
  for (const name of Object.keys(sourceOffsets))
    if (!sourceNames.includes(name)) yield warning(`source "${name}" has offsets and is not named`)
  for (const [name, state] of Object.entries(manifest.operatorStates)) {
    const other = state._tag === "Sidecar" ? state.checkpointId : undefined
    if (other !== undefined && !manifest.sidecars.some((sidecar) => sidecar.checkpointId === other))
      yield fatal(`the state "${name}" is in a sidecar that the manifest does not list`)
  }
}
