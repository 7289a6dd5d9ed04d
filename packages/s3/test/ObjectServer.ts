/**
 * A server that answers like S3, in memory, as far as checkpoints ask: objects with ETags, `If-None-Match`, `If-Match`,
 * ranges, pages of keys, uploads in parts. It can be told to fail before or after it has done what was asked.
 */
import { createHash } from "node:crypto"
import { createServer } from "node:http"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { S3CheckpointOptions } from "@millrace/s3/S3CheckpointStore"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** How a store finds it. */
export const optionsAt = (url: string, maxAttempts = 3): S3CheckpointOptions => ({
  bucket: "bucket",
  prefix: "millrace/",
  client: {
    region: "eu-central-1",
    endpoint: url,
    forcePathStyle: true,
    maxAttempts,
    credentials: { accessKeyId: "key", secretAccessKey: "not to be told" }
  }
})

/** A server that runs. */
export interface ObjectServer {
  readonly url: string
  /** Requests that changed something, by method and key. */
  readonly log: ReadonlyArray<string>
  /** The next requests of a method are answered with 503, before or after they took effect. */
  readonly fail: (method: string, when: "before" | "after", times: number) => void
  /** Uploads in parts that were neither completed nor aborted. */
  readonly openUploads: () => number
}

/** Keys on one page of a listing: few, so that there are several. */
const pageKeys = 7

/** Starts a server with one bucket, "bucket"; it ends with the scope. */
export const start: Effect.Effect<ObjectServer, never, Scope.Scope> = Effect.gen(function* () {
  const objects = new Map<string, Buffer>()
  const uploads = new Map<string, Map<number, Buffer>>()
  const log: Array<string> = []
  const failures: Array<{ readonly method: string; readonly when: "before" | "after" }> = []
  let uploadNumber = 0
  const etagOf = (body: Buffer): string => `"${createHash("md5").update(body).digest("hex")}"`

  const answer = (request: IncomingMessage, body: Buffer, response: ServerResponse): void => {
    const url = new URL(request.url ?? "/", "http://server")
    const key = decodeURIComponent(url.pathname).replace(/^\/bucket\/?/, "")
    const method = request.method ?? "GET"
    const end = (status: number, text: string | Buffer = "", headers: Record<string, string> = {}) =>
      void response.writeHead(status, headers).end(text)
    const error = (status: number, code: string) =>
      end(status, `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`, {
        "content-type": "application/xml"
      })
    const failing = failures.findIndex((one) => one.method === method)
    const failure = failing < 0 ? undefined : failures.splice(failing, 1)[0]
    if (failure?.when === "before") return error(503, "SlowDown")
    const done = (status: number, text: string | Buffer = "", headers: Record<string, string> = {}) =>
      failure === undefined ? end(status, text, headers) : error(503, "SlowDown")
    const there = objects.get(key)
    const uploadId = url.searchParams.get("uploadId")
    const put = (bytes: Buffer): void => {
      objects.set(key, bytes)
      log.push(`${method} ${key}`)
    }
    switch (method) {
      case "PUT": {
        if (uploadId !== null) {
          const parts = uploads.get(uploadId)
          if (parts === undefined) return error(404, "NoSuchUpload")
          parts.set(Number(url.searchParams.get("partNumber")), body)
          return done(200, "", { etag: etagOf(body) })
        }
        if (request.headers["if-none-match"] === "*" && there !== undefined)
          return error(412, "PreconditionFailed")
        const expected = request.headers["if-match"]
        if (expected !== undefined && there === undefined) return error(404, "NoSuchKey")
        if (expected !== undefined && expected !== etagOf(there!)) return error(412, "PreconditionFailed")
        put(body)
        return done(200, "", { etag: etagOf(body) })
      }
      case "POST": {
        if (uploadId === null) {
          const id = `upload-${++uploadNumber}`
          uploads.set(id, new Map())
          return done(
            200,
            `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
            { "content-type": "application/xml" }
          )
        }
        const parts = uploads.get(uploadId)
        if (parts === undefined) return error(404, "NoSuchUpload")
        const inOrder = [...parts].sort(([a], [b]) => a - b).map(([, part]) => part)
        if (inOrder.slice(0, -1).some((part) => part.length < 5 * 1_048_576))
          return error(400, "EntityTooSmall")
        put(Buffer.concat(inOrder))
        uploads.delete(uploadId)
        return done(200, `<CompleteMultipartUploadResult/>`, { "content-type": "application/xml" })
      }
      case "DELETE":
        if (uploadId !== null) uploads.delete(uploadId)
        else if (objects.delete(key)) log.push(`${method} ${key}`)
        return done(204)
      case "HEAD":
        return there === undefined ? end(404) : done(200, "", { etag: etagOf(there) })
      default: {
        if (url.searchParams.get("list-type") === "2") {
          const prefix = url.searchParams.get("prefix") ?? ""
          const after = url.searchParams.get("continuation-token") ?? ""
          const keys = [...objects.keys()].filter((one) => one.startsWith(prefix) && one > after).sort()
          const page = keys.slice(0, pageKeys)
          const contents = page.map((one) => `<Contents><Key>${one}</Key></Contents>`).join("")
          const more =
            keys.length > pageKeys ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : ""
          return done(200, `<ListBucketResult>${contents}${more}</ListBucketResult>`, {
            "content-type": "application/xml"
          })
        }
        if (there === undefined) return error(404, "NoSuchKey")
        const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")
        if (range === null) return done(200, there, { etag: etagOf(there) })
        if (Number(range[1]) >= there.length) return error(416, "InvalidRange")
        return done(206, there.subarray(Number(range[1]), Number(range[2]) + 1), { etag: etagOf(there) })
      }
    }
  }

  const server = yield* Effect.acquireRelease(
    Effect.async<ReturnType<typeof createServer>>((resume) => {
      const made = createServer((request, response) => {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", () => answer(request, Buffer.concat(chunks), response))
      })
      made.listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
    }),
    (made) =>
      Effect.async<void>((resume) => {
        made.closeAllConnections()
        made.close(() => resume(Effect.void))
      })
  )
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    log,
    fail: (method, when, times) => {
      for (let n = 0; n < times; n++) failures.push({ method, when })
    },
    openUploads: () => uploads.size
  }
})
