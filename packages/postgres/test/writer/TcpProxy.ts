/**
 * A proxy between a pool and the server that breaks connections where it hurts, at moments drawn from a seed.
 *
 *     client ──▶ proxy ──▶ server        "before"   the request never gets to the server
 *        ◀──      ◀──                    "after"    the server has done it, the answer is lost
 *                                        "half"     half an answer, then the end
 *                                        "at once"  cut while the server is at it
 *                                        "late"     cut, and the request gets there a while later
 *                                        "slow"     nothing is lost, request and answer are late
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import net from "node:net"
import type { Chance } from "./Fixtures.js"

export type Fault = "before" | "after" | "half" | "at once" | "late" | "slow"

export const faults: ReadonlyArray<Fault> = ["before", "after", "half", "at once", "late", "slow"]

export interface TcpProxy {
  /** The url, through the proxy. */
  readonly url: string
  /** Of so many requests in a hundred one is struck; 0 = none. */
  readonly strike: (percent: number, kinds?: ReadonlyArray<Fault>) => void
  /** Nothing goes through any more, and nothing is closed: a network that swallows everything. */
  readonly swallow: (on: boolean) => void
  /** Ends all connections that are open now. */
  readonly cut: () => void
  /** How often each fault was struck. */
  readonly struck: () => ReadonlyMap<Fault, number>
  /** Connections made so far. */
  readonly connections: () => number
}

/** Requests of a connection that are let through, so that it comes up: start-up, SASL twice. */
const firstRequests = 4

/** Opens the proxy; it closes with the scope. */
export const make = (url: string, chance: Chance): Effect.Effect<TcpProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const target = new URL(url)
    let percent = 0
    let kinds = faults
    let swallowing = false
    let connections = 0
    const struck = new Map<Fault, number>()
    const open = new Set<net.Socket>()
    const timers = new Set<NodeJS.Timeout>()
    const later = (ms: number, run: () => void): void => {
      const timer = setTimeout(() => {
        timers.delete(timer)
        run()
      }, ms)
      timers.add(timer)
    }

    /** A way in one direction, which may be slow for a moment. What comes later stays behind, as TCP keeps it. */
    const wayTo = (socket: net.Socket) => {
      let held: Array<Buffer> | undefined
      return {
        send: (data: Buffer): void => void (held === undefined ? socket.write(data) : held.push(data)),
        sendSlowly: (data: Buffer): void => {
          if (held !== undefined) return void held.push(data)
          held = [data]
          later(1 + chance.int(30), () => {
            const all = Buffer.concat(held!)
            held = undefined
            socket.write(all)
          })
        }
      }
    }

    const serve = (client: net.Socket): void => {
      connections++
      const server = net.connect(Number(target.port), target.hostname)
      let requests = 0
      /** What is to happen to the next answer. */
      let fault: Fault | undefined
      let cut = false
      const toServer = wayTo(server)
      const toClient = wayTo(client)
      const destroy = (): void => {
        client.destroy()
        server.destroy()
      }
      for (const socket of [client, server]) {
        socket.setNoDelay(true)
        open.add(socket)
        socket.on("error", () => undefined)
        socket.on("close", () => {
          open.delete(socket)
          if (!cut) destroy()
        })
      }
      client.on("data", (data) => {
        if (swallowing) return
        requests++
        if (requests <= firstRequests || !chance.percent(percent)) return toServer.send(data)
        fault = chance.pick(kinds)
        struck.set(fault, (struck.get(fault) ?? 0) + 1)
        switch (fault) {
          case "before":
            return destroy()
          case "at once":
            server.write(data, destroy)
            return
          case "late":
            cut = true
            client.destroy()
            return later(1 + chance.int(60), () => server.end(data))
          case "slow":
            return toServer.sendSlowly(data)
          default:
            toServer.send(data)
        }
      })
      server.on("data", (data) => {
        if (swallowing || cut) return
        const present = fault
        fault = undefined
        if (present === "after") return destroy()
        if (present === "half") {
          client.write(data.subarray(0, Math.ceil(data.length / 2)), destroy)
          return
        }
        if (present === "slow") return toClient.sendSlowly(data)
        toClient.send(data)
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
              for (const timer of timers) clearTimeout(timer)
              for (const socket of open) socket.destroy()
              listener.close(() => resolve())
            })
        )
    )
    const through = new URL(url)
    through.hostname = "127.0.0.1"
    through.port = String((listener.address() as net.AddressInfo).port)
    return {
      url: through.toString(),
      strike: (next, only = faults) => {
        percent = next
        kinds = only
      },
      swallow: (on) => {
        swallowing = on
      },
      cut: () => {
        for (const socket of open) socket.destroy()
      },
      struck: () => struck,
      connections: () => connections
    }
  })
