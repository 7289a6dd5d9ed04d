/**
 * How a process learns that there is something new: at once from its own commits, by NOTIFY from the others,
 * and by polling behind both. Notifications carry no payload; each one leads to one look at the head, however
 * many came together.
 *
 *     own commit ──┬──▶ signal ──▶ look at the head ──▶ moved? publish
 *                  └──▶ NOTIFY (at most one in 25 ms) ▲
 *     LISTEN ──────────────────────────────────────────┤
 *     every poll interval ─────────────────────────────┘
 *
 * A batch that is alone notifies in its own transaction, which spares a round trip between its commit and the
 * others' hearing of it. With more under way the notification is a statement of its own behind the commit: commits
 * that notify come one after another, and none of them shares its wait for the disk.
 *
 * LISTEN needs a connection of its own, which a pooler in transaction mode does not give: whether it works is
 * found out by a notification to oneself. Where it does not, or while its connection is down, the poll alone
 * serves, and nothing but latency is lost.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Mailbox from "effect/Mailbox"
import * as PubSub from "effect/PubSub"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import pg from "pg"
import { PgError, storeUnavailable } from "./PgFault.js"
import type { HeadHolder, PgHead } from "./PgHead.js"
import type { PgNames } from "./PgNames.js"
import type { PgPool } from "./PgPool.js"
import * as Scoped from "@millrace/core/Scoped"

/** How to listen and how often to poll. */
export interface PgWakeUpsOptions {
  readonly url: Redacted.Redacted<string>
  readonly applicationName: string
  /** Longest time between two looks at the head while somebody waits for changes. */
  readonly pollInterval: Duration.Duration
  /** Whether to try LISTEN at all. */
  readonly listen: boolean
}

/** How wake-ups arrive from other processes at this moment. */
export type WakeUpMode = "listening" | "polling"

/** The wake-ups of one log. */
export interface PgWakeUps {
  /** Whether a batch that begins now should notify by itself: true at most once in 25 ms. Synchronous and cheap. */
  readonly takesNotice: () => boolean
  /** To be called after each commit of this process; `notified`: it did so by itself. Synchronous and cheap. */
  readonly committed: (notified: boolean) => void
  /** The head, whenever it was seen to have moved. */
  readonly changes: Stream.Stream<number>
  readonly mode: Effect.Effect<WakeUpMode>
}

/** Shortest time between two notifications of a process. Unit: milliseconds. */
const notifyEveryMs = 25

/** How long a notification to oneself may take before LISTEN counts as not working. */
const probeTimeout = Duration.seconds(2)

/** Between attempts to get the listening connection back: 100 ms, doubling up to 10 s; anew after a good minute. */
const reconnect = Schedule.exponential("100 millis").pipe(
  Schedule.union(Schedule.spaced("10 seconds")),
  Schedule.resetAfter("1 minute")
)

/** How long one transaction may hold the head back before it is reported. Unit: milliseconds. */
const heldReportMs = 1_000

