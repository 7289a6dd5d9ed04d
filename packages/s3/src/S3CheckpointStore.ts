/**
 * Checkpoints on S3-compatible object storage that honours conditional writes (`If-None-Match: *`, `If-Match`):
 *
 *     <prefix><pipeline>/manifests/000007.json   created if there is none
 *                       /states/000007.bin       the sidecar, in parts of 8 MiB when it is larger
 *                       /decisions/000007        the commit decision
 *                       /latest                  the pointer: an id
 *                       /reserved                the greatest id that was given
 *                       /fence                   the newest epoch that wrote
 *
 * The last three are replaced only as they were read, and read again where somebody was faster, so that two processes
 * never get the same id, and neither pointer nor fence goes back. The fence is a look, and not one with the write that
 * follows, as for files: see `FileCheckpointStore`.
 *
 * A write whose answer was lost is sent again by the client, finds its own object, and is taken for what it is.
 */
import { S3Client } from "@aws-sdk/client-s3"
import type { S3ClientConfig } from "@aws-sdk/client-s3"
import type { CheckpointStorage } from "@millrace/core/CheckpointStore"
import type { CheckpointStoreBackend, Fence } from "@millrace/core/CheckpointStoreBackend"
import * as Backend from "@millrace/core/CheckpointStoreBackend"
import { LeaseLost } from "@millrace/core/LeaseLost"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as S3Objects from "./S3Objects.js"

/** Where the objects are. */
export interface S3CheckpointOptions {
  readonly bucket: string
  /** Stands before every key, for example "millrace/". Default: nothing. */
  readonly prefix?: string | undefined
  /** Region, endpoint, credentials and what else the client takes. */
  readonly client: S3ClientConfig
}

/** The places. The client is closed with the layer. */
export const places = (options: S3CheckpointOptions): Layer.Layer<Backend.CheckpointPlaces> =>
  Layer.scoped(
    Backend.CheckpointPlaces,
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => new S3Client(options.client)),
        (client) => Effect.sync(() => client.destroy())
      ),
      (client) => ({
        open: (pipeline) =>
          Effect.succeed(
            makePlace(
              S3Objects.make(
                client,
                options.bucket,
                `${options.prefix ?? ""}${encodeURIComponent(pipeline)}/`
              )
            )
          )
      })
    )
  )

/**
 * The storage. Its stores fail with `StoreUnavailable`, `transient` where the service could not be reached or was
 * overloaded for longer than the client tries again.
 *
 * @example
 * ```ts
 * S3CheckpointStore.layer({ bucket: "checkpoints", client: { region: "eu-central-1" } })
 * ```
 */
export const layer = (options: S3CheckpointOptions): Layer.Layer<CheckpointStorage> =>
  Layer.provide(Backend.storage, places(options))

// ---- internal ----

type Answer<A> = Effect.Effect<A, StoreUnavailable>

const manifestKey = (id: number): string => `manifests/${numbered(id)}.json`
const stateKey = (id: number): string => `states/${numbered(id)}.bin`
const decisionKey = (id: number): string => `decisions/${numbered(id)}`
const numbered = (id: number): string => String(id).padStart(6, "0")

/** The ids in keys, ascending. */
const idsOf = (keys: ReadonlyArray<string>): ReadonlyArray<number> =>
  keys
    .map((key) => Number(/\/(\d+)(\.\w+)?$/.exec(key)?.[1]))
    .filter(Number.isSafeInteger)
    .sort((a, b) => a - b)

const makePlace = (objects: S3Objects.S3Objects): CheckpointStoreBackend => {
  const manifests = Effect.map(objects.list("manifests/"), idsOf)
  const states = Effect.map(objects.list("states/"), idsOf)

  /** Replaces a number as long as `next` wants another one, and gives what it was and is. */
  const changed = (
    key: string,
    next: (before: number) => number | undefined
  ): Answer<{ readonly before: number; readonly after: number }> =>
    Effect.flatMap(objects.read(key), (found) => {
      const before = Number(found?.text ?? 0) || 0
      const after = next(before)
      if (after === undefined) return Effect.succeed({ before, after: before })
      return Effect.flatMap(
        objects.write(key, String(after), found === undefined ? "absent" : { etag: found.etag }),
        (written) => (written ? Effect.succeed({ before, after }) : changed(key, next))
      )
    })
  const raised = (key: string, to: number) => changed(key, (before) => (before < to ? to : undefined))

  const admit = (fence: Fence): Effect.Effect<void, LeaseLost | StoreUnavailable> =>
    fence === undefined
      ? Effect.void
      : Effect.flatMap(raised("fence", fence.epoch), ({ after }) =>
          after > fence.epoch ? new LeaseLost({ key: fence.key, holder: "" }) : Effect.void
        )
  const fenced = <A, E, R>(fence: Fence, write: Effect.Effect<A, E, R>) =>
    Effect.zipRight(admit(fence), write)
  /** Before what shows that an id was given is removed. */
  const noteGiven = (id: number) => raised("reserved", id)

  return {
    reserve: (fence) =>
      fenced(
        fence,
        Effect.gen(function* () {
          const saved = Math.max(0, ...(yield* manifests), ...(yield* states))
          return (yield* changed("reserved", (before) => Math.max(before, saved) + 1)).after
        })
      ),
    writeState: <E, R>(id: number, chunks: Stream.Stream<Uint8Array, E, R>, fence: Fence) =>
      fenced(fence, objects.upload(stateKey(id), chunks)),
    readState: (id, range) =>
      range?.length === 0
        ? Effect.map(objects.exists(stateKey(id)), (exists) => (exists ? Stream.empty : undefined))
        : objects.download(stateKey(id), range),
    createManifest: (id, text, fence) => fenced(fence, objects.write(manifestKey(id), text, "absent")),
    replaceManifest: (id, text, fence) => {
      const replace: Answer<boolean> = Effect.flatMap(objects.read(manifestKey(id)), (found) =>
        found === undefined
          ? Effect.succeed(false)
          : Effect.flatMap(objects.write(manifestKey(id), text, { etag: found.etag }), (written) =>
              written ? Effect.succeed(true) : replace
            )
      )
      return fenced(fence, replace)
    },
    readManifest: (id) => Effect.map(objects.read(manifestKey(id)), (found) => found?.text),
    manifests,
    states,
    removeManifest: (id, fence) =>
      fenced(
        fence,
        noteGiven(id).pipe(
          Effect.zipRight(objects.remove(manifestKey(id))),
          Effect.zipRight(objects.remove(decisionKey(id)))
        )
      ),
    removeState: (id, fence) => fenced(fence, Effect.zipRight(noteGiven(id), objects.remove(stateKey(id)))),
    latest: Effect.map(objects.read("latest"), (found) => Number(found?.text ?? 0) || undefined),
    point: (id, fence) =>
      fenced(fence, id === undefined ? objects.remove("latest") : Effect.asVoid(raised("latest", id))),
    decide: (id, fence) => fenced(fence, Effect.asVoid(objects.write(decisionKey(id), "", "absent"))),
    decided: (id) => objects.exists(decisionKey(id))
  }
}
