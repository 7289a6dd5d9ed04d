/**
 * The thin seam beneath `CheckpointStorage`: a backend keeps texts, bytes and numbers of one pipeline, each operation
 * all or nothing and durable when it returns. The order of steps, checksums, validation, recovery and pruning are
 * written here once.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { CheckpointConflict, CheckpointNotFound, Serde } from "./CheckpointErrors.js"
import type { CheckpointId, CheckpointManifest } from "./CheckpointManifest.js"
import {
  checkpointNameCodePointsMax,
  decodeManifest,
  encodeManifest,
  inlineBytesMax,
  manifestFault,
  vnodeCountDefault
} from "./CheckpointManifest.js"
import { CheckpointStorage } from "./CheckpointStore.js"
import type {
  CheckpointEntry,
  CheckpointStore,
  CheckpointWriteOptions,
  PipelineCheckpointOptions,
  SharedDatabase,
  StateRange
} from "./CheckpointStore.js"
import * as CheckpointValidator from "./CheckpointValidator.js"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import type { Lease } from "./Lease.js"
import type { LeaseLost } from "./LeaseLost.js"
import * as Sha256 from "./Sha256.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import { textFault } from "./Text.js"

/** In whose name a write is made; undefined = not checked. */
export type Fence = Lease | undefined

type Write<A> = Effect.Effect<A, LeaseLost | StoreUnavailable>
type Read<A> = Effect.Effect<A, StoreUnavailable>

/**
 * What a place must supply for one pipeline. Every write is refused with `LeaseLost` when its fence has a lower epoch
 * than one that wrote before, and else makes its fence's epoch the one to come up to.
 */
export interface CheckpointStoreBackend {
  /** A number above all that were ever given or saved. */
  readonly reserve: (fence: Fence) => Write<number>
  /** Writes a sidecar in place of any that is there: all of it or nothing. */
  readonly writeState: <E, R>(
    id: number,
    chunks: Stream.Stream<Uint8Array, E, R>,
    fence: Fence
  ) => Effect.Effect<void, E | LeaseLost | StoreUnavailable, R>
  /** A sidecar or a part of it, in pieces of at most 1 MiB. */
  readonly readState: (
    id: number,
    range: StateRange | undefined
  ) => Read<Stream.Stream<Uint8Array, StoreUnavailable> | undefined>
  /** False: there is one already, and it is left as it is. */
  readonly createManifest: (id: number, text: string, fence: Fence) => Write<boolean>
  /** False: there is none, and none is made. */
  readonly replaceManifest: (id: number, text: string, fence: Fence) => Write<boolean>
  readonly readManifest: (id: number) => Read<string | undefined>
  /** Ids of all manifests, ascending. */
  readonly manifests: Read<ReadonlyArray<number>>
  /** Ids of all sidecars, ascending. */
  readonly states: Read<ReadonlyArray<number>>
  /** Removes a manifest, and what was decided for it. Its id is never given again. */
  readonly removeManifest: (id: number, fence: Fence) => Write<void>
  readonly removeState: (id: number, fence: Fence) => Write<void>
  /** Where the pointer is. */
  readonly latest: Read<number | undefined>
  /** Moves the pointer, if it is lower or nowhere; `undefined`: takes it away. */
  readonly point: (id: number | undefined, fence: Fence) => Write<void>
  readonly decide: (id: number, fence: Fence) => Write<void>
  readonly decided: (id: number) => Read<boolean>
  /** The database that it is in, if others can commit to it together with a checkpoint. */
  readonly shared?: SharedDatabase | undefined
}

/** Where the backends of a storage come from. Tests get at what is stored by it. */
export class CheckpointPlaces extends Context.Tag("@millrace/core/CheckpointPlaces")<
  CheckpointPlaces,
  {
    /** The backend of one pipeline: the same place for the same name. */
    readonly open: (pipeline: string) => Effect.Effect<CheckpointStoreBackend, StoreUnavailable>
  }
>() {}

/** The storage over any places. */
export const storageOf = ({ open }: CheckpointPlaces["Type"]): CheckpointStorage["Type"] =>
  CheckpointStorage.of({ forPipeline: (name, options) => make(name, options, open(name)) })

/** The same as a layer. */
export const storage: Layer.Layer<CheckpointStorage, never, CheckpointPlaces> = Layer.effect(
  CheckpointStorage,
  Effect.map(CheckpointPlaces, storageOf)
)

