/** Millrace's own contestants: the stores as an application uses them, through their layers. */
import type { NewEvent } from "@millrace/core/Event"
import { EventStore } from "@millrace/core/EventStore"
import type { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import type { ModelStore } from "@millrace/core/ModelStore"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Postgres from "@millrace/postgres/Postgres"
import * as ProjectionDir from "@millrace/sqlite/ProjectionDir"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Layer, ManagedRuntime, Redacted, Stream } from "effect"
import type { Ours } from "./cases.js"
import type { Contestant, Place, Role } from "./contestant.js"
import { driveCalls, driveEffects } from "./drive.js"
import { inlining } from "./inlining.js"
import { latencyContestant } from "./latency/measure.js"
import { memoryContestant } from "./memory/measure.js"
import { fullCheckpoints, incrementalCheckpoints, restoring } from "./pipelines/checkpoints.js"
import { nexmark } from "./pipelines/nexmark.js"
import { windowing, windowingWithCheckpoints } from "./pipelines/windowing.js"
import { eventType, payload, streamName } from "./payload.js"
import { foldingProjections } from "./projecting.js"
import { advanceAgainstSave, manyAgainstFew } from "./projections.js"
import { checkedPass, readEvents, readStreams } from "./readCheck.js"
import type { Pass } from "./readCheck.js"
import { rebuildingFour } from "./rebuilding.js"
import { catchingUp } from "./subscribing.js"

type Services = EventStore | ProjectionCheckpointStore | SubscriberStore | ModelStore | SqlClient.SqlClient
type Stores = (place: Place) => Promise<Layer.Layer<Services, unknown>>

const postgres: Stores = async (place) => Postgres.layer({ url: Redacted.make(await place.database()) })

/** The log in Postgres, the models in SQLite files. */
const postgresAndFiles: Stores = async (place) =>
  Layer.merge(await postgres(place), ProjectionDir.layer({ folder: await place.folder() }))

const sqlite: Stores = async (place) => Sqlite.layer({ filename: `${await place.folder()}/log.db` })

interface Append {
  readonly name?: string
  readonly role?: Role
  readonly stores: Stores
  readonly perCall: number
  /** Statements that change the store before it is measured. */
  readonly prepare?: ReadonlyArray<string>
  /** Schema and what empties it. */
  readonly reset: ReadonlyArray<string>
  readonly events: string
}

const append = (options: Append): Contestant => ({
  name: options.name ?? "ours",
  role: options.role ?? "ours",
  open: async (place) => {
    const runtime = ManagedRuntime.make(await options.stores(place))
    const store = await runtime.runPromise(EventStore)
    const run = (statements: ReadonlyArray<string>): Promise<void> =>
      runtime.runPromise(
        Effect.flatMap(SqlClient.SqlClient, (sql) =>
          Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
        )
      )
    await run(options.prepare ?? [])
    let next = 0
    const nextEvent = (): NewEvent => ({ type: eventType, data: payload(next++) })
    return {
      drive: driveEffects(runtime, (caller) =>
        Effect.as(
          store.write({
            streamId: streamName(caller),
            events: Array.from({ length: options.perCall }, nextEvent)
          }),
          options.perCall
        )
      ),
      reset: () => run(options.reset),
      count: () =>
        runtime.runPromise(
          Effect.flatMap(SqlClient.SqlClient, (sql) =>
            Effect.map(
              sql.unsafe<{ n: number | string }>(`SELECT count(*) AS n FROM ${options.events}`),
              ([row]) => Number(row!.n)
            )
          )
        ),
      close: () => runtime.dispose()
    }
  }
})

const pgAppend = (perCall: number, extra: Partial<Append> = {}): Contestant =>
  append({
    stores: postgres,
    perCall,
    // One transaction: the append-only trigger is off only while the tables are emptied.
    reset: [
      `DO $$ BEGIN
        PERFORM set_config('millrace.repair_millrace', 'on', true);
        TRUNCATE millrace.events, millrace.streams;
        ALTER SEQUENCE millrace.positions RESTART;
      END $$`
    ],
    events: "millrace.events",
    ...extra
  })

const sqliteAppend = (perCall: number): Contestant =>
  append({
    stores: sqlite,
    perCall,
    reset: [
      "UPDATE millrace_log SET maintenance = 1",
      "DELETE FROM millrace_events",
      "DELETE FROM millrace_streams",
      "UPDATE millrace_log SET head = 0, maintenance = 0"
    ],
    events: "millrace_events"
  })

