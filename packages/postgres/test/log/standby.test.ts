/** A standby cannot tell the head, since locks are not replicated: it refuses, until it is promoted. */
import { assert, describe, it } from "@effect/vitest"
import * as Databases from "@millrace/testkit/Databases"
import * as PostgresServer from "@millrace/testkit/PostgresServer"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Url } from "./support/PgLog.js"
import { append, connect, open, select, table, tail, until } from "./support/PgLog.js"

/**
 * A standby made of a copy of a stopped server's data. It lies in the server's folder and is deleted with it;
 * it runs on the server's port plus 1 000, which is below those of outgoing connections.
 */
const standbyOf = (
  server: PostgresServer.PostgresServer,
  database: Url
): Effect.Effect<Url, never, Scope.Scope> =>
  Effect.gen(function* () {
    const data = join(server.folder, "data")
    const copy = join(server.folder, "standby")
    const { gid, uid } = statSync(data)
    const url = new URL(Redacted.value(database))
    const port = Number(url.port) + 1_000
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        execFileSync("cp", ["-a", data, copy])
        writeFileSync(join(copy, "standby.signal"), "")
        const settings = Object.entries({ ...PostgresServer.defaultSettings, hot_standby: "on" })
        return spawn(
          join(server.nativeFolder, "bin", "postgres"),
          [
            "-D",
            copy,
            "-p",
            String(port),
            ...settings.flatMap(([name, value]) => ["-c", `${name}=${value}`])
          ],
          {
            cwd: copy,
            stdio: "ignore",
            ...(process.getuid?.() === 0 ? { uid, gid } : {}),
            env: { LC_ALL: "C", TZ: "UTC" }
          }
        )
      }),
      (child) =>
        Effect.promise(async () => {
          const ended = child.exitCode === null ? once(child, "exit") : undefined
          child.kill("SIGQUIT")
          await ended
        })
    )
    url.port = String(port)
    const standby = Redacted.make(url.toString())
    yield* until(
      "the standby answers",
      Effect.option(Effect.catchAllDefect(select(standby, "SELECT 1"), () => Effect.fail("not yet"))),
      ({ _tag }) => _tag === "Some"
    )
    return standby
  })

describe("a standby", () => {
  it.scopedLive(
    "is refused, for good and by name; once promoted it serves the same log",
    () =>
      Effect.gen(function* () {
        const server = yield* PostgresServer.start()
        const { url } = yield* Databases.postgresAt(server.url)
        const reader = yield* Effect.scoped(
          Effect.gen(function* () {
            const { store } = yield* open(url)
            for (let n = 0; n < 10; n++) yield* store.write(append(`a/${n % 3}`, 3))
            const reader = tail(store)
            yield* reader.drain
            return reader
          })
        )
        yield* server.stop()
        const standby = yield* standbyOf(server, url)

        const error = yield* Effect.flip(Effect.scoped(open(standby)))
        assert.strictEqual(error._tag, "StoreUnavailable")
        assert.isFalse(error._tag === "StoreUnavailable" && error.transient)
        assert.include(error.message, "standby")
        const raw = yield* connect(standby)
        assert.strictEqual(yield* raw.refusal("SELECT millrace.head()"), "25006")

        yield* raw.rows("SELECT pg_promote()")
        const { store } = yield* open(standby)
        assert.strictEqual(yield* store.head, reader.cursor())
        const next = yield* store.write(append("a/1"))
        assert.isAbove(next.position, reader.cursor())
        const after = tail(store)
        yield* after.drain
        assert.deepStrictEqual(after.seen, yield* table(standby))
        assert.deepStrictEqual(after.seen.slice(0, -1), reader.seen)
        // Back, so that its scope can close it in order.
        yield* server.restart()
      }),
    60_000
  )
})
