/**
 * A process that writes until it is told to stop, in every way there is: writes that the store merges, and
 * transactions of the caller's own that are slow, that are rolled back, and that lose their connection.
 *
 * Says which events it knows to be in the log (`written`) and which it knows not to be (`undone`). What it
 * says nothing about, because its connection was cut at the wrong moment, may be either.
 */
import type { WriteResult } from "@millrace/core/Append"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import { append, open } from "../support/PgLog.js"
import type { Log } from "../support/PgLog.js"
import type { Chance } from "@millrace/testkit/Seeds"
import { chanceOf } from "@millrace/testkit/Seeds"
import { argument, orders, run, say } from "@millrace/testkit/Program"

export interface WriterArgument {
  readonly url: string
  readonly seed: number
  readonly name: string
  /** Fibers that write. */
  readonly callers: number
  /** Streams of each kind, shared by all processes. */
  readonly streams: number
  /** Longest pause inside a transaction. Unit: milliseconds. */
  readonly pauseMsMax: number
}

/** What a writer says: ids of events. */
export type WriterLine =
  | { readonly written: ReadonlyArray<string> }
  | { readonly undone: ReadonlyArray<string> }
  | { readonly failed: string }
  | { readonly up: true }

const options = argument<WriterArgument>()
const chance = chanceOf(options.seed)
let stopping = false

const idsOf = (result: WriteResult): ReadonlyArray<string> => result.appends.flatMap(({ ids }) => ids)

const plainStream = (): string => `plain/${chance.int(1, options.streams)}`
const slowStream = (): string => `slow/${chance.int(1, options.streams)}`

/** A write of its own: whatever happens to its connection, the store must say truthfully what became of it. */
const plain = ({ store }: Log): Effect.Effect<void> => {
  const first = append(plainStream(), chance.int(1, 3))
  const appends = chance.is(0.1) ? [first, append(plainStream())] : [first]
  return Effect.match(store.write(appends), {
    onSuccess: (result) => say({ written: idsOf(result) }),
    onFailure: (error) => say({ failed: String(error) })
  })
}

type End = "commit" | "roll back" | "cut"

/** A transaction of the caller's with appends in it, that takes its time and then ends somehow. */
const joined = ({ sql, store }: Log, { int, is }: Chance): Effect.Effect<void> => {
  const ids: Array<string> = []
  const end: End = is(0.6) ? "commit" : is(0.7) ? "roll back" : "cut"
  const pause = Effect.suspend(() => Effect.sleep(is(0.1) ? options.pauseMsMax : int(0, 20)))
  const write = (streamId: string) =>
    Effect.map(store.write(append(streamId, int(1, 3))), (result) => void ids.push(...idsOf(result)))
  const body = Effect.gen(function* () {
    if (is(0.5)) yield* pause
    yield* write(is(0.8) ? slowStream() : plainStream())
    yield* pause
    if (is(0.3)) yield* write(slowStream())
    if (end === "cut") yield* sql`SELECT pg_terminate_backend(pg_backend_pid())`
    if (end !== "commit") return yield* Effect.fail(end)
  })
  return Effect.map(Effect.exit(sql.withTransaction(body)), (exit) => {
    if (Exit.isSuccess(exit)) say({ written: ids })
    else if (end !== "commit") say({ undone: ids })
  })
}

run(
  Effect.scoped(
    Effect.gen(function* () {
      const stop = yield* Deferred.make<void>()
      orders(() => {
        stopping = true
        Deferred.unsafeDone(stop, Effect.void)
      })
      const log = yield* open(Redacted.make(options.url), {
        applicationName: options.name,
        maxConnections: 8
      })
      say({ up: true })
      const caller = (joins: boolean): Effect.Effect<void> =>
        Effect.suspend(() => (joins ? joined(log, chance) : plain(log))).pipe(
          Effect.repeat({ while: () => !stopping })
        )
      // Half of the pool's connections are for the caller's own transactions.
      yield* Effect.forEach(
        Array.from({ length: options.callers }, (_, i) => i < 2),
        caller,
        { concurrency: "unbounded", discard: true }
      )
    })
  )
)