/** Starts the wake-ups; they end with the scope. Never fails: without LISTEN it polls. */
export const make = (
  pool: PgPool,
  head: PgHead,
  { channel }: PgNames,
  options: PgWakeUpsOptions
): Effect.Effect<PgWakeUps, never, Scope.Scope> =>
  Effect.gen(function* () {
    // Sliding by one: signals that nobody took yet are one signal.
    const signals = yield* Mailbox.make<void>({ capacity: 1, strategy: "sliding" })
    const notices = yield* Mailbox.make<void>({ capacity: 1, strategy: "sliding" })
    // A head that nobody took in time is overtaken by a greater one.
    const heads = yield* PubSub.sliding<number>(16)
    let subscribers = 0
    let mode: WakeUpMode = "polling"
    let published = 0
    /** Before that moment none notifies. Unit: milliseconds. */
    let quietUntilMs = 0
    /** Whether a commit is to be notified of by a statement of its own. */
    let pending = false
    const clock = yield* Effect.clock
    const nowMs = () => clock.unsafeCurrentTimeMillis()

    // --- look: one for all signals that came together ---
    const look = head.fresh.pipe(
      Effect.flatMap((position) => {
        if (position <= published) return Effect.void
        published = position
        return PubSub.publish(heads, position)
      }),
      Effect.catchAll((error) =>
        Effect.logDebug("the head could not be read, the next poll tries again", error)
      )
    )
    yield* signals.take.pipe(Effect.zipRight(look), Effect.forever, Effect.ignore, Effect.forkScoped)

    // --- poll: only while somebody waits; also looks for who holds the head back ---
    const reported = new Set<string>()
    const report = head.holders.pipe(
      Effect.flatMap((holders) => reportHolders(holders, reported)),
      Effect.ignore
    )
    yield* Effect.suspend(() =>
      subscribers === 0 ? Effect.void : Effect.zipRight(signals.offer(undefined), report)
    ).pipe(Effect.repeat(Schedule.spaced(options.pollInterval)), Effect.forkScoped)

    // --- notify: after the commit and apart from it ---
    yield* notices.take.pipe(
      Effect.zipRight(Effect.suspend(() => Effect.sleep(Math.max(0, quietUntilMs - nowMs())))),
      Effect.zipRight(
        Effect.sync(() => {
          pending = false
          quietUntilMs = nowMs() + notifyEveryMs
        })
      ),
      Effect.zipRight(
        Effect.ignore(
          Effect.tryPromise(() =>
            pool.query(
              {
                name: `millrace_notify_${channel}`,
                text: `SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')`
              },
              [channel]
            )
          )
        )
      ),
      Effect.forever,
      Effect.ignore,
      Effect.forkScoped
    )

    // --- listen: a connection of its own, for as long as it lives; then another ---
    const listening = listenOnce(pool, options, channel, {
      onNotification: () => {
        if (subscribers > 0) signals.unsafeOffer(undefined)
      },
      onConnected: () => {
        mode = "listening"
      }
    }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          mode = "polling"
        })
      )
    )
    if (options.listen) {
      yield* listening.pipe(
        Effect.catchAll((error) => Effect.logDebug("LISTEN is not available, polling", error)),
        Effect.repeat(reconnect),
        Effect.forkScoped
      )
    }

    return {
      takesNotice: () => {
        if (pending || nowMs() < quietUntilMs) return false
        quietUntilMs = nowMs() + notifyEveryMs
        return true
      },
      committed: (notified: boolean) => {
        if (subscribers > 0) signals.unsafeOffer(undefined)
        if (notified) return
        pending = true
        notices.unsafeOffer(undefined)
      },
      changes: Stream.unwrapScoped(
        Effect.gen(function* () {
          yield* Effect.acquireRelease(
            Effect.sync(() => void subscribers++),
            () => Effect.sync(() => void subscribers--)
          )
          const queue = yield* PubSub.subscribe(heads)
          yield* signals.offer(undefined)
          // What came before it listened may have been missed, so that it begins with a hint: the head, or where
          // that cannot be read now, the last one known.
          return Stream.concat(
            Stream.fromEffect(Effect.catchAll(head.fresh, () => Effect.sync(() => published))),
            Stream.fromQueue(queue)
          )
        })
      ),
      mode: Effect.sync(() => mode)
    }
  }).pipe(Effect.withClock(Clock.make()))

// ---- internal ----

/** Listens until the connection ends; fails with why. Succeeds never. */
const listenOnce = (
  pool: PgPool,
  options: PgWakeUpsOptions,
  channel: string,
  on: { readonly onNotification: () => void; readonly onConnected: () => void }
): Effect.Effect<never, unknown> =>
  Scoped.scoped(
    Effect.gen(function* () {
      const ended = yield* Deferred.make<never, unknown>()
      const heard = yield* Deferred.make<void>()
      const client = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const client = new pg.Client({
            connectionString: Redacted.value(options.url),
            application_name: `${options.applicationName} (listen)`,
            keepAlive: true
          })
          client.on("error", (error) => Deferred.unsafeDone(ended, Effect.fail(error)))
          client.on("end", () =>
            Deferred.unsafeDone(ended, Effect.fail(new PgError("the listening connection ended", "")))
          )
          client.on("notification", () => {
            Deferred.unsafeDone(heard, Effect.void)
            on.onNotification()
          })
          return client
        }),
        // Not waited for: the fiber is being interrupted, and a dead peer would never answer.
        (client) => Effect.sync(() => void client.end().catch(() => undefined))
      )
      yield* Effect.tryPromise({ try: () => client.connect(), catch: storeUnavailable("listen") })
      yield* Effect.tryPromise({
        // From another connection: through a pooler one and the same might get an answer of its own.
        try: () =>
          client
            .query(`LISTEN ${pg.escapeIdentifier(channel)}`)
            .then(() => pool.pool.query("SELECT pg_notify($1, '')", [channel])),
        catch: storeUnavailable("listen")
      })
      // Through a pooler in transaction mode LISTEN succeeds and nothing ever arrives.
      yield* Effect.race(Deferred.await(heard), Deferred.await(ended)).pipe(
        Effect.timeoutFail({
          duration: probeTimeout,
          onTimeout: () => new PgError("no notification came back", "")
        })
      )
      on.onConnected()
      on.onNotification()
      return yield* Deferred.await(ended)
    })
  )

/** Warns once of each transaction that holds the head back for longer than a second. */
const reportHolders = (holders: ReadonlyArray<HeadHolder>, reported: Set<string>): Effect.Effect<void> => {
  const long = holders.filter((holder) => holder.ageMs >= heldReportMs)
  const present = new Set(long.map((holder) => holder.virtualTransaction))
  for (const key of reported) if (!present.has(key)) reported.delete(key)
  return Effect.forEach(
    long.filter((holder) => !reported.has(holder.virtualTransaction)),
    (holder) => {
      reported.add(holder.virtualTransaction)
      return Effect.logWarning("a long transaction that appended holds readers of the log back", {
        ...holder
      })
    },
    { discard: true }
  )
}
