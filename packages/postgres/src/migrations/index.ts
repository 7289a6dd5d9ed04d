/**
 * The steps that lead from an empty schema to the present one. A released step is never edited; a new one is
 * added below it. All of them run in one transaction under a lock, so that any number of processes may start
 * at once: the first one migrates, the others find it done.
 */
import * as Migrator from "@effect/sql/Migrator"
import type { MigrationError } from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type { PgNames } from "../PgNames.js"
import { createLog } from "./0001_log.js"
import { createAppend } from "./0002_append.js"
import { createAppendSimple } from "./0003_append_simple.js"
import { createUpkeep } from "./0004_upkeep.js"
import { createSnapshots } from "./0005_snapshots.js"
import { createSubscribers } from "./0006_subscribers.js"
import { createProjections } from "./0007_projections.js"
import { createFence } from "./0008_fence.js"
import { replaceAdvance } from "./0009_advance.js"
import { createAcknowledge } from "./0010_acknowledge.js"
import { createCheckpoints } from "./0011_checkpoints.js"
import { replaceFence } from "./0012_fence_holder.js"

const steps = (names: PgNames) => ({
  "0001_log": createLog(names),
  "0002_append": createAppend(names),
  "0003_append_simple": createAppendSimple(names),
  "0004_upkeep": createUpkeep(names),
  "0005_snapshots": createSnapshots(names),
  "0006_subscribers": createSubscribers(names),
  "0007_projections": createProjections(names),
  "0008_fence": createFence(names),
  "0009_advance": replaceAdvance(names),
  "0010_acknowledge": createAcknowledge(names),
  "0011_checkpoints": createCheckpoints(names),
  "0012_fence_holder": replaceFence(names)
})

/** Brings the schema to its present form. */
export const migrate = (
  names: PgNames
): Effect.Effect<void, SqlError | MigrationError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const run = Effect.gen(function* () {
      yield* sql.unsafe(`SELECT pg_advisory_xact_lock(${names.migrationKey})`)
      yield* sql.unsafe(`CREATE SCHEMA IF NOT EXISTS ${names.q}`)
      // The migrator would create its table outside of the transaction, where several processes collide.
      yield* sql.unsafe(`
        CREATE TABLE IF NOT EXISTS ${names.q}.migrations (
          migration_id integer PRIMARY KEY,
          created_at   timestamptz NOT NULL DEFAULT now(),
          name         text NOT NULL
        )
      `)
      yield* Migrator.make({})({
        loader: Migrator.fromRecord(steps(names)),
        table: `${names.schema}.migrations`
      })
    })
    yield* sql.withTransaction(run)
  })
