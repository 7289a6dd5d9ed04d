/** A server that neither answers nor goes away: a machine that hangs, a network that drops what it is given. */
import { assert, describe, it } from "@effect/vitest"
import * as Databases from "@millrace/testkit/Databases"
import * as PostgresServer from "@millrace/testkit/PostgresServer"
import * as Effect from "effect/Effect"
import { append, open, select, table } from "./support/PgLog.js"

describe("a server that is frozen", () => {
  it.scopedLive(
    "does not keep a write beyond its timeout, and what became of it is found out afterwards",
    () =>
      Effect.gen(function* () {
        const server = yield* PostgresServer.start()
        const { url } = yield* Databases.postgresAt(server.url)
        const { store } = yield* open(url, { writeTimeout: "1 second", applicationName: "frozen" })
        yield* store.write(append("a/1"))
        const backends = yield* select<{ readonly pid: number }>(
          url,
          "SELECT pid FROM pg_stat_activity WHERE application_name = 'frozen'"
        )
        const frozen = [(yield* server.pid)!, ...backends.map(({ pid }) => pid)]
        const signal = (name: NodeJS.Signals) =>
          Effect.sync(() => {
            for (const pid of frozen) process.kill(pid, name)
          })
        const outcome = yield* Effect.acquireUseRelease(
          signal("SIGSTOP"),
          () => store.write(append("a/1", 2)).pipe(Effect.either, Effect.timeoutOption("12 seconds")),
          () => signal("SIGCONT")
        )
        assert.strictEqual(outcome._tag, "Some", "the write went on after its timeout of 1 second")
        if (outcome._tag === "None" || outcome.value._tag === "Right") return
        const error = outcome.value.left
        assert.isTrue(error._tag === "StoreUnavailable" && error.transient)
        // Once the server is back, so is the store.
        const next = yield* store.write(append("a/2"))
        const there = yield* table(url)
        assert.strictEqual(there.at(-1)!.position, next.position)
      }),
    60_000
  )
})