/** The steps of a save, as they are named to {@link CheckpointSteps}. */
export type CheckpointStep = "sidecar" | "manifest" | "pointer" | "decision" | "update"

/** Is told before and after each step of a save: where tests let a process die. Does nothing by itself. */
export class CheckpointSteps extends Context.Reference<CheckpointSteps>()("@millrace/core/CheckpointSteps", {
  defaultValue:
    () =>
    (_at: "before" | "after", _step: CheckpointStep): Effect.Effect<void> =>
      Effect.void
}) {}

/** Largest piece that a sidecar is read in. Unit: bytes. */
export const pieceBytesMax = 1_048_576

// ---- internal ----

const make = (
  pipeline: string,
  options: PipelineCheckpointOptions | undefined,
  open: Effect.Effect<CheckpointStoreBackend, StoreUnavailable>
): Effect.Effect<CheckpointStore, StoreUnavailable | InvalidArgument> =>
  Effect.gen(function* () {
    const nameFault = textFault(pipeline, checkpointNameCodePointsMax)
    if (nameFault !== undefined) return yield* invalid("name", nameFault, pipeline)
    const vnodeCount = options?.vnodeCount ?? vnodeCountDefault
    if (!isCount(vnodeCount, 1, 32_768))
      return yield* invalid("vnodeCount", "a whole number of 1 to 32 768", vnodeCount)
    return storeOf(pipeline, vnodeCount, yield* open)
  })