/** Fills a log of `events` events: event i has data `payload(i)` and is in stream i modulo `readStreams`. */
const load = <R>(
  runtime: ManagedRuntime.ManagedRuntime<R | EventStore, unknown>,
  events: number
): Promise<void> =>
  runtime.runPromise(
    Effect.gen(function* () {
      const store = yield* EventStore
      for (let first = 0; first < events; first += readStreams) {
        const appends = Array.from({ length: Math.min(readStreams, events - first) }, (_, i) => ({
          streamId: streamName(i),
          events: [{ type: eventType, data: payload(first + i) }]
        }))
        yield* store.write(appends)
      }
    })
  )

const stream = (stores: Stores): Contestant => ({
  name: "ours",
  role: "ours",
  open: async (place) => {
    const runtime = ManagedRuntime.make(await stores(place))
    const store = await runtime.runPromise(EventStore)
    await load(runtime, readEvents)
    const pass: Effect.Effect<Pass, unknown> = Effect.suspend(() =>
      Stream.runFold(store.stream(), { events: 0, amountSum: 0 }, (seen, event) => {
        seen.events++
        seen.amountSum += (event.data as { amount: number }).amount
        return seen
      })
    )
    return {
      drive: driveCalls(checkedPass(() => runtime.runPromise(pass))),
      close: () => runtime.dispose()
    }
  }
})

/** All of Millrace's contestants, by case. */
export const ours: Ours = {
  "pg-append-1": [pgAppend(1)],
  "pg-append-32": [pgAppend(1)],
  "pg-append-256": [pgAppend(1)],
  "pg-append-100-a-call": [pgAppend(100)],
  "pg-total-order-256": [
    pgAppend(1),
    pgAppend(1, {
      name: "limit",
      role: "limit",
      prepare: ["ALTER TABLE millrace.events DISABLE TRIGGER hold_log"]
    })
  ],
  "sqlite-append-100-a-call": [sqliteAppend(100)],
  "sqlite-append-32": [sqliteAppend(1)],
  "pg-stream": [stream(postgres)],
  "sqlite-stream": [stream(sqlite)],
  "pg-checkpoint-advance": advanceAgainstSave(postgres),
  "pg-checkpoint-streams": manyAgainstFew(postgres),
  "sqlite-checkpoint-advance": advanceAgainstSave(sqlite),
  "sqlite-checkpoint-streams": manyAgainstFew(sqlite),
  "pg-fold-projection": foldingProjections({ stores: postgres, load }),
  "pg-inline": [
    inlining({
      stores: postgres,
      selectLog: `SELECT stream_id AS key, count(*) AS events, sum((data ->> 'amount')::bigint) AS sum
        FROM millrace.events
        GROUP BY 1`,
      selectModel: (table) => `SELECT key, events, "amountSum" AS sum FROM ${table}`
    })
  ],
  "sqlite-fold-projection": foldingProjections({ stores: postgresAndFiles, load }),
  "rebuild-four": rebuildingFour({ stores: postgresAndFiles, load }),
  "pg-subscriber-catch-up": catchingUp({ stores: postgres, load }),
  "pg-append-to-handler": [
    latencyContestant({
      name: "ours",
      role: "ours",
      module: new URL("./latency/ours.ts", import.meta.url)
    })
  ],
  "memory-stream": [
    memoryContestant({
      name: "ours",
      role: "ours",
      module: new URL("./memory/oursReader.ts", import.meta.url),
      load: async (place, events) => {
        const url = await place.database()
        const runtime = ManagedRuntime.make(Postgres.layer({ url: Redacted.make(url) }))
        await load(runtime, events)
        await runtime.dispose()
        return url
      }
    })
  ],
  "pipeline-window": windowing,
  "pipeline-window-checkpoints": windowingWithCheckpoints,
  "nexmark-q1": nexmark("q1"),
  "nexmark-q2": nexmark("q2"),
  "nexmark-q3": nexmark("q3"),
  "nexmark-q5": nexmark("q5"),
  "nexmark-q7": nexmark("q7"),
  "nexmark-q8": nexmark("q8"),
  "checkpoint-full": fullCheckpoints,
  "checkpoint-incremental": incrementalCheckpoints,
  "checkpoint-restore": restoring
}
