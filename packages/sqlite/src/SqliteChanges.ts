/**
 * Hints that there are new events: at once for commits of this process, by polling for those of others.
 * SQLite tells nobody that another process wrote, but `PRAGMA data_version` says so without touching the
 * disk. It is asked only while somebody listens.
 */
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as RcRef from "effect/RcRef"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { SqliteDatabase } from "./SqliteDatabase.js"
import { storeUnavailable } from "./SqliteFault.js"
import * as Statements from "./Statements.js"

/** Both ends of the hints: those who commit tell, those who wait listen. */
export interface SqliteChanges {
  /** Tells all listeners of a new position. Never waits. */
  readonly publish: (position: number) => void
  /** Positions that may be new. May coalesce, never ends, never fails. */
  readonly stream: Stream.Stream<number>
}

/** Builds the hints for one database. What was in the log before this is no news. */
export const make = (
  database: SqliteDatabase,
  pollInterval: Duration.Duration
): Effect.Effect<SqliteChanges, StoreUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    // Sliding: a hint that nobody took in time is overtaken by a newer one, which says more.
    const hints = yield* PubSub.sliding<number>(16)
    const readHead = database.statement(Statements.head)
    let newest = yield* Effect.mapError(readHead, storeUnavailable("open"))

    const publish = (position: number): void => {
      if (position > newest) newest = position
      hints.unsafeOffer(position)
    }

    // --- poll: with the first listener, until the last one leaves ---
    const poll = Effect.suspend(() => {
      let seen: unknown
      const look = Effect.gen(function* () {
        const rows = yield* database.statement((session) => session.rows("PRAGMA data_version"))
        if (rows[0]![0] === seen) return
        const head = yield* readHead
        // Only now: a look that failed in between is made up for by the next.
        seen = rows[0]![0]
        if (head > newest) publish(head)
      })
      return look.pipe(
        // Nobody can be told here that storage fails; their own reads will.
        Effect.ignore,
        Effect.zipRight(Effect.sleep(pollInterval)),
        Effect.forever
      )
    })
    // In the context of the layer, not in that of the first listener, who may be inside a transaction.
    const poller = yield* RcRef.make({ acquire: Effect.forkScoped(Effect.interruptible(poll)) })

    const stream = Stream.unwrapScoped(
      Effect.map(Effect.zipLeft(PubSub.subscribe(hints), RcRef.get(poller)), (queue) =>
        // What came before it listened may have been missed, so that it begins with a hint.
        Stream.concat(
          Stream.sync(() => newest),
          Stream.fromQueue(queue)
        )
      )
    )
    return { publish, stream }
  })