const isCount = (value: unknown, min: number, max: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max

const idFault = (field: string, id: number, min = 1): InvalidArgument | undefined =>
  isCount(id, min, Number.MAX_SAFE_INTEGER)
    ? undefined
    : invalid(field, `a whole number of ${min} to 2^53 - 1`, id)

/** What no checkpoint may be saved with. */
const faultOf = (manifest: CheckpointManifest): InvalidArgument | undefined => {
  const fault =
    idFault("manifest.checkpointId", manifest.checkpointId) ?? idFault("manifest.epoch", manifest.epoch)
  if (fault !== undefined) return fault
  const field = manifestFault(manifest)
  if (field !== undefined) return invalid(`manifest.${field.path}`, field.message, manifest)
  for (const [name, state] of Object.entries(manifest.operatorStates)) {
    if (state._tag === "Inline" && state.data.length > inlineBytesMax)
      return invalid(
        `manifest.operatorStates["${name}"].data`,
        "at most 1 MiB; larger states go into the sidecar",
        `${state.data.length} bytes`
      )
  }
  const { savepoint } = manifest
  const nameFault = savepoint === undefined ? undefined : textFault(savepoint, checkpointNameCodePointsMax)
  return nameFault === undefined ? undefined : invalid("manifest.savepoint", nameFault, savepoint)
}

/** Fails with the fault, if there is one. */
const unless = (fault: InvalidArgument | undefined): Effect.Effect<void, InvalidArgument> =>
  fault ?? Effect.void

const storeOf = (pipeline: string, vnodeCount: number, backend: CheckpointStoreBackend): CheckpointStore => {
  const conflict = (id: number) => new CheckpointConflict({ pipeline, checkpointId: id as CheckpointId })
  const notFound = (id: number) => new CheckpointNotFound({ pipeline, checkpointId: id as CheckpointId })
  const step = <A, E, R>(name: CheckpointStep, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(CheckpointSteps, (told) =>
      Effect.zipLeft(Effect.zipRight(told("before", name), effect), told("after", name))
    )
  const checkedId = (id: number): Effect.Effect<void, InvalidArgument> => unless(idFault("checkpointId", id))

  /** Creates the manifest, or finds the same one there. */
  const create = (manifest: CheckpointManifest, fence: Fence) =>
    Effect.gen(function* () {
      const text = encodeManifest(manifest)
      const id = manifest.checkpointId
      const created = yield* step("manifest", backend.createManifest(id, text, fence))
      if (!created && !(yield* isSame(id, text))) return yield* conflict(id)
      yield* step("pointer", backend.point(id, fence))
    })
  const isSame = (id: number, text: string): Effect.Effect<boolean, StoreUnavailable> =>
    Effect.map(backend.readManifest(id), (there) => {
      if (there === undefined) return false
      const decoded = decodeManifest(there)
      return Either.isRight(decoded) && encodeManifest(decoded.right) === text
    })

  /** The chunks, and what they came to when they are through. */
  const summed = <E, R>(chunks: Stream.Stream<Uint8Array, E, R>) => {
    const sum = Sha256.make()
    let length = 0
    return {
      chunks: Stream.map(chunks, (chunk) => {
        sum.update(chunk)
        length += chunk.length
        return chunk
      }),
      result: () => ({ length, checksum: sum.hex() })
    }
  }

  /** Writes a sidecar, unless a manifest has it already: then it must be the same, and is only compared. */
  const writeState = <E, R>(id: number, chunks: Stream.Stream<Uint8Array, E, R>, fence: Fence) =>
    Effect.gen(function* () {
      const through = summed(chunks)
      const text = yield* backend.readManifest(id)
      if (text === undefined) {
        yield* step("sidecar", backend.writeState(id, through.chunks, fence))
        return through.result()
      }
      yield* Stream.runDrain(through.chunks)
      const given = through.result()
      const there = yield* CheckpointValidator.sumOf(backend, id)
      return there !== undefined && there.length === given.length && there.checksum === given.checksum
        ? given
        : yield* conflict(id)
    })

  const readable = (id: number): Effect.Effect<Option.Option<CheckpointManifest>, Serde | StoreUnavailable> =>
    Effect.flatMap(backend.readManifest(id), (text) => {
      if (text === undefined) return Effect.succeedNone
      return Either.match(decodeManifest(text), {
        onLeft: (reason) => new Serde({ pipeline, checkpointId: id as CheckpointId, reason }),
        onRight: (manifest) => Effect.succeedSome(manifest)
      })
    })
  /** All manifests, those that cannot be read without one. */
  const all = Effect.flatMap(
    backend.manifests,
    Effect.forEach((id) =>
      Effect.map(
        Effect.catchTag(readable(id), "Serde", () => Effect.succeedNone),
        (found) => ({ id, manifest: Option.getOrUndefined(found) })
      )
    )
  )
  /** The sidecars that the manifests refer to, their own among them. */
  const referred = (
    manifests: ReadonlyArray<{ readonly id: number; readonly manifest: CheckpointManifest | undefined }>
  ) =>
    new Set(
      manifests.flatMap(({ id, manifest }) => [
        id,
        ...(manifest?.sidecars ?? []).map(({ checkpointId }) => checkpointId as number),
        ...Object.values(manifest?.operatorStates ?? {}).flatMap((state) =>
          state._tag === "Sidecar" && state.checkpointId !== undefined ? [state.checkpointId as number] : []
        )
      ])
    )
  /** Removes sidecars that nothing refers to, of the ids below. */
  const removeOrphans = (below: number, fence: Fence) =>
    Effect.gen(function* () {
      const kept = referred(yield* all)
      const gone = (yield* backend.states).filter((id) => id < below && !kept.has(id))
      yield* Effect.forEach(gone, (id) => backend.removeState(id, fence), { discard: true })
      return gone.length
    })

  return {
    pipeline,
    shared: backend.shared,
    vnodeCount,
    reserveId: (options) => Effect.map(backend.reserve(options?.fence), (id) => id as CheckpointId),
    save: (manifest, options) => Effect.zipRight(unless(faultOf(manifest)), create(manifest, options?.fence)),
    saveWithState: <E, R>(
      manifest: CheckpointManifest,
      chunks: Stream.Stream<Uint8Array, E, R> | undefined,
      options: CheckpointWriteOptions | undefined
    ) =>
      Effect.gen(function* () {
        yield* unless(faultOf(manifest))
        const inlineChecksum = CheckpointValidator.inlineChecksum(manifest)
        const inline = inlineChecksum === undefined ? manifest : { ...manifest, inlineChecksum }
        const state =
          chunks === undefined ? undefined : yield* writeState(manifest.checkpointId, chunks, options?.fence)
        const whole: CheckpointManifest =
          state === undefined
            ? inline
            : { ...inline, stateLength: state.length, stateChecksum: state.checksum }
        yield* create(whole, options?.fence)
        return whole
      }),
    saveStateData: (checkpointId, chunks, options) =>
      Effect.zipRight(checkedId(checkpointId), writeState(checkpointId, chunks, options?.fence)),
    loadStateData: (checkpointId, range) =>
      Effect.zipRight(
        unless(
          idFault("checkpointId", checkpointId) ??
            (range && (idFault("range.offset", range.offset, 0) ?? idFault("range.length", range.length, 0)))
        ),
        Effect.map(backend.readState(checkpointId, range), Option.fromNullable)
      ),
    updateManifest: (manifest, options) =>
      Effect.gen(function* () {
        yield* unless(faultOf(manifest))
        const id = manifest.checkpointId
        const replaced = yield* step(
          "update",
          backend.replaceManifest(id, encodeManifest(manifest), options?.fence)
        )
        if (!replaced) return yield* notFound(id)
      }),
    loadLatest: Effect.flatMap(backend.latest, (id) =>
      id === undefined ? Effect.succeedNone : readable(id)
    ),
    loadById: (checkpointId) => Effect.zipRight(checkedId(checkpointId), readable(checkpointId)),
    list: Effect.map(all, (found) =>
      found.flatMap(({ manifest }): ReadonlyArray<CheckpointEntry> => {
        if (manifest === undefined) return []
        const { checkpointId, epoch, savepoint, timestampMs } = manifest
        return [{ checkpointId, epoch, timestampMs, savepoint: Option.fromNullable(savepoint) }]
      })
    ),
    listIds: Effect.map(backend.manifests, (ids) => ids as ReadonlyArray<CheckpointId>),
    prune: (keep, options) =>
      Effect.gen(function* () {
        if (!isCount(keep, 0, 1_000_000))
          return yield* invalid("keep", "a whole number of 0 to 1 000 000", keep)
        const fence = options?.fence
        const found = yield* all
        const latest = yield* backend.latest
        const free = found.filter(({ manifest }) => manifest?.savepoint === undefined)
        const surplus = free
          .slice(0, Math.max(0, free.length - keep))
          .filter(({ id }) => keep === 0 || id !== latest)
        // First, so that it never points to what is gone.
        if (keep === 0) yield* backend.point(undefined, fence)
        yield* Effect.forEach(surplus, ({ id }) => backend.removeManifest(id, fence), { discard: true })
        // A checkpoint under way has a sidecar and no manifest, and a greater id than all that have one.
        const newest = found.at(-1)?.id ?? 0
        yield* removeOrphans(newest + 1, fence)
        return surplus.length
      }),
    validateCheckpoint: (checkpointId) =>
      Effect.zipRight(
        checkedId(checkpointId),
        CheckpointValidator.validate(backend, checkpointId, vnodeCount)
      ),
    recoverLatestValidated: Effect.gen(function* () {
      const beganMs = yield* Clock.currentTimeMillis
      const skipped: Array<{ readonly checkpointId: CheckpointId; readonly reason: string }> = []
      const ids = [...(yield* backend.manifests)].reverse()
      let examined = 0
      let chosen: CheckpointManifest | undefined
      for (const id of ids) {
        examined++
        const { issues, manifest } = yield* CheckpointValidator.examine(backend, id, vnodeCount)
        const reasons = issues.filter(({ fatal }) => fatal).map(({ reason }) => reason)
        const isPending = Object.values(manifest?.sinkCommitStatuses ?? {}).some(
          ({ _tag }) => _tag === "Pending"
        )
        if (isPending && !(yield* backend.decided(id)))
          reasons.push("sinks are pending, and nobody decided to commit")
        if (reasons.length === 0 && manifest !== undefined) {
          chosen = manifest
          break
        }
        skipped.push({ checkpointId: id as CheckpointId, reason: reasons.join("; ") })
      }
      return {
        chosen: Option.fromNullable(chosen),
        chosenId: Option.map(Option.fromNullable(chosen), ({ checkpointId }) => checkpointId),
        skipped,
        examined,
        elapsed: Duration.millis((yield* Clock.currentTimeMillis) - beganMs)
      }
    }),
    cleanupOrphans: (options) => removeOrphans(Infinity, options?.fence),
    recordCommitDecision: (checkpointId, options) =>
      Effect.gen(function* () {
        yield* checkedId(checkpointId)
        if ((yield* backend.readManifest(checkpointId)) === undefined) return yield* notFound(checkpointId)
        yield* step("decision", backend.decide(checkpointId, options?.fence))
      }),
    commitDecision: (checkpointId) => Effect.zipRight(checkedId(checkpointId), backend.decided(checkpointId))
  }
}
