/**
 * Objects of one bucket, as far as checkpoints need them: created if they are not there, replaced if they are as they
 * were read, read in parts, listed, removed. Everything that the service answers becomes a value or the one error.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3ServiceException,
  UploadPartCommand
} from "@aws-sdk/client-s3"
import type { CompletedPart, S3Client } from "@aws-sdk/client-s3"
import type { StateRange } from "@millrace/core/CheckpointStore"
import * as Pieces from "@millrace/core/Pieces"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

type Answer<A> = Effect.Effect<A, StoreUnavailable>

/** A small object, and what says which state of it this is. */
export interface SmallObject {
  readonly text: string
  readonly etag: string
}

/** The objects under one prefix of a bucket. */
export interface S3Objects {
  readonly read: (key: string) => Answer<SmallObject | undefined>
  readonly exists: (key: string) => Answer<boolean>
  /** Writes a small object. `when`: only if there is none, or only if it is as it was read. False: it is not so. */
  readonly write: (
    key: string,
    text: string,
    when: "absent" | { readonly etag: string } | undefined
  ) => Answer<boolean>
  /** Writes an object of any size in place of any that is there: all of it or nothing. */
  readonly upload: <E, R>(
    key: string,
    chunks: Stream.Stream<Uint8Array, E, R>
  ) => Effect.Effect<void, E | StoreUnavailable, R>
  readonly download: (
    key: string,
    range: StateRange | undefined
  ) => Answer<Stream.Stream<Uint8Array, StoreUnavailable> | undefined>
  /** The keys that begin so, without what all of them begin with. */
  readonly list: (prefix: string) => Answer<ReadonlyArray<string>>
  readonly remove: (key: string) => Answer<void>
}

/** Size of the parts of a large object; smaller ones are sent as one. Unit: bytes. Range of the service: from 5 MiB. */
const partBytes = 8 * 1_048_576

