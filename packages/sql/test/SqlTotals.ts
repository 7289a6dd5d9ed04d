/** The SQL handlers that the suite of model stores runs on each SQL database. */
import * as SqlProjection from "@millrace/sql/SqlProjection"
import type { RecordedEvent } from "@millrace/core/Event"
import type { ProjectionContext } from "@millrace/core/Projection"
import { tellOf } from "@millrace/testkit/suites/ModelScene"
import type { SqlTotals } from "@millrace/testkit/suites/ModelSqlHandlers"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"

/** Totals in the table `${name}_t`. */
export const sqlTotals: SqlTotals<SqlClient> = (name, { sign, strength, version }) => {
  const own = `${name}_t`
  const add = (event: RecordedEvent, { table }: ProjectionContext) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const amount = sign * (tellOf(event).add ?? 0)
      const here = sql(strength === "fixed" ? own : table(own))
      yield* sql`
        INSERT INTO ${here} AS t (stream, total) VALUES (${event.streamId}, ${amount})
        ON CONFLICT (stream) DO UPDATE SET total = t.total + excluded.total
      `
      const { fail } = tellOf(event)
      if (fail !== undefined) return yield* Effect.fail(fail)
    })
  const tables = {
    [own]: (table: string) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* sql`CREATE TABLE ${sql(table)} (stream TEXT PRIMARY KEY, total INTEGER NOT NULL)`
        yield* sql`CREATE INDEX ${sql(`${table}_by_total`)} ON ${sql(table)} (total)`
      })
  }
  return {
    projection:
      strength === "batch"
        ? SqlProjection.batch({
            name,
            version,
            tables,
            onBatch: (events, context) => Effect.forEach(events, (event) => add(event, context))
          })
        : SqlProjection.handlers({ name, version, tables, onEvent: add }),
    read: Effect.gen(function* () {
      const sql = yield* SqlClient
      const rows = yield* sql<{ readonly stream: string; readonly total: number }>`
        SELECT stream, total FROM ${sql(own)}
      `
      return Object.fromEntries(rows.map(({ stream, total }) => [stream, Number(total)]))
    })
  }
}
