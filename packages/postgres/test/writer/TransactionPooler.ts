/**
 * A pooler in transaction mode, as small as one can be: many clients share few connections of the server, and
 * a client has one only until its transaction ends. What belongs to a session (named statements, LISTEN, SET)
 * is therefore lost or somebody else's, which is what makes such poolers hard to live with. It is PgBouncer's
 * `pool_mode = transaction` without its support of named statements.
 *
 *     client ──▶ waits for a free connection ──▶ has it ──▶ server says "ready, idle" ──▶ free again
 *
 * Authentication of the clients is left out: they are let in at once.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import net from "node:net"
import pg from "pg"
import type { Chance } from "./Fixtures.js"

export interface TransactionPooler {
  /** The url, through the pooler. */
  readonly url: string
  /** How often a client got another connection than the time before. */
  readonly switches: () => number
}

interface Backend {
  readonly socket: net.Socket
  client: net.Socket | undefined
  /** Bytes of the server's message that is not complete yet. */
  rest: Buffer
}

const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5)
  head.write(type, 0, "latin1")
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

/** Let in, a few settings, a key to cancel with, ready. */
const welcome = Buffer.concat([
  message("R", Buffer.alloc(4)),
  message("S", Buffer.from(["server_version", "18.0", ""].join("\0"))),
  message("S", Buffer.from(["client_encoding", "UTF8", ""].join("\0"))),
  message("K", Buffer.alloc(8)),
  message("Z", Buffer.from("I"))
])

/** Opens the pooler with so many connections of its own; it closes with the scope. */
export const make = (
  url: string,
  connections: number,
  chance: Chance
): Effect.Effect<TransactionPooler, never, Scope.Scope> =>
  Effect.gen(function* () {
    const waiting: Array<{ readonly client: net.Socket; readonly data: Buffer }> = []
    const sockets = new Set<net.Socket>()
    const last = new Map<net.Socket, Backend>()
    const has = new Map<net.Socket, Backend>()
    let switches = 0

    const backends = yield* Effect.forEach(Array.from({ length: connections }), () =>
      Effect.acquireRelease(
        Effect.promise(async (): Promise<Backend> => {
          const opened = new pg.Client({ connectionString: url, application_name: "pooler" })
          opened.on("error", () => undefined)
          await opened.connect()
          // The driver has authenticated; from here on the bytes are ours.
          const socket = (opened as unknown as { readonly connection: { readonly stream: net.Socket } })
            .connection.stream
          socket.removeAllListeners("data")
          socket.removeAllListeners("close")
          socket.removeAllListeners("error")
          socket.on("error", () => undefined)
          return { socket, client: undefined, rest: Buffer.alloc(0) }
        }),
        ({ socket }) => Effect.sync(() => void socket.destroy())
      )
    )

    const assign = (): void => {
      while (waiting.length > 0) {
        const free = backends.filter((backend) => backend.client === undefined)
        if (free.length === 0) return
        const { client, data } = waiting.shift()!
        if (client.destroyed) continue
        const backend = chance.pick(free)
        if (last.has(client) && last.get(client) !== backend) switches++
        last.set(client, backend)
        has.set(client, backend)
        backend.client = client
        backend.socket.write(data)
      }
    }

    for (const backend of backends) {
      backend.socket.on("data", (data) => {
        backend.rest = Buffer.concat([backend.rest, data])
        let from = 0
        let idle = false
        while (backend.rest.length - from >= 5) {
          const end = from + 1 + backend.rest.readInt32BE(from + 1)
          if (backend.rest.length < end) break
          // "Z" with "I": ready for the next one, and in no transaction.
          if (backend.rest[from] === 0x5a) idle = backend.rest[from + 5] === 0x49
          from = end
        }
        const complete = backend.rest.subarray(0, from)
        backend.rest = Buffer.from(backend.rest.subarray(from))
        backend.client?.write(complete)
        if (idle && backend.client !== undefined) {
          has.delete(backend.client)
          backend.client = undefined
          assign()
        }
      })
    }

    const serve = (client: net.Socket): void => {
      let started = false
      sockets.add(client)
      client.on("error", () => undefined)
      client.on("close", () => sockets.delete(client))
      client.on("data", (data) => {
        if (!started) {
          started = true
          client.write(welcome)
        } else if (data[0] === 0x58) client.end()
        else if (has.has(client)) has.get(client)!.socket.write(data)
        else {
          waiting.push({ client, data })
          assign()
        }
      })
    }

    const listener = yield* Effect.acquireRelease(
      Effect.promise(
        () =>
          new Promise<net.Server>((resolve) => {
            const listener = net.createServer(serve)
            listener.listen(0, "127.0.0.1", () => resolve(listener))
          })
      ),
      (listener) =>
        Effect.promise(
          () =>
            new Promise<void>((resolve) => {
              for (const socket of sockets) socket.destroy()
              listener.close(() => resolve())
            })
        )
    )
    const through = new URL(url)
    through.hostname = "127.0.0.1"
    through.port = String((listener.address() as net.AddressInfo).port)
    return { url: through.toString(), switches: () => switches }
  })