/** Builds them. `prefix` stands before every key. */
export const make = (client: S3Client, bucket: string, prefix: string): S3Objects => {
  const at = (key: string) => ({ Bucket: bucket, Key: `${prefix}${key}` })
  const send = <A>(operation: string, run: (signal: AbortSignal) => Promise<A>): Answer<A> =>
    Effect.tryPromise({ try: run, catch: unavailable(operation) })
  /** What is not there is `undefined`. */
  const sendFor = <A>(operation: string, run: (signal: AbortSignal) => Promise<A>): Answer<A | undefined> =>
    send(operation, (signal) =>
      run(signal).catch((cause: unknown) => {
        if (statusOf(cause) === 404) return undefined
        throw cause
      })
    )

  const put = (key: string, body: Uint8Array): Answer<void> =>
    Effect.asVoid(
      send("saveStateData", (abortSignal) =>
        client.send(new PutObjectCommand({ ...at(key), Body: body }), { abortSignal })
      )
    )

  /** An upload in parts, of which none counts before it is completed. */
  const beginUpload = (key: string) =>
    Effect.map(
      send("saveStateData", (abortSignal) =>
        client.send(new CreateMultipartUploadCommand(at(key)), { abortSignal })
      ),
      ({ UploadId }) => {
        const parts: Array<CompletedPart> = []
        const whole = () => ({ ...at(key), UploadId, MultipartUpload: { Parts: parts } })
        return {
          add: (part: Uint8Array): Answer<void> => {
            const PartNumber = parts.length + 1
            const command = new UploadPartCommand({ ...at(key), UploadId, PartNumber, Body: part })
            return Effect.map(
              send("saveStateData", (abortSignal) => client.send(command, { abortSignal })),
              ({ ETag }) => void parts.push({ ETag, PartNumber })
            )
          },
          complete: send("saveStateData", (abortSignal) =>
            client.send(new CompleteMultipartUploadCommand(whole()), { abortSignal })
          ),
          abort: Effect.ignore(
            send("saveStateData", () =>
              client.send(new AbortMultipartUploadCommand({ ...at(key), UploadId }))
            )
          )
        }
      }
    )

  return {
    read: (key) =>
      sendFor("load", async (abortSignal) => {
        const { Body, ETag } = await client.send(new GetObjectCommand(at(key)), { abortSignal })
        return { text: (await Body?.transformToString("utf-8")) ?? "", etag: ETag ?? "" }
      }),
    exists: (key) =>
      Effect.map(
        sendFor("load", (abortSignal) => client.send(new HeadObjectCommand(at(key)), { abortSignal })),
        (found) => found !== undefined
      ),
    write: (key, text, when) =>
      send("save", (abortSignal) =>
        client
          .send(
            new PutObjectCommand({
              ...at(key),
              Body: new TextEncoder().encode(text),
              ...(when === undefined ? {} : when === "absent" ? { IfNoneMatch: "*" } : { IfMatch: when.etag })
            }),
            { abortSignal }
          )
          .then(
            () => true,
            (cause: unknown) => {
              // 409: another conditional write of the same object is under way; 404: what was read is gone.
              if (when !== undefined && [404, 409, 412].includes(statusOf(cause) ?? 0)) return false
              throw cause
            }
          )
      ),
    upload: <E, R>(key: string, chunks: Stream.Stream<Uint8Array, E, R>) =>
      Effect.suspend(() => {
        // The last part is held back: when it is the only one, it is the object.
        let held: Uint8Array | undefined
        let upload: Effect.Effect.Success<ReturnType<typeof beginUpload>> | undefined
        const add = (part: Uint8Array): Answer<void> =>
          Effect.gen(function* () {
            if (held !== undefined) {
              upload ??= yield* beginUpload(key)
              yield* upload.add(held)
            }
            held = part
          })
        const end: Answer<void> = Effect.suspend(() => {
          const last = held ?? new Uint8Array()
          return upload === undefined
            ? put(key, last)
            : Effect.asVoid(Effect.zipRight(upload.add(last), upload.complete))
        })
        return Stream.runForEach(Pieces.ofSize(chunks, partBytes), add).pipe(
          Effect.zipRight(end),
          Effect.onError(() => Effect.suspend(() => upload?.abort ?? Effect.void))
        )
      }),
    download: (key, range) =>
      Effect.map(
        sendFor("loadStateData", async (abortSignal) => {
          const part =
            range === undefined ? {} : { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` }
          const { Body } = await client
            .send(new GetObjectCommand({ ...at(key), ...part }), { abortSignal })
            .catch((cause: unknown) => {
              // Beyond its end.
              if (statusOf(cause) === 416) return { Body: undefined }
              throw cause
            })
          return { body: Body as AsyncIterable<Uint8Array> | undefined }
        }),
        (found) =>
          found === undefined
            ? undefined
            : found.body === undefined
              ? Stream.empty
              : Stream.fromAsyncIterable(found.body, unavailable("loadStateData"))
      ),
    list: (under) =>
      Effect.gen(function* () {
        const keys: Array<string> = []
        let token: string | undefined
        do {
          const page = yield* send("list", (abortSignal) =>
            client.send(
              new ListObjectsV2Command({
                Bucket: bucket,
                Prefix: `${prefix}${under}`,
                ...(token === undefined ? {} : { ContinuationToken: token })
              }),
              { abortSignal }
            )
          )
          for (const { Key } of page.Contents ?? [])
            if (Key !== undefined) keys.push(Key.slice(prefix.length))
          token = page.NextContinuationToken
        } while (token !== undefined)
        return keys
      }),
    remove: (key) =>
      Effect.asVoid(
        send("prune", (abortSignal) => client.send(new DeleteObjectCommand(at(key)), { abortSignal }))
      )
  }
}

// ---- internal ----

const statusOf = (cause: unknown): number | undefined =>
  cause instanceof S3ServiceException ? cause.$metadata.httpStatusCode : undefined

/** A service that is overloaded, or that cannot be reached, is one to ask again. */
const unavailable =
  (operation: string) =>
  (cause: unknown): StoreUnavailable => {
    const status = statusOf(cause)
    const transient =
      status === undefined ? isOfNetwork(cause) : status >= 500 || status === 429 || status === 408
    return new StoreUnavailable({ operation, transient, cause })
  }

const isOfNetwork = (cause: unknown): boolean =>
  cause instanceof Error &&
  (["TimeoutError", "AbortError"].includes(cause.name) ||
    ["ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EPIPE", "ENOTFOUND", "EAI_AGAIN"].includes(
      String((cause as NodeJS.ErrnoException).code)
    ))
